//! Both ways to a picture: WHEP by plain HTTP, and WebSocket.

use crate::client::{self, soon, until, until_empty};
use crate::program::Program;
use crate::receiver::{Options, Receiver};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whep_offer_brings_pictures_until_it_is_deleted() {
    let program = Program::start(&[]);
    let mut viewer = client::watch(&program, Options::default()).await;
    let first = viewer.receiver.picture("the first").await;
    assert!(first.key && (first.width, first.height) == (640, 480), "{}x{}", first.width, first.height);
    for _ in 0..20 {
        viewer.receiver.picture("one of 20").await;
    }
    let status =
        until(&program, "the viewer is listed", |status| status["viewers"][0]["connected_s"].is_number()).await;
    assert_eq!(status["camera"]["camera"], "live");
    let location = viewer.location.clone();
    viewer.leave(&program).await;
    until_empty(&program).await;
    let again = client::ask(&program, "DELETE", &location, &[], "").await;
    assert_eq!(again.status, 404, "{again:?}");
}

pub async fn open_socket(program: &Program) -> Socket {
    connect_async(format!("ws://{}/ws", program.address)).await.expect("it upgrades").0
}

/// With one more header.
pub async fn open_socket_with(program: &Program, header: &'static str, value: &str) -> Socket {
    let mut request = format!("ws://{}/ws", program.address).into_client_request().expect("a good address");
    request.headers_mut().insert(header, value.parse().expect("plain letters"));
    connect_async(request).await.expect("it upgrades").0
}

pub async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.expect("it is open");
}

/// The answer to a good offer. Where the program has not come to it in time (it says so), it is asked again.
pub async fn answered(socket: &mut Socket, sdp: &str) -> Value {
    loop {
        say(socket, json!({"type": "offer", "sdp": sdp})).await;
        let reply = hear_one_of(socket, &["answer", "error"]).await;
        if reply["type"] == "answer" {
            return reply;
        }
        assert_eq!(reply["code"], "not-ready", "{reply}");
        eprintln!("asked again after {reply}");
    }
}

/// The next message of that type; others are passed over.
pub async fn hear(socket: &mut Socket, kind: &str) -> Value {
    hear_one_of(socket, &[kind]).await
}

async fn hear_one_of(socket: &mut Socket, kinds: &[&str]) -> Value {
    let listening = async {
        while let Some(Ok(frame)) = socket.next().await {
            let Message::Text(text) = frame else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if kinds.iter().any(|kind| message["type"] == *kind) {
                return message;
            }
        }
        panic!("the socket closed before one of {kinds:?} came");
    };
    soon(kinds[0], listening).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_offer_brings_pictures_until_bye() {
    let program = Program::start(&[]);
    let mut socket = open_socket(&program).await;
    say(&mut socket, json!({"type": "hello", "version": 1})).await;
    let welcome = hear(&mut socket, "welcome").await;
    assert_eq!((&welcome["version"], &welcome["viewer_limit"]), (&json!(1), &json!(32)));
    let mut receiver = Receiver::offer(Options::default()).await;
    let answer = answered(&mut socket, &receiver.sdp).await;
    receiver.answer(answer["sdp"].as_str().expect("text")).await;
    assert!(receiver.picture("the first").await.key);
    for _ in 0..20 {
        receiver.picture("one of 20").await;
    }
    let seated = until(&program, "the viewer is listed", |status| status["viewers"][0]["viewer"].is_number()).await;
    assert_eq!(seated["viewers"][0]["viewer"], answer["viewer"]);
    say(&mut socket, json!({"type": "bye"})).await;
    until_empty(&program).await;
    receiver.close().await;
}
