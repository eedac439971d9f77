//! Whatever a message or its metadata holds, the services answer it, or refuse it with an error of the catalogue that is
//! no fault of theirs, and go on.
//!
//! Methods and messages are read off the contract, so that a new field is filled in by itself. The random numbers are the
//! same in each run.

mod forge;
mod raw;

use std::collections::BTreeMap;

use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use trivium_proto::{
    retriever::v1::{
        CreateCollectionRequest, Document, SearchRequest, UpsertDocumentsRequest,
        retriever_service_client::RetrieverServiceClient,
    },
    router::v1::{QueryOptions, QueryRequest, router_service_client::RouterServiceClient},
};
use trivium_service_kit::{Error, Reason};

use self::{
    forge::{Forge, Method},
    raw::Raw,
};
use crate::process::{Running, up_command};

/// Messages for each method.
const ROUNDS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_is_answered_or_refused_by_the_catalogue() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = up_command(&folder.path().join("data"));
    let system = tokio::task::spawn_blocking(|| Running::start(command)).await.expect("started");
    let services = Services::connect(&system).await;
    services.make_collection(forge::COLLECTION).await;

    let mut forge = Forge::new();
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for method in forge.methods() {
        for round in 0..ROUNDS {
            let messages = forge.messages(&method);
            let outcome = services.call(&method, messages, forge.metadata()).await;
            let outcome = judge(outcome).unwrap_or_else(|why| panic!("{}, round {round}: {why}", method.path));
            *outcomes.entry(outcome).or_default() += 1;
        }
    }
    println!("{outcomes:?}");
    for expected in ["answered", "MESSAGE_MALFORMED", "FIELD_INVALID", "FILTER_INVALID", "QUERY_EMPTY"] {
        assert!(outcomes.contains_key(expected), "nothing was {expected}: {outcomes:?}");
    }

    services.still_work().await;
    let (code, log) = tokio::task::spawn_blocking(|| system.stop_with_log()).await.expect("stopped");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// How a call ended, by the name of its reason.
///
/// # Errors
/// The end is none that a caller should ever see.
fn judge(outcome: Result<(), Status>) -> Result<&'static str, String> {
    let Err(status) = outcome else { return Ok("answered") };
    // The client's own end of a call that took longer than it wished.
    if status.code() == Code::Cancelled && status.message().contains("Timeout expired") {
        return Ok("DEADLINE_EXCEEDED");
    }
    if status.details().is_empty() {
        return Err(format!("an error without a reason: {status:?}"));
    }
    let error = Error::from(status);
    if error.reason() == Reason::Internal { Err(format!("{error:?}")) } else { Ok(error.reason().as_str()) }
}

/// Connections that send what they are given.
struct Services {
    router: Channel,
    retriever: Channel,
    model_host: Channel,
}

impl Services {
    async fn connect(system: &Running) -> Self {
        let connect = async |service: &str| {
            let url = format!("http://{}", system.addr(service));
            Channel::from_shared(url).expect("an address").connect().await.expect("it listens")
        };
        Self {
            router: connect("router").await,
            retriever: connect("retriever").await,
            model_host: connect("model-host").await,
        }
    }

    async fn call(
        &self,
        method: &Method,
        messages: Vec<Vec<u8>>,
        metadata: Vec<(&'static str, &'static str)>,
    ) -> Result<(), Status> {
        let channel = match method.path.split('.').nth(1) {
            Some("router") => &self.router,
            Some("retriever") => &self.retriever,
            _ => &self.model_host,
        };
        let mut client = Grpc::new(channel.clone());
        client.ready().await.expect("connected");
        let mut request = Request::new(tokio_stream::iter(messages));
        for (name, value) in metadata {
            request.metadata_mut().append(name, value.parse().expect("ASCII"));
        }
        let path = PathAndQuery::try_from(method.path.clone()).expect("a path");
        let mut answers = client.streaming(request, path, Raw).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    }

    async fn make_collection(&self, name: &str) {
        let mut retriever = RetrieverServiceClient::new(self.retriever.clone());
        let made = CreateCollectionRequest { name: name.into(), if_absent: true, ..Default::default() };
        retriever.create_collection(made).await.expect("made");
        let document = Document { id: "a".into(), text: "Signing keys are rotated.".into(), ..Document::default() };
        let batch = UpsertDocumentsRequest { collection: name.into(), documents: vec![document], ..Default::default() };
        let mut answers = retriever.upsert_documents(tokio_stream::once(batch)).await.expect("taken").into_inner();
        answers.message().await.expect("no error").expect("acknowledged");
    }

    async fn still_work(&self) {
        const NEW: &str = "afterwards";
        self.make_collection(NEW).await;
        let search = SearchRequest { collection: NEW.into(), query: "keys".into(), ..Default::default() };
        let found = RetrieverServiceClient::new(self.retriever.clone()).search(search).await.expect("hits");
        assert_eq!(found.into_inner().hits.len(), 1);
        let options = QueryOptions { collections: vec![NEW.into()], ..QueryOptions::default() };
        let query = "How are signing keys rotated?".to_owned();
        let query = QueryRequest { query, options: Some(options), ..QueryRequest::default() };
        RouterServiceClient::new(self.router.clone()).query(query).await.expect("an answer");
    }
}
