//! Who is let in, for whom, and how often.

use std::{path::PathBuf, time::Duration};

use tonic::Code;
use trivium_proto::model::v1::{GenerateRequest, LoadModelRequest, model_service_client::ModelServiceClient};
use trivium_service_kit::{
    AuthOptions, ClientOptions, ClientTlsOptions, Error, GrpcChannel, QuotaOptions, Reason, ServerOptions, Service,
    auth::new_key,
};

use crate::{
    authority::{Authority, Files},
    support::{Running, analyze, analyze_text, bearer_client, client_of, start},
};

/// A file of keys.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        let keys = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::write(keys.path(), "").expect("written");
        keys
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.toml")
    }

    /// Adds a key, and gives it.
    fn add(&self, tenant: &str, operator: bool) -> String {
        let new = new_key("a test's", tenant, operator).expect("made");
        let before = std::fs::read_to_string(self.path()).expect("read");
        std::fs::write(self.path(), format!("{before}{}\n", new.entry)).expect("written");
        new.key
    }

    fn options(&self) -> AuthOptions {
        AuthOptions { keys_file: Some(self.path()), reload_ms: 10, ..AuthOptions::default() }
    }
}

async fn serve(auth: AuthOptions) -> Running {
    start(ServerOptions { auth: Some(auth), ..ServerOptions::default() }).await
}

fn client(server: &Running, bearer: Option<&str>) -> ModelServiceClient<GrpcChannel> {
    match bearer {
        Some(bearer) => bearer_client(server, bearer),
        None => client_of(Service::Cli, &ClientOptions::to(server.handle.addr().port())),
    }
}

async fn refused(mut client: ModelServiceClient<GrpcChannel>) -> Error {
    Error::from(client.analyze(analyze(0)).await.expect_err("refused"))
}

#[tokio::test]
async fn a_key_lets_in_and_nothing_else_does() {
    let keys = Keys::new();
    let key = keys.add("acme", false);
    let server = serve(keys.options()).await;
    client(&server, Some(&key)).analyze(analyze(0)).await.expect("let in");
    for wrong in [None, Some(""), Some("MARKER-OF-A-SECRET"), Some("a.b.c"), Some(&key[1..])] {
        let error = refused(client(&server, wrong)).await;
        assert_eq!(error.reason(), Reason::Unauthenticated, "{wrong:?}");
        assert!(!format!("{error:?}").contains("MARKER"), "what was shown is not repeated: {error:?}");
    }
    // A name alone is nobody.
    let mut request = tonic::Request::new(analyze(0));
    request.metadata_mut().insert("trivium-tenant", "acme".parse().expect("ASCII"));
    let mut plain = plain_client(&server);
    assert_eq!(plain.analyze(request).await.expect_err("refused").code(), Code::Unauthenticated);
}

/// A client that is none of ours, and says what it likes.
fn plain_client(server: &Running) -> ModelServiceClient<tonic::transport::Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.handle.addr()));
    ModelServiceClient::new(endpoint.expect("an address").connect_lazy())
}

