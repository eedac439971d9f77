//! What is done with a query: as a rule of the file says it, and as the plan of one query says it.

use super::{FusionChoice, LegWeights, MAX_COLLECTIONS, Overrides, RerankChoice};

/// What a rule of the file does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Passages are retrieved, and an answer is written from them.
    Retrieve(Legs, Settings),
    /// The generator answers without passages.
    Direct(Direct),
    /// A fixed text is the answer.
    Reply(String),
}

impl Action {
    /// The same for one query, with its caller's wishes.
    pub fn step(&self, wishes: &Overrides) -> Step {
        match self {
            Self::Retrieve(legs, settings) => Step::Retrieve(settings.retrieval(*legs, wishes)),
            Self::Direct(direct) => {
                let generator = wishes.generator.clone().or_else(|| direct.generator.clone());
                Step::Direct(Direct { generator, ..direct.clone() })
            }
            Self::Reply(text) => Step::Reply(text.clone()),
        }
    }

    /// The legs and settings of a road with retrieval.
    pub fn retrieves(&self) -> Option<(Legs, &Settings)> {
        match self {
            Self::Retrieve(legs, settings) => Some((*legs, settings)),
            Self::Direct(_) | Self::Reply(_) => None,
        }
    }
}

/// What a road with retrieval needs to know.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// The collections to search, at least one and at most [`MAX_COLLECTIONS`].
    pub collections: Vec<Place>,
    /// Passages to ask for, 1 to [`super::MAX_K`].
    pub k: u32,
    /// How the legs are fused.
    pub fusion: FusionChoice,
    /// The second stage.
    pub rerank: RerankChoice,
    /// The generator; `None` means the model host's own choice.
    pub generator: Option<String>,
    /// The prompt, by its name at the model host; `None` means the generator's own.
    pub prompt: Option<String>,
}

/// A collection, and the part of it that is searched.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// Its name.
    pub collection: String,
    /// A condition on its documents; `None` for all of them.
    pub filter: Option<String>,
}

impl Settings {
    /// These settings for one query, with its caller's wishes.
    pub fn retrieval(&self, legs: Legs, wishes: &Overrides) -> Retrieval {
        let k = wishes.k.unwrap_or(self.k);
        let fusion = wishes.fusion.unwrap_or(self.fusion);
        let search = |Place { collection, filter }| Search { collection, filter, legs, k, fusion, rerank: self.rerank };
        Retrieval {
            searches: self.places(wishes).into_iter().map(search).collect(),
            k,
            generator: wishes.generator.clone().or_else(|| self.generator.clone()),
            prompt: self.prompt.clone(),
        }
    }

    /// Where to search. The conditions of a rule belong to its own collections, whose fields they name; a collection
    /// that only the caller names is searched whole.
    fn places(&self, wishes: &Overrides) -> Vec<Place> {
        if wishes.collections.is_empty() {
            return self.collections.clone();
        }
        let of_rule = |name: &String| self.collections.iter().find(|place| place.collection == *name);
        let place = |name: &String| {
            let whole = || Place { collection: name.clone(), filter: None };
            of_rule(name).cloned().unwrap_or_else(whole)
        };
        wishes.collections.iter().map(place).collect()
    }

    /// Searches the collections of `other` as well. A collection of both is searched for what either asks of it.
    pub fn join(&mut self, other: &Self) {
        for place in &other.collections {
            let has_room = self.collections.len() < MAX_COLLECTIONS;
            match self.collections.iter_mut().find(|known| known.collection == place.collection) {
                Some(known) => known.widen(place.filter.as_deref()),
                None if has_room => self.collections.push(place.clone()),
                None => {}
            }
        }
        self.k = self.k.max(other.k);
    }
}

impl Place {
    fn widen(&mut self, other: Option<&str>) {
        self.filter = match (self.filter.take(), other) {
            (Some(mine), Some(other)) if mine != other => Some(format!("({mine}) OR ({other})")),
            (Some(mine), Some(_)) => Some(mine),
            _ => None,
        };
    }
}

/// What is done with one query.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Passages are retrieved, and an answer is written from them.
    Retrieve(Retrieval),
    /// The generator answers without passages.
    Direct(Direct),
    /// A fixed text is the answer.
    Reply(String),
}

impl Step {
    /// The name of the road in the policy file.
    pub fn road(&self) -> &'static str {
        match self {
            Self::Retrieve(retrieval) => retrieval.legs().road(),
            Self::Direct(_) => "direct",
            Self::Reply(_) => "reply",
        }
    }

    /// Whether the query's vector is needed.
    pub fn needs_vector(&self) -> bool {
        matches!(self, Self::Retrieve(retrieval) if retrieval.legs().has_semantic())
    }
}

/// A road with retrieval.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrieval {
    /// The searches, which run side by side; at least one, of a collection each.
    pub searches: Vec<Search>,
    /// Passages that are kept of all of them together, 1 to [`super::MAX_K`].
    pub k: u32,
    /// The generator; `None` means the model host's own choice.
    pub generator: Option<String>,
    /// The prompt, by its name at the model host; `None` means the generator's own.
    pub prompt: Option<String>,
}

impl Retrieval {
    /// The legs that run in some search.
    pub fn legs(&self) -> Legs {
        let mut legs = self.searches.iter().map(|search| search.legs);
        let first = legs.next().unwrap_or(Legs::Hybrid);
        if legs.all(|other| other == first) { first } else { Legs::Hybrid }
    }

