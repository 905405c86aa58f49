//! Too many messages, too large ones, and such that are none.

use crate::client::soon;
use crate::program::Program;
use crate::siege::Siege;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn greeted(program: &Program) -> Socket {
    let (mut socket, _) = connect_async(format!("ws://{}/ws", program.address)).await.expect("it upgrades");
    socket.send(Message::text(json!({"type": "hello", "version": 1}).to_string())).await.expect("it is open");
    let welcome = soon("a welcome", socket.next()).await.expect("an answer").expect("an answer");
    assert!(welcome.to_text().expect("text").contains("\"welcome\""), "{welcome:?}");
    socket
}

/// Sends all of it, whether anybody listens or not; the codes and reasons that came back until the end, at most `words`.
async fn pour(socket: Socket, messages: impl Iterator<Item = Message> + Send + 'static, words: usize) -> Vec<String> {
    let (mut to, mut from) = socket.split();
    let sending = tokio::spawn(async move {
        for message in messages {
            if to.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut heard = Vec::new();
    let listening = async {
        while heard.len() < words
            && let Some(Ok(frame)) = from.next().await
        {
            let Message::Text(text) = frame else { continue };
            let value: Value = serde_json::from_str(&text).expect("JSON");
            let word = match value["type"].as_str() {
                Some("error") => &value["code"],
                Some("bye") => &value["reason"],
                _ => continue,
            };
            heard.push(word.as_str().expect("a word").to_string());
        }
    };
    soon("the end of a socket", listening).await;
    sending.abort();
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_messages_end_with_the_reason() {
    let siege = Siege::lay("8 floods of 20,000 messages").await;
    let mut floods = JoinSet::new();
    for number in 0..8 {
        let socket = greeted(&siege.program).await;
        let message = match number % 4 {
            0 => Message::text(r#"{"type":"ping","t":1}"#),
            1 => Message::text(r#"{"type":"chat","text":"buy"}"#),
            2 => Message::Ping(vec![7; 100].into()),
            _ => Message::text(format!(r#"{{"type":"relay","to":1,"body":"{}"}}"#, "x".repeat(8000))),
        };
        floods.spawn(pour(socket, std::iter::repeat_n(message, 20_000), usize::MAX));
    }
    for heard in floods.join_all().await {
        // a reset may overtake the last words
        assert!(
            heard.is_empty() || heard.iter().any(|word| word == "too-fast" || word == "too-many-errors"),
            "{heard:?}"
        );
    }
    siege.lift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_and_malformed_messages_are_refused_with_the_reason() {
    let siege = Siege::lay("oversized and malformed messages").await;
    let deep = "[".repeat(60_000);
    let long = |bytes: usize| format!(r#"{{"type":"offer","sdp":"{}"}}"#, "x".repeat(bytes));
    let rows: Vec<(Message, &str)> = vec![
        (Message::text(""), "bad-message"),
        (Message::text("null"), "bad-message"),
        (Message::text("{"), "bad-message"),
        (Message::text(deep.clone()), "bad-message"),
        (Message::text(format!(r#"{{"type":"ping","t":{deep}}}"#)), "bad-message"),
        (Message::text(r#"{"type":"ping","t":1e999}"#), "bad-message"),
        (Message::text(r#"{"type":"offer"}"#), "bad-message"),
        (Message::text(r#"{"type":"offer","type":"bye"}"#), "bad-message"),
        (Message::text(r#"{"type":"grant","to":-1}"#), "bad-message"),
        (Message::text(r#"{"type":"welcome"}"#), "bad-message"),
        (Message::text(r#"{"type":"hello","version":1}"#), "bad-message"),
        (Message::text(format!(r#"{{"type":"{}"}}"#, "y".repeat(50_000))), "unknown-type"),
        (Message::text(long(100)), "bad-offer"),
        (Message::text(long(60_000)), "bad-offer"),
        (Message::binary(vec![0xff; 1000]), "bad-message"),
        (Message::text(long(64 * 1024)), "too-large"),
        (Message::text(long(10 << 20)), "too-large"),
        (Message::binary(vec![0; 10 << 20]), "too-large"),
    ];
    for (message, code) in rows {
        let shown: String = format!("{message:?}").chars().take(60).collect();
        let heard = pour(greeted(&siege.program).await, std::iter::once(message), 1).await;
        // who goes on sending megabytes into a closed connection may lose the last words to the reset
        let lost = heard.is_empty() && code == "too-large";
        assert!(lost || heard == [code], "{shown}: {heard:?} instead of {code}");
    }
    let mistakes = std::iter::repeat_n(Message::text("{"), 100);
    let heard = pour(greeted(&siege.program).await, mistakes, usize::MAX).await;
    assert!(heard.last().is_none_or(|word| word == "too-many-errors"), "{heard:?}");
    siege.lift().await;
}
