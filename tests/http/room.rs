//! People in the room, over real WebSockets.

use crate::bench::{Bench, soon};
use crate::page::Page;
use rtcam::config::Config;
use rtcam::http::Limits;
use rtcam::output::{ViewerEvent, ViewerId};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Nobody there watches, and nobody minds.
async fn patient() -> Bench {
    let mut limits = Limits { stall_within: Duration::from_secs(60), ..Limits::default() };
    limits.session.offer_within = Duration::from_secs(3600);
    // nobody there answers pings
    (limits.session.ping_every, limits.session.dead_after) = (Duration::from_secs(3600), Duration::from_secs(7200));
    limits.session.messages_per_s = 1_000_000;
    Bench::with_limits(limits).await
}

async fn person(bench: &Bench, name: &str) -> (Page, u64) {
    let (page, welcome) = Page::greeted(bench, json!({"name": name})).await;
    assert_eq!(welcome["seat"]["name"], name, "{welcome}");
    (page, welcome["seat"]["id"].as_u64().unwrap())
}

#[tokio::test]
async fn presence_is_told_with_names_and_the_welcome_has_everything() {
    let bench = Bench::start().await;
    let (mut ann, ann_id) = person(&bench, "Ann").await;
    let (mut bob, welcome) = Page::greeted(&bench, json!({"name": "Ann"})).await;
    assert_eq!(welcome["seat"]["name"], "Ann 2");
    assert_eq!((&welcome["seat"]["role"], &welcome["resumed"]), (&json!("host"), &json!(false)));
    assert_eq!(welcome["resume"].as_str().unwrap().len(), 32);
    assert_eq!(welcome["ice_servers"], json!([]));
    let room = &welcome["room"];
    assert_eq!((room["people"].as_array().unwrap().len(), &room["holder"]), (2, &Value::Null));
    let state = bob.hear_of("state").await;
    assert_eq!(state["values"], json!({"control.brightness": 1}));
    let joined = ann.hear_of("peers").await;
    assert_eq!((&joined["joined"]["name"], &joined["joined"]["watching"]), (&json!("Ann 2"), &json!(false)));

    bob.say(json!({"type": "offer", "sdp": "v=0"})).await;
    bob.hear_of("answer").await;
    bench.door.tell(ViewerId(1), ViewerEvent::Connected);
    assert_eq!(ann.hear_of("peers").await["changed"]["watching"], true);
    bob.say(json!({"type": "chat", "text": "hello"})).await;
    let line = ann.hear_of("chat").await;
    assert_eq!((&line["name"], &line["text"]), (&json!("Ann 2"), &json!("hello")));
    bob.say(json!({"type": "bye"})).await;
    let left = ann.hear_of("peers").await;
    assert_eq!(left["changed"]["watching"], Value::Null, "{left}");
    assert_eq!(left["reason"], "left");
    assert_ne!(left["left"], ann_id);
    bench.stop().await;
}

#[tokio::test]
async fn a_change_by_one_is_a_patch_for_all() {
    let bench = Bench::start().await;
    let (mut ann, ann_id) = person(&bench, "Ann").await;
    let (mut bob, _) = person(&bench, "Bob").await;
    let state = bob.hear_of("state").await;
    ann.say(json!({"type": "set", "base": state["version"], "values": {"control.brightness": 77}})).await;
    for page in [&mut ann, &mut bob] {
        let patch = page.hear_of("patch").await;
        assert_eq!((&patch["values"]["control.brightness"], &patch["by"]), (&json!(77), &json!(ann_id)));
    }
    bob.say(json!({"type": "set", "base": state["version"], "values": {"control.brightness": 1}})).await;
    assert_eq!(bob.hear_of("error").await["code"], "stale");
    assert_eq!(bob.hear_of("state").await["values"]["control.brightness"], 77);
    ann.say(json!({"type": "set", "base": 9, "values": {"control.brightness": 256}})).await;
    assert_eq!(ann.hear_of("error").await["code"], "bad-value");
    bench.stop().await;
}

