//! A server that answers each chat completion with prepared bytes.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server on loopback. It stops when the test's runtime does.
pub struct Completions {
    pub base_url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Completions {
    /// Answers every request with `response`, and then closes the connection unless
    /// `stays_open`.
    pub async fn start(response: impl Into<Vec<u8>>, stays_open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (response, seen) = (response.into(), Arc::clone(&requests));
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                seen.lock().unwrap().push(request);
                stream.write_all(&response).await.unwrap();
                if stays_open {
                    open.push(stream);
                }
            }
        });
        Self { base_url, requests }
    }

    /// The requests so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A successful response that streams these events.
pub fn events(data: &[&str]) -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    data.iter().fold(head.to_owned(), |text, data| format!("{text}data: {data}\n\n"))
}

/// A response without a body.
pub fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
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
