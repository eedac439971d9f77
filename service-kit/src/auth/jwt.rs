//! JSON Web Tokens (RFC 7519), signed by a key pair of the issuer's (RFC 7515). Pure, but for the keys that come in.
//!
//! The algorithm is one that the configuration allows and that fits the key; what the token says of it has no other say.
//! Algorithms with a shared secret are none of them, so that a public key can never pass for one.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Tenant, keys::Holder};
use crate::{ConfigError, config::at_least};

/// The longest token that is looked at, in bytes.
const MAX_BYTES: usize = 16 << 10;

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSA with PKCS 1 padding and SHA-256, keys of 2048 bits and more.
    RS256,
    /// ECDSA on the curve P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// Whose tokens are taken, and what they must say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtOptions {
    /// A file with the issuer's public keys, as a JSON Web Key Set (RFC 7517).
    pub jwks_file: Option<PathBuf>,
    /// Or where they are fetched from.
    pub jwks_url: String,
    /// How often they are fetched, in milliseconds. A token with an unknown key has them fetched sooner.
    pub refresh_ms: u64,
    /// What `iss` must say.
    pub issuer: String,
    /// What `aud` must have.
    pub audience: String,
    /// How tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The claim that is `true` for operators; none if empty.
    pub operator_claim: String,
    /// How far the issuer's clock may be off, in seconds.
    pub leeway_s: u64,
}

impl Default for JwtOptions {
    fn default() -> Self {
        Self {
            jwks_file: None,
            jwks_url: String::new(),
            refresh_ms: 300_000,
            issuer: String::new(),
            audience: String::new(),
            algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
            tenant_claim: "tenant".to_owned(),
            operator_claim: String::new(),
            leeway_s: 30,
        }
    }
}

impl JwtOptions {
    /// Checks every value. Keys are relative to the section.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |key: &str, value: &str, why: &str| Err(ConfigError::new(key, value, why));
        match (&self.jwks_file, self.jwks_url.as_str()) {
            (None, "") => return bad("jwks_file", "", "or jwks_url must say where the issuer's keys are"),
            (Some(_), url) if !url.is_empty() => return bad("jwks_url", url, "does not go with jwks_file"),
            (None, url) => check_url(url)?,
            (Some(_), _) => {}
        }
        for (key, value) in
            [("issuer", &self.issuer), ("audience", &self.audience), ("tenant_claim", &self.tenant_claim)]
        {
            if value.is_empty() {
                return bad(key, "", "must be set, or tokens that are meant for others would be taken");
            }
        }
        if self.algorithms.is_empty() {
            return bad("algorithms", "", "must name at least one");
        }
        at_least("refresh_ms", self.refresh_ms, 1_000)
    }
}

/// A URL is logged, so it may hold no password; and what is between `//` and `@` looks like a host and is none.
fn check_url(url: &str) -> Result<(), ConfigError> {
    let bad = |value: &str, why: &str| Err(ConfigError::new("jwks_url", value, why));
    let Ok(parsed) = url.parse::<http::Uri>() else { return bad("", "is no URL") };
    if parsed.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return bad("", "must name a host, and no user or password");
    }
    match (parsed.scheme_str(), parsed.host()) {
        (Some("https"), _) | (Some("http"), Some("localhost" | "127.0.0.1")) => Ok(()),
        _ => bad(url, "must begin with https://, but for one on this machine"),
    }
}

/// The issuer's public keys.
#[derive(Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    public: Public,
}

#[derive(Debug)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Public {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::RS256,
            Self::P256(_) => Algorithm::ES256,
            Self::Ed25519(_) => Algorithm::EdDSA,
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Jwk {
    kty: String,
    crv: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: String,
    n: String,
    e: String,
    x: String,
    y: String,
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys that are of no use here are left out, as RFC 7517 asks.
    ///
    /// # Errors
    /// Says why it is no key set, or that no key in it is of use.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|error| format!("is no JSON Web Key Set: {error}"))?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err("has no RSA, P-256 or Ed25519 key for signatures".to_owned());
        }
        Ok(Self(keys))
    }
}

