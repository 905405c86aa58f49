//! A viewer that stalls hurts nobody else.

use crate::client::{Viewer, answer_for, until, watch};
use crate::program::Program;
use crate::receiver::nat_box::{NatBox, without_candidates};
use crate::receiver::{Options, Receiver};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A viewer behind a box that can go dark.
async fn watch_through_a_box(program: &Program) -> (Receiver, NatBox) {
    let receiver = Receiver::offer(Options::default()).await;
    let reply = answer_for(program, &without_candidates(&receiver.sdp), &[]).await;
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

/// A busy machine may spoil a try; a viewer that costs others time spoils all of them.
const TRIES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_goes_dark_costs_another_no_picture_and_no_time() {
    let program = Program::start(&[]);
    let mut good = watch(&program, Options::default()).await;
    for tried in 1..=TRIES {
        let lost_time = time_lost_by(&program, &mut good).await;
        assert!(tried < TRIES || lost_time.is_none(), "{lost_time:?}");
        if lost_time.is_none() {
            break;
        }
    }
    assert_eq!(good.receiver.gaps().await, 0, "packets lost");
    assert_eq!(good.receiver.counters.undecodable.load(Ordering::Relaxed), 0);
    good.leave(&program).await;
}

/// Lets another viewer go dark; says what the good one felt of it in time. It may lose no picture at all.
async fn time_lost_by(program: &Program, good: &mut Viewer) -> Option<String> {
    let (mut stalling, nat) = watch_through_a_box(program).await;
    stalling.picture("before it stalls").await;
    let before = gaps(good, Duration::from_secs(3)).await;
    nat.dark.store(true, Ordering::Relaxed);
    // its pictures are stopped after 4 s without a sign of it, and it is given up after 15 s
    let during = gaps(good, Duration::from_secs(7)).await;
    let lost_one = |status: &Value| dropped(status).iter().filter(|&&dropped| dropped > 0).count() == 1;
    let status = until(program, "pictures for the stalled one are dropped, and for nobody else", lost_one).await;
    assert!(dropped(&status).contains(&0), "the good one lost a picture: {status}");
    stalling.close().await;
    let (usual, stalled) = (of_20_the_19th(&before), of_20_the_19th(&during));
    let (longest_before, longest) = (before[before.len() - 1], during[during.len() - 1]);
    let felt = format!("19 of 20 gaps up to {usual:?}, then {stalled:?}; longest {longest_before:?}, then {longest:?}");
    eprintln!("{felt}");
    let is_usual =
        stalled <= usual * 2 + Duration::from_millis(20) && longest <= longest_before + Duration::from_millis(400);
    if is_usual {
        return None;
    }
    until(program, "the stalled one is given up", |status| dropped(status).len() == 1).await;
    Some(felt)
}

/// Pictures dropped for each viewer.
fn dropped(status: &Value) -> Vec<u64> {
    let viewers = status["viewers"].as_array().expect("a list");
    viewers.iter().filter_map(|viewer| viewer["pictures_dropped"].as_u64()).collect()
}
