//! Offers whose DTLS fingerprint is not that of who comes: somebody else's offer, taken on its way.

use crate::client::{post_offer, until};
use crate::receiver::{Options, Receiver};
use crate::siege::Siege;
use std::sync::atomic::Ordering;
use webrtc::peer_connection::RTCPeerConnectionState;

/// Another digit at the end of each fingerprint.
fn forged(sdp: &str) -> String {
    let forge = |line: &str| match line.strip_prefix("a=fingerprint:") {
        Some(_) => {
            let (start, last) = line.split_at(line.len() - 1);
            format!("{start}{}", if last == "0" { "1" } else { "0" })
        }
        None => line.to_string(),
    };
    sdp.lines().map(|line| forge(line) + "\r\n").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_fingerprint_gets_no_picture() {
    let siege = Siege::lay("wrong DTLS fingerprints").await;
    let mut thieves = Vec::new();
    for _ in 0..4 {
        let receiver = Receiver::offer(Options { decode: false, ..Options::default() }).await;
        let reply = post_offer(&siege.program, &forged(&receiver.sdp), &[]).await;
        assert_eq!(reply.status, 201, "nothing is known of its keys yet: {reply:?}");
        receiver.answer(&reply.body).await;
        thieves.push(receiver);
    }
    // what they began is closed by its deadline at the latest
    until(&siege.program, "only the four are left", |status| {
        status["viewers"].as_array().is_some_and(|viewers| viewers.len() == 4)
    })
    .await;
    for thief in thieves {
        assert_ne!(*thief.state.borrow(), RTCPeerConnectionState::New, "it has tried");
        assert_eq!(thief.counters.packets.load(Ordering::Relaxed), 0, "media for somebody else's fingerprint");
        thief.close().await;
    }
    siege.lift().await;
}
