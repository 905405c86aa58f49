//! Somebody in the room whose WebSocket is cut while the picture goes on.

use crate::client::{soon, until};
use crate::process::cpu_time;
use crate::program::Program;
use crate::receiver::{Options, Receiver};
use crate::signalling::{Socket, answered, hear, open_socket, say};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use webrtc::peer_connection::RTCPeerConnectionState;

/// In the room, watching, with the data channel open.
async fn join(program: &Program, name: &str) -> (Socket, Receiver, Value) {
    let mut socket = open_socket(program).await;
    say(&mut socket, json!({"type": "hello", "version": 1, "name": name})).await;
    let welcome = hear(&mut socket, "welcome").await;
    let mut receiver = Receiver::offer(Options::default()).await;
    let answer = answered(&mut socket, &receiver.sdp).await;
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

/// The first five lines of each of 32 people, to all of them.
const EVERYBODYS: u64 = 32 * 32 * 5;

/// A figure, not a promise: the machine may be busy, and this is no release build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_thirty_two_people_chatting_cost() {
    let program = Program::start(&[]);
    let (mut mouths, heard) = (Vec::new(), Arc::new(AtomicU64::new(0)));
    for number in 0..32 {
        let mut socket = open_socket(&program).await;
        say(&mut socket, json!({"type": "hello", "version": 1, "name": format!("P{number}")})).await;
        hear(&mut socket, "welcome").await;
        // who never offers is shown out after 10 s; who offered in vain stays without a picture
        say(&mut socket, json!({"type": "offer", "sdp": "none"})).await;
        let (mouth, mut ear) = socket.split();
        let heard = heard.clone();
        tokio::spawn(async move {
            while let Some(Ok(Message::Text(text))) = ear.next().await {
                heard.fetch_add(u64::from(text.contains(r#""type":"chat""#)), Ordering::Relaxed);
            }
        });
        mouths.push(mouth);
    }
    let idle = cpu_time(&program);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = cpu_time(&program) - idle;
    let (before, rounds) = (cpu_time(&program), 25u32);
    for round in 0..rounds {
        for mouth in &mut mouths {
            let line = json!({"type": "chat", "text": format!("line {round}")}).to_string();
            mouth.send(Message::text(line)).await.expect("it is open");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let cost = (cpu_time(&program) - before).saturating_sub(idle * 5);
    let share = cost.as_secs_f64() / 5.0 * 100.0;
    let all_heard = async {
        while heard.load(Ordering::Relaxed) < EVERYBODYS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the first five lines of each reach everybody", all_heard).await;
    let lines = heard.load(Ordering::Relaxed);
    eprintln!(
        "32 people, 5 lines a second each, for 5 s: {share:.1} % of a core, {lines} lines heard (idle {idle:?}/s)"
    );
}