    /// The names of the collections that are searched.
    pub fn collections(&self) -> Vec<String> {
        self.searches.iter().map(|search| search.collection.clone()).collect()
    }

    /// What the legs count, when both run and their weights were chosen.
    pub fn weights(&self) -> Option<LegWeights> {
        let hybrid = |search: &&Search| search.legs == Legs::Hybrid;
        self.searches.iter().find(hybrid).and_then(|search| search.fusion.weights)
    }

    /// Lets both legs run, with these weights; one leg alone where the other would count nothing. The collection's own
    /// blend is what a search without weights gets.
    pub(super) fn weigh(&mut self, weights: LegWeights) {
        let legs = weights.legs();
        for search in &mut self.searches {
            search.legs = legs;
            search.fusion.weights = Some(weights).filter(|weights| *weights != LegWeights::OWN);
        }
    }
}

/// The search of one collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The collection.
    pub collection: String,
    /// The legs that run.
    pub legs: Legs,
    /// Passages to ask for, 1 to [`super::MAX_K`].
    pub k: u32,
    /// How the legs are fused.
    pub fusion: FusionChoice,
    /// The second stage; the caller's goes before it.
    pub rerank: RerankChoice,
    /// The policy's condition on the documents; `None` for none. The caller's comes on top.
    pub filter: Option<String>,
}

impl Search {
    /// The condition that the policy and the caller ask for together; empty for none.
    pub fn filter_with(&self, of_caller: &str) -> String {
        match &self.filter {
            Some(own) if of_caller.is_empty() => own.clone(),
            Some(own) => format!("({own}) AND ({of_caller})"),
            None => of_caller.to_owned(),
        }
    }
}

/// The road straight to the generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Direct {
    /// The generator; `None` means the model host's own choice.
    pub generator: Option<String>,
    /// The prompt, by its name at the model host; `None` means the generator's own.
    pub prompt: Option<String>,
    /// What is answered where no generator is configured. Without it the answer is `NO_GENERATOR`.
    pub reply: Option<String>,
}

/// The legs of a retrieval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legs {
    /// By words.
    Lexical,
    /// By meaning.
    Semantic,
    /// Both at the same time, fused.
    Hybrid,
}

impl Legs {
    /// The name of the road in the policy file.
    pub fn road(self) -> &'static str {
        match self {
            Self::Lexical => "lexical",
            Self::Semantic => "semantic",
            Self::Hybrid => "hybrid",
        }
    }

    /// Whether the query's vector is needed.
    pub fn has_semantic(self) -> bool {
        self != Self::Lexical
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(collection: &str, filter: Option<&str>) -> Place {
        Place { collection: collection.to_owned(), filter: filter.map(str::to_owned) }
    }

    fn settings(places: &[Place], k: u32) -> Settings {
        Settings {
            collections: places.to_vec(),
            k,
            fusion: FusionChoice::default(),
            rerank: RerankChoice::default(),
            generator: None,
            prompt: None,
        }
    }

    #[test]
    fn joined_settings_search_what_either_asks_for() {
        let mut joined = settings(&[place("a", Some("x = 1")), place("b", Some("x = 1")), place("c", None)], 4);
        let other = [place("a", Some("y = 2")), place("b", None), place("c", Some("z = 3")), place("d", Some("w = 4"))];
        joined.join(&settings(&other, 9));
        let expected =
            [place("a", Some("(x = 1) OR (y = 2)")), place("b", None), place("c", None), place("d", Some("w = 4"))];
        assert_eq!((joined.collections, joined.k), (expected.to_vec(), 9));
    }

    #[test]
    fn joined_settings_keep_to_the_limit() {
        let many = |prefix: &str| -> Vec<Place> {
            (0..MAX_COLLECTIONS).map(|number| place(&format!("{prefix}{number}"), None)).collect()
        };
        let mut joined = settings(&many("a"), 4);
        joined.join(&settings(&many("b"), 4));
        assert_eq!(joined.collections, many("a"));
    }

    #[test]
    fn a_collection_that_the_caller_names_is_searched_whole_unless_the_rule_names_it_too() {
        let rule = settings(&[place("a", Some("x = 1")), place("b", None)], 4);
        let wishes = Overrides { collections: vec!["other".into(), "a".into()], ..Overrides::default() };
        let searched = rule.retrieval(Legs::Lexical, &wishes).searches;
        let found: Vec<_> =
            searched.iter().map(|search| (search.collection.as_str(), search.filter.as_deref())).collect();
        assert_eq!(found, [("other", None), ("a", Some("x = 1"))]);
    }

    #[test]
    fn both_filters_must_hold() {
        let search = |filter: Option<&str>| Search {
            collection: "a".into(),
            legs: Legs::Hybrid,
            k: 1,
            fusion: FusionChoice::default(),
            rerank: RerankChoice::default(),
            filter: filter.map(str::to_owned),
        };
        assert_eq!(search(None).filter_with(""), "");
        assert_eq!(search(None).filter_with("x = 1"), "x = 1");
        assert_eq!(search(Some("y = 2 OR z = 3")).filter_with(""), "y = 2 OR z = 3");
        assert_eq!(search(Some("y = 2 OR z = 3")).filter_with("x = 1"), "(y = 2 OR z = 3) AND (x = 1)");
    }
}
