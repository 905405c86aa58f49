//! Viewers come and go all day: nothing of them stays.

use crate::client::{until_empty, watch};
use crate::process::{open_files, resident_kib, tasks};
use crate::program::Program;
use crate::receiver::Options;
use futures_util::future::join_all;
use std::time::{Duration, Instant};

const VIEWERS: usize = 20;
const ROUNDS: usize = 10;
const GROWTH_KIB: u64 = 3 * 1024;
const TRIES: usize = 3;
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// All at once; every other one leaves by a word, the others just close.
async fn round(program: &Program) {
    let viewers = join_all((0..VIEWERS).map(|_| watch(program, Options { decode: false, ..Options::default() }))).await;
    let leave = viewers.into_iter().enumerate().map(|(number, mut viewer)| async move {
        viewer.receiver.picture("one of twenty").await;
        match number % 2 {
            0 => viewer.leave(program).await,
            _ => viewer.receiver.close().await,
        }
    });
    join_all(leave).await;
    until_empty(program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_viewers_join_and_leave_ten_times_and_nothing_of_them_stays() {
    let program = Program::start(&[]);
    round(&program).await;
    let mut before = look(&program);
    // a round that is more crowded than those before needs more memory once; what stays of a viewer stays every time
    for tried in 1.. {
        for _ in 1..ROUNDS {
            round(&program).await;
        }
        let after = settled(&program, &before).await;
        eprintln!("before nine rounds {before:?}, after them {after:?}");
        if after.is_no_more_than(&before) {
            return;
        }
        assert!(tried < TRIES, "open files, threads or memory stay");
        before.resident_kib = after.resident_kib;
    }
}

#[derive(Debug)]
struct Look {
    files: usize,
    threads: usize,
    resident_kib: u64,
}

impl Look {
    fn is_no_more_than(&self, before: &Look) -> bool {
        self.files <= before.files
            && self.threads <= before.threads
            && self.resident_kib <= before.resident_kib + GROWTH_KIB
    }
}

fn look(program: &Program) -> Look {
    Look { files: open_files(program), threads: tasks(program), resident_kib: resident_kib(program) }
}

/// What is left once it is no more than before, or else after a while: memory goes back to the system a moment after the
/// last one left, and the runtime's threads for blocking work (the room's state goes to the disk by them) stay as long.
async fn settled(program: &Program, before: &Look) -> Look {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let now = look(program);
        if now.is_no_more_than(before) || Instant::now() > deadline {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
