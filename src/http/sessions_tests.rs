//! Sessions: how many, how long, and what a restart and a stepped clock make of them.

use super::*;
use crate::clock::WallMicros;
use crate::config::Role;

const LIFE: Duration = Duration::from_secs(12 * 3600);
const NOW_S: u64 = 1_800_000_000;
const TEN_YEARS_S: u64 = 315_360_000;
const MARK: Token = [7; 32];

fn token(n: usize) -> Token {
    let mut token = Token::default();
    token[..8].copy_from_slice(&(n as u64).to_le_bytes());
    token
}

fn by_link(id: &str) -> Identity {
    Identity { name: "a guest".into(), role: Role::Viewer, proof: Proof::Link(id.into()) }
}

fn user(name: &str) -> Identity {
    Identity { name: name.into(), role: Role::Host, proof: Proof::User }
}

/// So many seconds after the first boot, or after another one.
fn at(now_s: u64, wall_s: u64) -> Moment {
    Moment { now: Micros(now_s * 1_000_000), wall: WallMicros(wall_s * 1_000_000) }
}

fn anna_as(role: Role) -> impl Fn(&Credential) -> Option<Identity> {
    move |credential| match credential {
        Credential::Password { name, mark } if name == "anna" && *mark == MARK => {
            Some(Identity { role, ..user("anna") })
        }
        Credential::Link { id } if id == "a" => Some(by_link("a")),
        _ => None,
    }
}

fn add(sessions: &mut Sessions, n: usize, identity: Identity, now: Moment) {
    let password = (identity.proof == Proof::User).then_some(MARK);
    sessions.add(&token(n), identity, password, LIFE, now);
}

/// What a session of Anna's, begun at `NOW_S`, leaves after a while.
fn left_after(span_s: u64) -> String {
    let mut sessions = Sessions::default();
    add(&mut sessions, 1, user("anna"), at(100, NOW_S));
    sessions.to_text(at(100 + span_s, NOW_S + span_s))
}

fn again(text: &str) -> Sessions {
    Sessions::parse(text.as_bytes(), LIFE, anna_as(Role::Viewer)).unwrap()
}

#[test]
fn sessions_are_bounded_and_the_oldest_goes_first() {
    let mut sessions = Sessions::default();
    for n in 0..=SESSIONS {
        add(&mut sessions, n, by_link("a"), at(0, NOW_S));
    }
    assert_eq!(sessions.0.len(), SESSIONS);
    assert_eq!(sessions.identity(&token(0), at(1, NOW_S)), None);
    assert!(sessions.identity(&token(1), at(1, NOW_S)).is_some());
    assert!(sessions.identity(&token(SESSIONS), at(1, NOW_S)).is_some());
}

#[test]
fn whoever_logs_in_a_thousand_times_pushes_nobody_else_out() {
    let mut sessions = Sessions::default();
    let now = at(0, NOW_S);
    add(&mut sessions, 5000, user("anna"), now);
    add(&mut sessions, 5001, user("ben"), now);
    add(&mut sessions, 5002, by_link("b"), now);
    for n in 0..1000 {
        add(&mut sessions, n, by_link("a"), now);
    }
    for (n, who) in [(5000, user("anna")), (5001, user("ben")), (5002, by_link("b")), (999, by_link("a"))] {
        assert_eq!(sessions.identity(&token(n), now), Some(&who));
    }
    assert_eq!(sessions.identity(&token(0), now), None);
}

#[test]
fn a_session_ends_at_its_time_whatever_the_wall_clock_says_and_when_it_is_removed() {
    let mut sessions = Sessions::default();
    add(&mut sessions, 1, user("anna"), at(0, NOW_S));
    let last_s = LIFE.as_secs() - 1;
    for wall_s in [0, NOW_S - TEN_YEARS_S, NOW_S, NOW_S + TEN_YEARS_S] {
        assert!(sessions.identity(&token(1), at(last_s, wall_s)).is_some(), "{wall_s}");
        assert!(sessions.identity(&token(1), at(last_s + 1, wall_s)).is_none(), "{wall_s}");
    }
    assert!(sessions.remove(&token(1)) && !sessions.remove(&token(1)));
    assert!(sessions.identity(&token(1), at(0, NOW_S)).is_none());
}

