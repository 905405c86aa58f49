//! What tests say to the program: plain HTTP, WHEP and WebSocket signalling around the headless viewer.

use crate::program::{PATIENCE, Program};
use crate::receiver::{Options, Receiver};
use serde_json::Value;
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn soon<F: Future>(what: &str, work: F) -> F::Output {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("it took far too long: {what}"))
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, wanted: &str) -> Option<&str> {
        let parts = self.head.lines().filter_map(|line| line.split_once(':'));
        parts.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim()).next()
    }
}

pub async fn connect(program: &Program) -> TcpStream {
    TcpStream::connect(program.address).await.expect("it listens")
}

/// One request on a connection of its own.
pub async fn ask(program: &Program, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut stream = connect(program).await;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", program.address);
    headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    // the server may answer and close before it has read everything
    let _ = stream.write_all(text.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = soon(path, stream.read_to_end(&mut bytes)).await;
    let answer = String::from_utf8_lossy(&bytes);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: head.into(), body: body.into() }
}

pub async fn get(program: &Program, path: &str) -> Reply {
    ask(program, "GET", path, &[], "").await
}

pub async fn status(program: &Program) -> Value {
    let reply = get(program, "/api/v1/status").await;
    serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
}

/// Waits until the status is as wanted.
pub async fn until(program: &Program, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let status = status(program).await;
            if holds(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(what, waiting).await
}

/// No viewer, and nothing subscribed to the pictures any more.
pub async fn until_empty(program: &Program) {
    let empty = |status: &Value| {
        status["viewers"].as_array().is_some_and(Vec::is_empty) && status["encoder"]["subscribers"] == 0
    };
    until(program, "nobody is left", empty).await;
}

/// A viewer that came by WHEP.
pub struct Viewer {
    pub receiver: Receiver,
    /// Path of its WHEP resource.
    pub location: String,
}

pub async fn post_offer(program: &Program, sdp: &str, headers: &[(&str, &str)]) -> Reply {
    let mut all = vec![("Content-Type", "application/sdp")];
    all.extend(headers);
    ask(program, "POST", "/whep", &all, sdp).await
}

/// The answer to a good offer. Where the program has not come to it in time (it says so), it is asked again.
pub async fn answer_for(program: &Program, sdp: &str, headers: &[(&str, &str)]) -> Reply {
    let asking = async {
        loop {
            let reply = post_offer(program, sdp, headers).await;
            if reply.status != 503 {
                return reply;
            }
            eprintln!("asked again after {}", reply.body);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let reply = soon("an answer", asking).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply
}

pub async fn watch(program: &Program, options: Options) -> Viewer {
    let receiver = Receiver::offer(options).await;
    let reply = answer_for(program, &receiver.sdp, &[]).await;
    receiver.answer(&reply.body).await;
    let location = reply.header("location").expect("201 has a Location").to_string();
    Viewer { receiver, location }
}

impl Viewer {
    pub async fn leave(self, program: &Program) {
        let reply = ask(program, "DELETE", &self.location, &[], "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        self.receiver.close().await;
    }
}
