//! The values of a rule.

use toml::Spanned;
use trivium_ranking::fusion::{Fusion, RankConstant};
use trivium_ranking::second_stage::SecondStageWeight;

use super::{Checker, is_collection_name};
use crate::policy::{
    FusionChoice, LegWeights, MAX_COLLECTIONS, MAX_FILTER_BYTES, MAX_K, PolicyError,
    ambiguous::Changes,
    enclosed::check_enclosed,
    file::{FusionTable, MethodName, RerankTable, Section},
    rerank::{MAX_RERANK_DEPTH, MIN_RERANK_DEPTH, RerankChoice},
    step::{Place, Settings},
};

impl Checker<'_> {
    pub(super) fn settings(&self, section: &Section, defaults: &Settings) -> Result<Settings, PolicyError> {
        let mut settings = defaults.clone();
        if let Some(places) = self.places(section, defaults)? {
            settings.collections = places;
        }
        if let Some(k) = &section.k {
            settings.k = self.k(k)?;
        }
        if let Some(table) = &section.fusion {
            settings.fusion = self.fusion(table.get_ref())?;
        }
        if let Some(table) = &section.rerank {
            settings.rerank = self.rerank(table.get_ref())?;
        }
        if let Some(name) = &section.generator {
            settings.generator = Some(self.name("generator", name)?);
        }
        if let Some(name) = &section.prompt {
            settings.prompt = Some(self.name("prompt", name)?);
        }
        Ok(settings)
    }

    /// What a section without a road changes; what it leaves out is `None`.
    pub(super) fn changes(&self, section: &Section, defaults: &Settings) -> Result<Changes, PolicyError> {
        let settings = self.settings(section, defaults)?;
        Ok(Changes {
            places: self.places(section, defaults)?,
            k: section.k.as_ref().map(|_| settings.k),
            fusion: section.fusion.as_ref().map(|_| settings.fusion),
            rerank: section.rerank.as_ref().map(|_| settings.rerank),
            generator: section.generator.as_ref().and(settings.generator),
            prompt: section.prompt.as_ref().and(settings.prompt),
        })
    }

    /// Where a section searches; `None` where it says nothing of that. Collections that it names are searched whole
    /// unless it has a filter as well: the defaults' filter may name fields that they lack.
    fn places(&self, section: &Section, defaults: &Settings) -> Result<Option<Vec<Place>>, PolicyError> {
        let filter = section.filter.as_ref().map(|filter| self.filter(filter)).transpose()?;
        let names = match (&section.collections, &filter) {
            (None, None) => return Ok(None),
            (None, Some(_)) => defaults.collections.iter().map(|place| place.collection.clone()).collect(),
            (Some(names), _) => self.collections(names)?,
        };
        Ok(Some(names.into_iter().map(|collection| Place { collection, filter: filter.clone() }).collect()))
    }

    /// A condition in the retriever's language, which alone knows the fields of a collection.
    fn filter(&self, filter: &Spanned<String>) -> Result<String, PolicyError> {
        match filter.get_ref() {
            blank if blank.trim().is_empty() => self.refuse(filter.span(), "`filter` is empty"),
            long if long.len() > MAX_FILTER_BYTES => {
                let why = format!("`filter` has {} bytes; the limit is {MAX_FILTER_BYTES}", long.len());
                self.refuse(filter.span(), why)
            }
            text => match check_enclosed(text) {
                Ok(()) => Ok(text.clone()),
                Err(error) => self.refuse(filter.span(), format!("`filter` is wrong: {error}")),
            },
        }
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

    pub(super) fn threshold(&self, section: &Section) -> Result<Option<f64>, PolicyError> {
        match &section.threshold {
            Some(value) if !(0.0..=1.0).contains(value.get_ref()) => {
                self.refuse(value.span(), format!("`threshold` is {}; it must be 0 to 1", value.get_ref()))
            }
            threshold => Ok(threshold.as_ref().map(|value| *value.get_ref())),
        }
    }

    pub(super) fn reply(&self, section: &Section) -> Result<Option<String>, PolicyError> {
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
            Some(pair) => match LegWeights::new(pair.get_ref().lexical, pair.get_ref().semantic, pair.get_ref().own) {
                Ok(weights) => Some(weights),
                Err(error) => return self.refuse(pair.span(), error.to_string()),
            },
        };
        Ok(FusionChoice { method, weights })
    }

    fn rerank(&self, table: &RerankTable) -> Result<RerankChoice, PolicyError> {
        let depth = match &table.depth {
            None => None,
            Some(depth) => match u32::try_from(*depth.get_ref()) {
                Ok(value @ MIN_RERANK_DEPTH..=MAX_RERANK_DEPTH) => Some(value),
                _ => {
                    let range = format!("{MIN_RERANK_DEPTH} to {MAX_RERANK_DEPTH}");
                    return self.refuse(depth.span(), format!("`depth` is {}; it must be {range}", depth.get_ref()));
                }
            },
        };
        let weight = match &table.weight {
            None => None,
            Some(weight) => match SecondStageWeight::new(*weight.get_ref()) {
                Ok(checked) => Some(checked),
                Err(error) => return self.refuse(weight.span(), error.to_string()),
            },
        };
        Ok(RerankChoice { method: table.method, depth, weight })
    }

    /// On the wire a constant of 0 stands for the default, so it cannot be asked for.
    fn rank_constant(&self, k: &Spanned<f64>) -> Result<RankConstant, PolicyError> {
        match RankConstant::new(*k.get_ref()) {
            Ok(constant) if constant.get() > 0.0 => Ok(constant),
            _ => self.refuse(k.span(), format!("the rank constant `k` is {}; it must be above 0", k.get_ref())),
        }
    }
}
