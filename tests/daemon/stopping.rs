//! SIGTERM ends the program cleanly within 3 s, whatever it is doing.

use crate::camera_away::AWAY;
use crate::client::{answer_for, connect, until, watch};
use crate::program::{PATIENCE, Program};
use crate::receiver::{Options, Receiver};
use crate::signalling::{hear, open_socket, say};
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(3);
/// A busy machine may spoil a try; what hangs by itself spoils all of them.
const TRIES: usize = 3;

/// Brings the program into a state, sends the signal and waits. Gives back what `arrange` kept.
async fn stops_cleanly<Kept>(state: &str, arrange: impl AsyncFn() -> (Program, Kept)) -> Kept {
    for tried in 1.. {
        let (mut program, kept) = arrange().await;
        // not on the runtime's threads, which may have to read a goodbye
        let waiting = tokio::task::spawn_blocking(move || {
            program.terminate();
            let (code, took) = program.wait(PATIENCE);
            (code, took, program.log())
        });
        let (code, took, log) = waiting.await.expect("it ends");
        eprintln!("{state}: stopped after {took:?}");
        assert!(!log.contains("panicked"), "{state}: {log}");
        let is_clean = code == Some(0)
            && took <= LIMIT
            && ["not stopped within", "going on without it"].iter().all(|bad| !log.contains(bad));
        if is_clean {
            return kept;
        }
        assert!(tried < TRIES, "{state}: exit code {code:?} after {took:?}: {log}");
    }
    unreachable!("the last try ends it")
}

async fn unfinished_request(program: &Program, text: &str) -> TcpStream {
    let mut stream = connect(program).await;
    stream.write_all(text.as_bytes()).await.expect("it is open");
    // so that it has been read; where it has not, there is one state less to be tried
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_idle() {
    stops_cleanly("idle", async || (Program::start(&[]), ())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_viewer_watches() {
    let arrange = async || {
        let program = Program::start(&[]);
        let mut viewer = watch(&program, Options::default()).await;
        viewer.receiver.picture("the first").await;
        (program, viewer)
    };
    stops_cleanly("one viewer seated", arrange).await.receiver.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_viewer_connects() {
    let arrange = async || {
        let program = Program::start(&[]);
        let receiver = Receiver::offer(Options::default()).await;
        answer_for(&program, &receiver.sdp, &[]).await;
        until(&program, "it is connecting", |status| status["encoder"]["subscribers"] == 1).await;
        (program, receiver)
    };
    stops_cleanly("viewer connecting", arrange).await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_camera_is_away() {
    let arrange = async || {
        let program = Program::start(&AWAY);
        until(&program, "the camera is missing", |status| status["camera"]["camera"] == "away").await;
        (program, ())
    };
    stops_cleanly("camera away", arrange).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_websocket_is_open_which_is_told() {
    let arrange = async || {
        let program = Program::start(&[]);
        let mut socket = open_socket(&program).await;
        say(&mut socket, json!({"type": "hello", "version": 1})).await;
        hear(&mut socket, "welcome").await;
        (program, tokio::spawn(async move { hear(&mut socket, "bye").await }))
    };
    let told = stops_cleanly("WebSocket without an offer", arrange).await;
    assert_eq!(told.await.expect("it is told")["reason"], "shutdown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_request_is_half_sent() {
    let arrange = async || {
        let program = Program::start(&[]);
        let half = unfinished_request(&program, HALF_A_REQUEST).await;
        (program, half)
    };
    stops_cleanly("half a request", arrange).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_body_is_uploaded() {
    let arrange = async || {
        let program = Program::start(&[]);
        let head = format!(
            "POST /whep HTTP/1.1\r\nHost: {}\r\nContent-Type: application/sdp\r\nContent-Length: 60000\r\n\r\nv=0\r\n",
            program.address
        );
        let half = unfinished_request(&program, &head).await;
        (program, half)
    };
    stops_cleanly("half a body", arrange).await;
}

const HALF_A_REQUEST: &str = "GET / HTTP/1.1\r\nHost: ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    for tried in 1.. {
        let mut program = Program::start(&[]);
        // holds the orderly stop up for the better part of a second
        let _half = unfinished_request(&program, HALF_A_REQUEST).await;
        program.terminate();
        // two at once are one
        program.until_logged("stopping: SIGTERM");
        program.terminate();
        let (code, _) = program.wait(PATIENCE);
        if code == Some(128 + 15) {
            return;
        }
        // it may have been the quicker one on a busy machine
        assert!(tried < TRIES, "{code:?} is the orderly end: {}", program.log());
    }
}
