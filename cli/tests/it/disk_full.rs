//! A disk that takes no more: the write is refused and has no effect, and the service goes on.

use std::path::Path;
use std::process::Command;

use crate::process::{Running, trivium};
use tokio_stream::StreamExt;
use tonic::Status;
use trivium_proto::retriever::v1::retriever_service_client::RetrieverServiceClient;
use trivium_proto::retriever::v1::*;
use trivium_service_kit::{ClientOptions, Error, GrpcChannel, Reason, Service};

const COLLECTION: &str = "docs";
/// The largest file that the process may write, in blocks of 512 or of 1,024 bytes, as the shell counts.
const FILE_BLOCKS: u32 = 128;
/// Documents of a batch whose vectors alone are larger.
const TOO_MANY: usize = 128;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_finds_no_room_changes_nothing() {
    let host = Running::start(trivium(&["serve", "model-host", "--addr", "127.0.0.1:0"]));
    let folder = tempfile::tempdir().expect("a folder");
    let running = Running::start(limited(&retriever(&host, folder.path())));
    let mut client = connect(&running);
    let request = CreateCollectionRequest { name: COLLECTION.into(), ..Default::default() };
    client.create_collection(request).await.expect("made");
    assert_eq!(upsert(&mut client, "before", 3).await.expect("there is room").upserted, 3);

    for _ in 0..2 {
        let refused: Error = upsert(&mut client, "large", TOO_MANY).await.expect_err("there is no room").into();
        assert_eq!(refused.reason(), Reason::StorageFailed, "{refused:?}");
        assert_eq!(documents(&mut client).await, 3);
        assert_eq!(found(&mut client, "large").await, 0, "nothing of it is there");
    }
    assert_eq!(upsert(&mut client, "after", 2).await.expect("there is room").upserted, 2);
    assert_eq!((found(&mut client, "before").await, found(&mut client, "after").await), (3, 2));
    drop(client);
    assert_eq!(running.stop(), Some(0));

    let running = Running::start(retriever(&host, folder.path()));
    let mut client = connect(&running);
    assert_eq!(documents(&mut client).await, 5);
    assert_eq!(upsert(&mut client, "large", TOO_MANY).await.expect("there is room now").upserted, TOO_MANY as u32);
    assert_eq!(found(&mut client, "large").await, TOO_MANY);
}

fn retriever(host: &Running, data: &Path) -> Command {
    let mut command = trivium(&["serve", "retriever", "--addr", "127.0.0.1:0", "--data"]);
    command.arg(data);
    command.env("TRIVIUM_RETRIEVER__MODEL_HOST__ENDPOINT", format!("http://{}", host.addr("model-host")));
    command
}

/// The same command, with a limit on the size of its files. The signal that goes with the limit is ignored, so that a
/// write fails as it does on a full disk.
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {FILE_BLOCKS}; exec \"$0\" \"$@\""));
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

fn connect(running: &Running) -> RetrieverServiceClient<GrpcChannel> {
    let to = ClientOptions { endpoint: format!("http://{}", running.addr("retriever")), ..ClientOptions::default() };
    RetrieverServiceClient::new(GrpcChannel::connect(Service::Cli, Service::Retriever, &to).expect("an address"))
}

async fn upsert(
    client: &mut RetrieverServiceClient<GrpcChannel>,
    word: &str,
    count: usize,
) -> Result<UpsertDocumentsResponse, Status> {
    let document = |number| Document { id: format!("{word}-{number}"), text: word.into(), ..Document::default() };
    let documents = (0..count).map(document).collect();
    let batch = UpsertDocumentsRequest { collection: COLLECTION.into(), batch_id: word.into(), documents };
    let mut answers = client.upsert_documents(tokio_stream::once(batch)).await?.into_inner();
    answers.next().await.expect("an answer")
}

async fn documents(client: &mut RetrieverServiceClient<GrpcChannel>) -> u64 {
    let request = GetCollectionRequest { name: COLLECTION.into() };
    let described = client.get_collection(request).await.expect("there").into_inner();
    described.collection.expect("described").documents
}

/// Documents that the lexical leg finds by a word.
async fn found(client: &mut RetrieverServiceClient<GrpcChannel>, word: &str) -> usize {
    let request = SearchRequest {
        collection: COLLECTION.into(),
        query: word.into(),
        legs: vec![Leg::Lexical.into()],
        k: Some(1_000),
        ..SearchRequest::default()
    };
    client.search(request).await.expect("searched").into_inner().hits.len()
}
