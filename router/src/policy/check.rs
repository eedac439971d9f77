//! From the form of a policy file to a policy, or to the first thing wrong in it.

use std::ops::Range;

use toml::Spanned;
use trivium_ranking::fusion::{Fusion, RankConstant};

use super::{
    DEFAULT_K, DEFAULT_THRESHOLD, Direct, FusionChoice, LegWeights, Legs, MAX_COLLECTIONS, MAX_K, Mapped, Policy,
    PolicyError, Position, Retrieval, Rule, Settings, Step, digest,
    file::{File, FusionTable, Head, MethodName, RoadName, Section},
};

/// The version of the format that this code reads.
const FORMAT: i64 = 1;

/// The longest name of a collection, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// Whether a collection can have this name: lower-case letters, digits, `-` and
/// `_`, beginning with a letter or digit, 1 to 63 characters.
pub fn is_collection_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= MAX_NAME_BYTES
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'_')
}

/// Reads and checks a policy.
pub(super) fn policy(text: &str, collections: &[String]) -> Result<Policy, PolicyError> {
    let checker = Checker { text };
    let head: Head = checker.read()?;
    if *head.version.get_ref() != FORMAT {
        let why = format!("the version is {}; this router reads version {FORMAT}", head.version.get_ref());
        return checker.refuse(head.version.span(), why);
    }
    let file: File = checker.read()?;
    let built_in = Settings {
        collections: collections.to_vec(),
        k: DEFAULT_K,
        fusion: FusionChoice::default(),
        generator: None,
        prompt: None,
    };
    let settings = checker.settings(&file.default, &built_in)?;
    let default = checker.default_rule(&file.default, &settings)?;
    let out_of_scope = match &file.out_of_scope {
        Some(section) => checker.rule(section.get_ref(), &section.span(), &settings)?,
        None => Rule { step: default.step.clone(), threshold: None },
    };
    let mut intents = std::collections::BTreeMap::new();
    for (name, section) in &file.intents {
        let rule = checker.rule(section, &name.span(), &settings)?;
        intents.insert(name.get_ref().clone(), Mapped { rule, at: checker.position(&name.span()) });
    }
    let threshold = default.threshold.unwrap_or(DEFAULT_THRESHOLD);
    Ok(Policy {
        version: digest(text),
        text: text.to_owned(),
        settings,
        threshold,
        default: default.step,
        out_of_scope,
        intents,
    })
}

/// The text at hand, for the places of errors.
struct Checker<'a> {
    text: &'a str,
}

