//! Offers and answers: what the answer states, what is refused, an ICE restart.

use crate::bars::Bars;
use crate::door::{HERE, event, gone, join, refused, start, until};
use crate::receiver::{self, Options, Receiver};
use rtcam::clock::Clock;
use rtcam::output::webrtc::WebRtc;
use rtcam::output::{CloseReason, Offer, OfferError, ViewerDoor, ViewerEvent, ViewerId};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_states_what_the_stream_is() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    for profile in ["42e01f", "42001f"] {
        let receiver = Receiver::offer(Options { profile_level_id: profile, ..Options::default() }).await;
        let (events, _keep) = mpsc::channel(8);
        let answer =
            door.offer(Offer { sdp: receiver.sdp.clone(), from: HERE, events }).await.expect("reply").expect("good");
        let wanted = format!("profile-level-id={}0d", &profile[..4]);
        assert!(answer.sdp.contains(&wanted), "{wanted} in {}", answer.sdp);
        assert!(answer.sdp.contains("packetization-mode=1") && answer.sdp.contains("a=sendonly"));
        assert!(answer.sdp.contains("a=setup:passive") && answer.sdp.contains("typ host"));
        door.close(answer.viewer);
        receiver.close().await;
    }
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_cannot_work_are_refused_with_the_reason_and_leave_nothing() {
    let bars = Bars::start();
    let door = start(&bars, 1);
    let vp8 = Receiver::offer(Options { codec: receiver::VP8, ..Options::default() }).await;
    assert_eq!(refused(&door, vp8.sdp.clone()).await, OfferError::NoH264);
    assert!(matches!(refused(&door, "hello".into()).await, OfferError::BadOffer(_)));
    let good = Receiver::offer(Options::default()).await;
    let broken = good.sdp.replace("a=mid:", "a=nid:");
    assert!(matches!(refused(&door, broken).await, OfferError::BadOffer(_)));
    gone(&door, &bars).await;
    let (mut seated, _, _events) = join(&door, Options::default()).await;
    seated.picture("the only place").await;
    assert_eq!(refused(&door, good.sdp.clone()).await, OfferError::Full { max_viewers: 1 });
    for receiver in [vp8, good, seated] {
        receiver.close().await;
    }
    gone(&door, &bars).await;
}

