//! Which certificate is shown, and when another one takes its place.

use super::*;
use crate::clock::{TestHand, WallMicros};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn clock() -> (Clock, TestHand) {
    let (clock, hand) = Clock::test();
    hand.set_wall(WallMicros(1_800_000_000_000_000));
    (clock, hand)
}

fn self_signed() -> HttpConfig {
    HttpConfig { tls: TlsMode::SelfSigned, ..HttpConfig::default() }
}

fn open(config: &HttpConfig, folder: &std::path::Path, clock: &Clock) -> Arc<Tls> {
    let state = Arc::new(StateFolder::open(folder).unwrap());
    Tls::open(config, Some(state), clock.clone()).unwrap().unwrap()
}

#[test]
fn our_own_certificate_is_kept_until_it_is_due_and_renewed_while_running() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = clock();
    let tls = open(&self_signed(), folder.path(), &clock);
    let first = tls.fingerprint();
    assert_eq!(first.len(), 32 * 3 - 1);
    assert_eq!(open(&self_signed(), folder.path(), &clock).fingerprint(), first);
    hand.advance(DAY * 700);
    tls.refresh();
    assert_eq!(tls.fingerprint(), first);
    hand.advance(DAY * 100);
    tls.refresh();
    let second = tls.fingerprint();
    assert_ne!(second, first);
    assert_eq!(open(&self_signed(), folder.path(), &clock).fingerprint(), second);
}

#[test]
fn a_clock_that_is_wrong_renews_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = clock();
    let first = open(&self_signed(), folder.path(), &clock).fingerprint();
    hand.set_wall(WallMicros(0));
    let tls = open(&self_signed(), folder.path(), &clock);
    tls.refresh();
    assert_eq!(tls.fingerprint(), first);
}

#[test]
fn a_damaged_certificate_of_ours_is_replaced_and_without_a_disk_there_is_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = clock();
    std::fs::write(folder.path().join(FILE), "-----BEGIN CERTIFICATE-----\nAA==\n").unwrap();
    let made = open(&self_signed(), folder.path(), &clock).fingerprint();
    assert_eq!(open(&self_signed(), folder.path(), &clock).fingerprint(), made);
    assert!(Tls::open(&self_signed(), None, clock).unwrap().is_some());
}

#[test]
fn files_that_change_are_taken_and_bad_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = clock();
    let make = || certificate::make(&["localhost".into()], clock.wall()).unwrap().pem;
    let (certificate, key) = (folder.path().join("full.pem"), folder.path().join("key.pem"));
    let put = |pem: &str| {
        for path in [&certificate, &key] {
            std::fs::write(path.with_extension("new"), pem).unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }
    };
    put(make().reveal());
    let config = HttpConfig {
        tls: TlsMode::Files,
        tls_certificate: certificate.clone(),
        tls_key: key.clone(),
        ..HttpConfig::default()
    };
    let tls = open(&config, folder.path(), &clock);
    let first = tls.fingerprint();
    put("nonsense");
    tls.refresh();
    assert_eq!(tls.fingerprint(), first, "the old one stays");
    // half of a renewal: a certificate that is not of this key
    std::fs::write(&certificate, make().reveal()).unwrap();
    std::fs::write(&key, make().reveal()).unwrap();
    tls.refresh();
    assert_eq!(tls.fingerprint(), first, "the old one stays");
    put(make().reveal());
    tls.refresh();
    assert_ne!(tls.fingerprint(), first);
    std::fs::remove_file(&certificate).unwrap();
    assert!(Tls::open(&config, None, clock).is_err());
}
