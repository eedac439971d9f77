//! What the real services cannot be brought to do at will: a retriever that lacks a leg, and language models.

use std::{
    convert::Infallible,
    future::ready,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use trivium_proto::retriever::v1::{Hit, Leg, LegReport, SearchRequest, SearchResponse};
use trivium_service_kit::{Error, Reason};

/// A retriever on loopback whose collections lack what their names say: `no-lexical`, `no-semantic`; any other cannot be
/// searched.
pub async fn retriever() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let server = Server::builder().add_service(Retriever);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    url
}

#[derive(Clone)]
struct Retriever;

impl NamedService for Retriever {
    const NAME: &'static str = "trivium.retriever.v1.RetrieverService";
}

impl Service<http::Request<Body>> for Retriever {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if !request.uri().path().ends_with("/Search") {
                return Ok(Status::unimplemented("nothing but searches").into_http());
            }
            Ok(Grpc::new(ProstCodec::<SearchResponse, SearchRequest>::default()).unary(Search, request).await)
        })
    }
}

struct Search;

impl UnaryService<SearchRequest> for Search {
    type Response = SearchResponse;
    type Future = std::future::Ready<Result<Response<SearchResponse>, Status>>;

    fn call(&mut self, request: Request<SearchRequest>) -> Self::Future {
        let report = |leg: Leg, missing| {
            let reason = if missing { Reason::StorageFailed.as_str().to_owned() } else { String::new() };
            LegReport { leg: leg.into(), candidates: 1, missing, reason, ..LegReport::default() }
        };
        let legs = match request.get_ref().collection.as_str() {
            "no-lexical" => vec![report(Leg::Lexical, true), report(Leg::Semantic, false)],
            "no-semantic" => vec![report(Leg::Lexical, false), report(Leg::Semantic, true)],
            _ => return ready(Err(Error::new(Reason::StorageFailed, "the disk is gone").into())),
        };
        let hit =
            Hit { document_id: "keys.md".into(), chunk_id: "keys.md:0".into(), text: "Keys.".into(), ..Hit::default() };
        ready(Ok(Response::new(SearchResponse { hits: vec![hit], legs, ..SearchResponse::default() })))
    }
}

/// How a language model behaves.
#[derive(Clone, Copy)]
pub enum Model {
    /// It answers, and counts its tokens.
    Answers,
    /// It begins, and the connection closes.
    BreaksOff,
    /// It begins, and says nothing more.
    FallsSilent,
    /// It takes no key, and repeats the one that it was shown, as some do.
    RepeatsTheKey,
}

/// The head of a stream of events, and its first piece.
const BEGINNING: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
     data: {\"choices\":[{\"delta\":{\"content\":\"The answer. \"}}]}\n\n";

const END: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
     data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";

/// A server of OpenAI's protocol on loopback; gives the address under which its paths begin.
pub async fn language_model(model: Model) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/v1", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(complete(stream, model));
        }
    });
    url
}

async fn complete(mut stream: TcpStream, model: Model) {
    let head = read_request(&mut stream).await;
    if let Model::RepeatsTheKey = model {
        let shown = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("nothing");
        let body = format!(r#"{{"error":{{"message":"incorrect key: {shown}","code":"{shown}"}}}}"#);
        let head = format!("HTTP/1.1 401 {shown}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        return;
    }
    // The caller may have hung up meanwhile.
    let _ = stream.write_all(BEGINNING.as_bytes()).await;
    match model {
        Model::Answers => drop(stream.write_all(END.as_bytes()).await),
        Model::BreaksOff => {}
        Model::RepeatsTheKey => {}
        Model::FallsSilent => while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {},
    }
}

/// Reads the head, which it gives, and the body that it announces.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return head.to_owned();
        }
    }
    String::new()
}
