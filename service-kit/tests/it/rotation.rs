//! Certificates and authorities are replaced on both sides of every hop while calls run, and no call fails of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::RwLock, task::JoinSet};
use tokio_util::sync::CancellationToken;
use trivium_proto::model::v1::{GenerateRequest, model_service_client::ModelServiceClient};
use trivium_service_kit::{
    BreakerOptions, ClientOptions, ClientTlsOptions, Error, GrpcChannel, ServerOptions, ServerTlsOptions, Service,
};

use crate::{
    authority::{Authority, Files, Pair},
    log::Log,
    support::{HELD, Running, analyze, client_of, start, start_relay},
};

/// How often everything is replaced: certificates, keys, and the authority behind them.
const ROTATIONS: usize = 4;

/// Callers that keep their channel, which connects again whenever its connection has grown old.
const LASTING: usize = 24;

/// Callers that connect anew for each call.
const FRESH: usize = 8;

/// The longest that the test waits for anything, in steps of ten milliseconds.
const PATIENCE: usize = 12_000;

/// One side of a connection: its name, and its files.
struct Side {
    name: String,
    files: Files,
}

impl Side {
    fn new(name: String, authority: &Authority) -> Self {
        let files = Files::new(&authority.certify(&names(&name, 0)), authority.pem());
        Self { name, files }
    }
}

/// The names on a side's certificate of one generation.
fn names(name: &str, generation: usize) -> [&str; 2] {
    const GENERATIONS: [&str; ROTATIONS + 1] = ["first", "second", "third", "fourth", "fifth"];
    [name, GENERATIONS[generation]]
}

/// What somebody has who starts at this moment.
struct Given {
    own: Pair,
    trusted: String,
}

/// A caller's deeds. Each has a number of its own.
#[derive(Default)]
struct Ledger {
    answered: Mutex<[usize; LASTING + FRESH]>,
    failed: Mutex<Vec<String>>,
}

impl Ledger {
    fn note(&self, caller: usize, outcome: Result<(), tonic::Status>) {
        match outcome {
            Ok(()) => self.answered.lock().expect("no test panics with it")[caller] += 1,
            Err(status) => {
                let error = Error::from(status);
                self.failed.lock().expect("no test panics with it").push(format!("caller {caller}: {error:?}"));
            }
        }
    }

    fn answered(&self) -> [usize; LASTING + FRESH] {
        *self.answered.lock().expect("no test panics with it")
    }

    /// Waits until each caller has begun a call since this was asked, and ended it. What was begun before has ended then.
    async fn turn(&self) {
        let before = self.answered();
        until("every caller calls twice", || {
            let now = self.answered();
            let have_failed = !self.failed.lock().expect("no test panics with it").is_empty();
            have_failed || now.iter().zip(before).all(|(now, before)| *now >= before + 2)
        })
        .await;
    }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..PATIENCE {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to pass that {what}");
}

/// Options that hide nothing: each call is one attempt. Nobody gives up because the machine is slow.
fn client_options(port: u16, tls: ClientTlsOptions) -> ClientOptions {
    ClientOptions {
        endpoint: format!("https://127.0.0.1:{port}"),
        tls: Some(tls),
        retry_percent: 0,
        breaker: BreakerOptions { calls: 0, ..BreakerOptions::default() },
        default_timeout_ms: 3_600_000,
        connect_timeout_ms: 3_600_000,
        ..ClientOptions::default()
    }
}

/// Connections live for a second, so that handshakes never cease.
fn server_options(tls: ServerTlsOptions) -> ServerOptions {
    ServerOptions {
        tls: Some(tls),
        max_connection_age_ms: 1_000,
        default_deadline_ms: 3_600_000,
        ..ServerOptions::default()
    }
}

/// A service that passes calls on to another, each with certificates, and all who call it.
struct System {
    inner: Running,
    outer: Running,
    /// Everybody whose files are replaced: the two servers, the client between them, and the callers that last.
    sides: Vec<Side>,
    given: Arc<RwLock<Given>>,
    ledger: Arc<Ledger>,
    log: Log,
}

impl System {
    async fn start(authority: &Authority) -> Self {
        let log = Log::listen();
        let side = |name: &str| Side::new(name.to_owned(), authority);
        let (host, router, relay) = (side("model-host"), side("router"), side("relay"));
        let inner = start(server_options(host.files.server())).await;
        let to_inner = client_options(inner.handle.addr().port(), relay.files.client());
        let relaying = client_of(Service::Router, &to_inner);
        let outer = start_relay(server_options(router.files.server()), relaying).await;
        let lasting = (0..LASTING).map(|number| side(&format!("caller-{number}")));
        let given = Given { own: authority.certify(&names("newcomer", 0)), trusted: authority.pem().to_owned() };
        Self {
            inner,
            outer,
            sides: [host, router, relay].into_iter().chain(lasting).collect(),
            given: Arc::new(RwLock::new(given)),
            ledger: Arc::default(),
            log,
        }
    }

