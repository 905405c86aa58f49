//! TCP connections that say nothing, or next to nothing.

use crate::raw::{connect_as, is_full, until_closed};
use crate::siege::{Siege, newcomer_gets_the_picture};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

/// `http::Limits`: in total, whoever they are from.
const CAP: usize = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_silent_connections_are_refused_or_closed() {
    let siege = Siege::lay("1,000 silent connections").await;
    let mut waiting = JoinSet::new();
    for number in 0..1000 {
        let mut stream = connect_as(&siege.program, number).await;
        waiting.spawn(async move { until_closed(&mut stream).await });
    }
    // every place is taken by somebody who says nothing
    newcomer_gets_the_picture(&siege).await;
    let answers = waiting.join_all().await;
    let refused = answers.iter().filter(|answer| is_full(answer)).count();
    let is_closed = |answer: &&String| answer.is_empty() || answer.starts_with("HTTP/1.1 408 ");
    let closed = answers.iter().filter(is_closed).count();
    println!("1,000 silent connections: {refused} gave way and heard why, {closed} closed at the deadline");
    assert_eq!(refused + closed, 1000, "something else was said: {answers:?}");
    assert!(refused >= 1000 - CAP, "each for whom there was no place hears why: {refused}");
    siege.lift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_slow_senders_are_closed_at_the_deadline() {
    let siege = Siege::lay("200 slow senders").await;
    let mut dripping = JoinSet::new();
    for number in 0..200 {
        let mut stream = connect_as(&siege.program, number).await;
        let host = siege.program.address;
        dripping.spawn(async move {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Slow: {}", "y".repeat(1000));
            let (mut from, mut to) = stream.split();
            let drip = async {
                for byte in text.bytes() {
                    if to.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                // its own deadline is over long before the text is
                std::future::pending::<()>().await;
            };
            let mut bytes = Vec::new();
            let reading = tokio::io::AsyncReadExt::read_to_end(&mut from, &mut bytes);
            tokio::select! {
                _ = drip => {}
                ended = tokio::time::timeout(crate::raw::CLOSED_WITHIN, reading) => {
                    let _ = ended.expect("a slow sender was never closed");
                }
            }
            String::from_utf8_lossy(&bytes).into_owned()
        });
    }
    let answers = dripping.join_all().await;
    let told = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 408")).count();
    println!(
        "200 slow senders: {told} heard 408, {} were just closed",
        answers.iter().filter(|a| a.is_empty()).count()
    );
    assert!(answers.iter().all(|answer| answer.is_empty() || answer.starts_with("HTTP/1.1 408")), "{answers:?}");
    siege.lift().await;
}
