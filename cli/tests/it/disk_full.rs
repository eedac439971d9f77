//! A disk that takes no more: the write is refused and has no effect, and the service goes on.

use std::path::Path;
use std::process::Command;

use crate::process::{Running, run, trivium};
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
/// Size of the small disk, and of what fills it until room is made.
const DISK_BYTES: usize = 12 << 20;
const FILLER_BYTES: usize = 8 << 20;

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

/// The disk is a small one in memory, which only the process and this test see. Any file may be the one that finds no room: the
/// table's, the lexical index's, or that of a kept state.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_loses_nothing_that_was_acknowledged() {
    if run(on_small_disk(Path::new("/mnt"), &Command::new("true"))).code != Some(0) {
        eprintln!("this system lets nobody mount, so there is no small disk to fill");
        return;
    }
    let host = Running::start(trivium(&["serve", "model-host", "--addr", "127.0.0.1:0"]));
    let folder = tempfile::tempdir().expect("a folder");
    let running = Running::start(on_small_disk(folder.path(), &retriever(&host, &folder.path().join("data"))));
    let disk = Path::new("/proc")
        .join(running.pid().to_string())
        .join("root")
        .join(folder.path().strip_prefix("/").expect("an absolute path"));
    fs_err::write(disk.join("filler"), vec![1; FILLER_BYTES]).expect("there is room for the filler");
    let mut client = connect(&running);
    let request = CreateCollectionRequest { name: COLLECTION.into(), ..Default::default() };
    client.create_collection(request).await.expect("made");

    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for number in 0..400 {
        let word = format!("batch{number}");
        match upsert(&mut client, &word, 16).await {
            Ok(answer) => {
                assert_eq!(answer.upserted, 16);
                acknowledged.push(word);
            }
            Err(status) => {
                assert_eq!(Error::from(status).reason(), Reason::StorageFailed);
                refused += 1;
                if refused == 3 {
                    break;
                }
            }
        }
    }
    assert_eq!(refused, 3, "the disk was never full");
    holds(&mut client, &acknowledged).await;

    fs_err::remove_file(disk.join("filler")).expect("there is room again");
    assert_eq!(upsert(&mut client, "after", 16).await.expect("there is room").upserted, 16);
    acknowledged.push("after".to_owned());
    holds(&mut client, &acknowledged).await;

    // What is on the disk now is what a process that was killed would find.
    let copied = tempfile::tempdir().expect("a folder");
    let copy = Command::new("cp").arg("-a").arg(disk.join("data")).arg(copied.path()).status().expect("cp runs");
    assert!(copy.success());
    drop(client);
    running.kill();
    let running = Running::start(retriever(&host, &copied.path().join("data")));
    holds(&mut connect(&running), &acknowledged).await;
}

/// All batches of these words are there, 16 documents each, and nothing else; both legs agree on every row.
async fn holds(client: &mut RetrieverServiceClient<GrpcChannel>, words: &[String]) {
    assert_eq!(documents(client).await, 16 * words.len() as u64);
    for word in words {
        assert_eq!(found(client, word).await, 16, "{word}");
    }
    let check = client.check_collection(CheckCollectionRequest { name: COLLECTION.into() }).await.expect("checked");
    assert_eq!(check.into_inner().problems, [""; 0]);
}

/// The same command in a mount namespace of its own, where `folder` is a small disk in memory.
fn on_small_disk(folder: &Path, command: &Command) -> Command {
    let mut through = Command::new("unshare");
    through.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    through.arg(format!("mount -t tmpfs -o size={DISK_BYTES} small \"$0\" && exec \"$@\"")).arg(folder);
    passing(through, command)
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
    passing(limited, command)
}

/// A command that is handed another one, with its arguments and variables.
fn passing(mut through: Command, command: &Command) -> Command {
    through.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => through.env(name, value),
            None => through.env_remove(name),
        };
    }
    through
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
