//! WebSockets that never say hello, or never ask for the picture.

use crate::raw::{connect_as, head, is_full, until_closed, upgrade};
use crate::siege::{Siege, newcomer_gets_the_picture};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// `{"type":"hello","version":1}` as a masked text frame; the mask is zero.
fn hello() -> Vec<u8> {
    let text = br#"{"type":"hello","version":1}"#;
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_websockets_that_never_say_hello_or_offer() {
    let siege = Siege::lay("500 mute WebSockets").await;
    let text = upgrade(&siege.program.address.to_string(), "");
    let (mut held, mut refused, mut slowest): (Vec<TcpStream>, usize, Duration) = (Vec::new(), 0, Duration::ZERO);
    for number in 0..500 {
        let start = Instant::now();
        let mut stream = connect_as(&siege.program, number).await;
        let _ = stream.write_all(text.as_bytes()).await;
        let answer = head(&mut stream).await;
        if answer.starts_with("HTTP/1.1 101") {
            // every other one goes one step further
            if number % 2 == 1 {
                stream.write_all(&hello()).await.expect("it is open");
            }
            held.push(stream);
        } else {
            // nobody waits for a place: whoever gets one is upgraded
            let all = answer + &until_closed(&mut stream).await;
            assert!(is_full(&all), "{number}: {all:?}");
            slowest = slowest.max(start.elapsed());
            refused += 1;
        }
    }
    newcomer_gets_the_picture(&siege).await;
    let count = held.len();
    let mut waiting = JoinSet::new();
    for mut stream in held {
        waiting.spawn(async move { until_closed(&mut stream).await });
    }
    let words = waiting.join_all().await;
    let said = |reason: &str| words.iter().filter(|text| text.contains(reason)).count();
    let (hello, offer, full) = (said("hello-timeout"), said("offer-timeout"), said("\"code\":\"full\""));
    println!(
        "500 mute WebSockets: {count} upgraded, {refused} refused with 503 and the reason (slowest {slowest:?}); \
         ended: {hello} hello-timeout, {offer} offer-timeout, {full} no seat in the room"
    );
    assert!(hello > 0 && offer > 0, "{words:?}");
    assert_eq!(hello + offer + full, count, "each heard why: {words:?}");
    siege.lift().await;
}
