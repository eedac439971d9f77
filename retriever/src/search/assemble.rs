//! From ranked row ids to hits.

use super::legs::read_error;
use super::{Hit, Ranked, SearchQuery};
use crate::collection::{Collection, Published};
use crate::vector::StoredChunk;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use trivium_ranking::fusion::Fused;
use trivium_service_kit::Error;

/// Fewest rows that are read at once.
const MIN_PAGE: usize = 16;

/// Reads the best rows until there are `k` hits. Grouping needs the rows to know their documents, and how many rows
/// make `k` documents is not known before, so rows are read page by page.
pub(super) async fn hits(
    collection: &Collection,
    published: &Arc<Published>,
    ranked: Ranked,
    query: &SearchQuery,
) -> Result<Vec<Hit>, Error> {
    let page = if query.group_by_document { (2 * query.k).max(MIN_PAGE) } else { query.k };
    let mut hits = Vec::with_capacity(query.k.min(ranked.rows.len()));
    let mut seen = HashSet::new();
    for rows in ranked.rows.chunks(page) {
        let row_ids: Vec<u64> = rows.iter().map(|row| row.key).collect();
        let chunks = published.passages(row_ids).await.map_err(|error| read_error(collection, &error))?;
        let mut chunks: HashMap<u64, StoredChunk> = chunks.into_iter().map(|chunk| (chunk.row_id, chunk)).collect();
        for row in rows {
            let Some(chunk) = chunks.remove(&row.key) else { continue };
            if query.group_by_document && !seen.insert(chunk.document.document_id.clone()) {
                continue;
            }
            hits.push(hit(chunk, row, &ranked));
            if hits.len() == query.k {
                return Ok(hits);
            }
        }
    }
    Ok(hits)
}

fn hit(chunk: StoredChunk, row: &Fused<u64>, ranked: &Ranked) -> Hit {
    let legs = ranked.legs.iter().zip(&row.parts).filter_map(|(leg, part)| Some((*leg, (*part)?))).collect();
    let rescored = ranked.rescored.get(&row.key).cloned();
    Hit {
        chunk,
        score: row.score,
        legs,
        highlights: Vec::new(),
        lexical_terms: Vec::new(),
        rescored,
        token_answers: Vec::new(),
    }
}