fn key(jwk: Jwk) -> Option<Key> {
    if !matches!(jwk.usage.as_str(), "" | "sig") {
        return None;
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let public = match (jwk.kty.as_str(), jwk.crv.as_str()) {
        ("RSA", _) => Public::Rsa { n: decode(&jwk.n)?, e: decode(&jwk.e)? },
        ("EC", "P-256") => {
            // The point as SEC 1 writes it without compression.
            let point = [vec![4], decode(&jwk.x)?, decode(&jwk.y)?].concat();
            (point.len() == 65).then_some(Public::P256(point))?
        }
        ("OKP", "Ed25519") => Public::Ed25519(decode(&jwk.x)?),
        _ => return None,
    };
    Some(Key { id: jwk.kid, public })
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is too long, or not of three parts in base64url with JSON in the first two, or asks for extensions.
    #[error("the token is no JSON Web Token")]
    Malformed,
    /// Its algorithm is none of those that are allowed.
    #[error("the token is signed in a way that is not allowed")]
    Algorithm,
    /// No key of the set has its key id and algorithm.
    #[error("the token is signed with a key that the issuer has not published")]
    UnknownKey,
    /// None of those keys made its signature.
    #[error("the token's signature is wrong")]
    Signature,
    /// It has expired, or says of no moment when it will.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    TooEarly,
    /// `iss` is not the issuer.
    #[error("the token comes from another issuer")]
    Issuer,
    /// `aud` does not have the audience.
    #[error("the token is meant for another audience")]
    Audience,
    /// The claim of the tenant is missing, or no name of one.
    #[error("the token names no tenant that can be")]
    Tenant,
}

#[derive(Deserialize)]
struct Header {
    alg: Value,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515, section 4.1.11). There are none here.
    #[serde(default)]
    crit: Option<Value>,
}

/// Whom a token is for, at `now` in seconds since 1970.
///
/// # Errors
/// Says what is wrong with it, without quoting it.
pub fn check(token: &str, keys: &KeySet, options: &JwtOptions, now: u64) -> Result<Holder, Refusal> {
    if token.len() > MAX_BYTES {
        return Err(Refusal::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Refusal::Malformed)?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Malformed);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refusal::Malformed)?;
    if header.crit.is_some() {
        return Err(Refusal::Malformed);
    }
    let algorithm = Algorithm::deserialize(&header.alg).ok().filter(|found| options.algorithms.contains(found));
    let algorithm = algorithm.ok_or(Refusal::Algorithm)?;
    let signature = decode(signature)?;
    let fits = |key: &&Key| {
        key.public.algorithm() == algorithm && (header.kid.is_none() || key.id.is_none() || key.id == header.kid)
    };
    let mut fitting = keys.0.iter().filter(fits).peekable();
    if fitting.peek().is_none() {
        return Err(Refusal::UnknownKey);
    }
    if !fitting.any(|key| key.public.verifies(signed.as_bytes(), &signature)) {
        return Err(Refusal::Signature);
    }
    // What is read from here on comes from the issuer.
    let claims: Map<String, Value> = serde_json::from_slice(&decode(claims)?).map_err(|_| Refusal::Malformed)?;
    holder(&claims, options, now)
}

fn holder(claims: &Map<String, Value>, options: &JwtOptions, now: u64) -> Result<Holder, Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // Moments may have fractions (RFC 7519, section 2).
    let moment = |name: &str| claims.get(name).and_then(Value::as_f64);
    let (now, leeway) = (now as f64, options.leeway_s as f64);
    // A token that never expires could never be taken back.
    if moment("exp").is_none_or(|expires| expires + leeway <= now) {
        return Err(Refusal::Expired);
    }
    if moment("nbf").is_some_and(|begins| begins - leeway > now) {
        return Err(Refusal::TooEarly);
    }
    if text("iss") != Some(&options.issuer) {
        return Err(Refusal::Issuer);
    }
    let is_meant = match claims.get("aud") {
        Some(Value::String(audience)) => *audience == options.audience,
        Some(Value::Array(audiences)) => audiences.iter().any(|one| one.as_str() == Some(&options.audience)),
        _ => false,
    };
    if !is_meant {
        return Err(Refusal::Audience);
    }
    let tenant = text(&options.tenant_claim).and_then(Tenant::named).ok_or(Refusal::Tenant)?;
    let is_operator = claims.get(&options.operator_claim).and_then(Value::as_bool).unwrap_or_default();
    Ok(Holder { tenant, is_operator })
}

#[cfg(test)]
mod tests;
