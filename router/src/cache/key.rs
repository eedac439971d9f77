//! Which queries are the same. Pure.

use prost::Message;
use sha2::{Digest, Sha256};
use trivium_proto::router::v1::{CacheMode, QueryOptions};
use trivium_service_kit::Tenant;

/// Everything that a caller and the policy say of a query, and whose it is, in 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// The key of a query to the letter.
    pub fn exact(tenant: &Tenant, text: &str, options: &QueryOptions, policy_version: &str) -> Self {
        Self::of(b'e', tenant, text, options, policy_version)
    }

    /// The key of every query that differs from this one in white space alone.
    pub fn normalised(tenant: &Tenant, text: &str, options: &QueryOptions, policy_version: &str) -> Self {
        Self::of(b'n', tenant, &normalised(text), options, policy_version)
    }

    fn of(kind: u8, tenant: &Tenant, text: &str, options: &QueryOptions, policy_version: &str) -> Self {
        let options = QueryOptions {
            // These say when an answer may be taken from the cache, and not which.
            cache: CacheMode::Unspecified.into(),
            min_versions: Default::default(),
            ..options.clone()
        };
        let mut digest = Sha256::new_with_prefix([kind]);
        for part in [tenant.name().as_bytes(), text.as_bytes(), policy_version.as_bytes(), &options.encode_to_vec()] {
            // With their lengths, so that no part can end where another begins.
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

/// A query without white space at its ends, and with one space where it has any. Encoders of
/// the BERT family and the lexical index read both texts as the same words.
fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_changes_an_answer_changes_the_key() {
        let none = QueryOptions::default;
        let options = [
            none(),
            QueryOptions { k: Some(3), ..none() },
            QueryOptions { filter: "lang = \"en\"".into(), ..none() },
            QueryOptions { collections: vec!["docs".into()], ..none() },
            QueryOptions { generator: "extractive".into(), ..none() },
        ];
        let mut keys = Vec::new();
        let tenants = ["acme", "other"].map(|name| Tenant::named(name).expect("a name"));
        for (tenant, options) in tenants
            .iter()
            .chain([&Tenant::default()])
            .flat_map(|tenant| options.iter().map(move |options| (tenant, options)))
        {
            for (text, version) in [("a b", "1"), ("a  b", "1"), ("A b", "1"), ("a b", "2")] {
                keys.push(Key::exact(tenant, text, options, version));
            }
        }
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "key {place} is there twice");
        }
    }

    #[test]
    fn when_it_may_be_cached_is_no_part_of_the_key() {
        let options = QueryOptions {
            cache: CacheMode::Bypass.into(),
            min_versions: [("docs".to_owned(), 3)].into(),
            ..QueryOptions::default()
        };
        assert_eq!(
            Key::exact(&Tenant::default(), "a", &options, "1"),
            Key::exact(&Tenant::default(), "a", &QueryOptions::default(), "1")
        );
    }

    proptest! {
        #[test]
        fn only_white_space_is_normalised_away(words in prop::collection::vec("[a-zA-Z.é]{1,6}", 1..6), gaps in prop::collection::vec("[ \t\n]{1,3}", 7)) {
            let spaced: String = words.iter().zip(&gaps).flat_map(|(word, gap)| [gap.as_str(), word.as_str()]).collect();
            let (options, plain) = (QueryOptions::default(), words.join(" "));
            prop_assert_eq!(Key::normalised(&Tenant::default(), &spaced, &options, "1"), Key::normalised(&Tenant::default(), &plain, &options, "1"));
            prop_assert_eq!(&normalised(&spaced), &plain);
            let longer = format!("{plain}x");
            prop_assert_ne!(Key::normalised(&Tenant::default(), &longer, &options, "1"), Key::normalised(&Tenant::default(), &plain, &options, "1"));
        }
    }
}
