//! A page's side of the WebSocket.

use crate::bench::{Bench, PATIENCE};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

pub struct Page(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Page {
    pub async fn open(bench: &Bench) -> Page {
        Page(connect_async(format!("ws://{}/ws", bench.address)).await.unwrap().0)
    }

    /// One whose machine takes next to nothing that is not read.
    pub async fn with_little_room(bench: &Bench) -> Page {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = MaybeTlsStream::Plain(socket.connect(bench.address).await.unwrap());
        Page(client_async(format!("ws://{}/ws", bench.address), stream).await.unwrap().0)
    }

    /// With a password or a link.
    pub async fn open_as(bench: &Bench, bearer: &str) -> Page {
        Page::open_with(bench, "Authorization", &format!("Bearer {bearer}")).await
    }

    pub async fn open_with(bench: &Bench, header: &'static str, value: &str) -> Page {
        let mut request = format!("ws://{}/ws", bench.address).into_client_request().unwrap();
        request.headers_mut().insert(header, value.parse().unwrap());
        Page(connect_async(request).await.unwrap().0)
    }

    pub async fn welcomed(bench: &Bench) -> Page {
        Page::greeted(bench, json!({"language": "en"})).await.0
    }

    /// With more in its hello; the welcome as well.
    pub async fn greeted(bench: &Bench, more: Value) -> (Page, Value) {
        Page::open(bench).await.greet(more).await
    }

    pub async fn greet(mut self, more: Value) -> (Page, Value) {
        let mut hello = json!({"type": "hello", "version": 1});
        hello.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.say(hello).await;
        let welcome = self.hear().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        (self, welcome)
    }

    pub async fn watching(bench: &Bench) -> Page {
        Page::welcomed(bench).await.watch().await
    }

    pub async fn watch(mut self) -> Page {
        self.say(json!({"type": "offer", "sdp": "v=0"})).await;
        assert_eq!(self.hear().await["type"], "answer");
        self
    }

    pub async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message about the connection; null at the end. What the room says of its own accord is left out.
    pub async fn hear(&mut self) -> Value {
        loop {
            let message = self.hear_all().await;
            if !["state", "peers", "patch", "control", "room"].iter().any(|kind| message["type"] == *kind) {
                return message;
            }
        }
    }

    /// The next message of that type.
    pub async fn hear_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear_all().await;
            assert!(!message.is_null(), "the end instead of {kind}");
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The next message; null at the end.
    pub async fn hear_all(&mut self) -> Value {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing heard") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Value::Null,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Everything until the end, as `type:code-or-reason`.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        loop {
            let message = self.hear().await;
            let Some(kind) = message["type"].as_str() else { return words };
            let detail = message["code"].as_str().or(message["reason"].as_str()).unwrap_or_default();
            words.push(format!("{kind}:{detail}"));
        }
    }
}
