//! Guards: rules that look at the query itself and pin its road before the model is asked.

mod identifier;
mod language;
mod quoted;

use regex::{Regex, RegexBuilder};

use super::step::Action;

pub(super) use language::Language;

/// The most guards of one policy.
pub(super) const MAX_GUARDS: usize = 64;

/// The most bytes that a compiled regular expression may take.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// A guard: its road is taken when all its conditions hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Guard {
    /// Its name, once in a policy.
    pub name: String,
    /// At least one.
    pub conditions: Vec<Condition>,
    /// What is done then.
    pub action: Action,
}

/// Something that a query has or has not.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// The expression matches somewhere.
    Pattern(Pattern),
    /// Two words or more stand between quotation marks, or the whole query does.
    Quoted,
    /// A word looks like a name that only a machine would write.
    Identifier,
    /// The query is surely in one of these languages.
    Language(Vec<Language>),
}

/// A regular expression that was compiled within the limits.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Pattern {
    /// Compiles an expression. It searches in time linear in the query's length, whatever it says.
    ///
    /// # Errors
    /// In one line, what is wrong with the expression.
    pub fn new(expression: &str) -> Result<Self, String> {
        let limited =
            RegexBuilder::new(expression).size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES).build();
        limited.map(Self).map_err(|error| in_one_line(&error))
    }
}

/// The last line of a syntax error says what is wrong; those before it draw the expression.
fn in_one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// How one guard went, without any text of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardCheck {
    /// The guard's name.
    pub name: String,
    /// Whether all its conditions held.
    pub matched: bool,
    /// The conditions that held, or the first that did not.
    pub because: String,
}

impl Guard {
    /// Looks at a query.
    pub fn check(&self, query: &str) -> GuardCheck {
        let failed = self.conditions.iter().find(|condition| !condition.holds(query));
        let because = match failed {
            Some(condition) => format!("without {}", condition.words()),
            None => self.conditions.iter().map(Condition::words).collect::<Vec<_>>().join(" and "),
        };
        GuardCheck { name: self.name.clone(), matched: failed.is_none(), because }
    }
}

impl Condition {
    fn holds(&self, query: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.0.is_match(query),
            Self::Quoted => quoted::has_phrase(query),
            Self::Identifier => identifier::has_identifier(query),
            Self::Language(languages) => language::detect(query).is_some_and(|found| languages.contains(&found)),
        }
    }

    /// What it looks for.
    pub fn words(&self) -> String {
        match self {
            Self::Pattern(pattern) => format!("a match of {}", pattern.0.as_str()),
            Self::Quoted => "a quoted phrase".to_owned(),
            Self::Identifier => "an identifier".to_owned(),
            Self::Language(languages) => {
                let codes: Vec<_> = languages.iter().map(|language| language.code()).collect();
                format!("the language {}", codes.join(" or "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(conditions: Vec<Condition>) -> Guard {
        Guard { name: "g".to_owned(), conditions, action: Action::Reply("x".to_owned()) }
    }

    #[test]
    fn all_conditions_must_hold_and_the_first_that_does_not_is_named() {
        let pattern = Condition::Pattern(Pattern::new("(?i)error").expect("right"));
        let guard = guard(vec![pattern, Condition::Identifier]);
        let check = |query: &str| {
            let GuardCheck { matched, because, .. } = guard.check(query);
            (matched, because)
        };
        assert_eq!(check("Error ERR_CONN_RESET"), (true, "a match of (?i)error and an identifier".to_owned()));
        assert_eq!(check("what is this error"), (false, "without an identifier".to_owned()));
        assert_eq!(check("ERR_CONN_RESET"), (false, "without a match of (?i)error".to_owned()));
    }

    #[test]
    fn bad_expressions_are_refused_in_one_line() {
        for expression in ["(", "[z-a]", "a{9999}{9999}", r"\p{Nothing}"] {
            let why = Pattern::new(expression).expect_err(expression);
            assert!(!why.is_empty() && !why.contains('\n'), "{expression}: {why}");
        }
    }
}