#[tokio::test]
async fn kicking_closing_and_control() {
    let bench = Bench::start().await;
    let (mut ann, ann_id) = person(&bench, "Ann").await;
    let (mut bob, bob_id) = person(&bench, "Bob").await;
    bob.say(json!({"type": "request"})).await;
    assert_eq!(ann.hear_of("control").await["asking"], json!([bob_id]));
    ann.say(json!({"type": "grant", "to": bob_id})).await;
    assert_eq!(bob.hear_of("control").await["asking"], json!([bob_id]));
    assert_eq!(bob.hear_of("control").await, json!({"type": "control", "holder": bob_id, "asking": []}));
    ann.say(json!({"type": "role", "to": bob_id, "role": "viewer"})).await;
    bob.say(json!({"type": "kick", "to": ann_id})).await;
    assert_eq!(bob.hear_of("error").await["code"], "refused");
    ann.say(json!({"type": "links"})).await;
    assert_eq!(ann.hear_of("links").await["links"], json!([]));
    ann.say(json!({"type": "kick", "to": bob_id})).await;
    let words = bob.rest().await;
    assert_eq!(words.last().map(String::as_str), Some("bye:kicked"), "{words:?}");
    let mut again = Page::open(&bench).await;
    again.say(json!({"type": "hello", "version": 1, "name": "Bob"})).await;
    assert_eq!(again.rest().await, ["error:closed", "bye:closed"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_page_that_comes_back_has_its_seat_and_its_viewer_again() {
    let bench = Bench::start().await;
    let (mut ann, welcome) = Page::greeted(&bench, json!({"name": "Ann"})).await;
    let (mut bob, _) = person(&bench, "Bob").await;
    ann.say(json!({"type": "offer", "sdp": "v=0"})).await;
    ann.hear_of("answer").await;
    bench.door.tell(ViewerId(1), ViewerEvent::Connected);
    assert_eq!(bob.hear_of("peers").await["changed"]["watching"], true);
    drop(ann);
    let resume = json!({"resume": welcome["resume"]});
    let (mut ann, back) = Page::greeted(&bench, resume.clone()).await;
    assert_eq!((&back["resumed"], &back["seat"], &back["viewer"]), (&json!(true), &welcome["seat"], &json!(1)));

    // a second socket of the same seat: the newest wins
    let (mut newer, again) = Page::greeted(&bench, resume).await;
    assert_eq!((&again["seat"], &again["viewer"]), (&welcome["seat"], &json!(1)));
    assert_eq!(ann.rest().await.last().map(String::as_str), Some("bye:left"));
    assert_eq!(bench.door.seated(), [ViewerId(1)]);
    newer.say(json!({"type": "chat", "text": "still me"})).await;
    assert_eq!(bob.hear_of("chat").await["from"], welcome["seat"]["id"], "and nobody was told of any of it");
    bench.stop().await;
}

#[tokio::test]
async fn chat_and_state_go_on_over_the_data_channel_when_the_socket_is_gone() {
    let bench = Bench::start().await;
    let (mut ann, welcome) = Page::greeted(&bench, json!({"name": "Ann"})).await;
    let (mut bob, bob_id) = person(&bench, "Bob").await;
    ann.say(json!({"type": "offer", "sdp": "v=0"})).await;
    ann.hear_of("answer").await;
    bench.door.tell(ViewerId(1), ViewerEvent::Connected);
    bench.door.tell(ViewerId(1), ViewerEvent::Channel(true));
    drop(ann);
    let said = json!({"type": "chat", "text": "by the other way"}).to_string();
    bench.door.tell(ViewerId(1), ViewerEvent::Said(said));
    assert_eq!(bob.hear_of("chat").await["from"], welcome["seat"]["id"]);
    bob.say(json!({"type": "chat", "text": "I hear you"})).await;
    bench.until("chat by channel", |book| book.said.iter().any(|(_, text)| text.contains("I hear you"))).await;
    bob.say(json!({"type": "set", "base": 9, "values": {"control.brightness": 5}})).await;
    bench
        .until("a patch by channel", |book| book.said.iter().any(|(_, text)| text.contains(r#""type":"patch""#)))
        .await;
    // while there is no socket, everything goes that way
    let call = json!({"type": "call", "to": bob_id}).to_string();
    bench.door.tell(ViewerId(1), ViewerEvent::Said(call));
    assert_eq!(bob.hear_of("call").await["from"], welcome["seat"]["id"]);
    bob.say(json!({"type": "accept", "to": welcome["seat"]["id"]})).await;
    bench
        .until("accept by channel", |book| book.said.iter().any(|(_, text)| text.contains(r#""type":"accept""#)))
        .await;
    bench.door.tell(ViewerId(1), ViewerEvent::Said("{".into()));
    bench.until("an error by channel", |book| book.said.iter().any(|(_, text)| text.contains("bad-message"))).await;
    bench.door.tell(ViewerId(1), ViewerEvent::Behind);
    bench
        .until("the state anew", |book| book.said.iter().filter(|(_, t)| t.contains(r#""type":"state""#)).count() > 0)
        .await;
    let (_ann, back) = Page::greeted(&bench, json!({"resume": welcome["resume"]})).await;
    assert_eq!((&back["resumed"], &back["viewer"]), (&json!(true), &json!(1)));
    bench.stop().await;
}

#[tokio::test]
async fn a_whep_client_is_seen_and_can_be_put_out() {
    let bench = Bench::start().await;
    let (mut ann, _) = person(&bench, "Ann").await;
    let reply = bench.ask("POST", "/whep", &[("Content-Type", "application/sdp")], "v=0").await;
    assert_eq!(reply.status, 201);
    let joined = ann.hear_of("peers").await["joined"].clone();
    assert_eq!(joined["name"], "WHEP");
    bench.door.tell(ViewerId(1), ViewerEvent::Connected);
    assert_eq!(ann.hear_of("peers").await["changed"]["watching"], true);
    ann.say(json!({"type": "watch", "on": true})).await;
    let table = ann.hear_of("viewers").await;
    let row = table["list"].as_array().unwrap().iter().find(|row| row["name"] == "WHEP").unwrap().clone();
    assert_eq!((&row["viewer"], &row["state"], &row["address"]), (&json!(1), &json!("connected"), &json!("192.0.2.x")));
    ann.say(json!({"type": "kick", "to": joined["id"]})).await;
    bench.until("the viewer is closed", |book| book.seated.is_empty()).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_full_room_says_so() {
    let mut config = Config::default();
    (config.room.max_people, config.webrtc.max_viewers) = (2, 2);
    let bench = Bench::with(Limits::default(), config).await;
    let (mut ann, _ben) = (Page::watching(&bench).await, Page::watching(&bench).await);
    for viewer in [1, 2] {
        bench.door.tell(ViewerId(viewer), ViewerEvent::Connected);
        while ann.hear_of("peers").await["changed"]["watching"] != true {}
    }
    let mut late = Page::open(&bench).await;
    late.say(json!({"type": "hello", "version": 1})).await;
    assert_eq!(late.rest().await, ["error:full", "bye:closed"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_page_that_does_not_read_loses_its_socket_and_not_its_seat() {
    let mut limits = Limits { seat_messages: 4, stall_within: Duration::from_secs(60), ..Limits::default() };
    limits.session.offer_within = Duration::from_secs(3600);
    let bench = Bench::with_limits(limits).await;
    let (mut deaf, welcome) = Page::greeted(&bench, json!({"name": "Deaf"})).await;
    let (mut ann, _) = person(&bench, "Ann").await;
    ann.hear_of("state").await;
    let flood = async {
        // more than the kernel holds for a connection, in states of 200 KB
        for number in 0..100 {
            bench.stream.1.send_modify(|known| {
                let known = std::sync::Arc::make_mut(known);
                known.version += 1;
                known.controls[0].name = format!("{number}{}", "x".repeat(200_000));
            });
            ann.hear_of("state").await;
        }
    };
    soon(flood).await;
    assert_eq!(deaf.rest().await.last().map(String::as_str), Some("bye:behind"));
    let (_deaf, back) = Page::greeted(&bench, json!({"resume": welcome["resume"]})).await;
    assert_eq!(back["resumed"], true);
    bench.stop().await;
}

#[tokio::test]
async fn the_status_and_the_metrics_know_who_watches() {
    let bench = Bench::start().await;
    let (mut ann, ann_id) = person(&bench, "Ann").await;
    ann.say(json!({"type": "offer", "sdp": "v=0"})).await;
    ann.hear_of("answer").await;
    ann.say(json!({"type": "report", "fps": 29.5, "freezes": 2, "latency_ms": 81.5})).await;
    ann.say(json!({"type": "ping", "t": 1})).await;
    ann.hear_of("pong").await;
    let status: Value = serde_json::from_str(&bench.get("/api/v1/status").await.body).unwrap();
    let viewer = &status["viewers"][0];
    assert_eq!((&viewer["name"], &viewer["seat"], &status["people"]), (&json!("Ann"), &json!(ann_id), &json!(1)));
    assert_eq!(viewer["report"]["latency_ms"], 81.5);
    let metrics = bench.get("/metrics").await.body;
    assert!(metrics.contains("rtcam_viewer_page_fps{viewer=\"1\"} 29.5"), "{metrics}");
    assert!(!metrics.contains("Ann"));
    bench.stop().await;
}

#[tokio::test]
async fn the_log_of_viewers_has_who_came_and_went() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.log.viewers_file = folder.path().join("viewers.jsonl");
    let bench = Bench::with(Limits::default(), config.clone()).await;
    let (mut ann, ann_id) = person(&bench, "Ann").await;
    ann.say(json!({"type": "bye"})).await;
    let lines = async {
        loop {
            let text = std::fs::read_to_string(&config.log.viewers_file).unwrap_or_default();
            if text.contains("left") {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let text = soon(lines).await;
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|line| line["event"] == "joined" && line["name"] == "Ann"), "{text}");
    assert!(events.iter().any(|line| line["event"] == "left" && line["seat"] == ann_id), "{text}");
    bench.stop().await;
}

/// Figures, not promises: the machine may be busy.
#[tokio::test]
async fn how_fast_presence_and_control_spread() {
    let bench = patient().await;
    let (mut ann, ann_id) = person(&bench, "Ann").await;
    let mut others = Vec::new();
    for number in 0..31 {
        others.push(person(&bench, &format!("P{number}")).await.0);
    }
    let mut spans = Vec::new();
    for round in 0..40 {
        let (kind, message) = match round % 2 {
            0 => ("control", json!({"type": "grant", "to": ann_id})),
            _ => ("control", json!({"type": "revoke"})),
        };
        let begun = Instant::now();
        ann.say(message).await;
        for page in &mut others {
            page.hear_of(kind).await;
        }
        spans.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    spans.sort();
    let mut joins = Vec::new();
    for number in 0..20 {
        let begun = Instant::now();
        let (mut page, _) = person(&bench, &format!("Q{number}")).await;
        loop {
            if others[30].hear_of("peers").await["joined"]["name"] == format!("Q{number}") {
                break;
            }
        }
        joins.push(begun.elapsed());
        page.say(json!({"type": "bye"})).await;
    }
    joins.sort();
    eprintln!(
        "control seen by all 31 others: p50 {:?}, p95 {:?}; join seen: p50 {:?}, p95 {:?}",
        spans[20], spans[38], joins[10], joins[18]
    );
    bench.stop().await;
}
