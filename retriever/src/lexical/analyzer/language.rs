//! Which languages a text's words are stemmed in.

use tantivy::tokenizer::Language;

/// A language whose stop words and endings the analyzer knows. What is in no such language is analysed without both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lexical) struct Words(pub(super) Option<Language>);

/// The primary subtag of each language, with its stemmer. ISO 639 has three codes for Norwegian.
const LANGUAGES: [(&str, Language); 20] = [
    ("ar", Language::Arabic),
    ("da", Language::Danish),
    ("de", Language::German),
    ("el", Language::Greek),
    ("en", Language::English),
    ("es", Language::Spanish),
    ("fi", Language::Finnish),
    ("fr", Language::French),
    ("hu", Language::Hungarian),
    ("it", Language::Italian),
    ("nb", Language::Norwegian),
    ("nl", Language::Dutch),
    ("nn", Language::Norwegian),
    ("no", Language::Norwegian),
    ("pt", Language::Portuguese),
    ("ro", Language::Romanian),
    ("ru", Language::Russian),
    ("sv", Language::Swedish),
    ("ta", Language::Tamil),
    ("tr", Language::Turkish),
];

impl Words {
    /// Those of a BCP 47 tag, by its primary subtag: `de-AT` is German.
    pub(in crate::lexical) fn of_tag(tag: &str) -> Self {
        let primary = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
        Self(LANGUAGES.iter().find(|(subtag, _)| *subtag == primary).map(|(_, language)| *language))
    }

    /// A place in some fixed order.
    pub(in crate::lexical) fn order(self) -> Option<usize> {
        LANGUAGES.iter().position(|(_, language)| Some(*language) == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_subtag_decides() {
        for (tag, language) in [
            ("de", Some(Language::German)),
            ("DE-at", Some(Language::German)),
            ("nb-NO", Some(Language::Norwegian)),
            ("zh-Hant", None),
            ("deu", None),
            ("", None),
        ] {
            assert_eq!(Words::of_tag(tag), Words(language), "{tag}");
        }
    }
}
