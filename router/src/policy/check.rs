//! From the form of a policy file to a policy, or to the first thing wrong in it.

mod guards;
mod values;

use std::ops::Range;

use toml::Spanned;

use super::{
    Ambiguous, DEFAULT_K, DEFAULT_MARGIN, DEFAULT_THRESHOLD, Direct, FusionChoice, Legs, Mapped, Policy, PolicyError,
    Position, RerankChoice, Rule,
    ambiguous::{Changes, Resolution},
    digest,
    file::{self, AmbiguousHead, File, Head, RoadName, Section},
    step::{Action, Place, Settings},
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
    let whole = |name: &String| Place { collection: name.clone(), filter: None };
    let built_in = Settings {
        collections: collections.iter().map(whole).collect(),
        k: DEFAULT_K,
        fusion: FusionChoice::default(),
        rerank: RerankChoice::default(),
        generator: None,
        prompt: None,
    };
    let settings = checker.settings(&file.default, &built_in)?;
    let default = checker.default_rule(&file.default, &settings)?;
    let otherwise = |section: &Option<Spanned<Section>>| match section {
        Some(section) => checker.rule(section.get_ref(), &section.span(), &settings),
        None => Ok(Rule { action: default.action.clone(), threshold: None }),
    };
    let low_confidence = checker.without_threshold(&file.low_confidence, "low_confidence", otherwise)?;
    let out_of_scope = otherwise(&file.out_of_scope)?;
    let guards = checker.guards(file.guards, &settings)?;
    let ambiguous = checker.ambiguous(file.ambiguous, &settings)?;
    let mut intents = std::collections::BTreeMap::new();
    for (name, section) in &file.intents {
        let rule = checker.rule(section, &name.span(), &settings)?;
        intents.insert(name.get_ref().clone(), Mapped { rule, at: checker.position(&name.span()) });
    }
    let on_retriever_away = file.default.on_retriever_away.as_ref().map(|away| *away.get_ref()).unwrap_or_default();
    Ok(Policy {
        text: text.to_owned(),
        version: digest(text),
        settings,
        threshold: default.threshold.unwrap_or(DEFAULT_THRESHOLD),
        default: default.action,
        guards,
        ambiguous,
        low_confidence: low_confidence.action,
        out_of_scope,
        on_retriever_away,
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
        Ok(Rule { action: self.action(road, &span, section, settings.clone())?, threshold: self.threshold(section)? })
    }

    fn rule(&self, section: &Section, span: &Range<usize>, defaults: &Settings) -> Result<Rule, PolicyError> {
        let Some(road) = &section.route else {
            return self.refuse(span.clone(), "the rule has no `route`");
        };
        self.refuse_idle_keys(*road.get_ref(), section)?;
        if let Some(key) = &section.on_retriever_away {
            return self.refuse(key.span(), "`on_retriever_away` belongs in [default]: it holds for every road");
        }
        let settings = self.settings(section, defaults)?;
        let action = self.action(*road.get_ref(), &road.span(), section, settings)?;
        Ok(Rule { action, threshold: self.threshold(section)? })
    }

    /// A rule that comes after the threshold was looked at, and can have none of its own.
    fn without_threshold(
        &self,
        section: &Option<Spanned<Section>>,
        name: &str,
        rule: impl FnOnce(&Option<Spanned<Section>>) -> Result<Rule, PolicyError>,
    ) -> Result<Rule, PolicyError> {
        match section.as_ref().and_then(|section| section.get_ref().threshold.as_ref()) {
            Some(value) => self.refuse(value.span(), format!("`threshold` has no effect in [{name}]; remove it")),
            None => rule(section),
        }
    }

    fn ambiguous(&self, section: Option<file::Ambiguous>, defaults: &Settings) -> Result<Ambiguous, PolicyError> {
        let Some(section) = section else {
            return Ok(Ambiguous { margin: DEFAULT_MARGIN, action: Resolution::Blend(Changes::default()) });
        };
        let (AmbiguousHead { margin }, section) = section.split();
        let margin = match margin {
            Some(value) if !(0.0..=1.0).contains(value.get_ref()) => {
                return self.refuse(value.span(), format!("`margin` is {}; it must be 0 to 1", value.get_ref()));
            }
            Some(value) => value.into_inner(),
            None => DEFAULT_MARGIN,
        };
        let action = match (&section.route, &section.reply, &section.filter) {
            (Some(road), ..) => Resolution::Take(self.rule(&section, &road.span(), defaults)?.action),
            (None, Some(reply), _) => return self.refuse(reply.span(), "`reply` needs route = \"reply\" beside it"),
            (None, None, Some(filter)) if section.collections.is_none() => {
                return self.refuse(filter.span(), "`filter` needs `collections` beside it");
            }
            (None, None, _) => Resolution::Blend(self.changes(&section, defaults)?),
        };
        Ok(Ambiguous { margin, action })
    }

    fn action(
        &self,
        road: RoadName,
        span: &Range<usize>,
        section: &Section,
        settings: Settings,
    ) -> Result<Action, PolicyError> {
        let reply = self.reply(section)?;
        let legs = match road {
            RoadName::Lexical => Legs::Lexical,
            RoadName::Semantic => Legs::Semantic,
            RoadName::Hybrid => Legs::Hybrid,
            RoadName::Direct => {
                return Ok(Action::Direct(Direct { generator: settings.generator, prompt: settings.prompt, reply }));
            }
            RoadName::Reply => {
                return match reply {
                    Some(text) => Ok(Action::Reply(text)),
                    None => self.refuse(span.clone(), "the reply road needs its text, `reply`"),
                };
            }
        };
        match &section.reply {
            None => Ok(Action::Retrieve(legs, settings)),
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
            ("filter", section.filter.as_ref().map(Spanned::span), searches),
            ("fusion", section.fusion.as_ref().map(Spanned::span), road == RoadName::Hybrid),
            ("rerank", section.rerank.as_ref().map(Spanned::span), searches),
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use trivium_ranking::fusion::{Fusion, RankConstant};

    use super::*;
    use crate::policy::RerankMethod;

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
            ("version = 1\n[default]\nrerank = { method = \"colbert\" }", (3, 21), "late_interaction"),
            ("version = 1\n[default]\nrerank = { depth = 0 }", (3, 20), "2 to 200"),
            ("version = 1\n[default]\nrerank = { depth = 1000000 }", (3, 20), "2 to 200"),
            ("version = 1\n[default]\nrerank = { weight = 1.5 }", (3, 21), "0 to 1"),
            ("version = 1\n[intents.a]\nroute = \"direct\"\nrerank = { depth = 9 }", (4, 10), "no effect"),
            ("version = 1\n[default]\nfusion = { weights = { lexical = 0, semantic = 0 } }", (3, 22), "above 0"),
            ("version = 1\n[default]\nfusion = { weights = { lexical = 1 } }", (3, 22), "semantic"),
            ("version = 1\n[default]\nfilter = \" \"", (3, 10), "`filter` is empty"),
            ("version = 1\n[default]\nfilter = 'x = 1) OR (y = 2'", (3, 10), "at offset 5: \")\" closes nothing"),
            ("version = 1\n[intents.a]\nroute = \"direct\"\nfilter = \"x = 1\"", (4, 10), "no effect"),
            ("version = 1\n[low_confidence]\nroute = \"lexical\"\nthreshold = 0.5", (4, 13), "no effect"),
            ("version = 1\n[low_confidence]\nk = 3", (2, 1), "no `route`"),
            ("version = 1\n[ambiguous]\nmargin = 1.5", (3, 10), "it must be 0 to 1"),
            ("version = 1\n[ambiguous]\nmargin = nan", (3, 10), "it must be 0 to 1"),
            ("version = 1\n[ambiguous]\nreply = \"x\"", (3, 9), "needs route"),
            ("version = 1\n[ambiguous]\nfilter = \"x = 1\"", (3, 10), "needs `collections`"),
            ("version = 1\n[ambiguous]\nthreshold = 0.5", (3, 1), "threshold"),
            ("version = 1\n[ambiguous]\nroute = \"lexical\"\nreply = \"x\"", (4, 9), "no effect"),
            ("version = 1\n[default]\non_retriever_away = \"shrug\"", (3, 21), "shrug"),
            (
                "version = 1\n[intents.a]\nroute = \"lexical\"\non_retriever_away = \"direct\"",
                (4, 21),
                "belongs in [default]",
            ),
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
        assert!(matches!(policy.default, Action::Retrieve(Legs::Hybrid, _)));
        assert_eq!((policy.threshold, policy.settings.k), (DEFAULT_THRESHOLD, DEFAULT_K));
        assert_eq!(policy.collections(), ["docs"]);
    }

    #[test]
    fn a_second_stage_is_read_whole_and_a_rule_without_one_has_the_defaults() {
        let text = "version = 1\n[default]\nrerank = { method = \"cross_encoder\", depth = 9, weight = 0.5 }";
        let rerank = parse(text).expect("right").settings.rerank;
        assert_eq!((rerank.method, rerank.depth), (Some(RerankMethod::CrossEncoder), Some(9)));
        assert_eq!(rerank.weight.map(|weight| weight.get()), Some(0.5));
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
    fn a_rules_filter_belongs_to_its_collections() {
        let text = "version = 1\n[default]\nfilter = \"x = 1\"\n[intents.a]\nroute = \"lexical\"\n\
                    [intents.b]\nroute = \"lexical\"\ncollections = [\"b\"]\n\
                    [intents.c]\nroute = \"lexical\"\nfilter = \"y = 2\"\n";
        let policy = parse(text).expect("right");
        let place = |name: &str| {
            let settings = policy.intents[name].rule.action.retrieves().expect("it retrieves").1;
            (settings.collections[0].collection.clone(), settings.collections[0].filter.clone())
        };
        assert_eq!(place("a"), ("docs".into(), Some("x = 1".into())));
        assert_eq!(place("b"), ("b".into(), None));
        assert_eq!(place("c"), ("docs".into(), Some("y = 2".into())));
    }

    #[test]
    fn low_confidence_may_have_a_rule_of_its_own() {
        let text = "version = 1\n[low_confidence]\nroute = \"reply\"\nreply = \"say more\"\n";
        assert_eq!(parse(text).expect("right").low_confidence, Action::Reply("say more".into()));
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
