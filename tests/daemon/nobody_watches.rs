//! While nobody watches, nothing is encoded.

use crate::client::{status, until, until_empty, watch};
use crate::process::thread_cpu_time;
use crate::program::Program;
use crate::receiver::Options;
use std::time::Duration;

const SPAN: Duration = Duration::from_secs(2);
/// Of what the same span costs while somebody watches, and one tick of the clock that /proc counts with.
const NEXT_TO_NOTHING: u32 = 20;
const TICK: Duration = Duration::from_millis(10);
/// What was begun for the last viewer may end in the first span; what goes on for nobody goes on in all of them.
const TRIES: usize = 3;

async fn encoded(program: &Program) -> u64 {
    status(program).await["encoder"]["encoded"].as_u64().expect("a number")
}

/// What the encode thread spends in a span without a picture.
async fn spent_for_nobody(program: &Program) -> Duration {
    for _ in 0..TRIES {
        let (pictures, cpu) = (encoded(program).await, thread_cpu_time(program, "encode"));
        tokio::time::sleep(SPAN).await;
        if encoded(program).await == pictures {
            return thread_cpu_time(program, "encode") - cpu;
        }
    }
    panic!("pictures are encoded for nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_encoded_before_the_first_viewer_and_after_the_last() {
    let program = Program::start(&[]);
    assert_eq!(encoded(&program).await, 0, "a picture for nobody");
    let before = spent_for_nobody(&program).await;
    let cpu = thread_cpu_time(&program, "encode");
    let mut viewer = watch(&program, Options::default()).await;
    for _ in 0..60 {
        viewer.receiver.picture("one of 60").await;
    }
    until(&program, "they are counted", |status| status["encoder"]["encoded"].as_u64() >= Some(60)).await;
    let watched = thread_cpu_time(&program, "encode") - cpu;
    viewer.leave(&program).await;
    until_empty(&program).await;
    let after = spent_for_nobody(&program).await;
    eprintln!("the encode thread: {before:?}, for 60 pictures {watched:?}, then {after:?}");
    for idle in [before, after] {
        assert!(idle <= watched / NEXT_TO_NOTHING + TICK, "{idle:?} of CPU for nobody, {watched:?} for a viewer");
    }
}
