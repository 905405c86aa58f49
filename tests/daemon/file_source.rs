//! A video file as the camera: played in a loop at its own rate; what is wrong with it is told in the picture.

use crate::camera_away::{is_labelled, median_step_s};
use crate::client::{Viewer, status, until, watch};
use crate::program::{PATIENCE, Program};
use crate::receiver::{Options, Picture};
use std::path::Path;
use std::time::Instant;

const LEVELS: [u8; 4] = [60, 110, 160, 210];
const SIZE: (usize, usize) = (320, 240);

/// Four flat pictures, each brighter, ten a second.
fn film() -> Vec<u8> {
    let (width, height) = SIZE;
    let mut bytes = format!("YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n").into_bytes();
    for level in LEVELS {
        bytes.extend(b"FRAME\n");
        bytes.extend(std::iter::repeat_n(level, width * height));
        bytes.extend(std::iter::repeat_n(128, width * height / 2));
    }
    bytes
}

fn start(file: &Path) -> Program {
    Program::start(&["camera.source=file", &format!("camera.file={}", file.display())])
}

fn brightness(picture: &Picture) -> f64 {
    picture.y.iter().map(|&level| f64::from(level)).sum::<f64>() / picture.y.len() as f64
}

/// Which of the film's pictures this is.
fn number(picture: &Picture) -> Option<usize> {
    let level = brightness(picture);
    LEVELS.iter().position(|&wanted| (level - f64::from(wanted)).abs() < 12.0)
}

fn shows_the_film(picture: &Picture) -> bool {
    number(picture).is_some() && !is_labelled(picture)
}

/// A camera that is slow to open shows the card first.
async fn until_it_shows(viewer: &mut Viewer, what: &str, holds: fn(&Picture) -> bool) -> Picture {
    let start = Instant::now();
    loop {
        let picture = viewer.receiver.picture(what).await;
        if holds(&picture) {
            return picture;
        }
        assert!(start.elapsed() < PATIENCE, "{what} never showed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_film_is_seen_in_a_loop_at_its_own_rate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("film.y4m");
    std::fs::write(&file, film()).expect("writable");
    let program = start(&file);
    let mut viewer = watch(&program, Options::default()).await;
    let first = until_it_shows(&mut viewer, "the film", shows_the_film).await;
    let (mut times, mut numbers) = (vec![first.rtp_time], vec![number(&first)]);
    for _ in 0..24 {
        let picture = viewer.receiver.picture("of the film").await;
        assert_eq!((picture.width, picture.height), SIZE);
        times.push(picture.rtp_time);
        numbers.push(number(&picture));
        assert!(number(&picture).is_some(), "no picture of the film: {}", brightness(&picture));
    }
    // a busy machine leaves pictures out, and lets others wait
    let follows = |pair: &&[Option<usize>]| pair[1] == pair[0].map(|number| (number + 1) % LEVELS.len());
    let in_order = numbers.windows(2).filter(follows).count();
    assert!(in_order > 12, "{in_order} of 24 follow each other: {numbers:?}");
    let step = median_step_s(&times);
    assert!((0.09..0.18).contains(&step), "a picture every {step} s");
    assert!(status(&program).await["camera"]["source"].as_str() == file.to_str());
    viewer.leave(&program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_breaks_while_it_plays_is_told_in_the_same_track_and_comes_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("breaking.y4m");
    std::fs::write(&file, film()).expect("writable");
    let program = start(&file);
    let mut viewer = watch(&program, Options::default()).await;
    until_it_shows(&mut viewer, "the film", shows_the_film).await;
    std::fs::write(&file, "not a film").expect("writable");
    until_it_shows(&mut viewer, "the card", is_labelled).await;
    let status = until(&program, "the file is named", |status| status["camera"]["camera"] == "away").await;
    assert_eq!(status["camera"]["reason"], "failing");
    let detail = status["camera"]["detail"].as_str().expect("text").to_string();
    assert!(detail.contains("breaking.y4m"), "{detail}");
    std::fs::write(&file, film()).expect("writable");
    until_it_shows(&mut viewer, "the film again", shows_the_film).await;
    assert_eq!(viewer.receiver.gaps().await, 0, "one track, whatever it shows");
    viewer.leave(&program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_is_a_labelled_picture_from_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("broken.y4m");
    std::fs::write(&file, "RIFF....AVI ").expect("writable");
    let program = start(&file);
    let mut viewer = watch(&program, Options::default()).await;
    assert!(is_labelled(&viewer.receiver.picture("the card").await));
    let status = until(&program, "the file is named", |status| status["camera"]["camera"] == "away").await;
    assert!(status["camera"]["detail"].as_str().is_some_and(|text| text.contains("broken.y4m")), "{status}");
    viewer.leave(&program).await;
}
