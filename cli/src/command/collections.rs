//! `trivium collections`: what there is to search.

mod background;
mod calibrate;
mod check;
mod purge;
mod reembed;
mod rerank;
mod snapshots;
mod upgrade;

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use trivium_proto::retriever::v1::{CreateCollectionRequest, MetadataField, MetadataType};

use crate::{
    args::RetrieverEndpoint,
    clients::Retriever,
    output,
    render::table::table,
    view::{BlendView, CollectionView},
};

/// What to do with collections.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List all collections
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        endpoint: RetrieverEndpoint,
    },
    /// Make an empty collection
    Create {
        /// Its name: lower-case letters, digits, "-" and "_"
        name: String,
        /// A metadata field that becomes a column, for instance year:integer; may be given several times
        #[arg(long = "field", value_name = "NAME:TYPE", value_parser = field)]
        fields: Vec<MetadataField>,
        #[command(flatten)]
        endpoint: RetrieverEndpoint,
    },
    /// Compare every row of a collection with both of its indexes; exit code 1 when anything differs
    Check(check::Args),
    /// Fit how much each leg counts to labelled queries
    Calibrate(calibrate::Args),
    /// Choose the second stage of searches that do not say
    Rerank(rerank::Args),
    /// Add token vectors, which the second stage reads, to the documents of a collection from before
    Upgrade(upgrade::Args),
    /// Give a collection the vectors of another encoder, while it goes on serving
    Reembed(reembed::Args),
    /// List the states of a collection that searches can still answer from
    Snapshots(snapshots::List),
    /// Name a state, which keeps it until the tag is deleted
    Tag(snapshots::Tag),
    /// Delete a tag
    Untag(snapshots::Untag),
    /// Erase documents physically, from every state; earlier states and their tags are lost
    Purge(purge::Args),
    /// Remove a collection and its files
    Delete {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        endpoint: RetrieverEndpoint,
    },
}

/// Runs one of them.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { json, endpoint } => list(&Retriever::connect(&endpoint.url)?, json).await,
        Command::Create { name, fields, endpoint } => create(&Retriever::connect(&endpoint.url)?, name, fields).await,
        Command::Check(args) => check::run(args).await,
        Command::Calibrate(args) => calibrate::run(args).await,
        Command::Rerank(args) => rerank::run(args).await,
        Command::Upgrade(args) => upgrade::run(args).await,
        Command::Reembed(args) => reembed::run(args).await,
        Command::Snapshots(args) => snapshots::list(args).await,
        Command::Tag(args) => snapshots::tag(args).await,
        Command::Purge(args) => purge::run(args).await,
        Command::Untag(args) => snapshots::untag(args).await,
        Command::Delete { name, yes, endpoint } => delete(&Retriever::connect(&endpoint.url)?, &name, yes).await,
    }
}

async fn list(retriever: &Retriever, json: bool) -> anyhow::Result<()> {
    let collections: Vec<CollectionView> =
        retriever.collections().await?.into_iter().map(CollectionView::from).collect();
    if json {
        return output::json(&collections);
    }
    if collections.is_empty() {
        return Ok(output::line("There are no collections yet; `trivium ingest PATH` makes one.")?);
    }
    let rows = collections.into_iter().map(|collection| {
        [
            collection.name,
            collection.documents.to_string(),
            collection.chunks.to_string(),
            collection.version.to_string(),
            format!("{}/{}", collection.embedder.name, collection.embedder.version),
            blend(&collection.blend),
        ]
    });
    Ok(output::line(table(["collection", "documents", "chunks", "version", "embedder", "semantic weight"], rows))?)
}

fn blend(blend: &BlendView) -> String {
    format!("{:.2}{}", blend.semantic_weight, if blend.own { " (own)" } else { "" })
}

async fn create(retriever: &Retriever, name: String, metadata_fields: Vec<MetadataField>) -> anyhow::Result<()> {
    let request = CreateCollectionRequest { name, metadata_fields, ..CreateCollectionRequest::default() };
    let created = retriever.create(request).await?;
    Ok(output::line(format!("created {}", created.name))?)
}

async fn delete(retriever: &Retriever, name: &str, yes: bool) -> anyhow::Result<()> {
    let Some(found) = retriever.collection(name).await? else {
        bail!("there is no collection {name:?}; `trivium collections list` shows what there is");
    };
    if !yes && !confirmed(&format!("deleting {name} with {} documents", found.documents), name)? {
        bail!("nothing was deleted");
    }
    retriever.delete(name).await?;
    Ok(output::line(format!("deleted {name} with {} documents", found.documents))?)
}

/// Asks the person at the terminal to type `name`. Without one, nobody can say yes.
fn confirmed(what: &str, name: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("{what} needs --yes when no terminal can be asked");
    }
    eprint!("This is {what}, for good. Type {name} to confirm: ");
    io::stderr().flush()?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed)?;
    Ok(typed.trim() == name)
}

/// Types of metadata, as they are named on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypeArg {
    String,
    Integer,
    Float,
    Boolean,
    Timestamp,
    StringList,
}

impl From<TypeArg> for MetadataType {
    fn from(kind: TypeArg) -> Self {
        match kind {
            TypeArg::String => Self::String,
            TypeArg::Integer => Self::Integer,
            TypeArg::Float => Self::Float,
            TypeArg::Boolean => Self::Boolean,
            TypeArg::Timestamp => Self::Timestamp,
            TypeArg::StringList => Self::StringList,
        }
    }
}

fn field(text: &str) -> Result<MetadataField, String> {
    let (name, kind) = text.split_once(':').ok_or("must look like NAME:TYPE, for instance year:integer")?;
    let kind = TypeArg::from_str(kind, false).map_err(|_| {
        format!("{kind:?} is no type; there are string, integer, float, boolean, timestamp and string-list")
    })?;
    Ok(MetadataField { name: name.to_owned(), r#type: MetadataType::from(kind).into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_a_name_and_a_type() {
        let year = field("year:integer").expect("good");
        assert_eq!((year.name.as_str(), year.r#type()), ("year", MetadataType::Integer));
        assert_eq!(field("tags:string-list").map(|field| field.r#type()), Ok(MetadataType::StringList));
        assert!(field("year").is_err());
        assert!(field("year:number").is_err_and(|why| why.contains("string-list")));
    }
}
