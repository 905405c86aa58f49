//! While nobody watches, nothing is encoded.

use crate::client::{status, until_empty, watch};
use crate::process::thread_cpu_time;
use crate::program::Program;
use crate::receiver::Options;
use std::time::Duration;

/// Two ticks of the clock that /proc counts with.
const NEXT_TO_NOTHING: Duration = Duration::from_millis(20);

async fn rests(program: &Program) {
    let count = async || status(program).await["encoder"]["encoded"].as_u64().expect("a number");
    let (pictures, cpu) = (count().await, thread_cpu_time(program, "encode"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(count().await, pictures, "pictures encoded for nobody");
    let spent = thread_cpu_time(program, "encode") - cpu;
    assert!(spent <= NEXT_TO_NOTHING, "{spent:?} of CPU for nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_encoded_before_the_first_viewer_and_after_the_last() {
    let program = Program::start(&[]);
    rests(&program).await;
    let before = thread_cpu_time(&program, "encode");
    let mut viewer = watch(&program, Options::default()).await;
    for _ in 0..60 {
        viewer.receiver.picture("one of 60").await;
    }
    assert!(status(&program).await["encoder"]["encoded"].as_u64() >= Some(60));
    let spent = thread_cpu_time(&program, "encode") - before;
    assert!(spent > NEXT_TO_NOTHING, "the measure works: {spent:?}");
    viewer.leave(&program).await;
    until_empty(&program).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    rests(&program).await;
}
