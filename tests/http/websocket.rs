//! A page's life on the WebSocket.

use crate::bench::{Bench, soon};
use crate::page::Page;
use futures_util::SinkExt;
use rtcam::capture::FaultKind;
use rtcam::http::Limits;
use rtcam::output::{CloseReason, ViewerEvent, ViewerId};
use rtcam::stream::status::CameraState;
use rtcam::units::Micros;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, connect_async};

#[tokio::test]
async fn hello_offer_candidate_and_leaving() {
    let bench = Bench::start().await;
    let mut page = Page::open(&bench).await;
    page.say(json!({"type": "hello", "version": 1})).await;
    let welcome = page.hear().await;
    assert_eq!((&welcome["type"], &welcome["version"]), (&json!("welcome"), &json!(1)));
    assert_eq!((&welcome["camera"], &welcome["viewer_limit"]), (&json!("live"), &json!(32)));
    page.say(json!({"type": "offer", "sdp": "v=0\r\n"})).await;
    assert_eq!(page.hear().await, json!({"type": "answer", "sdp": "v=0\r\nanswer\r\n", "viewer": 1}));
    page.say(json!({"type": "candidate", "candidate": {"candidate": "candidate:1", "sdpMid": "0"}})).await;
    page.say(json!({"type": "ping", "t": 7})).await;
    assert_eq!(page.hear().await, json!({"type": "pong", "t": 7.0}));
    assert_eq!(bench.door.book().candidates, [(ViewerId(1), "candidate:1".to_string())]);
    page.say(json!({"type": "bye"})).await;
    bench.until("the viewer is closed", |book| book.seated.is_empty()).await;
    assert_eq!(page.rest().await, [] as [&str; 0]);
    bench.stop().await;
}

#[tokio::test]
async fn the_cameras_changes_reach_the_page() {
    let bench = Bench::start().await;
    let mut page = Page::watching(&bench).await;
    bench.stream.0.lock().unwrap().camera =
        CameraState::Away { kind: FaultKind::Busy, detail: "held by cheese".into(), since: Micros(0), attempts: 1 };
    let away = page.hear().await;
    assert_eq!(away, json!({"type": "status", "camera": "away", "reason": "busy", "detail": "held by cheese"}));
    bench.stream.0.lock().unwrap().camera = CameraState::Live;
    assert_eq!(page.hear().await, json!({"type": "status", "camera": "live"}));
    bench.stop().await;
}

#[tokio::test]
async fn a_new_offer_takes_the_place_of_the_old_viewer() {
    let bench = Bench::start().await;
    let mut page = Page::watching(&bench).await;
    page.say(json!({"type": "offer", "sdp": "v=0"})).await;
    assert_eq!(page.hear().await["viewer"], 2);
    assert_eq!(bench.door.seated(), [ViewerId(2)]);
    bench.stop().await;
}

#[tokio::test]
async fn a_viewer_that_could_not_connect_is_reported() {
    let bench = Bench::start().await;
    let mut page = Page::watching(&bench).await;
    bench.door.tell(ViewerId(1), ViewerEvent::Closed(CloseReason::ConnectTimeout));
    let error = page.hear().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("connect-timeout")));
    bench.stop().await;
}

#[tokio::test]
async fn the_thirty_third_viewer_hears_at_once_that_the_house_is_full() {
    let bench = Bench::start().await;
    let mut pages = Vec::new();
    for _ in 0..32 {
        pages.push(Page::watching(&bench).await);
    }
    let mut page = Page::welcomed(&bench).await;
    page.say(json!({"type": "offer", "sdp": "v=0"})).await;
    let error = page.hear().await;
    assert_eq!((&error["code"], &error["retry_after_s"]), (&json!("full"), &json!(5)));
    bench.stop().await;
}

#[tokio::test]
async fn a_page_that_says_goodbye_takes_its_viewer_along_and_one_that_breaks_off_does_not() {
    let bench = Bench::start().await;
    let mut page = Page::watching(&bench).await;
    page.say(json!({"type": "bye"})).await;
    bench.until("the viewer is closed", |book| book.seated.is_empty()).await;
    drop(Page::watching(&bench).await);
    // the server has seen the end of it once the seat's viewer is handed to the page that comes back
    Page::watching(&bench).await;
    assert_eq!(bench.door.seated(), [ViewerId(2), ViewerId(3)]);
    bench.door.tell(ViewerId(2), ViewerEvent::Closed(CloseReason::Lost));
    bench.stop().await;
}

