//! A server that answers chat completions with prepared bytes.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What one connection gets.
#[derive(Clone)]
pub struct Reply {
    bytes: Vec<u8>,
    stays_open: bool,
}

impl Reply {
    /// These bytes, and then the end of the connection.
    pub fn then_closes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), stays_open: false }
    }

    /// These bytes, and then nothing more.
    pub fn then_falls_silent(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), stays_open: true }
    }
}

/// A server on loopback. It stops when the test's runtime does.
pub struct Completions {
    pub base_url: String,
    requests: watch::Receiver<Vec<String>>,
    left: watch::Receiver<usize>,
}

impl Completions {
    /// Answers every request with this.
    pub async fn always(reply: Reply) -> Self {
        Self::in_turn(vec![reply]).await
    }

    /// Answers each request with the next of these, and further ones with the last.
    pub async fn in_turn(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (asked, requests) = watch::channel(Vec::new());
        let (gone, left) = watch::channel(0);
        tokio::spawn(serve(listener, replies, asked, Arc::new(gone)));
        Self { base_url, requests, left }
    }

    /// The requests so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.borrow().clone()
    }

    /// Waits for the first request.
    pub async fn was_asked(&mut self) {
        self.requests.wait_for(|requests| !requests.is_empty()).await.unwrap();
    }

    /// Waits until a caller has closed a connection that this server would have kept open.
    pub async fn caller_left(&mut self) {
        self.left.wait_for(|count| *count > 0).await.unwrap();
    }
}

async fn serve(
    listener: TcpListener,
    replies: Vec<Reply>,
    asked: watch::Sender<Vec<String>>,
    gone: Arc<watch::Sender<usize>>,
) {
    for turn in 0.. {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let request = read_request(&mut stream).await;
        asked.send_modify(|requests| requests.push(request));
        let reply = replies[turn.min(replies.len() - 1)].clone();
        // The caller may have hung up in the middle of a reply that is too long for it.
        let _ = stream.write_all(&reply.bytes).await;
        if reply.stays_open {
            let gone = Arc::clone(&gone);
            tokio::spawn(async move {
                let mut rest = [0; 64];
                while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {}
                gone.send_modify(|count| *count += 1);
            });
        }
    }
}

/// The head of a successful stream.
pub const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// A successful response that streams these events.
pub fn events(data: &[&str]) -> String {
    data.iter().fold(STREAM_HEAD.to_owned(), |text, data| format!("{text}data: {data}\n\n"))
}

/// A response with a status line, further header lines, and a body.
pub fn status(line: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {line}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned))
                .map_or(0, |value| value.trim().parse().unwrap());
            if body.len() >= length || read == 0 {
                return text;
            }
        }
    }
}
