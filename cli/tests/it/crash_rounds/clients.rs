//! The clients that write while the retriever dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::COLLECTION;
use super::ledger::{Ledger, State};
use super::plan::{Kill, Random};
use crate::process::Running;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::Status;
use trivium_proto::retriever::v1::retriever_service_client::RetrieverServiceClient;
use trivium_proto::retriever::v1::{CreateCollectionRequest, DeleteDocumentsRequest, Document, UpsertDocumentsRequest};
use trivium_service_kit::{ClientOptions, GrpcChannel, Service};

/// Clients that write at the same time.
const CLIENTS: u64 = 4;
/// Documents of each.
const DOCUMENTS: u64 = 24;
/// Writes after which a failpoint must have been reached.
const PATIENCE: u64 = 2_000;

/// A client of the retriever.
pub type Retriever = RetrieverServiceClient<GrpcChannel>;

/// Connects to the retriever at an address.
pub fn connect(at: &str) -> Retriever {
    let to = ClientOptions { endpoint: format!("http://{at}"), ..ClientOptions::default() };
    let channel = GrpcChannel::connect(Service::Cli, Service::Retriever, &to).expect("an address");
    RetrieverServiceClient::new(channel).max_decoding_message_size(to.max_message_bytes)
}

/// All clients, with what they know.
pub struct Clients {
    pub writers: Vec<Writer>,
}

impl Clients {
    pub fn new(random: &mut Random) -> Self {
        let writer =
            |number| Writer { number, random: Random::new(random.next()), revision: 0, ledger: Ledger::default() };
        Self { writers: (0..CLIENTS).map(writer).collect() }
    }

    /// The ids of all documents that there may be.
    pub fn ids(&self) -> Vec<String> {
        self.writers.iter().flat_map(|writer| (0..DOCUMENTS).map(|number| writer.id(number))).collect()
    }

    pub async fn create_collection(&self, at: &str) {
        let request = CreateCollectionRequest { name: COLLECTION.into(), ..Default::default() };
        connect(at).create_collection(request).await.expect("made");
    }

    /// Writes until the retriever is dead, and gives the number of acknowledged writes.
    pub async fn write_until_dead(&mut self, at: &str, mut running: Running, kill: &Kill) -> u64 {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for mut writer in self.writers.drain(..) {
            let (client, acknowledged) = (connect(at), acknowledged.clone());
            tasks.spawn(async move {
                let refused = loop {
                    if let Err(status) = writer.write(client.clone()).await {
                        break status;
                    }
                    let before = acknowledged.fetch_add(1, Ordering::Relaxed);
                    assert!(before < PATIENCE, "the retriever outlives its kill");
                };
                (writer, refused)
            });
        }
        match kill {
            Kill::Random { acknowledged: wanted, delay_us } => {
                while acknowledged.load(Ordering::Relaxed) < *wanted {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_micros(*delay_us)).await;
                running.kill();
            }
            Kill::Failpoint { .. } => {
                // The first answer that is none comes from the death; one that does not is a fault of the service.
                let ended = tasks.join_next().await.expect("there are clients");
                let (writer, refused) = ended.expect("no client panics");
                self.writers.push(writer);
                assert!(running.has_died(), "the retriever lives, and refused a write: {refused}");
            }
        }
        self.writers.extend(tasks.join_all().await.into_iter().map(|(writer, _)| writer));
        self.writers.sort_by_key(|writer| writer.number);
        acknowledged.load(Ordering::Relaxed)
    }
}

/// One client, which waits for each answer before it writes again.
pub struct Writer {
    number: u64,
    random: Random,
    revision: u64,
    pub ledger: Ledger,
}

impl Writer {
    fn id(&self, number: u64) -> String {
        format!("client{}-{number}", self.number)
    }

    /// Inserts, replaces, repeats or deletes some documents.
    async fn write(&mut self, client: Retriever) -> Result<(), Status> {
        let count = self.random.between(1, 4);
        let numbers: Vec<u64> = (0..count).map(|_| self.random.between(0, DOCUMENTS - 1)).collect();
        let ids: BTreeSet<String> = numbers.into_iter().map(|number| self.id(number)).collect();
        match self.random.between(0, 9) {
            0..=5 => self.upsert(client, ids).await,
            6..=8 => self.delete(client, ids).await,
            _ => self.repeat(client, ids).await,
        }
    }

    async fn upsert(&mut self, client: Retriever, ids: BTreeSet<String>) -> Result<(), Status> {
        self.revision += 1;
        let batch: BTreeMap<_, _> = ids.into_iter().map(|id| (id, State::Revision(self.revision))).collect();
        let documents = batch.keys().map(|id| document(id, self.revision)).collect();
        self.ledger.send(batch);
        upsert(client, documents).await?;
        self.ledger.acknowledge();
        Ok(())
    }

    async fn delete(&mut self, mut client: Retriever, ids: BTreeSet<String>) -> Result<(), Status> {
        let there = ids.iter().filter(|id| self.ledger.acknowledged(id) != State::Absent).count();
        self.ledger.send(ids.iter().map(|id| (id.clone(), State::Absent)).collect());
        let document_ids = ids.into_iter().collect();
        let request = DeleteDocumentsRequest { collection: COLLECTION.into(), document_ids };
        let deleted = client.delete_documents(request).await?.into_inner().deleted;
        assert_eq!(deleted as usize, there, "client {} knows what it had", self.number);
        self.ledger.acknowledge();
        Ok(())
    }

    /// Sends acknowledged documents once more, as a client does that has lost the answer.
    async fn repeat(&mut self, client: Retriever, ids: BTreeSet<String>) -> Result<(), Status> {
        let same = |id: &String| match self.ledger.acknowledged(id) {
            State::Revision(revision) => Some(document(id, revision)),
            State::Absent => None,
        };
        let documents: Vec<_> = ids.iter().filter_map(same).collect();
        if documents.is_empty() {
            return Ok(());
        }
        let (unchanged, count) = (upsert(client, documents.clone()).await?, documents.len());
        assert_eq!(unchanged as usize, count, "client {} repeated what is there", self.number);
        Ok(())
    }
}

/// Sends one batch, and gives the number of unchanged documents in it.
async fn upsert(mut client: Retriever, documents: Vec<Document>) -> Result<u32, Status> {
    let batch = UpsertDocumentsRequest { collection: COLLECTION.into(), batch_id: "b".into(), documents };
    let mut answers = client.upsert_documents(tokio_stream::once(batch)).await?.into_inner();
    let answer =
        answers.next().await.unwrap_or_else(|| Err(Status::unavailable("the stream ended without an answer")))?;
    Ok(answer.unchanged)
}

fn document(id: &str, revision: u64) -> Document {
    Document { id: id.into(), text: text(id, revision), ..Document::default() }
}

/// The text of a revision; one in sixteen takes several chunks.
pub fn text(id: &str, revision: u64) -> String {
    let line = format!("Archive record {id}, revision {revision}.");
    match revision % 16 {
        0 => format!("{line}\n\n{}", "The archive record is long, and goes on for another line.\n\n".repeat(30)),
        _ => line,
    }
}

/// The revision that a text names.
pub fn revision_of(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("revision ")?;
    rest.split_once('.')?.0.parse().ok()
}