#[tokio::test]
async fn a_message_of_the_limit_passes_and_larger_ones_end_the_session() {
    let bench = Bench::start().await;
    let limit = Limits::default().session.message_bytes;
    let offer = |bytes: usize| json!({"type": "offer", "sdp": "x".repeat(bytes - 25)});
    assert_eq!(offer(limit).to_string().len(), limit);
    let mut page = Page::welcomed(&bench).await;
    page.say(offer(limit)).await;
    assert_eq!(page.hear().await["type"], "answer");
    for bytes in [limit + 1, limit + 100_000] {
        let mut page = Page::welcomed(&bench).await;
        page.say(offer(bytes)).await;
        assert_eq!(page.rest().await, ["error:too-large", "bye:too-large"], "{bytes}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn the_twenty_first_message_of_a_burst_is_refused() {
    let bench = Bench::start().await;
    let mut page = Page::welcomed(&bench).await;
    // so many that even a slow machine that stands still in between sends more than 20 in one second
    for n in 0..200 {
        page.0.feed(Message::text(json!({"type": "ping", "t": n}).to_string())).await.unwrap();
    }
    page.0.flush().await.unwrap();
    let mut pongs = 0;
    loop {
        let message = page.hear().await;
        match message["type"].as_str() {
            Some("pong") => pongs += 1,
            Some("error") => {
                assert_eq!(message["code"], "too-fast");
                break;
            }
            other => panic!("{other:?} after {pongs}"),
        }
    }
    assert!(pongs >= 19, "{pongs}");
    bench.stop().await;
}

#[tokio::test]
async fn the_sixty_fifth_candidate_is_refused() {
    let mut limits = Limits::default();
    limits.session.messages_per_s = 1000;
    let bench = Bench::with_limits(limits).await;
    let mut page = Page::watching(&bench).await;
    for _ in 0..65 {
        page.say(json!({"type": "candidate", "candidate": "candidate:1"})).await;
    }
    assert_eq!(page.hear().await["code"], "too-many-candidates");
    assert_eq!(bench.door.book().candidates.len(), 64);
    bench.stop().await;
}

#[tokio::test]
async fn unknown_types_and_binary_are_answered_without_closing() {
    let bench = Bench::start().await;
    let mut page = Page::watching(&bench).await;
    page.say(json!({"type": "dance"})).await;
    assert_eq!(page.hear().await["code"], "unknown-type");
    page.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(page.hear().await["code"], "bad-message");
    page.say(json!({"type": "ping", "t": 1})).await;
    assert_eq!(page.hear().await["type"], "pong");
    bench.stop().await;
}

#[tokio::test]
async fn a_page_that_says_nothing_is_closed_at_each_deadline() {
    let mut limits = Limits::default();
    limits.session.hello_within = Duration::from_millis(100);
    limits.session.offer_within = Duration::from_millis(100);
    let bench = Bench::with_limits(limits).await;
    assert_eq!(Page::open(&bench).await.rest().await, ["bye:hello-timeout"]);
    bench.stop().await;
    let mut limits = Limits::default();
    limits.session.offer_within = Duration::from_millis(100);
    let bench = Bench::with_limits(limits).await;
    assert_eq!(Page::welcomed(&bench).await.rest().await, ["bye:offer-timeout"]);
    bench.stop().await;
}

#[tokio::test]
async fn silence_is_pinged_and_then_closed() {
    let mut limits = Limits::default();
    // nobody's own silence while the machine stands still
    limits.session.ping_every = Duration::from_millis(500);
    limits.session.dead_after = Duration::from_secs(4);
    let bench = Bench::with_limits(limits).await;
    let mut page = Page::watching(&bench).await;
    let words = page.rest().await;
    assert_eq!(words.last().map(String::as_str), Some("bye:silent"), "{words:?}");
    assert!(words.contains(&"ping:".to_string()), "{words:?}");
    assert_eq!(bench.door.seated(), [ViewerId(1)], "its picture may well go on");
    bench.stop().await;
}

#[tokio::test]
async fn a_foreign_origin_is_refused_before_the_upgrade() {
    let bench = Bench::start().await;
    for (origin, welcome) in [
        (format!("http://{}", bench.address), true),
        (format!("http://localhost:{}", bench.address.port()), true),
        (format!("https://{}", bench.address), false),
        ("http://evil.example".to_string(), false),
        ("null".to_string(), false),
    ] {
        let mut request = format!("ws://{}/ws", bench.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        match connect_async(request).await {
            Ok(_) => assert!(welcome, "{origin}"),
            Err(tokio_tungstenite::tungstenite::Error::Http(reply)) => {
                assert!(!welcome && reply.status() == 403, "{origin}: {}", reply.status());
            }
            Err(e) => panic!("{origin}: {e}"),
        }
    }
    bench.stop().await;
}

#[tokio::test]
async fn stopping_says_goodbye_to_every_page() {
    let bench = Bench::start().await;
    let mut watching = Page::watching(&bench).await;
    let mut waiting = Page::open(&bench).await;
    bench.tell_to_stop();
    assert_eq!(watching.rest().await, ["bye:shutdown"]);
    assert_eq!(waiting.rest().await, ["bye:shutdown"]);
    let door = bench.door.clone();
    bench.stop().await;
    assert_eq!(door.seated(), []);
}

#[tokio::test]
async fn a_page_that_never_reads_is_closed_and_holds_nobody_up() {
    let mut limits = Limits { stall_within: Duration::from_millis(200), ..Limits::default() };
    limits.session.messages_per_s = 1_000_000;
    let bench = Bench::with_limits(limits).await;
    let (page, _) = Page::with_little_room(&bench).await.greet(json!({})).await;
    let mut page = page.watch().await;
    let ping = json!({"type": "ping", "t": 123456789.0}).to_string();
    // every ping asks for a pong that is never read: at last the server's side is full
    let flood = async { while page.0.send(Message::text(ping.clone())).await.is_ok() {} };
    soon(flood).await;
    Page::watching(&bench).await;
    bench.stop().await;
}

#[tokio::test]
async fn garbage_after_the_upgrade_ends_the_session() {
    let bench = Bench::start().await;
    let page = Page::watching(&bench).await;
    let MaybeTlsStream::Plain(mut stream) = page.0.into_inner() else { panic!("no TLS here") };
    stream.write_all(&[0xff; 64]).await.unwrap();
    bench.until("the viewer is closed", |book| book.seated.is_empty()).await;
    bench.stop().await;
}
