//! `trivium collections reembed`: the vectors of another encoder.

use anyhow::bail;
use trivium_proto::model::v1::ModelRef;

use super::background::{Step, wait};
use crate::{args::RetrieverEndpoint, clients::Retriever, output};

/// Arguments of `trivium collections reembed`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The collection
    name: String,
    /// The encoder [default: the one that serves]; the one that the collection has takes back what was begun
    #[arg(long, value_name = "NAME[/VERSION]", value_parser = encoder)]
    encoder: Option<ModelRef>,
    /// Come back as soon as it has begun; it goes on in the background
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

/// Begins, and waits until the new vectors have taken the place of those of before.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let collection = retriever.reembed(&args.name, args.encoder).await?;
    let Some(wanted) = collection.reembedding.as_ref().and_then(|begun| begun.embedder.clone()) else {
        let embedder = named(&collection.embedder.unwrap_or_default());
        return Ok(output::line(format!("{} has the vectors of {embedder}", args.name))?);
    };
    if args.no_wait {
        return Ok(output::line(format!("{} is being given the vectors of {}", args.name, named(&wanted)))?);
    }
    let collection = wait(&retriever, collection, ("the re-embedding", "embedding"), |collection| {
        let begun = collection.reembedding.take()?;
        let (documents_left, problem) = (Some(begun.documents_left), begun.problem);
        Some(Step { documents_left, problem, problem_detail: begun.problem_detail })
    })
    .await?;
    let embedder = collection.embedder.unwrap_or_default();
    if embedder != wanted {
        bail!("the re-embedding was taken back; {} has the vectors of {}", args.name, named(&embedder));
    }
    Ok(output::line(format!("{} has the vectors of {}", args.name, named(&wanted)))?)
}

fn named(model: &ModelRef) -> String {
    format!("{}/{}", model.name, model.version)
}

fn encoder(text: &str) -> Result<ModelRef, String> {
    let (name, version) = text.split_once('/').unwrap_or((text, ""));
    if name.is_empty() || version.contains('/') {
        return Err("must look like NAME or NAME/VERSION, for instance minilm/2".to_owned());
    }
    Ok(ModelRef { name: name.to_owned(), version: version.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_has_a_name_and_may_have_a_version() {
        let model = |name: &str, version: &str| ModelRef { name: name.into(), version: version.into() };
        assert_eq!(encoder("minilm"), Ok(model("minilm", "")));
        assert_eq!(encoder("minilm/2"), Ok(model("minilm", "2")));
        assert!(encoder("/2").is_err());
        assert!(encoder("minilm/2/3").is_err());
    }
}
