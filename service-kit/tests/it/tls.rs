//! Certificates of both sides: who is let in, who is not and is told why, and what changes while calls run.

use std::time::Duration;

use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use trivium_proto::model::v1::{GenerateRequest, model_service_client::ModelServiceClient};
use trivium_service_kit::{
    BreakerOptions, ClientOptions, ClientTlsOptions, Error, GrpcChannel, ServerOptions, ServerTlsOptions, Service,
};

use crate::{
    authority::{Authority, Files, Pair},
    log::Log,
    support::{Running, analyze, client_of, start},
};

async fn serve(tls: ServerTlsOptions) -> Running {
    start(ServerOptions { tls: Some(tls), ..ServerOptions::default() }).await
}

fn client(server: &Running, tls: ClientTlsOptions) -> ModelServiceClient<GrpcChannel> {
    client_of(Service::Router, &options(server, tls))
}

/// Options without retries and breakers: each call is one attempt.
fn options(server: &Running, tls: ClientTlsOptions) -> ClientOptions {
    ClientOptions {
        endpoint: format!("https://127.0.0.1:{}", server.handle.addr().port()),
        tls: Some(tls),
        retry_percent: 0,
        breaker: BreakerOptions { calls: 0, ..BreakerOptions::default() },
        ..ClientOptions::default()
    }
}

/// What a refused call says.
async fn refusal(mut client: ModelServiceClient<GrpcChannel>) -> String {
    let status = client.analyze(analyze(0)).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    Error::from(status).message().to_owned()
}

#[tokio::test]
async fn both_sides_show_certificates_and_calls_go_through() {
    let authority = Authority::new();
    let server = Files::new(&authority.certify(&["spiffe://trivium/model-host"]), authority.pem());
    let router = Files::new(&authority.certify(&["router"]), authority.pem());
    let allowed = vec!["router".to_owned(), "retriever".to_owned()];
    let running = serve(ServerTlsOptions { allowed_peers: allowed, ..server.server() }).await;
    let peers = vec!["spiffe://trivium/model-host".to_owned()];
    let tls = ClientTlsOptions { allowed_peers: peers, ..router.client() };
    client(&running, tls).analyze(analyze(0)).await.expect("let in");
}

#[tokio::test]
async fn a_client_that_will_not_do_is_refused() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let server = Files::new(&authority.certify(&["model-host"]), authority.pem());
    let running = serve(ServerTlsOptions { allowed_peers: vec!["router".into()], ..server.server() }).await;
    let show = |pair| Files::new(&pair, authority.pem());

    let expired = show(authority.certify_until(&["router"], 2021));
    let said = refusal(client(&running, expired.client())).await;
    assert!(said.contains("CertificateExpired"), "{said}");

    let stranger = show(foreign.certify(&["router"]));
    let said = refusal(client(&running, stranger.client())).await;
    assert!(said.contains("UnknownCA") || said.contains("DecryptError") || said.contains("alert"), "{said}");

    let nameless = Files::new(&authority.certify(&["router"]), authority.pem());
    let nothing = ClientTlsOptions { certificate: None, key: None, ..nameless.client() };
    let said = refusal(client(&running, nothing)).await;
    assert!(said.contains("CertificateRequired"), "{said}");

    // Its certificate is good, but its name is not on the list: the server closes the connection.
    let other = show(authority.certify(&["retriever"]));
    refusal(client(&running, other.client())).await;

    let router = show(authority.certify(&["router"]));
    client(&running, router.client()).analyze(analyze(0)).await.expect("the others cost nobody anything");
}

