//! An issuer of tokens: its keys, and a small HTTP server that publishes them as the test says.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Who must have made a token.
pub const ISSUER: &str = "https://issuer.test";

/// Whom a token must be meant for.
pub const AUDIENCE: &str = "trivium";

/// A pair of keys with an id.
pub struct Signer {
    id: &'static str,
    pair: Ed25519KeyPair,
}

impl Signer {
    pub fn new(id: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("made");
        Self { id, pair: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key") }
    }

    /// Its public key, as a key set has it.
    pub fn public(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "use": "sig", "x": encode(self.pair.public_key())})
    }

    /// A token for a tenant, which never expires as far as a test is concerned.
    pub fn token(&self, tenant: &str) -> String {
        let header = json!({"alg": "EdDSA", "kid": self.id});
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "exp": 4_102_444_800_u64, "tenant": tenant});
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        format!("{signed}.{}", encode(self.pair.sign(signed.as_bytes())))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the server answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A key set with these keys.
    Keys(Vec<Value>),
    /// Status 500, with a key set as its body all the same.
    Broken(Vec<Value>),
    /// A key set of more bytes than anybody should read.
    Endless(Vec<Value>),
    /// Text that is no key set.
    Rubbish,
    /// Another place.
    Elsewhere(String),
    /// Nothing: the connection is closed.
    Silence,
}

/// A server that publishes keys, until it is dropped.
pub struct Publisher {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Publisher {
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys.json", listener.local_addr().expect("bound"));
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (now, count) = (Arc::clone(&answer), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let answer = now.lock().expect("no test panics with it").clone();
                // A client that has read enough closes, and then writing fails.
                let _ = respond(stream, &answer).await;
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { answer, asked, url, task }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers otherwise from now on.
    pub fn set(&self, answer: Answer) {
        *self.answer.lock().expect("no test panics with it") = answer;
    }

    /// The requests that were answered.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond(mut stream: TcpStream, answer: &Answer) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        request.push(byte[0]);
    }
    let set = |keys: &[Value]| json!({ "keys": keys }).to_string();
    let (status, header, body) = match answer {
        Answer::Keys(keys) => ("200 OK", String::new(), set(keys)),
        Answer::Broken(keys) => ("500 Internal Server Error", String::new(), set(keys)),
        Answer::Endless(keys) => ("200 OK", String::new(), set(keys) + &" ".repeat(2 << 20)),
        Answer::Rubbish => ("200 OK", String::new(), "<html>".to_owned()),
        Answer::Elsewhere(url) => ("302 Found", format!("location: {url}\r\n"), String::new()),
        Answer::Silence => return Ok(()),
    };
    let head = format!("HTTP/1.1 {status}\r\n{header}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.shutdown().await
}
