//! Words that only a machine would write: names of symbols, codes, versions, paths, flags.
//!
//! A guess by the form of a word, made so that ordinary prose does not pass: a hyphen, an inner capital or a slash
//! alone is no proof, since `well-known`, `GitHub` and `and/or` have them as well.

/// Whether some word of the query looks like an identifier.
pub(super) fn has_identifier(query: &str) -> bool {
    let alone = query.split_whitespace().count() == 1;
    query.split_whitespace().map(bare).any(|word| is_identifier(word) || (alone && is_bare_kebab(word)))
}

/// The word without the punctuation of the sentence around it.
fn bare(word: &str) -> &str {
    let opening = |c: char| matches!(c, '(' | '[' | '{' | '<' | '"' | '\'' | '“' | '„' | '«' | ',' | ';' | ':');
    let closing = |c: char| {
        matches!(c, '(' | ')' | ']' | '}' | '>' | '"' | '\'' | '”' | '“' | '»' | ',' | ';' | ':' | '.' | '!' | '?')
    };
    let word = word.trim_start_matches(opening);
    // The parentheses of a call belong to the name.
    let trimmed = word.trim_end_matches(closing);
    if word[trimmed.len()..].starts_with("()") { &word[..trimmed.len() + 2] } else { trimmed }
}

fn is_identifier(word: &str) -> bool {
    const FORMS: [fn(&str) -> bool; 11] = [
        is_code_in_backticks,
        is_call_or_scope,
        is_snake,
        is_camel,
        is_dotted,
        is_version,
        is_hexadecimal,
        is_path,
        is_flag_or_variable,
        is_numbered_code,
        is_machine_kebab,
    ];
    FORMS.iter().any(|form| form(word))
}

fn is_code_in_backticks(word: &str) -> bool {
    word.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).is_some_and(|inner| !inner.is_empty())
}

/// `reset()`, `std::mem`, `a->b`.
fn is_call_or_scope(word: &str) -> bool {
    let named = |name: &str| name.chars().any(char::is_alphanumeric);
    let call = word.strip_suffix("()").is_some_and(named);
    call || ["::", "->"].iter().any(|mark| word.split_once(mark).is_some_and(|(a, b)| named(a) && named(b)))
}

/// `max_connections`, `ERR_CONN_RESET`, `__init__`.
fn is_snake(word: &str) -> bool {
    let plain = word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let inner = word.trim_matches('_');
    plain && word.contains('_') && inner.chars().count() > 1 && (inner.contains('_') || word.starts_with('_'))
}

/// `getUserById`, `userId`, `NullPointerException`, `TypeError`; but not `iPhone`, `GitHub` or `macOS`.
fn is_camel(word: &str) -> bool {
    if !word.chars().all(char::is_alphanumeric) {
        return false;
    }
    let humps = humps(word);
    let is_lower = |hump: &&str| hump.starts_with(char::is_lowercase) && hump.chars().count() > 1;
    match humps.as_slice() {
        [first, rest @ ..] if is_lower(first) => {
            // A capital and what follows it: `Id`, or the capitals of an abbreviation, `URL`.
            rest.iter().any(|hump| hump.chars().nth(1).is_some_and(char::is_lowercase)) || rest.len() > 2
        }
        [_, "Error" | "Exception" | "Warning"] => true,
        [_, _, _, ..] => humps.iter().filter(|hump| hump.chars().count() > 1).count() > 2,
        _ => false,
    }
}

/// A word cut before each of its capitals.
fn humps(word: &str) -> Vec<&str> {
    let mut starts: Vec<usize> =
        word.char_indices().filter(|(at, c)| *at == 0 || c.is_uppercase()).map(|(at, _)| at).collect();
    starts.push(word.len());
    starts.windows(2).map(|pair| &word[pair[0]..pair[1]]).collect()
}

