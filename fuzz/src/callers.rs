//! What callers show beside their message: deadline, trace, request id, keys, tokens, and the key sets and files that
//! those are compared with.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::AUTHORIZATION};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;
use trivium_service_kit::{
    Deadline, Tenant,
    auth::{self, Holder, JwtOptions, KeySet, Keys},
    deadline::{format_grpc_timeout, parse_grpc_timeout},
    propagation, validate,
};

/// The moment of every token here, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

/// The first byte says what the others are.
pub fn check(data: &[u8]) {
    let [kind, bytes @ ..] = data else { return };
    match kind {
        b'h' => headers(bytes),
        b'k' => keys(bytes),
        b's' => key_set(bytes),
        b't' => signed_token(bytes),
        _ => {}
    }
}

/// Metadata, one name and value on each line.
fn headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    timeout(&headers);
    trace(&headers);
    if let Ok(shown) = auth::bearer(&headers) {
        assert_eq!(headers.get_all(AUTHORIZATION).iter().count(), 1);
        assert!(shown.is_ascii() && shown.trim() == shown);
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(tenant) = text("trivium-tenant").and_then(Tenant::named) {
        assert_eq!(Tenant::named(tenant.name()), Some(tenant));
    }
    if let Some(id) = text("x-request-id")
        && let Ok(kept) = validate::request_id(id)
    {
        assert!(!kept.is_empty() && kept.len() <= validate::MAX_REQUEST_ID_BYTES);
    }
    if let Some(path) = text("path") {
        // What a caller asks for is a URI for the server as well.
        let _ = path.parse::<Uri>();
    }
}

fn timeout(headers: &HeaderMap) {
    let given = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse_grpc_timeout);
    let Some(budget) = given else { return };
    // Deadlines lie at most a year ahead.
    let budget = budget.min(Duration::from_secs(365 * 24 * 3600));
    let again = parse_grpc_timeout(&format_grpc_timeout(budget)).expect("our own format");
    assert!(again <= budget && budget - again <= budget / 1_000 + Duration::from_micros(1));
    let deadline = Deadline::after(budget);
    assert!(deadline.for_downstream() <= deadline);
}

fn trace(headers: &HeaderMap) {
    let parent = propagation::extract(headers);
    let mut onwards = HeaderMap::new();
    propagation::inject(&parent, &mut onwards);
    assert!(onwards.keys().all(|name| matches!(name.as_str(), "traceparent" | "tracestate")), "{onwards:?}");
    let mut again = HeaderMap::new();
    propagation::inject(&propagation::extract(&onwards), &mut again);
    assert_eq!(again, onwards, "what goes on is what came in");
}

/// A file of keys.
fn keys(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Keys::parse(text) {
        // No hash is known whose key is empty, or the text itself.
        Ok(keys) => assert!(keys.holder(text).is_none()),
        Err(why) => assert!(why.len() < 256 && !why.contains('\n'), "{why}"),
    }
}

/// A key set, and perhaps a token behind a zero.
fn key_set(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let set = KeySet::parse(parts.next().unwrap_or_default()).unwrap_or_default();
    let token = parts.next().and_then(|token| std::str::from_utf8(token).ok()).unwrap_or("e30.e30.e30");
    if let Err(refusal) = auth::check_token(token, &set, &options(), NOW) {
        assert!(refusal.to_string().starts_with("the token"));
    }
}

/// The header and claims of a token, with a zero between them, signed as they are.
fn signed_token(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes");
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let set = format!(
        r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "{}"}}]}}"#,
        encode(pair.public_key().as_ref())
    );
    let set = KeySet::parse(set.as_bytes()).expect("a key set");
    let signed = format!("{}.{}", encode(header), encode(claims));
    let token = format!("{signed}.{}", encode(pair.sign(signed.as_bytes()).as_ref()));
    if let Ok(holder) = auth::check_token(&token, &set, &options(), NOW) {
        is_for_us(&serde_json::from_slice(claims).expect("claims"), &holder);
        let tampered = format!("{signed}.{}", encode(&[0; 64]));
        assert!(auth::check_token(&tampered, &set, &options(), NOW).is_err());
        assert!(auth::check_token(&token, &KeySet::default(), &options(), NOW).is_err());
    }
}

fn is_for_us(claims: &Value, holder: &Holder) {
    assert_eq!(claims["iss"], "https://issuer");
    assert!(claims["exp"].as_f64().is_some_and(|expires| expires > NOW as f64 - 30.0));
    assert!(claims["nbf"].as_f64().is_none_or(|begins| begins <= NOW as f64 + 30.0));
    let audience = &claims["aud"];
    assert!(audience == "trivium" || audience.as_array().is_some_and(|all| all.contains(&"trivium".into())));
    assert_eq!(claims["tenant"], holder.tenant.name());
    assert_eq!(claims["operator"] == Value::Bool(true), holder.is_operator);
}

fn options() -> JwtOptions {
    JwtOptions {
        jwks_file: Some("keys.json".into()),
        issuer: "https://issuer".to_owned(),
        audience: "trivium".to_owned(),
        operator_claim: "operator".to_owned(),
        ..JwtOptions::default()
    }
}
