//! With a password nobody watches without it.

use crate::client::{Reply, ask, get, post_offer};
use crate::program::Program;
use crate::receiver::{Options, Receiver};
use crate::signalling::{hear, say};
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Request;

pub const PASSWORD: &str = "correct horse battery";

/// The line that the program's own command prints.
pub fn password_hash() -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtcam"));
    let mut child = command.arg("password").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("built");
    child.stdin.take().expect("piped").write_all(PASSWORD.as_bytes()).expect("it reads");
    let line = String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("text");
    line.split('"').nth(1).expect("a value in quotes").to_string()
}

fn socket_request(program: &Program, bearer: Option<&str>) -> Request<()> {
    let mut request = format!("ws://{}/ws", program.address).into_client_request().expect("a good address");
    if let Some(bearer) = bearer {
        request.headers_mut().insert("Authorization", format!("Bearer {bearer}").parse().expect("plain letters"));
    }
    request
}

async fn socket_refusal(program: &Program, bearer: Option<&str>) -> u16 {
    match connect_async(socket_request(program, bearer)).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("not refused: {other:?}"),
    }
}

/// After a wrong password even the right one has to wait a moment.
async fn ask_patiently(program: &Program, bearer: &str) -> Reply {
    for _ in 0..10 {
        let reply = ask(program, "GET", "/api/v1/status", &[("Authorization", bearer)], "").await;
        if reply.status != 429 {
            return reply;
        }
        let seconds = reply.header("retry-after").and_then(|text| text.parse().ok()).expect("it says how long");
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    panic!("it never lets us in again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signalling_and_page_want_the_password() {
    let hash = password_hash();
    let program = Program::start(&[&format!("auth.password_hash={hash}")]);
    let page = get(&program, "/").await;
    assert!(page.status == 401 && page.body.contains("type=\"password\""), "the login form: {page:?}");
    let mut receiver = Receiver::offer(Options::default()).await;
    for headers in [vec![], vec![("Authorization", "Bearer wrong")]] {
        let refused = post_offer(&program, &receiver.sdp, &headers).await;
        assert_eq!(refused.status, 401, "{headers:?}: {refused:?}");
    }
    assert_eq!(socket_refusal(&program, None).await, 401);
    assert_eq!(get(&program, "/api/v1/status").await.status, 401);

    let bearer = format!("Bearer {PASSWORD}");
    let status = ask_patiently(&program, &bearer).await;
    assert!(status.status == 200 && status.body.contains("\"viewers\":[]"), "nobody got in: {status:?}");
    let (mut socket, _) = connect_async(socket_request(&program, Some(PASSWORD))).await.expect("let in");
    say(&mut socket, json!({"type": "hello", "version": 1})).await;
    hear(&mut socket, "welcome").await;
    let answer = post_offer(&program, &receiver.sdp, &[("Authorization", &bearer)]).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    receiver.answer(&answer.body).await;
    receiver.picture("with the password").await;
    receiver.close().await;
    let log = program.log();
    assert!(!log.contains(PASSWORD) && !log.contains(&hash), "no secret in the log:\n{log}");
}
