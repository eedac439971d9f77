//! What is said of hits beyond their scores: where they match, and why they score as they do.

use super::legs::read_error;
use super::{Hit, SearchQuery};
use crate::collection::{Collection, CollectionError, Published};
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;
use trivium_service_kit::Error;

/// Marks the words of the query in each hit, and explains the lexical scores where the query asks for that.
pub(super) async fn annotate(
    collection: &Collection,
    published: &Arc<Published>,
    hits: Vec<Hit>,
    query: &SearchQuery,
) -> Result<Vec<Hit>, Error> {
    if hits.is_empty() {
        return Ok(hits);
    }
    let (published, text, explain) = (published.clone(), query.text.clone(), query.explain);
    // Texts are taken apart word by word, which is nothing for an async thread.
    let work = tokio::task::spawn_blocking(move || mark(&published, hits, &text, explain));
    let marked = AbortOnDropHandle::new(work).await.map_err(CollectionError::from).and_then(|marked| marked);
    marked.map_err(|error| read_error(collection, &error))
}

fn mark(published: &Published, mut hits: Vec<Hit>, text: &str, explain: bool) -> Result<Vec<Hit>, CollectionError> {
    let highlights = published.lexical.highlights(text, hits.iter().map(text_and_language));
    hits.iter_mut().zip(highlights).for_each(|(hit, highlights)| hit.highlights = highlights);
    if explain {
        let row_ids: Vec<u64> = hits.iter().map(|hit| hit.chunk.row_id).collect();
        let parts = published.lexical.explain(text, &row_ids)?;
        hits.iter_mut().zip(parts).for_each(|(hit, parts)| hit.lexical_terms = parts);
    }
    Ok(hits)
}

fn text_and_language(hit: &Hit) -> (&str, &str) {
    (&hit.chunk.text, &hit.chunk.document.language)
}
