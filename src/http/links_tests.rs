//! Links: what is proven, what a clock can do to them, and what is remembered.

use super::*;

const KEY: Key = [7; 32];
const START_S: u64 = 1_800_000_000;

fn at(wall_s: u64, now_s: u64) -> Moment {
    Moment { wall: WallMicros(wall_s * 1_000_000), now: Micros(now_s * 1_000_000) }
}

fn link(id: &str, life_s: u64) -> Link {
    let (made_s, expires_s) = (START_S, START_S + life_s);
    Link { id: id.into(), role: Role::Viewer, name: "Front desk 前台".into(), made_s, expires_s }
}

#[test]
fn a_token_says_what_was_signed_and_no_changed_bit_passes() {
    let token = sign(&KEY, &link("0a1b2c3d4e5f", 60));
    assert_eq!(read(&KEY, &token), Some(link("0a1b2c3d4e5f", 60)));
    assert_eq!(read(&[8; 32], &token), None);
    let bytes = Base64UrlUnpadded::decode_vec(token.strip_prefix(PREFIX).unwrap()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(read(&KEY, &format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&forged))), None, "bit {bit}");
    }
    for end in 0..token.len() {
        assert_eq!(read(&KEY, &token[..end]), None, "cut at {end}");
    }
    assert_eq!(read(&KEY, &format!("{PREFIX}{}", "A".repeat(100_000))), None);
}

#[test]
fn a_viewers_link_does_not_become_a_hosts() {
    let viewer = sign(&KEY, &link("a", 60));
    let host = sign(&KEY, &Link { role: Role::Host, ..link("a", 60) });
    let bytes = |token: &str| Base64UrlUnpadded::decode_vec(token.strip_prefix(PREFIX).unwrap()).unwrap();
    let (viewer, host) = (bytes(&viewer), bytes(&host));
    let said = host.len() - TAG_BYTES;
    let mixed = [&host[..said], &viewer[said..]].concat();
    assert_eq!(read(&KEY, &format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&mixed))), None);
}

#[test]
fn a_link_opens_until_its_end_and_not_after() {
    let mut ledger = Ledger::default();
    let token = sign(&KEY, &link("a", 60));
    let who = ledger.judge(&KEY, &token, at(START_S, 0)).unwrap();
    assert_eq!(who, Identity { name: "Front desk 前台".into(), role: Role::Viewer, proof: Proof::Link("a".into()) });
    assert!(ledger.judge(&KEY, &token, at(START_S + 59, 59)).is_ok());
    assert_eq!(ledger.judge(&KEY, &token, at(START_S + 60, 60)), Err(LinkRefusal::Expired));
    assert_eq!(ledger.judge(&KEY, "rtl1.x", at(START_S, 0)), Err(LinkRefusal::Forged));
}

#[test]
fn a_clock_that_is_set_back_prolongs_nothing() {
    let mut ledger = Ledger::default();
    assert!(ledger.add(link("a", 60), at(START_S, 100)));
    assert_eq!(ledger.judge_id("a", at(START_S, 159)), Ok(()));
    assert_eq!(ledger.judge_id("a", at(START_S, 160)), Err(LinkRefusal::Expired));
}

#[test]
fn a_clock_that_is_set_forward_ends_what_it_must() {
    let mut ledger = Ledger::default();
    assert!(ledger.add(link("a", 60), at(START_S, 100)));
    assert_eq!(ledger.judge_id("a", at(START_S + 61, 101)), Err(LinkRefusal::Expired));
}

#[test]
fn with_a_clock_that_is_obviously_wrong_no_link_opens_and_none_is_lost() {
    let mut ledger = Ledger::default();
    let token = sign(&KEY, &link("a", 60));
    for wrong_s in [0, 1_600_000_000, START_S - SLACK_S - 1] {
        assert_eq!(ledger.judge(&KEY, &token, at(wrong_s, 0)), Err(LinkRefusal::ClockWrong), "{wrong_s}");
        assert_eq!(ledger.judge_id("a", at(wrong_s, 0)), Err(LinkRefusal::ClockWrong));
    }
    // NTP has answered
    assert_eq!(ledger.judge_id("a", at(START_S + 1, 1000)), Ok(()));
}

