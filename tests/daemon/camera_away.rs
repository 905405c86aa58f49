//! The camera is away: viewers see why, and it costs little.

use crate::client::{Viewer, get, until, watch};
use crate::process::cpu_time;
use crate::program::Program;
use crate::receiver::{Options, Picture};
use std::time::{Duration, Instant};

pub const AWAY: [&str; 2] = ["camera.source=v4l2", "camera.device=/dev/video99"];
/// Of what a camera costs on the same machine: the card is encoded at a sixth of its rate.
const CPU_SHARE: f64 = 0.5;
const CPU_SPAN: Duration = Duration::from_secs(5);

/// Bright letters on one dark ground.
pub fn is_labelled(picture: &Picture) -> bool {
    let share = |range: std::ops::RangeInclusive<u8>| {
        picture.y.iter().filter(|level| range.contains(level)).count() as f64 / picture.y.len() as f64
    };
    share(30..=50) > 0.8 && (0.005..0.2).contains(&share(180..=255))
}

/// Seconds between pictures, by their own clock: the middle one.
pub fn median_step_s(rtp_times: &[u32]) -> f64 {
    let mut steps: Vec<u32> = rtp_times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    steps.sort();
    f64::from(steps[steps.len() / 2]) / 90_000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_camera_is_told_in_the_picture_the_status_and_the_health() {
    let program = Program::start(&AWAY);
    let status = until(&program, "the camera is missing", |status| status["camera"]["camera"] == "away").await;
    assert_eq!(status["camera"]["reason"], "missing");
    assert!(status["camera"]["detail"].as_str().is_some_and(|text| text.contains("/dev/video99")), "{status}");
    let health = get(&program, "/healthz").await;
    assert!(health.status == 503 && health.body.contains("/dev/video99"), "{health:?}");
    let mut viewer = watch(&program, Options::default()).await;
    let first = viewer.receiver.picture("the card").await;
    assert!(first.key && is_labelled(&first), "a card with letters");
    let (away, times) = cost(&program, &mut viewer, |card| assert!(is_labelled(card), "the card stays readable")).await;
    let step = median_step_s(&times);
    viewer.leave(&program).await;

    let program = Program::start(&[]);
    let mut viewer = watch(&program, Options::default()).await;
    let (live, _) = cost(&program, &mut viewer, |_| {}).await;
    eprintln!(
        "camera away, one viewer: {:.1} % of a core (with it {:.1}), a card every {step} s",
        away * 100.0,
        live * 100.0
    );
    assert!(away <= live * CPU_SHARE, "{away} of a core without the camera, {live} with it");
    // never more often, and not much less on a busy machine
    assert!((0.18..0.4).contains(&step), "a card every {step} s");
    viewer.leave(&program).await;
}

/// What share of a core it takes for one viewer, and the times of the pictures meanwhile.
async fn cost(program: &Program, viewer: &mut Viewer, look: impl Fn(&Picture)) -> (f64, Vec<u32>) {
    // the first seconds are the viewer's arrival
    tokio::time::sleep(Duration::from_secs(1)).await;
    viewer.receiver.fresh_picture("a picture").await;
    let (start, cpu) = (Instant::now(), cpu_time(program));
    let mut times = Vec::new();
    while start.elapsed() < CPU_SPAN {
        let picture = viewer.receiver.picture("another picture").await;
        look(&picture);
        times.push(picture.rtp_time);
    }
    ((cpu_time(program) - cpu).as_secs_f64() / start.elapsed().as_secs_f64(), times)
}
