//! What the running model host has.

use serde::Serialize;
use trivium_proto::model::v1::{Model, ModelKind, ModelRef};

use super::shadow::ShadowView;
use crate::{clients::ModelHost, output, render::table::table};

#[derive(Serialize)]
struct ModelView {
    name: String,
    version: String,
    kind: &'static str,
    serving: bool,
    loaded: bool,
    aliases: Vec<String>,
    dimension: u32,
    max_tokens: u32,
    labels: Vec<String>,
    out_of_scope_label: String,
    encoder: Option<String>,
    precision: String,
    memory_bytes: u64,
    texts: u64,
    errors: u64,
    waiting: u32,
    shadow: Option<ShadowView>,
    problem: String,
}

impl From<Model> for ModelView {
    fn from(model: Model) -> Self {
        let kind = kind(&model);
        let named = model.model.unwrap_or_default();
        Self {
            name: named.name,
            version: named.version,
            kind,
            serving: model.serving,
            loaded: model.loaded,
            aliases: model.aliases,
            dimension: model.dimension,
            max_tokens: model.max_tokens,
            labels: model.labels,
            out_of_scope_label: model.out_of_scope_label,
            encoder: model.encoder.map(|encoder| in_words(&encoder)),
            precision: model.precision,
            memory_bytes: model.memory_bytes,
            texts: model.texts,
            errors: model.errors,
            waiting: model.waiting,
            shadow: model.shadow.map(ShadowView::from),
            problem: model.problem,
        }
    }
}

fn kind(model: &Model) -> &'static str {
    match model.kind() {
        ModelKind::Unspecified => "",
        ModelKind::Encoder => "encoder",
        ModelKind::Intent => "intent",
        ModelKind::Generator => "generator",
        ModelKind::CrossEncoder => "cross_encoder",
        ModelKind::Projection => "projection",
    }
}

/// Name and version in one.
pub fn in_words(model: &ModelRef) -> String {
    format!("{}/{}", model.name, model.version)
}

/// Prints what the host has.
pub async fn run(host: &ModelHost, json: bool) -> anyhow::Result<()> {
    let models: Vec<ModelView> = host.models().await?.into_iter().map(ModelView::from).collect();
    if json {
        return output::json(&models);
    }
    let headings = ["model", "version", "kind", "is", "MiB", "texts", "errors", ""];
    Ok(output::line(table(headings, models.iter().map(row)))?)
}

fn row(model: &ModelView) -> [String; 8] {
    let loaded = |text: String| if model.loaded { text } else { String::new() };
    [
        model.name.clone(),
        model.version.clone(),
        model.kind.to_owned(),
        state(model),
        loaded((model.memory_bytes >> 20).to_string()),
        loaded(model.texts.to_string()),
        loaded(model.errors.to_string()),
        detail(model),
    ]
}

/// What a version is to the host at the moment, in one word or two.
fn state(model: &ModelView) -> String {
    let mut words = Vec::new();
    if model.serving {
        words.push("serving");
    } else if model.loaded {
        words.push("loaded");
    }
    words.extend(model.aliases.iter().map(String::as_str).filter(|alias| *alias != "production" || !model.serving));
    words.join(", ")
}

fn detail(model: &ModelView) -> String {
    if !model.problem.is_empty() {
        return format!("cannot be used: {}", model.problem);
    }
    match model.kind {
        "intent" => format!("{} intents: {}", model.labels.len(), some(&model.labels)),
        "encoder" => format!("{} dimensions, {} tokens", model.dimension, model.max_tokens),
        "cross_encoder" => format!("{} tokens", model.max_tokens),
        _ => String::new(),
    }
}

/// The first few labels: a model may have hundreds.
fn some(labels: &[String]) -> String {
    const SHOWN: usize = 8;
    let first = labels.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if labels.len() > SHOWN { format!("{first}, ...") } else { first }
}