#[tokio::test]
async fn a_server_that_will_not_do_is_refused() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let own = authority.certify(&["router"]);
    let trusting = |files: &Files| ClientTlsOptions { ca: files.path("ca.pem"), ..Default::default() };
    let router = Files::new(&own, authority.pem());
    let trusted = authority.pem();
    let any = async |pair: Pair| {
        let files = Files::new(&pair, trusted);
        (serve(ServerTlsOptions { client_ca: None, ..files.server() }).await, files)
    };

    let (expired, _files) = any(authority.certify_until(&["model-host"], 2021)).await;
    let said = refusal(client(&expired, trusting(&router))).await;
    assert!(said.contains("expired"), "{said}");

    let (stranger, _files) = any(foreign.certify(&["model-host"])).await;
    let said = refusal(client(&stranger, trusting(&router))).await;
    assert!(said.contains("UnknownIssuer") || said.contains("BadSignature"), "{said}");

    let (good, _files) = any(authority.certify(&["model-host"])).await;
    let named = ClientTlsOptions { server_name: "retriever".into(), ..trusting(&router) };
    let said = refusal(client(&good, named)).await;
    assert!(said.contains("not valid for name"), "{said}");

    let listed = ClientTlsOptions { allowed_peers: vec!["retriever".into()], ..trusting(&router) };
    let said = refusal(client(&good, listed)).await;
    assert!(said.contains("[model-host]") && said.contains("tls.allowed_peers"), "{said}");

    client(&good, trusting(&router)).analyze(analyze(0)).await.expect("the first thing that is right");
}

#[tokio::test]
async fn a_client_in_plain_is_refused_and_probes_in_plain_are_answered() {
    let log = Log::listen();
    let authority = Authority::new();
    let server = Files::new(&authority.certify(&["model-host"]), authority.pem());
    let any = "127.0.0.1:0".parse().ok();
    let options = ServerOptions { tls: Some(server.server()), health_addr: any, ..ServerOptions::default() };
    let running = start(options).await;
    let status = running.client().analyze(analyze(0)).await.expect_err("no TLS");
    assert_eq!(status.code(), Code::Unavailable);
    let told = || !log.with(&["refused at the handshake", "the server speaks TLS and the client does not"]).is_empty();
    until(async || told()).await;

    let probe = |port| {
        let channel = GrpcChannel::connect(Service::Cli, Service::ModelHost, &ClientOptions::to(port));
        HealthClient::new(channel.expect("an address"))
    };
    let health_port = running.handle.health_addr().expect("it was asked for").port();
    let answer = probe(health_port).check(HealthCheckRequest::default()).await.expect("answered").into_inner();
    assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
    let mut elsewhere = crate::support::client_to(health_port);
    let status = elsewhere.analyze(analyze(0)).await.expect_err("health and nothing else");
    assert_eq!(status.code(), Code::Unimplemented);
}

/// Calls until `done` of what a fresh connection says; the files are looked at every few milliseconds.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the new files were never used");
}

#[tokio::test]
async fn a_client_with_certificates_is_told_that_the_server_has_none() {
    let authority = Authority::new();
    let files = Files::new(&authority.certify(&["router"]), authority.pem());
    let running = start(ServerOptions::default()).await;
    let said = refusal(client(&running, files.client())).await;
    assert!(said.contains("the client speaks TLS and the server does not"), "{said}");
}

#[tokio::test]
async fn both_sides_change_authority_while_a_stream_runs() {
    let (old, new) = (Authority::new(), Authority::new());
    let both = format!("{}{}", old.pem(), new.pem());
    let server = Files::new(&old.certify(&["model-host"]), old.pem());
    let router = Files::new(&old.certify(&["router"]), old.pem());
    let running = serve(server.server()).await;
    let mut lasting = client(&running, router.client());
    // It says something at once, and then only when the test is long over.
    let slow = GenerateRequest { query: "200".into(), ..GenerateRequest::default() };
    let mut stream = lasting.generate(slow).await.expect("a stream").into_inner();

    // As one rotates without a gap: first everybody trusts both authorities, then the certificates change, and then
    // the old authority goes.
    for (authority, trusted) in [(&old, both.as_str()), (&new, both.as_str()), (&new, new.pem())] {
        server.replace(&authority.certify(&["model-host"]), trusted);
        router.replace(&authority.certify(&["router"]), trusted);
        // Calls on fresh connections of the same client options never fail on the way.
        client(&running, router.client()).analyze(analyze(0)).await.expect("each step trusts the one before");
        // The next step waits until the server does what this one asks for: it trusts whom the new authority vouches for,
        // and shows what this step's authority gave it.
        let probe = Files::new(&new.certify(&["router"]), authority.pem());
        until(async || client(&running, probe.client()).analyze(analyze(0)).await.is_ok()).await;
    }
    let newcomer = Files::new(&new.certify(&["router"]), new.pem());
    until(async || client(&running, newcomer.client()).analyze(analyze(0)).await.is_ok()).await;
    // Whoever comes with what the old authority gave out is not let in any more.
    let late = Files::new(&old.certify(&["router"]), &both);
    until(async || client(&running, late.client()).analyze(analyze(0)).await.is_err()).await;

    let mut messages = 0;
    while stream.message().await.expect("the stream was not cut").is_some() {
        messages += 1;
    }
    assert_eq!(messages, 3);
    lasting.analyze(analyze(0)).await.expect("its connection goes on");
}

