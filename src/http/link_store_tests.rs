//! The links on disk: two programs, damaged files, and disks that do not write.

use super::*;
use crate::clock::{TestHand, WallMicros};
use std::path::PathBuf;

const HOUR: Duration = Duration::from_secs(3600);

fn clock() -> (Clock, TestHand) {
    let (clock, hand) = Clock::test();
    hand.set_wall(WallMicros(1_800_000_000_000_000));
    (clock, hand)
}

fn daemon(path: &Path, clock: &Clock) -> Links {
    Links::open(Some(Arc::new(StateFolder::open(path).unwrap())), clock.clone()).unwrap()
}

#[test]
fn links_survive_a_restart_and_so_do_revocations() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = clock();
    let first = daemon(folder.path(), &clock);
    let kept = first.make(Role::Operator, HOUR, " Anna ").unwrap();
    let revoked = first.make(Role::Viewer, HOUR, "").unwrap();
    assert!(first.revoke(&revoked.link.id).unwrap());
    assert!(kept.path().starts_with("/?link=rtl1."));
    drop(first);
    let second = daemon(folder.path(), &clock);
    let who = second.judge(&kept.token).unwrap();
    assert_eq!((who.name.as_str(), who.role), ("Anna", Role::Operator));
    assert_eq!(second.judge(&revoked.token), Err(LinkRefusal::Revoked));
    assert_eq!(second.list(), [kept.link]);
    let stored = std::fs::read_to_string(folder.path().join(LIST_FILE)).unwrap();
    assert!(!stored.contains(PREFIX) && stored.contains("Anna"), "{stored}");
}

const PREFIX: &str = super::links::PREFIX;

#[test]
fn what_another_program_makes_and_revokes_counts_in_the_running_one() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = clock();
    let daemon = daemon(folder.path(), &clock);
    let ended = daemon.ended();
    let command = Links::open_at(folder.path(), clock.clone()).unwrap();
    let made = command.make(Role::Viewer, HOUR, "").unwrap();
    assert!(daemon.judge(&made.token).is_ok(), "one key");
    daemon.refresh();
    assert_eq!(daemon.list(), std::slice::from_ref(&made.link));
    // both change the list; nothing is lost
    let ours = daemon.make(Role::Viewer, HOUR, "").unwrap();
    assert!(command.revoke(&made.link.id).unwrap());
    assert!(daemon.is_good(&made.link.id), "not yet known");
    let before = *ended.borrow();
    daemon.refresh();
    assert!(!daemon.is_good(&made.link.id) && daemon.is_good(&ours.link.id));
    assert!(*ended.borrow() > before);
    let third = Links::open_at(folder.path(), clock.clone()).unwrap();
    assert_eq!(third.list(), [ours.link]);
}

#[test]
fn a_list_or_key_that_is_lost_or_damaged_voids_every_link() {
    let (clock, _hand) = clock();
    let damages: [fn(PathBuf); 4] = [
        |folder| std::fs::remove_file(folder.join(LIST_FILE)).unwrap(),
        |folder| std::fs::write(folder.join(LIST_FILE), "{\"links\":[").unwrap(),
        |folder| std::fs::remove_file(folder.join(KEY_FILE)).unwrap(),
        |folder| std::fs::write(folder.join(KEY_FILE), "short").unwrap(),
    ];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        let old = daemon(folder.path(), &clock).make(Role::Host, HOUR, "").unwrap();
        damage(folder.path().into());
        let links = daemon(folder.path(), &clock);
        assert_eq!(links.judge(&old.token), Err(LinkRefusal::Forged));
        // and it goes on with what it made instead
        let new = links.make(Role::Host, HOUR, "").unwrap();
        assert!(daemon(folder.path(), &clock).judge(&new.token).is_ok());
    }
}

#[test]
fn a_new_key_on_the_disk_voids_the_links_of_the_running_one() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = clock();
    let running = daemon(folder.path(), &clock);
    let old = running.make(Role::Host, HOUR, "").unwrap();
    std::fs::write(folder.path().join(KEY_FILE), [1; 32]).unwrap();
    running.refresh();
    assert_eq!(running.judge(&old.token), Err(LinkRefusal::Forged));
    assert_eq!((running.newly_ended(), running.newly_ended()), (vec![old.link.id], vec![]));
}

#[test]
fn without_a_disk_links_live_for_this_run() {
    let (clock, _hand) = clock();
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::open(&folder.path().join("gone")).unwrap();
    std::fs::remove_dir(folder.path().join("gone")).unwrap();
    for state in [None, Some(Arc::new(state))] {
        let links = Links::open(state, clock.clone()).unwrap();
        let made = links.make(Role::Viewer, HOUR, "").unwrap();
        assert!(links.judge(&made.token).is_ok());
        assert!(links.revoke(&made.link.id).unwrap());
        links.refresh();
        assert_eq!(links.judge(&made.token), Err(LinkRefusal::Revoked));
    }
}

#[test]
fn the_command_does_not_make_what_it_cannot_keep() {
    let (clock, _hand) = clock();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(Links::open_at(&file.join("below"), clock).is_err());
}

#[test]
fn a_link_has_a_life_a_name_and_a_clock_that_are_possible() {
    let (clock, hand) = clock();
    let links = Links::open(None, clock).unwrap();
    let fails = |life_s: u64, name: &str| {
        let error = links.make(Role::Viewer, Duration::from_secs(life_s), name).err();
        error.map(|error| error.kind())
    };
    assert_eq!(fails(59, ""), Some(ErrorKind::BadInput));
    assert_eq!(fails(30 * 86_400 + 1, ""), Some(ErrorKind::BadInput));
    assert_eq!(fails(60, &"x".repeat(33)), Some(ErrorKind::BadInput));
    assert_eq!(fails(60, "a\nb"), Some(ErrorKind::BadInput));
    assert_eq!(fails(60, &"前".repeat(32)), None);
    hand.set_wall(WallMicros(3_000_000));
    assert_eq!(fails(60, ""), Some(ErrorKind::Unsupported));
}
