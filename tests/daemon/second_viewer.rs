//! A second viewer joins while the first watches.

use crate::client::watch;
use crate::program::Program;
use crate::receiver::{Options, Receiver};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use webrtc::peer_connection::RTCPeerConnectionState;

/// In ticks of the RTP clock: nothing but a break. A machine that stands still for a moment makes shorter ones.
const BREAK: u32 = 90_000 * 5;
/// A viewer that is not helped waits for the stream's own next key picture, 10 s after the one before.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Pictures that the first key picture may come after, of the 300 between two of the stream's own.
const FEW: u64 = 100;

async fn watch_closely(receiver: &mut Receiver, pictures: usize) {
    let mut last = receiver.fresh_picture("of the first viewer").await.rtp_time;
    for _ in 0..pictures {
        let time = receiver.picture("of the first viewer").await.rtp_time;
        assert!(time.wrapping_sub(last) < BREAK, "a break of {} s", f64::from(time.wrapping_sub(last)) / 90_000.0);
        last = time;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_viewer_starts_at_once_with_a_key_picture_and_the_first_sees_no_break() {
    let program = Program::start(&[]);
    let mut first = watch(&program, Options::default()).await;
    watch_closely(&mut first.receiver, 30).await;
    let joining = async {
        let mut second = watch(&program, Options::default()).await;
        second.receiver.wait_for(RTCPeerConnectionState::Connected).await;
        let connected = Instant::now();
        let picture = second.receiver.picture("the second viewer's first").await;
        let waited = connected.elapsed();
        // it may lose the first packets while its own keys are being set up, and asks for another key picture then
        let before = second.receiver.counters.before_key.load(Ordering::Relaxed);
        assert!(
            picture.key && before < FEW,
            "it starts with a key picture, {before} pictures were of no use before it"
        );
        eprintln!("{waited:?} from connected to the first picture, {before} before it");
        assert!(waited <= AT_ONCE, "{waited:?} from connected to the first picture");
        for _ in 0..30 {
            second.receiver.picture("of the second viewer").await;
        }
        second
    };
    let (second, ()) = tokio::join!(joining, watch_closely(&mut first.receiver, 60));
    for (who, viewer) in [("first", &first), ("second", &second)] {
        let undecodable = viewer.receiver.counters.undecodable.load(Ordering::Relaxed);
        let lost = (viewer.receiver.gaps().await, undecodable);
        assert_eq!(lost, (0, 0), "gaps and undecodable pictures of the {who}");
    }
    second.leave(&program).await;
    first.leave(&program).await;
}
