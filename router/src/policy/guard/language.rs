//! The language of a query, where it is sure.

use whatlang::Lang;

/// The two-letter codes of ISO 639-1 beside the three-letter codes of ISO 639-3 that the detector knows.
const CODES: [(&str, &str); 68] = [
    ("af", "afr"),
    ("ak", "aka"),
    ("am", "amh"),
    ("ar", "ara"),
    ("az", "aze"),
    ("be", "bel"),
    ("bg", "bul"),
    ("bn", "ben"),
    ("ca", "cat"),
    ("cs", "ces"),
    ("da", "dan"),
    ("de", "deu"),
    ("el", "ell"),
    ("en", "eng"),
    ("eo", "epo"),
    ("es", "spa"),
    ("et", "est"),
    ("fa", "pes"),
    ("fi", "fin"),
    ("fr", "fra"),
    ("gu", "guj"),
    ("he", "heb"),
    ("hi", "hin"),
    ("hr", "hrv"),
    ("hu", "hun"),
    ("hy", "hye"),
    ("id", "ind"),
    ("it", "ita"),
    ("ja", "jpn"),
    ("jv", "jav"),
    ("ka", "kat"),
    ("km", "khm"),
    ("kn", "kan"),
    ("ko", "kor"),
    ("la", "lat"),
    ("lt", "lit"),
    ("lv", "lav"),
    ("mk", "mkd"),
    ("ml", "mal"),
    ("mr", "mar"),
    ("my", "mya"),
    ("nb", "nob"),
    ("ne", "nep"),
    ("nl", "nld"),
    ("or", "ori"),
    ("pa", "pan"),
    ("pl", "pol"),
    ("pt", "por"),
    ("ro", "ron"),
    ("ru", "rus"),
    ("si", "sin"),
    ("sk", "slk"),
    ("sl", "slv"),
    ("sn", "sna"),
    ("sr", "srp"),
    ("sv", "swe"),
    ("ta", "tam"),
    ("te", "tel"),
    ("th", "tha"),
    ("tk", "tuk"),
    ("tl", "tgl"),
    ("tr", "tur"),
    ("uk", "ukr"),
    ("ur", "urd"),
    ("uz", "uzb"),
    ("vi", "vie"),
    ("zh", "cmn"),
    ("zu", "zul"),
];

/// A language that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Language(&'static str);

impl Language {
    /// The language of a two-letter code; `None` where the detector does not know it.
    pub fn of(code: &str) -> Option<Self> {
        CODES.iter().find(|(short, _)| *short == code).map(|(short, _)| Self(short))
    }

    /// Its two-letter code.
    pub fn code(self) -> &'static str {
        self.0
    }

    /// The codes of all of them.
    pub fn all() -> impl Iterator<Item = &'static str> {
        CODES.iter().map(|(short, _)| *short)
    }
}

/// The language of a query. `None` where it is not sure, as of most queries of a word or two.
pub(super) fn detect(query: &str) -> Option<Language> {
    let found = whatlang::detect(query).filter(whatlang::Info::is_reliable)?;
    of_detector(found.lang())
}

fn of_detector(language: Lang) -> Option<Language> {
    CODES.iter().find(|(_, long)| *long == language.code()).map(|(short, _)| Language(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_of_the_detector_has_a_code() {
        for language in Lang::all() {
            // Yiddish has a code of its own that nobody asks for beside Hebrew's.
            assert_eq!(of_detector(*language).is_some(), *language != Lang::Yid, "{language}");
        }
        for (short, long) in CODES {
            assert!(Lang::from_code(long).is_some(), "{short} {long}");
            assert_eq!(Language::of(short).map(Language::code), Some(short));
        }
        assert_eq!(Language::of("xx"), None);
    }

    #[test]
    fn sentences_are_told_and_single_words_are_not() {
        let table = [
            ("Wie kann ich mein vergessenes Kennwort für den Zugang zurücksetzen?", Some("de")),
            ("How can I reset the password that I have forgotten for my account?", Some("en")),
            ("Comment puis-je réinitialiser le mot de passe que j'ai oublié ?", Some("fr")),
            ("パスワードを忘れました。どうすればいいですか。", Some("ja")),
            ("Как мне восстановить забытый пароль от моей учётной записи?", Some("ru")),
            ("reset", None),
            ("", None),
            ("42", None),
        ];
        for (query, code) in table {
            assert_eq!(detect(query).map(Language::code), code, "{query}");
        }
    }
}