    /// A client of the outer service.
    fn client(&self, tls: ClientTlsOptions) -> ModelServiceClient<GrpcChannel> {
        client_of(Service::Router, &client_options(self.outer.handle.addr().port(), tls))
    }

    fn callers(&self) -> &[Side] {
        &self.sides[3..]
    }

    /// Starts all callers. They end with `stop`, each after its call.
    fn call_on(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut calling = JoinSet::new();
        for (number, side) in self.callers().iter().enumerate() {
            let client = self.client(side.files.client());
            calling.spawn(last(number, client, Arc::clone(&self.ledger), stop.clone()));
        }
        for number in LASTING..LASTING + FRESH {
            let (given, port) = (Arc::clone(&self.given), self.outer.handle.addr().port());
            calling.spawn(come_anew(number, port, given, Arc::clone(&self.ledger), stop.clone()));
        }
        calling
    }

    /// One step of a rotation on every side, which all of them have taken when it ends.
    async fn step(&self, change: impl Fn(&Files, &str), given: Given) {
        let taken = || self.log.with(&["files have changed and were read"]).len();
        let before = taken();
        self.sides.iter().for_each(|side| change(&side.files, &side.name));
        *self.given.write().await = given;
        until("every side has read its files", || taken() >= before + self.sides.len()).await;
        // Handshakes that began with what was before have ended as well.
        self.ledger.turn().await;
    }

    /// As one rotates without a gap: first everybody trusts both authorities, then the certificates change, and then the
    /// old authority goes.
    async fn rotate(&self, generation: usize, old: &Authority, new: &Authority) {
        let both = format!("{}{}", old.pem(), new.pem());
        let given = |authority: &Authority, generation, trusted: &str| Given {
            own: authority.certify(&names("newcomer", generation)),
            trusted: trusted.to_owned(),
        };
        self.step(|files, _| files.trust(&both), given(old, generation - 1, &both)).await;
        let certify = |files: &Files, name: &str| files.own(&new.certify(&names(name, generation)));
        self.step(certify, given(new, generation, &both)).await;
        self.step(|files, _| files.trust(new.pem()), given(new, generation, new.pem())).await;
    }

