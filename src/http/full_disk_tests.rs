//! A disk that takes no more: what stands there stays whole, and all goes on when there is room again.
//!
//! Each test runs itself again in a process whose files may have 512 bytes: a write beyond is cut short and then refused,
//! as by a full disk, and nobody needs to be root for it.

use super::state::StateFolder;
use super::viewer_log::ViewerLog;
use crate::clock::Clock;
use std::time::Duration;

const INSIDE: &str = "RTCAM_TEST_FULL_DISK";
const ROOM: u64 = 512;

/// Runs the test of that name in such a process; false inside of it, where there is something to do.
fn is_done_in_a_small_process(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    // a shell's blocks have 512 bytes; the signal would end the process
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" --exact \"$1\" --nocapture", ROOM / 512);
    let path = format!("http::full_disk_tests::{name}");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(path)
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let clock = Clock::system();
    let end = clock.now() + Duration::from_secs(20);
    while !holds() {
        assert!(clock.now() < end, "never: {what}");
        clock.sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_state_file_that_does_not_fit_leaves_the_old_one() {
    if is_done_in_a_small_process("a_state_file_that_does_not_fit_leaves_the_old_one") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::open(folder.path()).unwrap();
    state.write("links.json", b"old").unwrap();
    assert!(state.write("links.json", &[b'x'; 2 * ROOM as usize]).is_err());
    assert_eq!(state.read("links.json").unwrap().unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written is left to fill the disk");
    state.write("links.json", b"new").unwrap();
    assert_eq!(state.read("links.json").unwrap().unwrap(), b"new");
}

#[test]
fn the_log_of_viewers_loses_whole_lines_and_goes_on_when_there_is_room() {
    if is_done_in_a_small_process("the_log_of_viewers_loses_whole_lines_and_goes_on_when_there_is_room") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("viewers");
    let log = ViewerLog::start(&path, 1 << 20).unwrap();
    let line = "x".repeat(99);
    (0..10).for_each(|_| log.write(line.clone()));
    until("lines that do not fit are counted", || log.lost() == 5);
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, format!("{line}\n").repeat(5), "no half line");
    std::fs::write(&path, "").unwrap();
    log.write("after".into());
    until("it writes again", || std::fs::read_to_string(&path).unwrap() == "after\n");
}
