//! A set in BEIR's layout, and the collection that holds its documents while it is measured.

use std::path::PathBuf;

use anyhow::Context;
use tokio::sync::mpsc;
use trivium_proto::retriever::v1::{Collection, CreateCollectionRequest};

use super::bar;
use crate::{
    clients::Retriever,
    eval::beir::{Query, Set},
    ingest::{files::discover, source, upload::upload},
};

/// Documents that are read ahead of the upload.
const READ_AHEAD: usize = 64;

/// Which set, and where its documents go.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// Folder with corpus.jsonl, queries.jsonl and qrels/
    #[arg(value_name = "BEIR_DIR")]
    pub folder: PathBuf,
    #[command(flatten)]
    pub options: SetOptions,
}

/// What is done with a set.
#[derive(Debug, Clone, clap::Args)]
pub struct SetOptions {
    /// Which queries: the name of a file in qrels/
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Keep the collection; a later run then reuses what is unchanged
    #[arg(long)]
    pub keep: bool,
    /// Collection to use, which is then kept [default: one named after the set and its content]
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
}

impl SetArgs {
    /// The judged queries of the split.
    ///
    /// # Errors
    /// The files cannot be read.
    pub async fn queries(&self) -> anyhow::Result<Vec<Query>> {
        let (set, split) = (Set::at(&self.folder), self.options.split.clone());
        Ok(tokio::task::spawn_blocking(move || set.queries(&split)).await??)
    }

    /// Fills a collection with the set's documents, does `work` with it, and removes it again unless it is to be kept.
    ///
    /// # Errors
    /// What goes wrong with any of these.
    pub async fn with_collection<T>(
        &self,
        retriever: &Retriever,
        work: impl AsyncFnOnce(&Collection) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let set = Set::at(&self.folder);
        let own_name = tokio::task::spawn_blocking(move || set.collection_name()).await??;
        let name = self.options.collection.clone().unwrap_or(own_name);
        let existed = retriever.collection(&name).await?.is_some();
        let measured = async {
            let collection = fill(retriever, &name, Set::at(&self.folder).corpus()).await?;
            work(&collection).await
        };
        let outcome = measured.await;
        if !(self.options.keep || existed || self.options.collection.is_some()) {
            // What was measured counts even if tidying up fails, so that comes second.
            let tidied = retriever.delete(&name).await;
            if outcome.is_ok() {
                tidied.context("the collection cannot be removed")?;
            }
        }
        outcome
    }
}

/// Brings the documents of the set into the collection; those that are there already cost little.
async fn fill(retriever: &Retriever, name: &str, corpus: PathBuf) -> anyhow::Result<Collection> {
    let files = tokio::task::spawn_blocking(move || discover(&[corpus])).await??.found;
    let request = CreateCollectionRequest { name: name.to_owned(), if_absent: true, ..Default::default() };
    retriever.create(request).await?;
    let bar = bar("ingesting", files.iter().map(|file| file.bytes).sum());
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reading = tokio::task::spawn_blocking(move || source::read_all(&files, &sender));
    let tally = upload(retriever, name, receiver, &|bytes| bar.inc(bytes)).await?;
    reading.await?;
    bar.finish_and_clear();
    if let Some(first) = tally.skipped.first() {
        eprintln!("{} documents of the set were skipped; {}: {}", tally.skipped.len(), first.path, first.reason);
    }
    retriever.collection(name).await?.context("the collection is gone")
}