#[tokio::test]
async fn files_that_do_not_fit_together_are_not_used() {
    let authority = Authority::new();
    let (first, second) = (authority.certify(&["one"]), authority.certify(&["two"]));
    let server = Files::new(&first, authority.pem());
    let running = serve(ServerTlsOptions { client_ca: None, ..server.server() }).await;
    let trusting = Files::new(&first, authority.pem());
    let named = |name: &str| ClientTlsOptions {
        ca: trusting.path("ca.pem"),
        server_name: name.to_owned(),
        ..ClientTlsOptions::default()
    };
    // The new certificate with the old key, and then with no key at all.
    std::fs::write(server.path("own.pem"), &second.certificate).expect("written");
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        client(&running, named("one")).analyze(analyze(0)).await.expect("the first still serves");
    }
    std::fs::write(server.path("key.pem"), "no key").expect("written");
    tokio::time::sleep(Duration::from_millis(50)).await;
    client(&running, named("one")).analyze(analyze(0)).await.expect("the first still serves");
    std::fs::write(server.path("key.pem"), &second.key).expect("written");
    until(async || client(&running, named("two")).analyze(analyze(0)).await.is_ok()).await;
}

#[tokio::test]
async fn files_that_will_not_do_are_named_and_keys_are_not_quoted() {
    let authority = Authority::new();
    let (own, other) = (authority.certify(&["one"]), authority.certify(&["two"]));
    let files = Files::new(&own, authority.pem());
    let secret = "-----BEGIN PRIVATE KEY-----\nMARKER-OF-A-SECRET\n-----END PRIVATE KEY-----\n";
    let write = |name: &str, text: &str| std::fs::write(files.path(name), text).expect("written");
    let table = [
        ("key.pem", secret, "server.tls.key"),
        ("key.pem", other.key.as_str(), "server.tls.certificate"),
        ("own.pem", "nothing", "server.tls.certificate"),
        ("ca.pem", "nothing", "server.tls.client_ca"),
    ];
    for (name, text, key) in table {
        files.replace(&own, authority.pem());
        write(name, text);
        let options = ServerOptions { tls: Some(files.server()), ..ServerOptions::default() };
        let error = trivium_service_kit::Server::bind(Service::Router, &options).await.expect_err(key);
        let said = format!("{error} {error:?}");
        assert!(said.contains(key), "{said}");
        assert!(!said.contains("MARKER"), "{said}");
    }
    let client = ClientOptions {
        endpoint: "https://127.0.0.1:1".into(),
        tls: Some(ClientTlsOptions { ca: files.path("absent.pem"), ..ClientTlsOptions::default() }),
        ..ClientOptions::default()
    };
    let error = GrpcChannel::connect(Service::Cli, Service::Router, &client).expect_err("absent");
    assert_eq!(error.key, "tls.ca");
}

#[tokio::test]
async fn an_old_connection_takes_no_new_calls_and_loses_none() {
    let running = start(ServerOptions { max_connection_age_ms: 1_000, ..ServerOptions::default() }).await;
    let mut client = running.client();
    let slow = GenerateRequest { query: "700".into(), ..GenerateRequest::default() };
    let mut stream = client.generate(slow).await.expect("a stream").into_inner();
    let mut messages = 0;
    while stream.message().await.expect("it outlives its connection's age").is_some() {
        client.analyze(analyze(0)).await.expect("on this connection or the next");
        messages += 1;
    }
    assert_eq!(messages, 3);
}