#[test]
fn a_revoked_link_stays_so_through_a_file_and_its_neighbours_do_not_care() {
    let mut ledger = Ledger::default();
    for id in ["a", "b"] {
        assert!(ledger.add(link(id, 600), at(START_S, 0)));
    }
    assert!(ledger.revoke("a"));
    assert!(!ledger.revoke("a") && !ledger.revoke("nobody"));
    let mut again = Ledger::parse(ledger.to_text().as_bytes()).unwrap();
    assert_eq!(again.judge_id("a", at(START_S + 1, 5)), Err(LinkRefusal::Revoked));
    assert_eq!(again.list(at(START_S + 1, 5)), [link("b", 600)]);
    // a list from before the revocation does not undo it
    let mut old = Ledger::default();
    assert!(old.add(link("a", 600), at(START_S, 0)));
    assert!(!again.take_in(old, at(START_S, 0)));
    assert_eq!(again.judge_id("a", at(START_S + 1, 5)), Err(LinkRefusal::Revoked));
    // nor does an empty one
    assert!(!again.take_in(Ledger::parse(br#"{"links":[]}"#).unwrap(), at(START_S, 0)));
    assert!(again.contains("b"));
}

#[test]
fn what_has_ended_is_told_once_and_a_wrong_clock_ends_nothing() {
    let mut ledger = Ledger::default();
    for (id, life_s) in [("a", 60), ("b", 600), ("c", 600)] {
        assert!(ledger.add(link(id, life_s), at(START_S, 0)));
    }
    assert!(ledger.newly_ended(at(0, 1)).is_empty(), "a clock that lost its time");
    assert!(ledger.revoke("b"));
    assert_eq!(ledger.newly_ended(at(START_S, 1)), ["b"]);
    assert_eq!(ledger.newly_ended(at(START_S + 60, 60)), ["a"]);
    assert!(ledger.newly_ended(at(START_S + 61, 61)).is_empty());
}

#[test]
fn a_list_that_grants_more_than_was_signed_is_not_believed() {
    let mut ledger = Ledger::default();
    assert!(ledger.add(Link { expires_s: u64::MAX, role: Role::Host, ..link("a", 0) }, at(START_S, 0)));
    let token = sign(&KEY, &link("a", 60));
    assert_eq!(ledger.judge(&KEY, &token, at(START_S, 0)).unwrap().role, Role::Viewer);
    assert_eq!(ledger.judge(&KEY, &token, at(START_S + 61, 1)), Err(LinkRefusal::Expired));
}

#[test]
fn what_is_remembered_is_bounded_and_the_expired_make_room() {
    let mut ledger = Ledger::default();
    for n in 0..MOST_LINKS {
        assert!(ledger.add(link(&n.to_string(), 60), at(START_S, 0)));
    }
    assert!(!ledger.add(link("more", 60), at(START_S, 0)));
    // signed by us, but not on the list: a list that was lost; bounded all the same
    for n in 0..3 * MOST_LINKS {
        let _ = ledger.judge(&KEY, &sign(&KEY, &link(&format!("x{n}"), 60)), at(START_S, 0));
    }
    assert!(ledger.0.len() <= 2 * MOST_LINKS);
    let later = START_S + 61 + KEPT_S;
    assert!(ledger.add(Link { made_s: later, ..link("more", 60 + later) }, at(later, 90_000)));
    assert_eq!(ledger.0.len(), 1);
}

#[test]
fn a_damaged_list_is_none() {
    for bad in ["", "{}", "[]", "{\"links\":[{}]}", "{\"links\":[{\"id\":1}]}", "\u{0}"] {
        assert!(Ledger::parse(bad.as_bytes()).is_none(), "{bad}");
    }
}
