//! A policy's rules in words, to be shown and compared.

use super::{
    FusionChoice, Policy, RerankChoice,
    ambiguous::{Ambiguous, Changes, Resolution},
    guard::Guard,
    step::{Action, Place, Settings},
};

/// One rule in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInWords {
    /// The section of the file, for instance `intents.lookup`.
    pub section: String,
    /// When it holds and what it does. Two rules that do the same read the same.
    pub does: String,
}

impl Policy {
    /// Every rule in words, in the order in which a decision looks at them: the guards, then what an intent can lead to.
    pub fn rules(&self) -> Vec<RuleInWords> {
        let guards = self.guards.iter().enumerate().map(|(place, guard)| RuleInWords {
            section: format!("guards.{}", guard.name),
            does: format!("{}. on {}: {}", place + 1, conditions(guard), action(&guard.action)),
        });
        let intents = self.intents.iter().map(|(name, mapped)| RuleInWords {
            section: format!("intents.{name}"),
            does: with_threshold(action(&mapped.rule.action), mapped.rule.threshold),
        });
        let section = |section: &str, does: String| RuleInWords { section: section.to_owned(), does };
        let out_of_scope = with_threshold(action(&self.out_of_scope.action), self.out_of_scope.threshold);
        let others = [
            section("default", with_threshold(action(&self.default), Some(self.threshold))),
            section("low_confidence", action(&self.low_confidence)),
            section("ambiguous", ambiguous(&self.ambiguous)),
            section("out_of_scope", out_of_scope),
        ];
        guards.chain(others).chain(intents).collect()
    }
}

fn conditions(guard: &Guard) -> String {
    guard.conditions.iter().map(|condition| condition.words()).collect::<Vec<_>>().join(" and ")
}

fn with_threshold(does: String, threshold: Option<f64>) -> String {
    threshold.map_or_else(|| does.clone(), |threshold| format!("{does}, from {threshold:.2} on"))
}

fn action(action: &Action) -> String {
    match action {
        Action::Retrieve(legs, settings) => format!("{} {}", legs.road(), retrieval(settings)),
        Action::Direct(direct) => {
            let reply = direct.reply.as_ref().map(|text| format!("or says {text:?}"));
            let parts = [Some("direct".to_owned()), writer(&direct.generator, &direct.prompt), reply];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        Action::Reply(text) => format!("reply {text:?}"),
    }
}

fn retrieval(settings: &Settings) -> String {
    let parts = [
        Some(format!("in {}", places(&settings.collections))),
        Some(format!("{} passages", settings.k)),
        fusion(&settings.fusion),
        settings.rerank.words(),
        writer(&settings.generator, &settings.prompt),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn places(places: &[Place]) -> String {
    let place = |place: &Place| match &place.filter {
        Some(filter) => format!("{} where {filter}", place.collection),
        None => place.collection.clone(),
    };
    places.iter().map(place).collect::<Vec<_>>().join(" + ")
}

fn fusion(choice: &FusionChoice) -> Option<String> {
    let method = choice.method.map(|method| format!("fused by {method:?}"));
    let weights = choice.weights.map(|weights| {
        format!("words {}, meaning {}, own blend {}", weights.lexical(), weights.semantic(), weights.own())
    });
    let parts: Vec<String> = [method, weights].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn writer(generator: &Option<String>, prompt: &Option<String>) -> Option<String> {
    let generator = generator.as_ref().map(|name| format!("answered by {name}"));
    let prompt = prompt.as_ref().map(|name| format!("with the prompt {name}"));
    let parts: Vec<String> = [generator, prompt].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn ambiguous(section: &Ambiguous) -> String {
    let does = match &section.action {
        Resolution::Take(taken) => action(taken),
        Resolution::Blend(changes) => blend(changes),
    };
    format!("closer than {}: {does}", section.margin)
}

fn blend(changes: &Changes) -> String {
    let parts = [
        Some("their roads together".to_owned()),
        changes.places.as_deref().map(|changed| format!("in {}", places(changed))),
        changes.k.map(|k| format!("{k} passages")),
        changes.fusion.as_ref().and_then(fusion),
        changes.rerank.as_ref().and_then(RerankChoice::words),
        writer(&changes.generator, &changes.prompt),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(String, String)> {
        let policy = Policy::parse(text, &["docs".to_owned()]).expect("a policy that is right");
        policy.rules().into_iter().map(|rule| (rule.section, rule.does)).collect()
    }

    #[test]
    fn every_rule_is_there_in_words() {
        let text = r#"
            version = 1
            [default]
            threshold = 0.6
            [ambiguous]
            margin = 0.05
            k = 12
            [out_of_scope]
            route = "reply"
            reply = "no"
            [[guards]]
            name = "codes"
            identifier = true
            quoted = true
            route = "lexical"
            collections = ["errors"]
            filter = 'lang = "en"'
            [intents.chat]
            route = "direct"
            generator = "local"
            reply = "hi"
            threshold = 0.9
        "#;
        let expected = [
            (
                "guards.codes",
                "1. on a quoted phrase and an identifier: lexical in errors where lang = \"en\", 8 passages",
            ),
            ("default", "hybrid in docs, 8 passages, from 0.60 on"),
            ("low_confidence", "hybrid in docs, 8 passages"),
            ("ambiguous", "closer than 0.05: their roads together, 12 passages"),
            ("out_of_scope", "reply \"no\""),
            ("intents.chat", "direct, answered by local, or says \"hi\", from 0.90 on"),
        ];
        let found = rules(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(section, does)| (section.as_str(), does.as_str())).collect();
        assert_eq!(found, expected);
    }
}