/// `os.path.join`, `config.yaml`, `10.0.0.1`; but not `e.g` or `3.5`.
fn is_dotted(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let is_name =
        |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if parts.len() < 2 || !parts.iter().all(is_name) {
        return false;
    }
    let long = parts.iter().filter(|part| part.len() > 1).count();
    let numeric = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let lower = !word.bytes().any(|byte| byte.is_ascii_uppercase());
    match parts.len() {
        2 => !numeric && lower && long == 2 && parts[1].len() <= 6 && !starts_with_digit(parts[1]),
        _ => numeric || long > 1,
    }
}

/// `v2`, `v1.2.3`, `1.2.3-rc1`.
fn is_version(word: &str) -> bool {
    let (numbers, is_marked) = match word.strip_prefix(['v', 'V']) {
        Some(rest) => (rest, true),
        None => (word, false),
    };
    let core = numbers.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    let are_numbers = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    are_numbers && (is_marked || parts.len() > 2)
}

/// `0x1f`, a commit's or a digest's digits, and UUIDs; but not a plain number or a word such as `facade`.
fn is_hexadecimal(word: &str) -> bool {
    let hexadecimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return hexadecimal(digits);
    }
    let mixed = has_digit(word) && word.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_uuid = || {
        let lengths: Vec<usize> = word.split('-').map(str::len).collect();
        lengths == [8, 4, 4, 4, 12] && word.split('-').all(hexadecimal)
    };
    (word.len() >= 7 && hexadecimal(word) && mixed) || is_uuid()
}

/// `/etc/hosts`, `./run`, `src/main.rs`, `C:\temp`, `https://x.org/y`; but not `and/or` or `24/7`.
fn is_path(word: &str) -> bool {
    let named = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
    let rooted = ["/", "./", "../", "~/"].iter().any(|root| word.strip_prefix(root).is_some_and(named));
    let drive = word.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && word.get(1..3) == Some(":\\");
    let has_extension = || {
        let last = word.rsplit('/').next().unwrap_or_default();
        last.rsplit_once('.').is_some_and(|(name, extension)| !name.is_empty() && !extension.is_empty())
    };
    rooted || drive || word.contains("://") || word.starts_with("\\\\") || (word.contains('/') && has_extension())
}

/// `--force`, `-v`, `$HOME`, `@Override`.
fn is_flag_or_variable(word: &str) -> bool {
    let letter = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
    let short = word.strip_prefix('-').is_some_and(|flag| flag.len() == 1 && letter(flag));
    short
        || ["--", "$", "${", "@", "%"]
            .iter()
            .any(|sign| word.strip_prefix(sign).is_some_and(|name| letter(name) && name.len() > 1))
}

/// `E0308`, `KB5034441`, `ORA-12154`, `CVE-2024-3094`; but not `MP3`, `H2O` or `COVID-19`.
fn is_numbered_code(word: &str) -> bool {
    let (letters, rest) = word.split_at(word.bytes().take_while(u8::is_ascii_uppercase).count());
    let numbers = rest.strip_prefix('-').unwrap_or(rest);
    let longest = numbers.split('-').map(str::len).max().unwrap_or_default();
    let are_digits = numbers.split('-').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    !letters.is_empty() && are_digits && longest >= 3
}

/// A hyphen beside something that no ordinary word has: `x86-64`, `ssh-keygen`, `kubectl-apply`.
fn is_machine_kebab(word: &str) -> bool {
    let parts: Vec<&str> = word.split('-').collect();
    let plain = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    plain && parts.len() > 1 && parts.iter().any(|part| is_no_word(part))
}

/// Whether people could not say it: small letters without a vowel, or with a digit, or ending as tools do.
fn is_no_word(part: &str) -> bool {
    let small = part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let has_vowel = part.contains(['a', 'e', 'i', 'o', 'u', 'y']);
    let letters_and_digits = has_digit(part) && part.bytes().any(|byte| byte.is_ascii_lowercase());
    let is_ordinal = starts_with_digit(part);
    small && !is_ordinal && (letters_and_digits || (!has_vowel && part.len() > 2) || part.ends_with("ctl"))
}

