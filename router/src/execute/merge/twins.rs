//! Passages that say the same, each kept once.
//!
//! Collections overlap: a handbook is in `docs` and in `support`, a paragraph is in two handbooks. A second copy brings
//! nothing to an answer and takes a place from a passage that would. The better placed one is kept, and names the
//! others, so that nothing that was found is lost.

use std::collections::HashMap;

use trivium_proto::{retriever::v1::Hit, router::v1::PassageTwin};

/// A hit, its collection, and the copies of it that were left out.
pub(super) struct Kept {
    pub collection: String,
    pub hit: Hit,
    pub also_in: Vec<PassageTwin>,
}

/// The hits, best first, without those that repeat a better one.
pub(super) fn collapse(ranked: Vec<(String, Hit)>) -> Vec<Kept> {
    let mut kept: Vec<Kept> = Vec::with_capacity(ranked.len());
    let mut by_text: HashMap<String, usize> = HashMap::new();
    let mut by_place: HashMap<Place, usize> = HashMap::new();
    for (collection, hit) in ranked {
        let (text, place) = (words(&hit), place(&hit));
        let of_text = text.as_ref().and_then(|text| by_text.get(text));
        let of_place = place.as_ref().and_then(|place| by_place.get(place));
        let index = match of_text.into_iter().chain(of_place).min().copied() {
            Some(better) => {
                kept[better].also_in.push(twin(collection, hit));
                better
            }
            None => {
                kept.push(Kept { collection, hit, also_in: Vec::new() });
                kept.len() - 1
            }
        };
        // What is like a copy is like the one that was kept.
        if let Some(text) = text {
            by_text.entry(text).or_insert(index);
        }
        if let Some(place) = place {
            by_place.entry(place).or_insert(index);
        }
    }
    kept
}

/// A place in a source: document, where the document lives, first and last code point.
type Place = (String, String, u32, u32);

/// Names of documents are their collection's own: `readme` may be another one elsewhere. Where both live at the same
/// address they are the same document.
fn place(hit: &Hit) -> Option<Place> {
    let place = || (hit.document_id.clone(), hit.uri.clone(), hit.char_start, hit.char_end);
    (!hit.uri.is_empty()).then(place)
}

/// The text, however it is spaced; `None` where there is none.
fn words(hit: &Hit) -> Option<String> {
    let text = hit.text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

fn twin(collection: String, hit: Hit) -> PassageTwin {
    PassageTwin { collection, document_id: hit.document_id, chunk_id: hit.chunk_id, uri: hit.uri }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hit(document: &str, uri: &str, span: (u32, u32), text: &str) -> Hit {
        Hit {
            document_id: document.to_owned(),
            chunk_id: format!("{document}#{}", span.0),
            uri: uri.to_owned(),
            char_start: span.0,
            char_end: span.1,
            text: text.to_owned(),
            ..Hit::default()
        }
    }

    fn collapsed(hits: &[(&str, Hit)]) -> Vec<(String, Vec<String>)> {
        let ranked = hits.iter().map(|(collection, hit)| ((*collection).to_owned(), hit.clone())).collect();
        let names = |kept: Kept| {
            let twins = kept.also_in.iter().map(|twin| format!("{}/{}", twin.collection, twin.chunk_id)).collect();
            (format!("{}/{}", kept.collection, kept.hit.chunk_id), twins)
        };
        collapse(ranked).into_iter().map(names).collect()
    }

    #[test]
    fn the_same_text_is_kept_once_however_it_is_spaced() {
        let found = collapsed(&[
            ("a", hit("x", "", (0, 9), "Reset it\nhere.")),
            ("b", hit("y", "", (5, 14), "Reset it  here.")),
            ("b", hit("z", "", (0, 9), "Another one.")),
        ]);
        assert_eq!(found, [("a/x#0".into(), vec!["b/y#5".into()]), ("b/z#0".into(), vec![])]);
    }

    #[test]
    fn the_same_place_of_the_same_source_is_kept_once() {
        let found = collapsed(&[
            ("new", hit("x", "file:///x", (0, 9), "Hold the key for 5 s.")),
            ("old", hit("x", "file:///x", (0, 9), "Hold the key for 3 s.")),
            ("old", hit("x", "file:///x", (9, 20), "Then let go.")),
        ]);
        assert_eq!(found, [("new/x#0".into(), vec!["old/x#0".into()]), ("old/x#9".into(), vec![])]);
    }

    #[test]
    fn documents_that_only_share_their_name_are_both_kept() {
        let found = collapsed(&[
            ("a", hit("1", "", (0, 9), "About cats.")),
            ("b", hit("1", "", (0, 9), "About dogs.")),
            ("b", hit("2", "", (0, 9), "")),
            ("b", hit("3", "", (0, 9), "")),
        ]);
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|(_, twins)| twins.is_empty()));
    }

    #[test]
    fn copies_of_copies_are_gathered_at_the_best() {
        let found = collapsed(&[
            ("a", hit("x", "file:///x", (0, 9), "One.")),
            ("b", hit("x", "file:///x", (0, 9), "Two.")),
            ("c", hit("y", "file:///y", (0, 9), "Two.")),
        ]);
        assert_eq!(found, [("a/x#0".into(), vec!["b/x#0".into(), "c/y#0".into()])]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_kept_twice(
            parts in prop::collection::vec((0_usize..3, 0_u32..4, 0_u32..3, 0_u32..5), 0..30),
        ) {
            let hits: Vec<(String, Hit)> = parts
                .iter()
                .map(|(collection, document, start, text)| {
                    let name = format!("d{document}");
                    (format!("c{collection}"), hit(&name, &name, (*start, start + 1), &format!("text {text}")))
                })
                .collect();
            let kept = collapse(hits.clone());
            let total: usize = kept.iter().map(|kept| 1 + kept.also_in.len()).sum();
            prop_assert_eq!(total, hits.len());
            let texts: std::collections::HashSet<_> = kept.iter().map(|kept| kept.hit.text.clone()).collect();
            prop_assert_eq!(texts.len(), kept.len());
            // What is kept stands in the order that it had.
            let mut rest = hits.iter();
            for kept in &kept {
                prop_assert!(rest.any(|(collection, hit)| *collection == kept.collection && *hit == kept.hit));
            }
        }
    }
}
