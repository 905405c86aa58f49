//! Viewers come and go all day: nothing of them stays.

use crate::client::{until_empty, watch};
use crate::process::{open_files, resident_kib, tasks};
use crate::program::Program;
use crate::receiver::Options;
use futures_util::future::join_all;
use std::time::Duration;

const VIEWERS: usize = 20;
const ROUNDS: usize = 10;
const GROWTH_KIB: u64 = 3 * 1024;

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
    let look = async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        (open_files(&program), tasks(&program), resident_kib(&program))
    };
    round(&program).await;
    let (files, threads, resident) = look().await;
    for _ in 1..ROUNDS {
        round(&program).await;
    }
    let after = look().await;
    eprintln!("files, threads, KiB: {:?} after one round, {after:?} after {ROUNDS}", (files, threads, resident));
    assert_eq!((after.0, after.1), (files, threads), "open files and threads");
    assert!(
        after.2 <= resident + GROWTH_KIB,
        "resident: {resident} KiB after one round, {} KiB after {ROUNDS}",
        after.2
    );
}
