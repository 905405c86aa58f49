//! What networks do to a seated viewer: addresses that come again, that change, that die; stray datagrams.

use crate::bars::Bars;
use crate::door::{HERE, event, gone, join, start, until};
use crate::receiver::nat_box::{NatBox, without_candidates};
use crate::receiver::{Options, Receiver};
use rtcam::clock::Clock;
use rtcam::output::webrtc::WebRtc;
use rtcam::output::{CloseReason, Offer, ViewerDoor, ViewerEvent};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_comes_back_from_the_same_address_and_port_works() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let nat = NatBox::start(door.local_addr()).await;
    for round in 0..3 {
        let (mut receiver, _events) = join_through(&door, &nat).await;
        for _ in 0..10 {
            receiver.fresh_picture("after coming back").await;
        }
        // every other time its goodbye is lost: the old viewer is still seated when the next one comes
        nat.dark.store(round % 2 == 0, Ordering::Relaxed);
        receiver.close().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        nat.dark.store(false, Ordering::Relaxed);
    }
    door.stop(&Clock::system(), Duration::from_secs(2));
}

async fn join_through(door: &WebRtc, nat: &NatBox) -> (Receiver, mpsc::Receiver<ViewerEvent>) {
    let receiver = Receiver::offer(Options::default()).await;
    let (events, events_out) = mpsc::channel(8);
    let sdp = without_candidates(&receiver.sdp);
    let answer = door.offer(Offer { sdp, from: HERE, events }).await.expect("reply").expect("good");
    let own = format!("{} typ", door.local_addr()).replace(':', " ");
    let boxed = format!("{} typ", nat.address).replace(':', " ");
    assert!(answer.sdp.contains(&own), "{own} in {}", answer.sdp);
    receiver.answer(&answer.sdp.replace(&own, &boxed)).await;
    (receiver, events_out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_whose_network_dies_is_noticed_and_leaves_nothing() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let nat = NatBox::start(door.local_addr()).await;
    let (mut receiver, mut events) = join_through(&door, &nat).await;
    receiver.picture("the first").await;
    assert_eq!(event(&mut events).await, ViewerEvent::Connected);
    nat.dark.store(true, Ordering::Relaxed);
    assert_eq!(event(&mut events).await, ViewerEvent::Closed(CloseReason::Lost));
    gone(&door, &bars).await;
    receiver.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_whose_nat_gives_it_another_port_plays_on() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let nat = NatBox::start(door.local_addr()).await;
    let (mut receiver, _events) = join_through(&door, &nat).await;
    receiver.picture("the first").await;
    nat.rebind.store(true, Ordering::Relaxed);
    until(|| "the box never took another port".into(), || !nat.rebind.load(Ordering::Relaxed)).await;
    // it is learned with the viewer's next consent check
    for _ in 0..20 {
        receiver.fresh_picture("after the port changed").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(door.viewers().len(), 1);
    receiver.close().await;
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_stray_datagrams_cost_a_seated_viewer_nothing() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let (mut receiver, _, _events) = join(&door, Options::default()).await;
    receiver.picture("before").await;
    let stray = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 7u32;
    for round in 0..10_000usize {
        let bytes: Vec<u8> = (0..round % 1501)
            .map(|_| {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                (state >> 24) as u8
            })
            .collect();
        let _ = stray.send_to(&bytes, door.local_addr());
        if round % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    for _ in 0..30 {
        receiver.picture("during and after the flood").await;
    }
    assert_eq!(receiver.gaps().await, 0, "no packet was lost");
    assert_eq!(receiver.counters.undecodable.load(Ordering::Relaxed), 0);
    // as many as the kernel had room for
    let arrived = || door.network().socket.stray_datagrams;
    until(|| format!("{} of 10,000 arrived and were dropped", arrived()), || arrived() > 100).await;
    assert_eq!(door.viewers().len(), 1);
    receiver.close().await;
    gone(&door, &bars).await;
}