#[test]
fn after_a_restart_a_session_opens_with_todays_role_for_what_is_left_of_it() {
    let text = left_after(3600);
    assert!(!text.contains(&hex(&token(1))), "the token itself is not on the disk: {text}");
    let mut sessions = again(&text);
    // the next boot counts from zero, an hour later
    let start_s = NOW_S + 7200;
    let viewer = Identity { role: Role::Viewer, ..user("anna") };
    assert_eq!(sessions.identity(&token(1), at(5, start_s)), Some(&viewer));
    assert_eq!(sessions.identity(&token(2), at(5, start_s)), None);
    let left_s = LIFE.as_secs() - 7200;
    assert!(sessions.identity(&token(1), at(4 + left_s, start_s + left_s - 1)).is_some());
    assert!(sessions.identity(&token(1), at(5 + left_s, start_s + left_s)).is_none());
    // and what a third run finds is no longer than that
    let mut third = again(&again(&text).to_text(at(5, start_s)));
    assert!(third.identity(&token(1), at(1, NOW_S + LIFE.as_secs() - 1)).is_some());
    assert!(again(&text).identity(&token(1), at(1, NOW_S + LIFE.as_secs())).is_none());
}

#[test]
fn a_wall_clock_that_is_stepped_between_or_after_two_runs_never_lengthens_a_session() {
    let text = left_after(3600);
    for wall_s in [0, NOW_S - TEN_YEARS_S, NOW_S - 1, NOW_S + TEN_YEARS_S] {
        let mut sessions = again(&text);
        assert!(sessions.identity(&token(1), at(5, wall_s)).is_none(), "{wall_s}: made in the future, or over");
        assert!(sessions.identity(&token(1), at(60, NOW_S + 3660)).is_some(), "{wall_s}: the clock was set right");
    }
    for step_s in [NOW_S, NOW_S + 1] {
        let mut sessions = again(&text);
        assert!(sessions.identity(&token(1), at(5, NOW_S + 3600)).is_some());
        let late = at(6 + LIFE.as_secs() - 3600, step_s);
        assert!(sessions.identity(&token(1), late).is_none(), "{step_s}: the monotonic clock ends it");
        assert_eq!(again(&sessions.to_text(late)).0.len(), 0);
    }
    // begun while the clock was ten years ahead: afterwards it was made in the future
    let mut ahead = Sessions::default();
    add(&mut ahead, 1, user("anna"), at(100, NOW_S + TEN_YEARS_S));
    let text = ahead.to_text(at(101, NOW_S + TEN_YEARS_S));
    assert!(again(&text).identity(&token(1), at(5, NOW_S)).is_none());
    // ... unless this run heard the right time and wrote it down
    let text = ahead.to_text(at(102, NOW_S));
    assert!(again(&text).identity(&token(1), at(5, NOW_S + 10)).is_some());
    assert!(again(&text).identity(&token(1), at(5, NOW_S + LIFE.as_secs())).is_none());
    // on a board without a clock nobody could tell when it ends
    assert_eq!(again(&ahead.to_text(at(102, 1000))).0.len(), 0);
}

#[test]
fn who_is_no_longer_in_the_config_does_not_come_back() {
    let mut sessions = Sessions::default();
    let now = at(1, NOW_S);
    add(&mut sessions, 1, user("anna"), now);
    add(&mut sessions, 2, user("ben"), now);
    sessions.add(&token(3), user("anna"), Some([8; 32]), LIFE, now);
    add(&mut sessions, 4, by_link("a"), now);
    add(&mut sessions, 5, by_link("gone"), now);
    let mut sessions = again(&sessions.to_text(now));
    let known: Vec<usize> = (1..=5).filter(|n| sessions.identity(&token(*n), at(1, NOW_S)).is_some()).collect();
    assert_eq!(known, [1, 4], "the user with the same password, and the link that is known");
}

#[test]
fn a_shorter_session_in_the_config_counts_for_old_ones_too() {
    let hour = Duration::from_secs(3600);
    let mut sessions = Sessions::parse(left_after(0).as_bytes(), hour, anna_as(Role::Host)).unwrap();
    assert!(sessions.identity(&token(1), at(1, NOW_S + 3599)).is_some());
    assert!(sessions.identity(&token(1), at(2, NOW_S + 3600)).is_none());
}

#[test]
fn a_list_that_is_damaged_is_none_and_a_damaged_row_is_left_out() {
    let text = left_after(0);
    for cut in 1..text.len() {
        assert!(Sessions::parse(&text.as_bytes()[..cut], LIFE, anna_as(Role::Host)).is_none(), "{cut}");
    }
    let odd = text.replace(&hex(&digest_of(&token(1))), "0123");
    assert_eq!(again(&odd).0.len(), 0);
    let hostile = text.replace(&format!("{}", NOW_S), &format!("{}", u64::MAX));
    assert!(again(&hostile).identity(&token(1), at(1, NOW_S)).is_none());
}
