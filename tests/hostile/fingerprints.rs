//! Offers whose DTLS fingerprint is not that of who comes: somebody else's offer, taken on its way.

use crate::client::{answer_for, ask, soon};
use crate::receiver::{Options, Receiver};
use crate::siege::Siege;
use std::sync::atomic::Ordering;
use std::time::Duration;
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
        // nothing is known of its keys yet
        let reply = answer_for(&siege.program, &forged(&receiver.sdp), &[]).await;
        receiver.answer(&reply.body).await;
        thieves.push((receiver, reply.header("location").expect("201 has a Location").to_string()));
    }
    for (mut thief, location) in thieves {
        let tried = thief.state.wait_for(|state| *state != RTCPeerConnectionState::New);
        soon("it tries", tried).await.expect("it lives");
        // what it began is closed by its deadline at the latest
        let kind = [("Content-Type", "application/trickle-ice-sdpfrag")];
        soon("it is shown out", async {
            while ask(&siege.program, "PATCH", &location, &kind, "").await.status != 404 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        assert_eq!(thief.counters.packets.load(Ordering::Relaxed), 0, "media for somebody else's fingerprint");
        thief.close().await;
    }
    siege.lift().await;
}
