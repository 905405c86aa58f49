//! SIGTERM ends the program cleanly within 3 s, whatever it is doing.

use crate::camera_away::AWAY;
use crate::client::{connect, post_offer, until, watch};
use crate::program::{PATIENCE, Program};
use crate::receiver::{Options, Receiver};
use crate::signalling::{hear, open_socket, say};
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(3);

/// Sends the signal and waits; not on the runtime's threads, which may have to read a goodbye.
async fn stops_cleanly(mut program: Program, state: &str) {
    let waiting = tokio::task::spawn_blocking(move || {
        program.terminate();
        let (code, took) = program.wait(PATIENCE);
        (code, took, program.log())
    });
    let (code, took, log) = waiting.await.expect("it ends");
    eprintln!("{state}: stopped after {took:?}");
    assert_eq!(code, Some(0), "{state}: {log}");
    assert!(took <= LIMIT, "{state}: {took:?}: {log}");
    for bad in ["panicked", "not stopped within", "going on without it"] {
        assert!(!log.contains(bad), "{state}: {log}");
    }
}

async fn unfinished_request(program: &Program, text: &str) -> TcpStream {
    let mut stream = connect(program).await;
    stream.write_all(text.as_bytes()).await.expect("it is open");
    // so that it has been read
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_idle() {
    stops_cleanly(Program::start(&[]), "idle").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_viewer_watches() {
    let program = Program::start(&[]);
    let mut viewer = watch(&program, Options::default()).await;
    viewer.receiver.picture("the first").await;
    stops_cleanly(program, "one viewer seated").await;
    viewer.receiver.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_viewer_connects() {
    let program = Program::start(&[]);
    let receiver = Receiver::offer(Options::default()).await;
    assert_eq!(post_offer(&program, &receiver.sdp, &[]).await.status, 201);
    until(&program, "it is connecting", |status| status["encoder"]["subscribers"] == 1).await;
    stops_cleanly(program, "viewer connecting").await;
    receiver.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_camera_is_away() {
    let program = Program::start(&AWAY);
    until(&program, "the camera is missing", |status| status["camera"]["camera"] == "away").await;
    stops_cleanly(program, "camera away").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_websocket_is_open_which_is_told() {
    let program = Program::start(&[]);
    let mut socket = open_socket(&program).await;
    say(&mut socket, json!({"type": "hello", "version": 1})).await;
    hear(&mut socket, "welcome").await;
    let told = async {
        assert_eq!(hear(&mut socket, "bye").await["reason"], "shutdown");
    };
    tokio::join!(told, stops_cleanly(program, "WebSocket without an offer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_request_is_half_sent() {
    let program = Program::start(&[]);
    let _half = unfinished_request(&program, "GET / HTTP/1.1\r\nHost: ").await;
    stops_cleanly(program, "half a request").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_body_is_uploaded() {
    let program = Program::start(&[]);
    let head = format!(
        "POST /whep HTTP/1.1\r\nHost: {}\r\nContent-Type: application/sdp\r\nContent-Length: 60000\r\n\r\nv=0\r\n",
        program.address
    );
    let _half = unfinished_request(&program, &head).await;
    stops_cleanly(program, "half a body").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let mut program = Program::start(&[]);
    // holds the orderly stop up for the better part of a second
    let _half = unfinished_request(&program, "GET / HTTP/1.1\r\nHost: ").await;
    program.terminate();
    std::thread::sleep(Duration::from_millis(100));
    program.terminate();
    let (code, _) = program.wait(PATIENCE);
    assert_eq!(code, Some(128 + 15), "not the orderly end: {}", program.log());
}
