use proptest::prelude::*;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

struct Issuer {
    ed25519: Ed25519KeyPair,
    p256: EcdsaKeyPair,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).expect("made");
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("made");
        Self {
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).expect("a key"),
            p256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random).expect("a key"),
        }
    }

    fn jwks(&self) -> KeySet {
        let point = self.p256.public_key().as_ref();
        let set = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": base64(self.ed25519.public_key())},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": base64(&point[1..33]), "y": base64(&point[33..])},
            {"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"},
            {"kty": "oct", "k": "c2VjcmV0"},
        ]});
        KeySet::parse(set.to_string().as_bytes()).expect("a key set")
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = match header["alg"].as_str() {
            Some("ES256") => base64(self.p256.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed").as_ref()),
            _ => base64(self.ed25519.sign(signed.as_bytes())),
        };
        format!("{signed}.{signature}")
    }
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

fn claims() -> Value {
    json!({"iss": "https://issuer", "aud": "trivium", "exp": NOW + 60, "tenant": "acme"})
}

fn eddsa() -> Value {
    json!({"alg": "EdDSA", "kid": "ed"})
}

#[test]
fn a_good_token_names_its_tenant() {
    let issuer = Issuer::new();
    let mut operator = claims();
    operator["operator"] = json!(true);
    operator["aud"] = json!(["other", "trivium"]);
    let table = [
        (eddsa(), claims(), false),
        (json!({"alg": "EdDSA"}), claims(), false),
        (json!({"alg": "ES256", "kid": "ec", "typ": "JWT"}), operator, true),
    ];
    for (header, claims, is_operator) in table {
        let token = issuer.sign(&header, &claims);
        let holder = check(&token, &issuer.jwks(), &options(), NOW).expect("good");
        assert_eq!((holder.tenant.name(), holder.is_operator), ("acme", is_operator));
    }
}

#[test]
fn a_token_that_says_anything_else_is_refused() {
    let issuer = Issuer::new();
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    let table = [
        (eddsa(), with("exp", json!(NOW - 30)), Refusal::Expired),
        (eddsa(), with("exp", Value::Null), Refusal::Expired),
        (eddsa(), with("exp", json!("2100")), Refusal::Expired),
        (eddsa(), with("nbf", json!(NOW + 31)), Refusal::TooEarly),
        (eddsa(), with("iss", json!("https://other")), Refusal::Issuer),
        (eddsa(), with("aud", json!("other")), Refusal::Audience),
        (eddsa(), with("aud", json!([])), Refusal::Audience),
        (eddsa(), with("tenant", json!("../acme")), Refusal::Tenant),
        (eddsa(), with("tenant", json!("")), Refusal::Tenant),
        (eddsa(), with("tenant", json!(["acme"])), Refusal::Tenant),
        (json!({"alg": "none"}), claims(), Refusal::Algorithm),
        (json!({"alg": "HS256", "kid": "ed"}), claims(), Refusal::Algorithm),
        (json!({"alg": "RS256"}), claims(), Refusal::UnknownKey),
        (json!({"alg": "ES256", "kid": "ed"}), claims(), Refusal::UnknownKey),
        (json!({"alg": "EdDSA", "kid": "other"}), claims(), Refusal::UnknownKey),
        (json!({"alg": "EdDSA", "crit": ["b64"], "b64": false}), claims(), Refusal::Malformed),
    ];
    for (header, claims, refusal) in table {
        let token = issuer.sign(&header, &claims);
        assert_eq!(check(&token, &issuer.jwks(), &options(), NOW), Err(refusal), "{header} {claims}");
    }
    let only_es = JwtOptions { algorithms: vec![Algorithm::ES256], ..options() };
    let token = issuer.sign(&eddsa(), &claims());
    assert_eq!(check(&token, &issuer.jwks(), &only_es, NOW), Err(Refusal::Algorithm));
    assert_eq!(check(&token, &Issuer::new().jwks(), &options(), NOW), Err(Refusal::Signature));
}

#[test]
fn an_rsa_signature_is_checked() {
    // The example of RFC 7515, appendix A.2: its key, its claims, its signature.
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let set = json!({"keys": [{"kty": "RSA", "n": n, "e": "AQAB"}]}).to_string();
    let keys = KeySet::parse(set.as_bytes()).expect("a key set");
    let joe = JwtOptions { issuer: "joe".to_owned(), ..options() };
    // The signature is right, and then comes what the claims lack.
    assert_eq!(check(token, &keys, &joe, 1_300_819_000), Err(Refusal::Audience));
    assert_eq!(check(token, &keys, &joe, 1_400_000_000), Err(Refusal::Expired));
    let forged = token.replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJKb2Ui", 1);
    assert_ne!(forged, token);
    assert_eq!(check(&forged, &keys, &joe, 1_300_819_000), Err(Refusal::Signature));
}

proptest! {
    #[test]
    fn no_change_of_a_token_is_taken(place in 0_usize..1_000, bit in 0_u32..6) {
        let issuer = Issuer::new();
        let token = issuer.sign(&eddsa(), &claims());
        let mut bytes = token.into_bytes();
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        let changed = String::from_utf8(bytes).expect("ASCII");
        prop_assert!(check(&changed, &issuer.jwks(), &options(), NOW).is_err());
    }

    #[test]
    fn no_text_makes_it_panic(token in ".*", json in ".*") {
        prop_assert!(check(&token, &Issuer::new().jwks(), &options(), NOW).is_err());
        let _ = KeySet::parse(json.as_bytes());
    }
}

#[test]
fn options_that_would_take_the_tokens_of_others_are_refused() {
    let table = [
        ("jwks_file", JwtOptions { jwks_file: None, ..options() }),
        ("jwks_url", JwtOptions { jwks_file: None, jwks_url: "http://issuer/keys".into(), ..options() }),
        ("jwks_url", JwtOptions { jwks_url: "https://issuer/keys".into(), ..options() }),
        ("issuer", JwtOptions { issuer: String::new(), ..options() }),
        ("audience", JwtOptions { audience: String::new(), ..options() }),
        ("tenant_claim", JwtOptions { tenant_claim: String::new(), ..options() }),
        ("algorithms", JwtOptions { algorithms: Vec::new(), ..options() }),
        ("refresh_ms", JwtOptions { refresh_ms: 1, ..options() }),
    ];
    assert_eq!(options().validate(), Ok(()));
    for (key, options) in table {
        assert_eq!(options.validate().expect_err(key).key, key);
    }
}

#[test]
fn a_url_of_keys_holds_no_password_and_leads_where_it_seems_to() {
    let validate = |url: &str| JwtOptions { jwks_file: None, jwks_url: url.to_owned(), ..options() }.validate();
    for good in ["https://issuer/keys?v=1", "http://localhost/keys", "http://127.0.0.1:8080/keys"] {
        assert_eq!(validate(good), Ok(()), "{good}");
    }
    let refused = [
        "https://me:MARKER@issuer/keys",
        "http://localhost:MARKER@issuer/keys",
        "http://127.0.0.1.issuer/keys",
        "ftp://issuer/keys",
        "issuer",
        "https://",
        "MARKER\u{e9} https://issuer",
    ];
    for bad in refused {
        let error = validate(bad).expect_err(bad);
        assert_eq!(error.key, "jwks_url");
        assert!(!error.to_string().contains("MARKER"), "{error}");
    }
}
