//! Somebody in the room whose WebSocket is cut while the picture goes on.

use crate::client::{soon, until};
use crate::program::Program;
use crate::receiver::{Options, Receiver};
use crate::signalling::{Socket, hear, open_socket, say};
use serde_json::{Value, json};
use webrtc::peer_connection::RTCPeerConnectionState;

/// In the room, watching, with the data channel open.
async fn join(program: &Program, name: &str) -> (Socket, Receiver, Value) {
    let mut socket = open_socket(program).await;
    say(&mut socket, json!({"type": "hello", "version": 1, "name": name})).await;
    let welcome = hear(&mut socket, "welcome").await;
    let mut receiver = Receiver::offer(Options::default()).await;
    say(&mut socket, json!({"type": "offer", "sdp": receiver.sdp})).await;
    let answer = hear(&mut socket, "answer").await;
    receiver.answer(answer["sdp"].as_str().expect("text")).await;
    receiver.wait_for(RTCPeerConnectionState::Connected).await;
    receiver.channel_answer(r#"{"type":"clock","t0":1}"#, "clock").await;
    (socket, receiver, welcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_channel_carries_on_when_the_socket_is_cut_and_the_seat_is_had_back() {
    let program = Program::start(&[]);
    let (cut, mut ann, welcome) = join(&program, "Ann").await;
    let (_bob_socket, bob, _) = join(&program, "Bob").await;
    let status = until(&program, "both are listed", |status| status["people"] == 2).await;
    let viewers = status["viewers"].as_array().expect("a list");
    assert!(viewers.iter().any(|viewer| viewer["name"] == "Ann"), "{status}");
    drop(cut);
    let by_ann = ann.channel_answer(r#"{"type":"chat","text":"without a socket"}"#, "chat").await;
    let heard = bob.channel_answer("", "chat").await;
    assert_eq!(heard, by_ann);
    bob.channel_answer(r#"{"type":"chat","text":"I hear you"}"#, "chat").await;
    assert!(ann.channel_answer("", "chat").await.contains("I hear you"));
    let refused = ann.channel_answer(r#"{"type":"set","base":0,"values":{"nothing":1}}"#, "error").await;
    assert!(refused.contains("bad-value"), "{refused}");
    ann.fresh_picture("without a socket").await;

    let mut socket = open_socket(&program).await;
    say(&mut socket, json!({"type": "hello", "version": 1, "resume": welcome["resume"]})).await;
    let back = soon("the welcome", hear(&mut socket, "welcome")).await;
    assert_eq!((&back["resumed"], &back["seat"]), (&json!(true), &welcome["seat"]));
    assert!(back["viewer"].is_number(), "{back}");
    assert_eq!(back["room"]["chat"].as_array().map(Vec::len), Some(2));
    ann.fresh_picture("after the return").await;
    say(&mut socket, json!({"type": "bye"})).await;
    until(&program, "one is left", |status| status["viewers"].as_array().is_some_and(|v| v.len() == 1)).await;
    ann.close().await;
    bob.close().await;
}
