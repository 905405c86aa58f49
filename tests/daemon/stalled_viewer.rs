//! A viewer that stalls hurts nobody else.

use crate::client::{Viewer, post_offer, status, watch};
use crate::program::Program;
use crate::receiver::nat_box::{NatBox, without_candidates};
use crate::receiver::{Options, Receiver};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A viewer behind a box that can go dark.
async fn watch_through_a_box(program: &Program) -> (Receiver, NatBox) {
    let receiver = Receiver::offer(Options::default()).await;
    let reply = post_offer(program, &without_candidates(&receiver.sdp), &[]).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let candidate = reply.body.lines().find(|line| line.starts_with("a=candidate")).expect("a candidate").to_string();
    let fields: Vec<&str> = candidate.split(' ').collect();
    let server = format!("{}:{}", fields[4], fields[5]).parse().expect("an address");
    let nat = NatBox::start(server).await;
    let own = format!(" {} {} ", fields[4], fields[5]);
    let boxed = format!(" {} {} ", nat.address.ip(), nat.address.port());
    receiver.answer(&reply.body.replace(&own, &boxed)).await;
    (receiver, nat)
}

/// Times between pictures as they arrive, in order of length.
async fn gaps(viewer: &mut Viewer, span: Duration) -> Vec<Duration> {
    let start = Instant::now();
    let mut last = viewer.receiver.fresh_picture("of the good viewer").await.received_at;
    let mut gaps = Vec::new();
    while start.elapsed() < span {
        let at = viewer.receiver.picture("of the good viewer").await.received_at;
        gaps.push(at.duration_since(std::mem::replace(&mut last, at)));
    }
    gaps.sort();
    gaps
}

fn of_20_the_19th(gaps: &[Duration]) -> Duration {
    gaps[gaps.len() * 19 / 20]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_goes_dark_costs_another_no_picture_and_no_time() {
    let program = Program::start(&[]);
    let mut good = watch(&program, Options::default()).await;
    let (mut stalling, nat) = watch_through_a_box(&program).await;
    stalling.picture("before it stalls").await;
    let before = gaps(&mut good, Duration::from_secs(3)).await;
    nat.dark.store(true, Ordering::Relaxed);
    // its pictures are stopped after 4 s without a sign of it, and it is given up after 15 s
    let during = gaps(&mut good, Duration::from_secs(7)).await;
    let (usual, stalled) = (of_20_the_19th(&before), of_20_the_19th(&during));
    let (longest_before, longest) = (before[before.len() - 1], during[during.len() - 1]);
    eprintln!("19 of 20 gaps up to {usual:?}, then {stalled:?}; longest {longest_before:?}, then {longest:?}");
    assert!(stalled <= usual * 2 + Duration::from_millis(20), "19 of 20 gaps: {usual:?}, then {stalled:?}");
    assert!(longest <= longest_before + Duration::from_millis(400), "longest: {longest_before:?}, then {longest:?}");
    let counters = &good.receiver.counters;
    assert_eq!(counters.gaps.load(Ordering::Relaxed), 0, "packets lost");
    assert_eq!(counters.undecodable.load(Ordering::Relaxed), 0);
    let status = status(&program).await;
    let viewers = status["viewers"].as_array().expect("a list");
    let dropped: Vec<u64> = viewers.iter().filter_map(|viewer| viewer["pictures_dropped"].as_u64()).collect();
    assert_eq!(viewers.len(), 2, "the stalled one is still seated: {status}");
    assert!(dropped.iter().filter(|&&dropped| dropped == 0).count() == 1, "only the stalled one lost: {dropped:?}");
    good.leave(&program).await;
    stalling.close().await;
}
