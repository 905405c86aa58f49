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
use crate::door::{gone, join, start};
use crate::receiver::Options;
use std::time::Duration;

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
    for _ in 0..3 {
        let before = bars.keys();
        let mut viewers = Vec::new();
        for _ in 0..20 {
            viewers.push(join(&door, Options::default()).await);
        }
        for (receiver, _, _) in &mut viewers {
            receiver.picture("one of twenty").await;
        }
        let keys = bars.keys() - before;
        assert!(keys <= 40, "joiners share key pictures: {keys} for 20");
        for (receiver, _, _) in viewers {
            receiver.close().await;
        }
        gone(&door, &bars).await;
    }
    let (files, tasks) = (open_files(), threads());
    for _ in 0..2 {
        let (mut receiver, _, _events) = join(&door, Options::default()).await;
        receiver.picture("one more").await;
        receiver.close().await;
        gone(&door, &bars).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(open_files() <= files + 1, "files: {} then {}", files, open_files());
    assert!(threads() <= tasks + 1, "threads: {} then {}", tasks, threads());
}
