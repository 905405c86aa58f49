//! Many viewers that join and leave: they share key pictures and leave nothing behind. In a process of its own, for it
//! counts what the process has open.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code)]
#[path = "../webrtc_output/bars.rs"]
mod bars;
#[allow(dead_code)]
#[path = "../webrtc_output/door.rs"]
mod door;
#[path = "../receiver/mod.rs"]
mod receiver;

use crate::bars::Bars;
use crate::door::{gone, join, start, until};
use crate::receiver::Options;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_viewers_join_and_leave_and_share_key_pictures() {
    let bars = Bars::start();
    let door = start(&bars, 32);
    let mut keys = Vec::new();
    for _ in 0..3 {
        let before = bars.keys();
        let mut viewers = Vec::new();
        for _ in 0..20 {
            viewers.push(join(&door, Options::default()).await);
        }
        for (receiver, _, _) in &mut viewers {
            receiver.picture("one of twenty").await;
        }
        keys.push(bars.keys() - before);
        for (receiver, _, _) in viewers {
            receiver.close().await;
        }
        gone(&door, &bars).await;
    }
    // a busy machine may draw a round out, and then everybody has to ask for one
    assert!(keys.iter().any(|keys| *keys <= 40), "joiners share key pictures: {keys:?} for 20 each");
    let (files, tasks) = (open_files(), threads());
    for _ in 0..2 {
        let (mut receiver, _, _events) = join(&door, Options::default()).await;
        receiver.picture("one more").await;
        receiver.close().await;
        gone(&door, &bars).await;
    }
    // threads for blocking work live on for 10 s
    let look = || format!("files: {files} then {}, threads: {tasks} then {}", open_files(), threads());
    until(look, || open_files() <= files + 1 && threads() <= tasks + 1).await;
}
