//! A proxy between two services that breaks what passes through it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    time::sleep,
};

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They work.
    None,
    /// They are closed as soon as they are made.
    Down,
    /// They are open, and nothing comes through.
    Hangs,
    /// What comes back is held up, piece by piece.
    Slow(Duration),
    /// What comes back is not of the protocol.
    Garbage,
    /// They are closed after so many bytes came back.
    CutAfter(usize),
}

/// The proxy. It ends with the runtime.
pub struct Proxy {
    url: String,
    fault: watch::Sender<Fault>,
}

impl Proxy {
    /// A proxy on a free port, to an address.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (fault, changes) = watch::channel(Fault::None);
        tokio::spawn(accept(listener, target.to_owned(), changes));
        Self { url, fault }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on connections fare so. Those that are open are closed, so that whoever uses them meets the fault.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

async fn accept(listener: TcpListener, target: String, changes: watch::Receiver<Fault>) {
    while let Ok((client, _)) = listener.accept().await {
        let (target, mut changes) = (target.clone(), changes.clone());
        let fault = *changes.borrow_and_update();
        tokio::spawn(async move {
            tokio::select! {
                () = pass(client, &target, fault) => {}
                _ = changes.changed() => {}
            }
        });
    }
}

async fn pass(mut client: TcpStream, target: &str, fault: Fault) {
    match fault {
        Fault::Down => {}
        Fault::Hangs => std::future::pending().await,
        Fault::Garbage => {
            // Whoever reads this may have closed the connection already.
            let _ = client.write_all(b"HTTP/1.1 500 This is not gRPC\r\n\r\n").await;
        }
        Fault::None | Fault::Slow(_) | Fault::CutAfter(_) => {
            let Ok(server) = TcpStream::connect(target).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = copy(from_client, to_server, Fault::None) => {}
                () = copy(from_server, to_client, fault) => {}
            }
        }
    }
}

/// Copies until one side closes, or the fault says so.
async fn copy(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, fault: Fault) {
    let mut buffer = vec![0; 16 << 10];
    let mut left = match fault {
        Fault::CutAfter(bytes) => bytes,
        _ => usize::MAX,
    };
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if let Fault::Slow(delay) = fault {
            sleep(delay).await;
        }
        let passed = read.min(left);
        left -= passed;
        if to.write_all(&buffer[..passed]).await.is_err() || left == 0 {
            return;
        }
    }
}
