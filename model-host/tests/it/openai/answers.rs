//! Answers that come to their end.

use futures::StreamExt;
use trivium_model_host::OpenAiOptions;
use trivium_model_host::generate::{Finish, Generator, Piece, Request, Summary, Support};

use super::{FIRST, SECOND, STOP, USAGE, ask, backend, body, options, request, text};
use crate::support::completions::{Completions, Reply, events};

#[tokio::test]
async fn an_answer_streams_with_checked_citations() {
    let reply = Reply::then_closes(events(&[FIRST, SECOND, STOP, USAGE, "[DONE]"]));
    let server = Completions::always(reply).await;
    let pieces = ask(options(&server.base_url)).await;
    let cited: Vec<(u32, Support)> = pieces
        .iter()
        .filter_map(|piece| if let Ok(Piece::Citation(c)) = piece { Some((c.passage, c.support)) } else { None })
        .collect();
    assert_eq!(cited, [(1, Support::Holds), (2, Support::Doubtful)]);
    let summary = Summary {
        finish: Finish::Stop,
        input_tokens: 40,
        output_tokens: 9,
        unknown_citations: vec![7],
        passages_left_out: Vec::new(),
        passages_cut: Vec::new(),
    };
    assert_eq!(pieces.last().unwrap().as_ref().unwrap(), &Piece::Summary(summary));
    assert_eq!(text(pieces), "It is cold [1]. It is blue. It is warm [2].");
}

#[tokio::test]
async fn the_request_holds_numbered_passages_the_limit_and_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "abc123\n").unwrap();
    let server = Completions::always(Reply::then_closes(events(&[FIRST, STOP, "[DONE]"]))).await;
    ask(OpenAiOptions { api_key_file: Some(key), ..options(&server.base_url) }).await;
    let requests = server.requests();
    let head = requests[0].to_lowercase();
    assert!(head.starts_with("post /v1/chat/completions "), "{head}");
    assert!(head.contains("authorization: bearer abc123"), "{head}");
    let body = body(&requests[0]);
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["stream"]),
        (&"some-model".into(), &50.into(), &true.into())
    );
    let user = body["messages"][1]["content"].as_str().unwrap();
    assert!(user.contains("[1]\nIt is cold.") && user.contains("[2]\nIt is old."), "{user}");
}

#[tokio::test]
async fn the_request_chooses_the_prompt_before_the_generator_does() {
    let server = Completions::always(Reply::then_closes(events(&[FIRST, STOP]))).await;
    let by_generator = OpenAiOptions { prompt: Some("terse".to_owned()), ..options(&server.base_url) };
    for (options, prompt, messages) in [
        (options(&server.base_url), None, 2),
        (by_generator.clone(), None, 1),
        (options(&server.base_url), Some("terse".to_owned()), 1),
        (by_generator, Some("default".to_owned()), 2),
    ] {
        let request = Request { prompt, ..request() };
        text(backend(options).generate(request).collect().await);
        let body = body(server.requests().last().unwrap());
        let sent = body["messages"].as_array().unwrap();
        assert_eq!(sent.len(), messages);
        let terse = "<1 doc/1><2 doc/2> Why is it slow?";
        assert_eq!(sent[0]["content"] == terse, messages == 1);
    }
}

#[tokio::test]
async fn a_passage_that_has_no_room_cannot_be_cited() {
    let reply = Reply::then_closes(events(&[FIRST, SECOND, STOP]));
    let server = Completions::always(reply).await;
    let mut request = request();
    request.passages[1].text = "old ".repeat(1000);
    let short = OpenAiOptions { max_prompt_tokens: 400, ..options(&server.base_url) };
    let pieces: Vec<_> = backend(short).generate(request).collect().await;
    let Some(Ok(Piece::Summary(summary))) = pieces.last() else { panic!("{pieces:?}") };
    assert_eq!(summary.passages_left_out, [2]);
    assert_eq!(summary.unknown_citations, [2, 7]);
    assert_eq!(text(pieces), "It is cold [1]. It is blue. It is warm.");
}

#[tokio::test]
async fn giving_an_answer_up_closes_the_connection() {
    // In the middle of the answer, and before it.
    for (said, pieces) in [(events(&[FIRST]), 1), (String::new(), 0)] {
        let mut server = Completions::always(Reply::then_falls_silent(said)).await;
        let mut answer = backend(options(&server.base_url)).generate(request());
        for _ in 0..pieces {
            answer.next().await.unwrap().unwrap();
        }
        // No further piece comes, but waiting for it is what sends the request.
        tokio::select! {
            piece = answer.next() => panic!("{piece:?}"),
            () = server.was_asked() => {}
        }
        drop(answer);
        server.caller_left().await;
    }
}

#[tokio::test]
async fn comments_and_line_ends_of_other_servers_are_understood() {
    let stream = format!("{}: ping\r\n\r\ndata:{FIRST}\r\n\r\nevent: x\rdata: {STOP}\r\r", events(&[]));
    let server = Completions::always(Reply::then_closes(stream)).await;
    assert_eq!(text(ask(options(&server.base_url)).await), "It is cold [1");
}