/// `load-balancer`, when it is all that was asked.
fn is_bare_kebab(word: &str) -> bool {
    let parts: Vec<&str> = word.split('-').collect();
    let name =
        |part: &&str| part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    parts.len() > 1 && parts.iter().all(name) && !starts_with_digit(word)
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

fn starts_with_digit(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn machine_words_are_identifiers() {
        let table = [
            "ERR_CONN_RESET",
            "max_connections",
            "__init__",
            "snake_case?",
            "(MAX_K)",
            "what is `k`",
            "reset()",
            "call reset().",
            "std::mem::swap",
            "ptr->next",
            "userId",
            "getUserById",
            "getURL",
            "camelCase",
            "NullPointerException",
            "TypeError",
            "os.path.join",
            "config.yaml",
            "node.js",
            "10.0.0.1",
            "v2",
            "v1.2",
            "v1.2.3",
            "1.2.3",
            "1.2.3-rc1",
            "0x1f",
            "0xDEADBEEF",
            "428cf95",
            "a3f5c9d0e1b2",
            "550e8400-e29b-41d4-a716-446655440000",
            "/etc/hosts",
            "./run",
            "../up",
            "~/.bashrc",
            "src/main.rs",
            r"C:\temp",
            "https://example.org/a",
            "--force",
            "-v",
            "$HOME",
            "${HOME}",
            "@Override",
            "E0308",
            "KB5034441",
            "ORA-12154",
            "CVE-2024-3094",
            "HTTP404",
            "RFC2119",
            "RFC-2119",
            "kubectl-apply",
            "ssh-keygen",
            "x86-64",
            "load-balancer",
            "log4j-core",
            "sha256-sum",
            "how does kubectl-apply work",
            "why do I get ECONN_REFUSED?",
        ];
        for query in table {
            assert!(has_identifier(query), "{query}");
        }
    }

    #[test]
    fn prose_is_not() {
        let table = [
            "",
            " ",
            "-",
            "--",
            "_",
            "a",
            "how do I reset my password?",
            "is it well-known?",
            "a state-of-the-art model",
            "the follow-up e-mail",
            "and/or",
            "client/server",
            "24/7",
            "he/she said",
            "TCP/IP basics",
            "my iPhone",
            "GitHub and GitLab",
            "JavaScript",
            "PowerPoint",
            "macOS",
            "OpenAI",
            "eBay",
            "e.g. this",
            "i.e. that",
            "the U.S. market",
            "3.5 percent",
            "version 2",
            "in 2024",
            "1,000,000 rows",
            "an MP3",
            "H2O",
            "COVID-19",
            "the 1990s",
            "the 2nd try",
            "10km",
            "B2B sales",
            "a facade",
            "decade",
            "it works.But why",
            "a 50% share",
            "really?!",
            "yes... no",
            "a - b",
            "what's that",
            "a two-year-old",
            "x-ray",
            "to re-enter",
            "don't",
            "5-7 days",
            "the mid-90s",
            "my mother-in-law",
            "McDonald",
            "Größe",
            "日本語 の 質問",
            "what is COVID-19",
            "¿qué?",
            "snake_",
            "_",
        ];
        for query in table {
            assert!(!has_identifier(query), "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in ".{0,60}") {
            let _ = has_identifier(&query);
        }

        #[test]
        fn no_word_of_odd_signs_makes_it_panic(query in r"[a-zA-Z0-9_./:\\$@%(){}` “é-]{0,24}") {
            let _ = has_identifier(&query);
        }

        #[test]
        fn plain_small_words_never_are(words in prop::collection::vec("[a-z]{1,12}", 2..8)) {
            prop_assert!(!has_identifier(&words.join(" ")));
        }
    }
}