    /// Waits until every connection has been made anew with the certificates of that generation.
    async fn renewed(&self, generation: usize) {
        let seen = |server: &Running, name: &str| server.has_seen(&names(name, generation).map(str::to_owned));
        until("every channel has connected again", || {
            seen(&self.inner, "relay") && self.callers().iter().all(|side| seen(&self.outer, &side.name))
        })
        .await;
    }
}

/// A caller that keeps its channel: one call after another, and for every other caller one stream after another.
async fn last(
    number: usize,
    mut client: ModelServiceClient<GrpcChannel>,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
) {
    let mut reads = false;
    while !stop.is_cancelled() {
        reads = number.is_multiple_of(2) && !reads;
        let outcome = if reads { read(&mut client, "1").await } else { call(&mut client).await };
        ledger.note(number, outcome);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A caller whose every call is the first of a process that has just been given its certificate.
async fn come_anew(number: usize, port: u16, given: Arc<RwLock<Given>>, ledger: Arc<Ledger>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // What is given out does not change before the call has ended.
        let given = given.read().await;
        let files = Files::new(&given.own, &given.trusted);
        let mut client = client_of(Service::Cli, &client_options(port, files.client()));
        ledger.note(number, call(&mut client).await);
        drop(given);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn call(client: &mut ModelServiceClient<GrpcChannel>) -> Result<(), tonic::Status> {
    client.analyze(analyze(0)).await.map(drop)
}

/// Reads a stream to its end, and counts its pieces.
async fn read(client: &mut ModelServiceClient<GrpcChannel>, query: &str) -> Result<(), tonic::Status> {
    let request = GenerateRequest { query: query.to_owned(), ..GenerateRequest::default() };
    let mut stream = client.generate(request).await?.into_inner();
    let mut pieces = 0;
    while stream.message().await?.is_some() {
        pieces += 1;
    }
    assert_eq!(pieces, 3, "a stream has all of its pieces");
    Ok(())
}

#[tokio::test]
async fn no_call_fails_while_everything_is_replaced_again_and_again() {
    let mut authority = Authority::new();
    let system = System::start(&authority).await;
    let stop = CancellationToken::new();
    let mut calling = system.call_on(&stop);
    system.renewed(0).await;

    // A stream that begins before the first rotation, and ends after the last.
    let mut reader = system.client(system.callers()[0].files.client());
    let held = tokio::spawn(async move { read(&mut reader, HELD).await });
    for generation in 1..=ROTATIONS {
        let new = Authority::new();
        system.rotate(generation, &authority, &new).await;
        system.renewed(generation).await;
        authority = new;
    }
    assert!(!held.is_finished(), "the stream has run all the while");
    system.outer.release();
    held.await.expect("no panic").expect("the stream was not cut");
    stop.cancel();
    while let Some(ended) = calling.join_next().await {
        ended.expect("no panic");
    }

    let failed = system.ledger.failed.lock().expect("no test panics with it").clone();
    let answered: usize = system.ledger.answered().iter().sum();
    assert!(failed.is_empty(), "{} of {} calls failed: {failed:#?}", failed.len(), answered + failed.len());
    assert_eq!(system.log.with(&["refused at the handshake"]), Vec::<String>::new());
    println!("{answered} calls and no failure in {ROTATIONS} rotations");
}

#[tokio::test]
async fn whoever_is_refused_is_named_in_the_log_with_the_reason() {
    let log = Log::listen();
    let (authority, foreign) = (Authority::new(), Authority::new());
    let table = [
        (authority.certify_until(&["router"], 2021), "certificate expired"),
        // The two authorities bear the same name, so it is the signature that tells them apart.
        (foreign.certify(&["router"]), "BadSignature"),
        (authority.certify(&["retriever"]), "[retriever]"),
    ];
    for (shown, why) in table {
        // A server for each, because a server tells of one refusal a second.
        let server = Files::new(&authority.certify(&["model-host"]), authority.pem());
        let tls = ServerTlsOptions { allowed_peers: vec!["router".into()], ..server.server() };
        let running = start(ServerOptions { tls: Some(tls), ..ServerOptions::default() }).await;
        let files = Files::new(&shown, authority.pem());
        let options = client_options(running.handle.addr().port(), files.client());
        call(&mut client_of(Service::Router, &options)).await.expect_err("refused");
        let line = ["WARN a connection was refused at the handshake", "peer=127.0.0.1:", why];
        until("the log has it", || !log.with(&line).is_empty()).await;
    }
}