#[tokio::test]
async fn keys_come_and_go_while_the_server_runs() {
    let keys = Keys::new();
    let server = serve(keys.options()).await;
    let key = keys.add("acme", false);
    let mut caller = client(&server, Some(&key));
    let mut lets_in = async || caller.analyze(analyze(0)).await.is_ok();
    for (text, expected) in [(None, true), (Some(""), false)] {
        if let Some(text) = text {
            std::fs::write(keys.path(), text).expect("written");
        }
        let mut seen = false;
        for _ in 0..2_000 {
            seen = lets_in().await == expected;
            if seen {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(seen, "the file was not read again");
    }
}

#[tokio::test]
async fn what_concerns_all_tenants_is_for_operators() {
    let keys = Keys::new();
    let (member, operator) = (keys.add("acme", false), keys.add("ops", true));
    let server = serve(keys.options()).await;
    let load = async |key: &str| {
        let status = client(&server, Some(key)).load_model(LoadModelRequest::default()).await;
        status.expect_err("the test's service loads none").code()
    };
    assert_eq!(load(&member).await, Code::PermissionDenied);
    assert_eq!(load(&operator).await, Code::Unimplemented);
}

#[tokio::test]
async fn a_tenants_quota_is_its_own_and_says_when_to_come_back() {
    let keys = Keys::new();
    let (busy, quiet) = (keys.add("busy", false), keys.add("quiet", false));
    let quotas = [("busy".to_owned(), QuotaOptions { calls_in_flight: 1, ..QuotaOptions::default() })];
    let server = serve(AuthOptions { quotas: quotas.into(), ..keys.options() }).await;
    let mut caller = client(&server, Some(&busy));
    // A stream is in flight until its last word.
    let slow = GenerateRequest { query: "3600000".into(), ..GenerateRequest::default() };
    let running = caller.generate(slow).await.expect("the first");
    let error = refused(client(&server, Some(&busy))).await;
    assert_eq!(error.reason(), Reason::QuotaExceeded);
    assert_eq!(error.quota(), Some(("tenant:busy", "1 calls in flight")));
    assert!(error.retry_after().is_some_and(|delay| delay > Duration::ZERO), "{error:?}");
    client(&server, Some(&quiet)).analyze(analyze(0)).await.expect("another tenant is none the worse");
    drop(running);
    let mut again = client(&server, Some(&busy));
    for _ in 0..2_000 {
        if again.analyze(analyze(0)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("a stream that was given up is still in flight");
}

#[tokio::test]
async fn a_service_is_believed_by_its_certificate_alone() {
    let authority = Authority::new();
    let host = Files::new(&authority.certify(&["model-host"]), authority.pem());
    let auth = AuthOptions { trusted_peers: vec!["router".into()], ..AuthOptions::default() };
    let options = ServerOptions { tls: Some(host.server()), auth: Some(auth), ..ServerOptions::default() };
    let server = start(options).await;
    for (name, expected) in [("router", None), ("somebody", Some(Reason::Unauthenticated))] {
        let files = Files::new(&authority.certify(&[name]), authority.pem());
        let to = ClientOptions {
            endpoint: format!("https://{}", server.handle.addr()),
            tls: Some(ClientTlsOptions { server_name: "model-host".into(), ..files.client() }),
            ..ClientOptions::default()
        };
        let channel = GrpcChannel::connect(Service::Router, Service::ModelHost, &to).expect("an address");
        let outcome = ModelServiceClient::new(channel.clone()).analyze(analyze(0)).await;
        assert_eq!(outcome.err().map(|status| Error::from(status).reason()), expected, "{name}");
        // Even those that are believed do not operate.
        let status = ModelServiceClient::new(channel).load_model(LoadModelRequest::default()).await.expect_err("no");
        assert!(matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated), "{status}");
    }
}

/// A model service behind another, which says on whose behalf it was called.
#[tokio::test]
async fn the_tenant_travels_with_the_calls_that_are_made_for_it() {
    let keys = Keys::new();
    let key = keys.add("acme", false);
    let inner = serve(AuthOptions { trust_loopback: true, ..AuthOptions::default() }).await;
    let outer = crate::support::start_relay(
        ServerOptions { auth: Some(keys.options()), ..ServerOptions::default() },
        inner.client(),
    )
    .await;
    let mut caller = client(&outer, Some(&key));
    caller.analyze(analyze_text("0")).await.expect("passed on");
    assert_eq!(inner.tenants(), ["acme"]);
    let words = GenerateRequest { query: "0".into(), ..GenerateRequest::default() };
    let mut stream = caller.generate(words).await.expect("passed on").into_inner();
    while stream.message().await.expect("not cut").is_some() {}
    assert_eq!(inner.tenants(), ["acme", "acme"], "a stream's calls are made while it is read");
}
