//! Secrets of every kind, and where they are put.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519, SanType, SigningKey};
use serde_json::{Value, json};
use trivium_service_kit::auth::new_key;

/// What a test can look for, and what it needs to be let in.
pub struct Planted {
    /// A key of an operator's.
    pub api_key: String,
    /// A token of the tenant's.
    pub token: String,
    /// A key that no server knows.
    pub stranger: String,
    /// What the collector is shown.
    pub collector: String,
    /// The secret key of the object store.
    pub storage: String,
    /// The authority of the router's certificate.
    pub ca: PathBuf,
    /// A file with a key that no server knows.
    pub key_file: PathBuf,
    generator: String,
    private: String,
    expired: String,
    foreign: String,
}

impl Planted {
    /// Makes all of them, and their files in `folder`.
    pub fn new(folder: &Path) -> Self {
        let write = |name: &str, text: &str| fs_err::write(folder.join(name), text).expect("written");
        let key = new_key("a test's", "acme", true).expect("made");
        write("keys.toml", &key.entry);
        let (issuer, other) = (signer(), signer());
        let public = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode(issuer.public_key_raw())});
        write("jwks.json", &json!({"keys": [public]}).to_string());
        let private = certificates(folder);
        let generator = "sk-zqsecret-of-a-generator".to_owned();
        write("generator.key", &generator);
        let stranger = "zqsecret-of-a-stranger".to_owned();
        write("stranger.key", &stranger);
        Self {
            api_key: key.key,
            token: token(&issuer, 4_102_444_800),
            expired: token(&issuer, 1_000_000_000),
            foreign: token(&other, 4_102_444_800),
            stranger,
            collector: "zqsecret-of-the-collector".to_owned(),
            storage: "zqsecret-of-the-storage".to_owned(),
            ca: folder.join("ca.pem"),
            key_file: folder.join("stranger.key"),
            generator,
            private,
        }
    }

    /// Each secret, by what it is. Of tokens the signature is what nobody else may know.
    pub fn all(&self) -> Vec<(&'static str, &str)> {
        let signature = |token: &'_ str| token.rsplit('.').next().map_or(0, |part| token.len() - part.len());
        vec![
            ("an API key", &self.api_key),
            ("a token", &self.token[signature(&self.token)..]),
            ("an expired token", &self.expired[signature(&self.expired)..]),
            ("a token of another issuer's", &self.foreign[signature(&self.foreign)..]),
            ("the claims of a token", &self.token[..signature(&self.token)]),
            ("a private key", &self.private),
            ("whatever else is secret", "zqsecret"),
        ]
    }

    /// Keys and tokens that no service takes.
    pub fn wrong(&self) -> [&str; 4] {
        [&self.stranger, &self.expired, &self.foreign, "zqsecret.of.nobody"]
    }

    /// A configuration with all of them. `models` are the servers of the generators `repeats` and `away`.
    pub fn config(&self, folder: &Path, models: &[String; 2]) -> String {
        let at = |name: &str| folder.join(name).display().to_string();
        let auth = |service: &str| {
            format!(
                "[{service}.server.auth]\nkeys_file = {:?}\n[{service}.server.auth.jwt]\njwks_file = {:?}\n\
                 issuer = \"https://issuer\"\naudience = \"trivium\"\n",
                at("keys.toml"),
                at("jwks.json")
            )
        };
        let generator = |name: &str, url: &str| {
            format!(
                "[model_host.generators.{name}]\nbase_url = {url:?}\nmodel = \"tiny\"\nmax_retries = 0\n\
                 api_key_file = {:?}\n",
                at("generator.key")
            )
        };
        let tls = format!("[router.server.tls]\ncertificate = {:?}\nkey = {:?}\n", at("own.pem"), at("key.pem"));
        let sections = ["router", "retriever", "model_host"].map(auth).join("");
        sections + &tls + &generator("repeats", &models[0]) + &generator("away", &models[1])
    }

    /// Configurations in which a secret stands where it does not belong, by what is wrong with them.
    pub fn wrong_configurations(&self, folder: &Path) -> Vec<(&'static str, String)> {
        let write = |name: &str, text: &str| {
            fs_err::write(folder.join(name), text).expect("written");
            folder.join(name).display().to_string()
        };
        let keys = |text: &str| {
            format!("[router.server.auth]\nkeys_file = {:?}\n", write(&format!("{}.toml", text.len()), text))
        };
        let generator = |line: &str| format!("[model_host.generators.gpt]\nmodel = \"tiny\"\n{line}\n");
        let url = "base_url = \"http://127.0.0.1:1/v1\"\n";
        let broken = "-----BEGIN PRIVATE KEY-----\nzqsecret\n-----END PRIVATE KEY-----\n";
        let tls = |key: &str| {
            let own = folder.join("own.pem").display().to_string();
            format!("[router.server.tls]\ncertificate = {own:?}\nkey = {key:?}\n")
        };
        vec![
            ("a key in place of its hash", keys("[[keys]]\nsha256 = \"zqsecret\"\ntenant = \"acme\"\n")),
            ("a key under a name of its own", keys("[[keys]]\nkey = \"zqsecret\"\n")),
            ("a file that is a key", keys("zqsecret")),
            ("a line without its end", keys("[[keys]]\nsha256 = \"zqsecret\n")),
            ("a generator's key in the configuration", generator(&format!("{url}api_key = {:?}", self.generator))),
            ("a key where its variable belongs", generator(&format!("{url}api_key_env = {:?}", self.generator))),
            ("a password in a generator's address", generator("base_url = \"http://me:zqsecret@127.0.0.1:1/v1\"")),
            ("a password in an endpoint", "[router.retriever]\nendpoint = \"http://me:zqsecret@host:1\"\n".to_owned()),
            (
                "a password in the address of the issuer's keys",
                "[router.server.auth.jwt]\njwks_url = \"https://me:zqsecret@issuer/keys\"\nissuer = \"i\"\naudience = \"a\"\n"
                    .to_owned(),
            ),
            ("a private key that is none", tls(&write("broken.pem", broken))),
            ("a certificate in place of a private key", tls(&folder.join("ca.pem").display().to_string())),
        ]
    }
}

fn signer() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("made")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(signer: &KeyPair, expires: u64) -> String {
    let header = json!({"alg": "EdDSA", "kid": "k"});
    let claims: Value = json!({"iss": "https://issuer", "aud": "trivium", "exp": expires, "tenant": "acme", "jti": "zqsecret-of-a-token"});
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    format!("{signed}.{}", encode(signer.sign(signed.as_bytes()).expect("signed")))
}

/// Writes an authority, and a certificate with its key; gives a line of the key.
fn certificates(folder: &Path) -> String {
    let write = |name: &str, text: &str| fs_err::write(folder.join(name), text).expect("written");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    write("ca.pem", &authority.self_signed(&key).expect("signed").pem());
    let issuer = Issuer::new(authority, key);
    let mut own = CertificateParams::default();
    own.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let key = KeyPair::generate().expect("a key");
    write("own.pem", &own.signed_by(&key, &issuer).expect("signed").pem());
    let pem = key.serialize_pem();
    write("key.pem", &pem);
    // The second line of the key itself: the first begins with what all keys of its kind begin with.
    pem.lines().nth(2).expect("several lines").to_owned()
}
