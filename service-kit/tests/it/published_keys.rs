//! Tokens whose keys come from a URL: fetched once, fetched again when a key is unknown, and kept when the issuer fails.

use std::time::Duration;

use tonic::Status;
use trivium_service_kit::{AuthOptions, Error, Reason, ServerOptions, auth::JwtOptions};

use crate::{
    issuer::{AUDIENCE, Answer, ISSUER, Publisher, Signer},
    support::{Running, analyze, bearer_client, start},
};

/// Fetched no more often by itself than a test lasts.
const SELDOM_MS: u64 = 3_600_000;

/// As often as can be configured.
const OFTEN_MS: u64 = 1_000;

async fn serve(publisher: &Publisher, refresh_ms: u64) -> Running {
    let jwt = JwtOptions {
        jwks_url: publisher.url().to_owned(),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        refresh_ms,
        ..JwtOptions::default()
    };
    let auth = AuthOptions { jwt: Some(jwt), ..AuthOptions::default() };
    start(ServerOptions { auth: Some(auth), ..ServerOptions::default() }).await
}

async fn ask(server: &Running, token: &str) -> Result<(), Status> {
    bearer_client(server, token).analyze(analyze(0)).await.map(drop)
}

/// Asks until the call is let in; each call before that must be refused for its key.
async fn until_let_in(server: &Running, token: &str) {
    let mut client = bearer_client(server, token);
    for _ in 0..12_000 {
        match client.analyze(analyze(0)).await {
            Ok(_) => return,
            Err(status) => assert_eq!(Error::from(status).reason(), Reason::Unauthenticated),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the issuer's keys were not fetched");
}

/// Waits until the issuer was asked so many times.
async fn until_asked(publisher: &Publisher, times: usize) {
    for _ in 0..12_000 {
        if publisher.asked() >= times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the issuer was asked {} times, and not {times}", publisher.asked());
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_when_one_is_unknown() {
    let (first, second) = (Signer::new("first"), Signer::new("second"));
    let publisher = Publisher::start(Answer::Keys(vec![first.public()])).await;
    let server = serve(&publisher, SELDOM_MS).await;
    until_let_in(&server, &first.token("acme")).await;
    for _ in 0..100 {
        ask(&server, &first.token("acme")).await.expect("let in");
    }
    assert_eq!(publisher.asked(), 1, "keys that are there are not fetched");
    assert_eq!(server.tenants().last().map(String::as_str), Some("acme"));

    publisher.set(Answer::Keys(vec![second.public()]));
    // However many tokens have an unknown key, the issuer is asked once for all of them.
    until_let_in(&server, &second.token("acme")).await;
    assert_eq!(publisher.asked(), 2);
    let refused = ask(&server, &first.token("acme")).await.expect_err("its key was taken back");
    assert_eq!(Error::from(refused).reason(), Reason::Unauthenticated);
}

#[tokio::test]
async fn a_token_whose_key_is_known_and_whose_signature_is_wrong_asks_for_nothing() {
    let (honest, forger) = (Signer::new("key"), Signer::new("key"));
    let publisher = Publisher::start(Answer::Keys(vec![honest.public()])).await;
    let server = serve(&publisher, SELDOM_MS).await;
    until_let_in(&server, &honest.token("acme")).await;
    for _ in 0..100 {
        ask(&server, &forger.token("acme")).await.expect_err("forged");
    }
    assert_eq!(publisher.asked(), 1);
}

/// The issuer answers like this when its keys are fetched again; those of before must stay in use.
async fn keys_outlast(failure: impl FnOnce(Signer) -> Answer) {
    let (known, other) = (Signer::new("known"), Signer::new("other"));
    let publisher = Publisher::start(Answer::Keys(vec![known.public()])).await;
    let server = serve(&publisher, OFTEN_MS).await;
    until_let_in(&server, &known.token("acme")).await;
    let token = other.token("acme");
    publisher.set(failure(other));
    // One may have been on its way, and what the next brought was taken or refused when the one after it was made.
    until_asked(&publisher, publisher.asked() + 3).await;
    ask(&server, &known.token("acme")).await.expect("the key of before is in use");
    ask(&server, &token).await.expect_err("what came with a failure is not used");
}

#[tokio::test]
async fn keys_outlast_an_issuer_that_fails() {
    keys_outlast(|other| Answer::Broken(vec![other.public()])).await;
}

#[tokio::test]
async fn keys_outlast_an_issuer_that_sends_too_much() {
    keys_outlast(|other| Answer::Endless(vec![other.public()])).await;
}

#[tokio::test]
async fn keys_outlast_an_issuer_that_sends_something_else() {
    keys_outlast(|_| Answer::Rubbish).await;
}

#[tokio::test]
async fn keys_outlast_an_issuer_that_sends_none() {
    keys_outlast(|_| Answer::Keys(Vec::new())).await;
}

#[tokio::test]
async fn keys_outlast_an_issuer_that_is_away() {
    keys_outlast(|_| Answer::Silence).await;
}

#[tokio::test]
async fn keys_are_not_fetched_from_where_the_issuer_points_to() {
    let other = Signer::new("other");
    let elsewhere = Publisher::start(Answer::Keys(vec![other.public()])).await;
    let url = elsewhere.url().to_owned();
    keys_outlast(|_| Answer::Elsewhere(url)).await;
    assert_eq!(elsewhere.asked(), 0);
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_and_they_are_fetched_until_they_come() {
    let signer = Signer::new("late");
    let publisher = Publisher::start(Answer::Silence).await;
    let server = serve(&publisher, OFTEN_MS).await;
    until_asked(&publisher, 1).await;
    ask(&server, &signer.token("acme")).await.expect_err("there are no keys yet");
    publisher.set(Answer::Keys(vec![signer.public()]));
    until_let_in(&server, &signer.token("acme")).await;
}