/// An offer that nobody follows up.
async fn offer(door: &WebRtc, from: IpAddr, sdp: &str) -> Result<mpsc::Receiver<ViewerEvent>, OfferError> {
    let (events, events_out) = mpsc::channel(8);
    let reply = door.offer(Offer { sdp: sdp.into(), from, events }).await.expect("an answer comes");
    reply.map(|_| events_out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_offers_and_never_connects_keeps_nobody_out() {
    let bars = Bars::start();
    let door = start(&bars, 3);
    let crowd = IpAddr::from([192, 0, 2, 1]);
    let silent = Receiver::offer(Options::default()).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(offer(&door, crowd, &silent.sdp).await.expect("there is a place"));
    }
    assert!(matches!(refused(&door, "hello".into()).await, OfferError::BadOffer(_)));
    until(|| "somebody gave way for an offer that is no good".into(), || door.viewers().len() == 3).await;
    let mut seated = Vec::new();
    for (number, first) in held.iter_mut().enumerate() {
        let (mut receiver, viewer, events) = join(&door, Options::default()).await;
        assert_eq!(event(first).await, ViewerEvent::Closed(CloseReason::GaveWay), "the oldest of the crowd");
        receiver.picture(&format!("newcomer {number}")).await;
        seated.push((receiver, viewer, events));
    }
    assert_eq!(offer(&door, crowd, &silent.sdp).await.err(), Some(OfferError::Full { max_viewers: 3 }));
    for (mut receiver, ..) in seated {
        receiver.fresh_picture("who is connected stays").await;
        receiver.close().await;
    }
    silent.close().await;
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_messages_is_counted_where_it_does_not_fit_and_stopping_is_heard_through_it() {
    let door = start(&Bars::start(), 4);
    for _ in 0..1_000 {
        (0..1_000).for_each(|_| door.add_candidate(ViewerId(99), String::new()));
        if door.network().socket.messages_lost > 0 {
            break;
        }
    }
    assert!(door.network().socket.messages_lost > 0, "the queue has a bound");
    let (clock, begun) = (Clock::system(), std::time::Instant::now());
    door.stop(&clock, Duration::from_secs(30));
    assert!(begun.elapsed() < Duration::from_secs(30), "both threads have ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_never_connects_is_closed_after_the_deadline() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let receiver = Receiver::offer(Options::default()).await;
    let (events, mut events_out) = mpsc::channel(8);
    door.offer(Offer { sdp: receiver.sdp.clone(), from: HERE, events }).await.expect("reply").expect("good");
    let ViewerEvent::Tried(tried) = event(&mut events_out).await else { panic!("what was tried comes first") };
    assert_eq!((tried.ours.join(" "), tried.checks_received), ("host udp 4".to_string(), 0));
    // whether its candidates are in the offer already is a matter of luck
    assert!(tried.theirs.iter().all(|kind| kind == "host udp 4"), "{tried:?}");
    assert_eq!(event(&mut events_out).await, ViewerEvent::Closed(CloseReason::ConnectTimeout));
    receiver.close().await;
    gone(&door, &bars).await;
}

/// Given to a core that has no path they would be lost, and the viewer would ask for each of their packets.
async fn pictures_wait_for_the_new_path(door: &WebRtc, receiver: &mut Receiver, viewer: ViewerId) {
    let offer = receiver.restart_offer().await;
    let answer = door.restart(viewer, offer).await.expect("an answer comes").expect("it can restart");
    // the answer is still on its way: what was sent stays the same for several times the time between two statistics
    let mut sent = door.viewers()[0].pictures_sent;
    for tried in 1.. {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = std::mem::replace(&mut sent, door.viewers()[0].pictures_sent);
        if sent == before {
            break;
        }
        assert!(tried < 5, "pictures are sent by a path that is no more");
    }
    let resent = door.viewers()[0].packets_resent;
    receiver.answer(&answer.sdp).await;
    receiver.fresh_picture("by the new path").await;
    until(|| "nothing is sent by the new path".into(), || door.viewers()[0].pictures_sent > sent).await;
    let after = door.viewers()[0].clone();
    assert!(after.packets_resent == resent || receiver.overflowed().await > 0, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ice_restart_keeps_the_viewer_and_gives_it_new_credentials() {
    let bars = Bars::start();
    let door = start(&bars, 1);
    let (mut receiver, viewer, mut events) = join(&door, Options::default()).await;
    for _ in 0..20 {
        receiver.picture("before the restart").await;
    }
    let before = door.viewers()[0].connected_at;
    let ufrag = |sdp: &str| sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:").map(str::to_owned));
    for round in 0..2 {
        let offer = receiver.restart_offer().await;
        let old = receiver.remote_sdp().await;
        let answer = door.restart(viewer, offer).await.expect("an answer comes").expect("it can restart");
        assert_eq!(answer.viewer, viewer);
        assert!(ufrag(&answer.sdp).is_some() && ufrag(&answer.sdp) != ufrag(&old), "new credentials, round {round}");
        receiver.answer(&answer.sdp).await;
        receiver.fresh_picture("after the restart").await;
    }
    assert_eq!(door.viewers()[0].connected_at, before, "one viewer all along");
    pictures_wait_for_the_new_path(&door, &mut receiver, viewer).await;
    assert_eq!(event(&mut events).await, ViewerEvent::Connected);
    let rest: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert!(rest.iter().all(|event| *event == ViewerEvent::Channel(true)), "nothing else was told: {rest:?}");
    let nobody = door.restart(ViewerId(99), receiver.sdp.clone()).await;
    assert!(nobody.is_err(), "the question is dropped");
    assert!(matches!(door.restart(viewer, "hello".into()).await, Ok(Err(OfferError::BadOffer(_)))));
    receiver.fresh_picture("a bad restart harms nobody").await;
    receiver.close().await;
    gone(&door, &bars).await;
}