impl Checker<'_> {
    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, PolicyError> {
        toml::from_str(self.text).map_err(|error| {
            let at = self.position(&error.span().unwrap_or_default());
            PolicyError { at, why: error.message().to_owned() }
        })
    }

    fn position(&self, span: &Range<usize>) -> Position {
        Position::of(self.text, span.start)
    }

    fn refuse<T>(&self, span: Range<usize>, why: impl Into<String>) -> Result<T, PolicyError> {
        Err(PolicyError { at: self.position(&span), why: why.into() })
    }

    /// The rule of `[default]`, which may leave the road out and may carry
    /// settings for the other rules that its own road has no use for.
    fn default_rule(&self, section: &Section, settings: &Settings) -> Result<Rule, PolicyError> {
        let road = section.route.as_ref().map(|road| *road.get_ref()).unwrap_or(RoadName::Hybrid);
        let span = section.route.as_ref().map(Spanned::span).unwrap_or_default();
        Ok(Rule { step: self.step(road, &span, section, settings.clone())?, threshold: self.threshold(section)? })
    }

    fn rule(&self, section: &Section, span: &Range<usize>, defaults: &Settings) -> Result<Rule, PolicyError> {
        let Some(road) = &section.route else {
            return self.refuse(span.clone(), "the rule has no `route`");
        };
        self.refuse_idle_keys(*road.get_ref(), section)?;
        let settings = self.settings(section, defaults)?;
        let step = self.step(*road.get_ref(), &road.span(), section, settings)?;
        Ok(Rule { step, threshold: self.threshold(section)? })
    }

    fn step(
        &self,
        road: RoadName,
        span: &Range<usize>,
        section: &Section,
        settings: Settings,
    ) -> Result<Step, PolicyError> {
        let reply = self.reply(section)?;
        let legs = match road {
            RoadName::Lexical => Legs::Lexical,
            RoadName::Semantic => Legs::Semantic,
            RoadName::Hybrid => Legs::Hybrid,
            RoadName::Direct => {
                return Ok(Step::Direct(Direct { generator: settings.generator, prompt: settings.prompt, reply }));
            }
            RoadName::Reply => {
                return match reply {
                    Some(text) => Ok(Step::Reply(text)),
                    None => self.refuse(span.clone(), "the reply road needs its text, `reply`"),
                };
            }
        };
        match &section.reply {
            None => Ok(Step::Retrieve(Retrieval { legs, settings })),
            Some(text) => {
                self.refuse(text.span(), format!("`reply` has no effect on the {} road; remove it", legs.road()))
            }
        }
    }

    /// A key that does nothing is a misunderstanding, and is better refused than ignored.
    fn refuse_idle_keys(&self, road: RoadName, section: &Section) -> Result<(), PolicyError> {
        let searches = matches!(road, RoadName::Lexical | RoadName::Semantic | RoadName::Hybrid);
        let generates = road != RoadName::Reply;
        let keys = [
            ("collections", section.collections.as_ref().map(Spanned::span), searches),
            ("k", section.k.as_ref().map(Spanned::span), searches),
            ("fusion", section.fusion.as_ref().map(Spanned::span), road == RoadName::Hybrid),
            ("generator", section.generator.as_ref().map(Spanned::span), generates),
            ("prompt", section.prompt.as_ref().map(Spanned::span), generates),
        ];
        for (key, span, used) in keys {
            if let (Some(span), false) = (span, used) {
                let road = format!("{road:?}").to_lowercase();
                return self.refuse(span, format!("`{key}` has no effect on the {road} road; remove it"));
            }
        }
        Ok(())
    }

    fn settings(&self, section: &Section, defaults: &Settings) -> Result<Settings, PolicyError> {
        let mut settings = defaults.clone();
        if let Some(names) = &section.collections {
            settings.collections = self.collections(names)?;
        }
        if let Some(k) = &section.k {
            settings.k = self.k(k)?;
        }
        if let Some(table) = &section.fusion {
            settings.fusion = self.fusion(table.get_ref())?;
        }
        if let Some(name) = &section.generator {
            settings.generator = Some(self.name("generator", name)?);
        }
        if let Some(name) = &section.prompt {
            settings.prompt = Some(self.name("prompt", name)?);
        }
        Ok(settings)
    }

    /// A name of the model host's, which alone knows what it stands for.
    fn name(&self, key: &str, name: &Spanned<String>) -> Result<String, PolicyError> {
        match name.get_ref() {
            blank if blank.trim().is_empty() => self.refuse(name.span(), format!("`{key}` is empty")),
            name => Ok(name.clone()),
        }
    }

    fn collections(&self, names: &Spanned<Vec<String>>) -> Result<Vec<String>, PolicyError> {
        let list = names.get_ref();
        if list.is_empty() || list.len() > MAX_COLLECTIONS {
            let why = format!("`collections` names {}; it must name 1 to {MAX_COLLECTIONS}", list.len());
            return self.refuse(names.span(), why);
        }
        for (index, name) in list.iter().enumerate() {
            if !is_collection_name(name) {
                let why = format!(
                    "{name:?} is no name of a collection: 1 to 63 lower-case letters, digits, \"-\" and \"_\", beginning with a letter or digit"
                );
                return self.refuse(names.span(), why);
            }
            if list[..index].contains(name) {
                return self.refuse(names.span(), format!("the collection {name:?} is named twice"));
            }
        }
        Ok(list.clone())
    }

    fn k(&self, k: &Spanned<i64>) -> Result<u32, PolicyError> {
        let value = *k.get_ref();
        match u32::try_from(value) {
            Ok(value @ 1..=MAX_K) => Ok(value),
            _ => self.refuse(k.span(), format!("`k` is {value}; it must be 1 to {MAX_K}")),
        }
    }

    fn threshold(&self, section: &Section) -> Result<Option<f64>, PolicyError> {
        match &section.threshold {
            Some(value) if !(0.0..=1.0).contains(value.get_ref()) => {
                self.refuse(value.span(), format!("`threshold` is {}; it must be 0 to 1", value.get_ref()))
            }
            threshold => Ok(threshold.as_ref().map(|value| *value.get_ref())),
        }
    }

    fn reply(&self, section: &Section) -> Result<Option<String>, PolicyError> {
        match &section.reply {
            Some(text) if text.get_ref().trim().is_empty() => self.refuse(text.span(), "`reply` is empty"),
            text => Ok(text.as_ref().map(|text| text.get_ref().clone())),
        }
    }

    fn fusion(&self, table: &FusionTable) -> Result<FusionChoice, PolicyError> {
        let method = match (table.method, &table.k, &table.normalisation) {
            (Some(MethodName::Rrf), None, None) => Some(Fusion::ReciprocalRank { k: RankConstant::default() }),
            (Some(MethodName::Rrf), Some(k), None) => Some(Fusion::ReciprocalRank { k: self.rank_constant(k)? }),
            (Some(MethodName::Convex), None, normalisation) => {
                let normalisation = normalisation.as_ref().map(|name| *name.get_ref()).unwrap_or_default();
                Some(Fusion::Convex { normalisation })
            }
            (None, None, None) => None,
            (_, Some(k), _) => return self.refuse(k.span(), "`k` belongs to method = \"rrf\""),
            (_, None, Some(name)) => {
                return self.refuse(name.span(), "`normalisation` belongs to method = \"convex\"");
            }
        };
        let weights = match &table.weights {
            None => None,
            Some(pair) => match LegWeights::new(pair.get_ref().lexical, pair.get_ref().semantic) {
                Ok(weights) => Some(weights),
                Err(error) => return self.refuse(pair.span(), error.to_string()),
            },
        };
        Ok(FusionChoice { method, weights })
    }

    /// On the wire a constant of 0 stands for the default, so it cannot be asked for.
    fn rank_constant(&self, k: &Spanned<f64>) -> Result<RankConstant, PolicyError> {
        match RankConstant::new(*k.get_ref()) {
            Ok(constant) if constant.get() > 0.0 => Ok(constant),
            _ => self.refuse(k.span(), format!("the rank constant `k` is {}; it must be above 0", k.get_ref())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        policy(text, &["docs".to_owned()])
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let table = [
            ("", (1, 1), "version"),
            ("version = 2\n[future]\n", (1, 11), "this router reads version 1"),
            ("version = \"one\"", (1, 11), "invalid type"),
            ("version = 1\nversoin = 1", (2, 1), "versoin"),
            ("version = 1\n[default]\nroute = \"lexcial\"", (3, 9), "lexcial"),
            ("version = 1\n[default]\nthreshold = 1.5", (3, 13), "it must be 0 to 1"),
            ("version = 1\n[default]\nthreshold = nan", (3, 13), "it must be 0 to 1"),
            ("version = 1\n[default]\nk = 0", (3, 5), "it must be 1 to 100"),
            ("version = 1\n[default]\nk = 1000000000", (3, 5), "it must be 1 to 100"),
            ("version = 1\n[default]\nk = -1", (3, 5), "it must be 1 to 100"),
            ("version = 1\n[default]\ncollections = []", (3, 15), "1 to 16"),
            ("version = 1\n[default]\ncollections = [\"Docs\"]", (3, 15), "no name of a collection"),
            ("version = 1\n[default]\ncollections = [\"a\", \"a\"]", (3, 15), "named twice"),
            ("version = 1\n[default]\ngenerator = \" \"", (3, 13), "empty"),
            ("version = 1\n[default]\nprompt = \"\"", (3, 10), "`prompt` is empty"),
            ("version = 1\n[intents.a]\nroute = \"reply\"\nreply = \"x\"\nprompt = \"p\"", (5, 10), "no effect"),
            ("version = 1\n[default]\nroute = \"reply\"", (3, 9), "needs its text"),
            ("version = 1\n[default]\nreply = \"hi\"", (3, 9), "no effect on the hybrid road"),
            ("version = 1\n[out_of_scope]\nk = 3", (2, 1), "no `route`"),
            ("version = 1\n[intents.a]\nk = 3", (2, 10), "no `route`"),
            ("version = 1\n[intents.a]\nroute = \"reply\"\nreply = \"\"", (4, 9), "empty"),
            (
                "version = 1\n[intents.a]\nroute = \"reply\"\nreply = \"x\"\nk = 3",
                (5, 5),
                "`k` has no effect on the reply road",
            ),
            ("version = 1\n[intents.a]\nroute = \"lexical\"\nfusion = { method = \"rrf\" }", (4, 10), "no effect"),
            ("version = 1\n[intents.a]\nroute = \"direct\"\ncollections = [\"x\"]", (4, 15), "no effect"),
            ("version = 1\n[default]\nfusion = { method = \"max\" }", (3, 21), "max"),
            ("version = 1\n[default]\nfusion = { method = \"rrf\", k = 0 }", (3, 32), "must be above 0"),
            (
                "version = 1\n[default]\nfusion = { method = \"convex\", k = 60 }",
                (3, 35),
                "belongs to method = \"rrf\"",
            ),
            ("version = 1\n[default]\nfusion = { method = \"rrf\", normalisation = \"max\" }", (3, 44), "belongs to"),
            ("version = 1\n[default]\nfusion = { weights = { lexical = -1, semantic = 1 } }", (3, 22), "at least 0"),
            ("version = 1\n[default]\nfusion = { weights = { lexical = 0, semantic = 0 } }", (3, 22), "above 0"),
            ("version = 1\n[default]\nfusion = { weights = { lexical = 1 } }", (3, 22), "semantic"),
            ("version = 1\n[intents.a", (2, 11), ""),
        ];
        for (text, (line, column), why) in table {
            let error = parse(text).expect_err(text);
            assert_eq!(error.at, Position { line, column }, "{text}\n{error}");
            assert!(error.why.contains(why), "{text}\n{error}");
        }
    }

    #[test]
    fn the_least_policy_is_hybrid_for_everything() {
        let policy = parse("version = 1").expect("right");
        assert_eq!(policy.default.road(), "hybrid");
        assert_eq!((policy.threshold, policy.settings.k), (DEFAULT_THRESHOLD, DEFAULT_K));
        assert_eq!(policy.settings.collections, ["docs"]);
    }

    #[test]
    fn fusion_is_read_whole() {
        let text =
            "version = 1\n[default]\nfusion = { method = \"rrf\", k = 10, weights = { lexical = 1, semantic = 3.0 } }";
        let fusion = parse(text).expect("right").settings.fusion;
        assert_eq!(fusion.method, Some(Fusion::ReciprocalRank { k: RankConstant::new(10.0).expect("above 0") }));
        assert_eq!(fusion.weights.map(|weights| (weights.lexical(), weights.semantic())), Some((1.0, 3.0)));
        let text = "version = 1\n[default]\nfusion = { method = \"convex\", normalisation = \"min_max\" }";
        let normalisation = trivium_ranking::fusion::Normalisation::MinMax;
        assert_eq!(parse(text).expect("right").settings.fusion.method, Some(Fusion::Convex { normalisation }));
    }

    #[test]
    fn names_of_collections() {
        let longest = "x".repeat(63);
        for name in ["docs", "a", "0-9_z", longest.as_str()] {
            assert!(is_collection_name(name), "{name}");
        }
        let too_long = "x".repeat(64);
        for name in ["", "-a", "_a", "A", "a b", "é", "a/b", "..", too_long.as_str()] {
            assert!(!is_collection_name(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_cut_of_a_policy_makes_it_panic(end in 0..super::super::BUILT_IN.len(), noise in "[ -~\n]{0,8}") {
            if let Some(cut) = super::super::BUILT_IN.get(..end) {
                let _ = parse(&format!("{cut}{noise}"));
            }
        }
    }
}
