//! The TCP door's caps and deadlines.

use crate::bench::{Bench, Reply, soon};
use crate::page::Page;
use rtcam::http::Limits;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn quick() -> Limits {
    Limits { header_within: Duration::from_millis(150), body_within: Duration::from_millis(150), ..Limits::default() }
}

/// Whoever waits for their deadlines fails.
pub fn patient() -> Limits {
    const LONG: Duration = Duration::from_secs(3600);
    Limits { header_within: LONG, body_within: LONG, ..Limits::default() }
}

/// Reads until the server closes.
async fn closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn serves_again(bench: &Bench) {
    while bench.get("/healthz").await.status != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_at_the_deadline() {
    let bench = Bench::with_limits(quick()).await;
    let mut stream = bench.connect().await;
    closed(&mut stream).await;
    bench.stop().await;
}

#[tokio::test]
async fn one_byte_at_a_time_does_not_stretch_the_deadline() {
    let bench = Bench::with_limits(quick()).await;
    let mut stream = bench.connect().await;
    let drip = async {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(10_000));
        for byte in text.bytes() {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(drip).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_408() {
    let bench = Bench::with_limits(quick()).await;
    let mut stream = bench.connect().await;
    let head = format!("POST /whep HTTP/1.1\r\nHost: {}\r\nContent-Type: application/sdp\r\n", bench.address);
    stream.write_all(format!("{head}Content-Length: 100\r\n\r\nv=0").as_bytes()).await.unwrap();
    assert!(closed(&mut stream).await.starts_with("HTTP/1.1 408"));
    bench.stop().await;
}

#[tokio::test]
async fn a_connection_that_idles_after_its_request_is_closed() {
    let bench = Bench::with_limits(quick()).await;
    let mut stream = bench.connect().await;
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", bench.address).as_bytes()).await.unwrap();
    assert!(closed(&mut stream).await.starts_with("HTTP/1.1 200"));
    bench.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_but_never_reads_is_closed() {
    let bench = Bench::with_limits(Limits { stall_within: Duration::from_millis(150), ..Limits::default() }).await;
    let mut stream = bench.connect().await;
    let request = format!("GET /session.js HTTP/1.1\r\nHost: {}\r\n\r\n", bench.address);
    // answered until nobody takes the answers; then our own sending gets stuck, and at last breaks
    let flood = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    soon(flood).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_header_without_end_is_refused() {
    let bench = Bench::start().await;
    let mut stream = bench.connect().await;
    let _ = stream.write_all(b"GET / HTTP/1.1\r\n").await;
    for n in 0..2000 {
        if stream.write_all(format!("X-{n}: {}\r\n", "y".repeat(64)).as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = closed(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    bench.stop().await;
}

#[tokio::test]
async fn one_connection_over_the_cap_is_refused_at_once_with_the_reason() {
    let bench = Bench::with_limits(Limits { connections: 20, ..Limits::default() }).await;
    // loopback is exempt from the cap per address, not from the total
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(Page::watching(&bench).await);
    }
    let refused = Reply::read(&mut bench.connect().await).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(refused.body.contains("all the connections"), "{}", refused.body);
    drop(held.pop());
    soon(serves_again(&bench)).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_websocket_that_watches_keeps_its_seat_until_it_is_gone() {
    let bench = Bench::with_limits(Limits { connections: 1, ..Limits::default() }).await;
    let page = Page::watching(&bench).await;
    assert_eq!(bench.get("/healthz").await.status, 503);
    drop(page);
    soon(serves_again(&bench)).await;
    bench.stop().await;
}

#[tokio::test]
async fn who_says_nothing_gives_way_to_a_newcomer_and_hears_why() {
    let bench = Bench::with_limits(Limits { connections: 1, ..Limits::default() }).await;
    let mut silent = bench.connect().await;
    let mut half = bench.connect().await;
    let told = closed(&mut silent).await;
    assert!(
        told.starts_with("HTTP/1.1 503 ") && told.contains("Retry-After: 5") && told.contains("said nothing"),
        "{told}"
    );
    half.write_all(b"POST /whep HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    let mut greeted = Page::open(&bench).await;
    assert!(closed(&mut half).await.contains("said nothing"));
    greeted.say(json!({"type": "hello", "version": 1})).await;
    greeted.hear_of("welcome").await;
    // it never asked for the picture
    let mut speechless = Page::open(&bench).await;
    assert_eq!(greeted.rest().await, ["bye:offer-timeout"]);
    let mut watching = Page::watching(&bench).await;
    assert_eq!(speechless.rest().await, ["bye:hello-timeout"]);
    assert_eq!(bench.get("/healthz").await.status, 503, "somebody watches");
    watching.say(json!({"type": "ping", "t": 1})).await;
    watching.hear_of("pong").await;
    bench.stop().await;
}

#[tokio::test]
async fn each_of_five_hundred_refused_at_once_hears_why() {
    let bench = Bench::with_limits(Limits { connections: 1, ..Limits::default() }).await;
    let _page = Page::watching(&bench).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let mut stream = bench.connect().await;
        waiting.spawn(async move { closed(&mut stream).await });
    }
    let answers = waiting.join_all().await;
    let told = answers.iter().filter(|answer| answer.contains("all the connections")).count();
    assert_eq!(told, 500);
    bench.stop().await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_silent_connections() {
    let bench = Bench::with_limits(patient()).await;
    let mut silent = bench.connect().await;
    let mut half = bench.connect().await;
    half.write_all(b"POST /whep HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    bench.get("/healthz").await;
    bench.stop().await;
    closed(&mut silent).await;
    closed(&mut half).await;
}
