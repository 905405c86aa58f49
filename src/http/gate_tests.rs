//! The gate: who comes in, as whom, who waits, and what is forgotten when.

use super::*;
use crate::clock::{TestHand, WallMicros};
use crate::config::{AuthMode, UserConfig};
use crate::error::ErrorKind;
use crate::http::passwords::REMEMBER;
use argon2::password_hash::CustomizedPasswordHasher;
use argon2::{Argon2, Params};
use axum::http::HeaderValue;

const PASSWORD: &str = "correct horse";
const ANNAS: &str = "anna's own horse";
const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);

/// The quickest hash argon2 allows: what is tested is what surrounds it.
fn quick_hash(password: &str) -> Secret {
    let params = Params::new(8, 1, 1, None).unwrap();
    let hash = Argon2::default()
        .hash_password_customized(password.as_bytes(), b"0123456789abcdef", None, None, params)
        .unwrap();
    Secret::new(hash.to_string())
}

fn one_password() -> AuthConfig {
    AuthConfig { password_hash: quick_hash(PASSWORD), ..AuthConfig::default() }
}

/// Anna is a host, Ben a viewer, and whoever has the shared password an operator.
fn users() -> AuthConfig {
    let user =
        |name: &str, role, password: &str| UserConfig { name: name.into(), role, password_hash: quick_hash(password) };
    AuthConfig {
        users: vec![user("anna", Role::Host, ANNAS), user("ben", Role::Viewer, "ben's own horse")],
        password_role: Role::Operator,
        ..one_password()
    }
}

fn gate_of(config: &AuthConfig) -> (Gate, TestHand) {
    let (clock, hand) = Clock::test();
    hand.set_wall(WallMicros(1_800_000_000_000_000));
    (Gate::new(config, false, None, clock).unwrap(), hand)
}

fn gate() -> (Gate, TestHand) {
    gate_of(&one_password())
}

fn peer(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn with(name: header::HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
}

fn bearer(password: &str) -> HeaderMap {
    with(header::AUTHORIZATION, &format!("Bearer {password}"))
}

fn basic(text: &str) -> HeaderMap {
    with(header::AUTHORIZATION, &format!("Basic {}", Base64::encode_string(text.as_bytes())))
}

fn cookie(set_cookie: &str) -> HeaderMap {
    with(header::COOKIE, &format!("other=1; {}", set_cookie.split(';').next().unwrap()))
}

fn shared(role: Role) -> Result<Identity, Denial> {
    Ok(Identity { name: String::new(), role, proof: Proof::Password })
}

fn user(name: &str, role: Role) -> Result<Identity, Denial> {
    Ok(Identity { name: name.into(), role, proof: Proof::User })
}

#[tokio::test]
async fn without_a_password_everybody_on_this_machine_is_at_home() {
    let (gate, _hand) = gate_of(&AuthConfig::default());
    for headers in [HeaderMap::new(), bearer("anything"), with(header::AUTHORIZATION, "Digest x")] {
        assert_eq!(gate.check(peer(1), &headers).await, Ok(Identity::at_home()));
    }
    assert_eq!(gate.login(peer(1), "", "anything".into()).await, Ok(None));
}

#[tokio::test]
async fn where_access_is_open_strangers_are_what_was_written_and_a_password_gives_more() {
    let (gate, hand) = gate_of(&AuthConfig { mode: AuthMode::Open, ..users() });
    let stranger = Identity { role: Role::Viewer, ..Identity::at_home() };
    assert_eq!(gate.check(peer(1), &HeaderMap::new()).await, Ok(stranger.clone()));
    assert_eq!(gate.check(peer(1), &with(header::COOKIE, "rtcam_session=00")).await, Ok(stranger));
    assert_eq!(gate.check(peer(1), &basic(&format!("anna:{ANNAS}"))).await, user("anna", Role::Host));
    assert_eq!(gate.check(peer(1), &basic("anna:wrong")).await, Err(Denial::WrongPassword));
    hand.advance(Duration::from_secs(2));
    let set = gate.login(peer(1), "anna", ANNAS.into()).await.unwrap().unwrap();
    assert_eq!(gate.check(peer(1), &cookie(&set)).await, user("anna", Role::Host));
}

#[test]
fn a_hash_that_is_none_is_refused_without_showing_it() {
    let config = AuthConfig { password_hash: Secret::new("canary"), ..AuthConfig::default() };
    let Err(error) = Gate::new(&config, false, None, Clock::test().0) else { panic!("accepted") };
    assert_eq!(error.kind(), ErrorKind::BadConfig);
    assert!(!error.to_string().contains("canary"));
}

#[tokio::test]
async fn bearer_and_basic_open_with_the_password_only() {
    let (gate, hand) = gate();
    let table = [
        (HeaderMap::new(), Err(Denial::Unknown)),
        (bearer(PASSWORD), shared(Role::Host)),
        (with(header::AUTHORIZATION, "bEARER  correct horse"), shared(Role::Host)),
        (basic(&format!("anybody:{PASSWORD}")), shared(Role::Host)),
        (basic(&format!(":{PASSWORD}")), shared(Role::Host)),
        (bearer("correct hors"), Err(Denial::WrongPassword)),
        (bearer(&"x".repeat(2000)), Err(Denial::WrongPassword)),
        (basic("anybody:"), Err(Denial::WrongPassword)),
        (basic(PASSWORD), Err(Denial::Unknown)),
        (with(header::AUTHORIZATION, "Basic !!!"), Err(Denial::Unknown)),
        (with(header::AUTHORIZATION, "Digest x"), Err(Denial::Unknown)),
        (with(header::COOKIE, "rtcam_session=00"), Err(Denial::Unknown)),
        (bearer("rtl1.AAAA"), Err(Denial::Link(LinkRefusal::Forged))),
    ];
    for (headers, verdict) in table {
        assert_eq!(gate.check(peer(1), &headers).await, verdict, "{headers:?}");
        hand.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn everybody_has_their_own_password_and_role() {
    let (gate, hand) = gate_of(&users());
    let table = [
        (basic(&format!("anna:{ANNAS}")), user("anna", Role::Host)),
        (basic("ben:ben's own horse"), user("ben", Role::Viewer)),
        (basic(&format!("somebody:{PASSWORD}")), shared(Role::Operator)),
        (bearer(PASSWORD), shared(Role::Operator)),
        // neither another's password nor the shared one
        (basic(&format!("ben:{ANNAS}")), Err(Denial::WrongPassword)),
        (basic(&format!("anna:{PASSWORD}")), Err(Denial::WrongPassword)),
        (basic(&format!("somebody:{ANNAS}")), Err(Denial::WrongPassword)),
        (bearer(ANNAS), Err(Denial::WrongPassword)),
        (basic(&format!("ANNA:{ANNAS}")), Err(Denial::WrongPassword)),
    ];
    for (headers, verdict) in table {
        assert_eq!(gate.check(peer(1), &headers).await, verdict, "{headers:?}");
        hand.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn without_a_shared_password_a_name_that_is_not_there_opens_nothing() {
    let (gate, hand) = gate_of(&AuthConfig { password_hash: Secret::default(), ..users() });
    // the first user's password: the one that stands in for those who do not exist
    for headers in [basic(&format!("nobody:{ANNAS}")), basic(&format!(":{ANNAS}")), bearer(ANNAS)] {
        assert_eq!(gate.check(peer(1), &headers).await, Err(Denial::WrongPassword));
        hand.advance(Duration::from_secs(61));
    }
    assert_eq!(gate.login(peer(1), "nobody", ANNAS.into()).await, Err(Denial::WrongPassword));
    // and made-up names share one wait
    assert!(matches!(gate.login(peer(1), "nobody else", ANNAS.into()).await, Err(Denial::Wait { .. })));
}

#[tokio::test]
async fn a_login_gives_a_cookie_that_opens_for_as_long_as_it_says() {
    let (gate, hand) = gate_of(&users());
    let set = gate.login(peer(1), "anna", ANNAS.into()).await.unwrap().unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Max-Age=43200"), "{set}");
    let headers = cookie(&set);
    assert_eq!(gate.check(peer(1), &headers).await, user("anna", Role::Host));
    hand.advance(SESSION_LIFE - Duration::from_secs(1));
    assert_eq!(gate.check(peer(1), &headers).await, user("anna", Role::Host));
    hand.advance(Duration::from_secs(1));
    assert_eq!(gate.check(peer(1), &headers).await, Err(Denial::Unknown));
}

#[tokio::test]
async fn a_logout_ends_the_session() {
    let (gate, _hand) = gate();
    let set = gate.login(peer(1), "", PASSWORD.into()).await.unwrap().unwrap();
    assert!(gate.logout(&cookie(&set)).contains("Max-Age=0"));
    assert_eq!(gate.check(peer(1), &cookie(&set)).await, Err(Denial::Unknown));
}

#[tokio::test]
async fn wrong_passwords_make_their_address_wait_and_nobody_else() {
    let (gate, hand) = gate_of(&users());
    let (wrong, right) = (basic("anna:wrong"), basic(&format!("anna:{ANNAS}")));
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(gate.check(peer(1), &wrong).await, Err(Denial::WrongPassword));
        // not even the right one: else guesses would be free
        assert_eq!(gate.check(peer(1), &right).await, Err(Denial::Wait { seconds: wait }));
        // Anna elsewhere, and others behind the same address
        assert_eq!(gate.check(peer(2), &right).await, user("anna", Role::Host));
        assert_eq!(gate.check(peer(1), &basic("ben:ben's own horse")).await, user("ben", Role::Viewer));
        assert_eq!(gate.check(peer(1), &bearer(PASSWORD)).await, shared(Role::Operator));
        hand.advance(Duration::from_secs(u64::from(wait)));
    }
    assert_eq!(gate.check(peer(1), &right).await, user("anna", Role::Host));
    assert_eq!(gate.check(peer(1), &wrong).await, Err(Denial::WrongPassword));
    assert_eq!(gate.check(peer(1), &right).await, Err(Denial::Wait { seconds: 1 }));
}

#[tokio::test]
async fn a_cookie_is_not_stopped_by_somebody_elses_guesses_from_the_same_address() {
    let (gate, _hand) = gate();
    let set = gate.login(peer(1), "", PASSWORD.into()).await.unwrap().unwrap();
    assert_eq!(gate.check(peer(1), &bearer("wrong")).await, Err(Denial::WrongPassword));
    assert_eq!(gate.check(peer(1), &cookie(&set)).await, shared(Role::Host));
}

#[tokio::test]
async fn the_right_password_is_remembered_for_a_while_and_a_wrong_one_never() {
    let (gate, hand) = gate_of(&users());
    let passwords = gate.0.passwords.clone();
    let known =
        |account, password: &str| passwords.remembers(account, &passwords.digest(&Secret::new(password)).unwrap());
    gate.check(peer(1), &basic("anna:wrong")).await.unwrap_err();
    assert!(!known(0, "wrong"));
    gate.check(peer(2), &basic(&format!("anna:{ANNAS}"))).await.unwrap();
    assert!(known(0, ANNAS) && !known(1, ANNAS) && !known(2, ANNAS));
    hand.advance(REMEMBER);
    assert!(!known(0, ANNAS));
}

#[tokio::test]
async fn requests_of_one_address_that_come_together_all_get_in() {
    let gate = Gate::new(&users(), false, None, Clock::system()).unwrap();
    let tries: Vec<_> = (0..8)
        .map(|n| {
            let gate = gate.clone();
            let headers = if n % 2 == 0 { bearer(PASSWORD) } else { basic(&format!("anna:{ANNAS}")) };
            tokio::spawn(async move { gate.check(peer(1), &headers).await })
        })
        .collect();
    for each in tries {
        assert!(each.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_link_opens_as_a_bearer_and_as_a_cookie_until_it_is_revoked() {
    let (gate, _hand) = gate();
    let made = gate.make_link(Role::Operator, Duration::from_secs(7200), "Front desk").unwrap();
    let set = gate.exchange(&made.token).unwrap();
    assert!(set.contains("SameSite=Lax") && set.contains("Max-Age=7200"), "{set}");
    let proof = Proof::Link(made.link.id.clone());
    let who = Ok(Identity { name: "Front desk".into(), role: Role::Operator, proof });
    assert_eq!(gate.check(peer(1), &bearer(&made.token)).await, who);
    assert_eq!(gate.check(peer(1), &cookie(&set)).await, who);
    assert_eq!(gate.links(), std::slice::from_ref(&made.link));
    assert!(gate.revoke(&made.link.id));
    assert!(!gate.revoke(&made.link.id));
    assert_eq!(gate.check(peer(1), &bearer(&made.token)).await, Err(Denial::Link(LinkRefusal::Revoked)));
    assert_eq!(gate.check(peer(1), &cookie(&set)).await, Err(Denial::Unknown));
    assert_eq!(gate.exchange(&made.token), Err(Denial::Link(LinkRefusal::Revoked)));
    assert!(gate.links().is_empty());
}

#[tokio::test]
async fn a_cookie_does_not_outlive_its_link_whatever_the_clock_is_set_to() {
    let (gate, hand) = gate();
    let made = gate.make_link(Role::Viewer, Duration::from_secs(3600), "").unwrap();
    let set = gate.exchange(&made.token).unwrap();
    hand.advance(Duration::from_secs(3599));
    assert!(gate.check(peer(1), &cookie(&set)).await.is_ok());
    hand.advance(Duration::from_secs(1));
    hand.set_wall(WallMicros(1_800_000_000_000_000));
    assert_eq!(gate.check(peer(1), &cookie(&set)).await, Err(Denial::Unknown));
    assert_eq!(gate.check(peer(1), &bearer(&made.token)).await, Err(Denial::Link(LinkRefusal::Expired)));
}

#[tokio::test]
async fn a_stay_ends_when_its_link_is_revoked_and_no_other_does() {
    let (gate, _hand) = gate();
    let made = gate.make_link(Role::Viewer, Duration::from_secs(3600), "").unwrap();
    let other = gate.make_link(Role::Viewer, Duration::from_secs(3600), "").unwrap();
    let by_link = gate.check(peer(1), &bearer(&made.token)).await.unwrap();
    let by_other = gate.check(peer(1), &bearer(&other.token)).await.unwrap();
    let by_password = gate.check(peer(1), &bearer(PASSWORD)).await.unwrap();
    let (waiting, gate_there) = (by_link.clone(), gate.clone());
    let ended = tokio::spawn(async move { gate_there.ended(&waiting).await });
    gate.revoke(&made.link.id);
    clock::within(Duration::from_secs(20), ended).await.expect("at once").unwrap();
    assert!(!gate.is_still_valid(&by_link));
    assert_eq!((gate.newly_ended_links(), gate.newly_ended_links()), (vec![made.link.id], vec![]));
    for stays in [by_other, by_password] {
        assert!(gate.is_still_valid(&stays));
        let at_once = clock::within(Duration::from_millis(20), gate.ended(&stays)).await;
        assert!(at_once.is_none(), "{stays:?} ended");
    }
}

#[tokio::test]
async fn a_check_costs_nothing_but_argon2() {
    let (gate, _hand) = gate_of(&users());
    let set = gate.login(peer(1), "anna", ANNAS.into()).await.unwrap().unwrap();
    let link = gate.make_link(Role::Viewer, Duration::from_secs(3600), "").unwrap();
    for headers in [cookie(&set), bearer(&link.token), basic(&format!("anna:{ANNAS}"))] {
        gate.check(peer(1), &headers).await.unwrap();
        // on this thread's CPU time: a busy machine does not count
        let before = clock::thread_cpu();
        for _ in 0..20 {
            gate.check(peer(1), &headers).await.unwrap();
        }
        let each = (clock::thread_cpu() - before) / 20;
        println!("one check takes {each:?} of this thread");
        assert!(each < Duration::from_millis(50), "{each:?}");
    }
}

/// A gate of the next run, on the same folder.
fn gate_again(config: &AuthConfig, folder: &std::path::Path, wall_s: u64) -> (Gate, TestHand) {
    let (clock, hand) = Clock::test();
    hand.set_wall(WallMicros(wall_s * 1_000_000));
    let state = Arc::new(StateFolder::open(folder).unwrap());
    (Gate::new(config, false, Some(state), clock).unwrap(), hand)
}

#[tokio::test]
async fn logins_outlive_a_restart_and_the_config_of_then_decides() {
    const START_S: u64 = 1_800_000_000;
    let folder = tempfile::tempdir().unwrap();
    let (gate, hand) = gate_again(&users(), folder.path(), START_S);
    let anna = cookie(&gate.login(peer(1), "anna", ANNAS.into()).await.unwrap().unwrap());
    let shared_one = cookie(&gate.login(peer(1), "", PASSWORD.into()).await.unwrap().unwrap());
    let out = cookie(&gate.login(peer(1), "anna", ANNAS.into()).await.unwrap().unwrap());
    let link = gate.links_on_disk().make(Role::Viewer, Duration::from_secs(7200), "Guest").unwrap();
    let guest = cookie(&gate.exchange(&link.token).unwrap());
    gate.keep_sessions_at_last().await;
    gate.logout(&out);
    gate.keep_sessions_at_last().await;
    let text = std::fs::read_to_string(folder.path().join(SESSIONS_FILE)).unwrap();
    let token = anna[header::COOKIE].to_str().unwrap().rsplit('=').next().unwrap();
    assert!(!text.contains(token) && !text.contains("argon2"), "{text}");
    drop((gate, hand));

    let (gate, _hand) = gate_again(&users(), folder.path(), START_S + 60);
    assert_eq!(gate.by_cookie(&anna), user("anna", Role::Host).ok());
    assert_eq!(gate.by_cookie(&shared_one), shared(Role::Operator).ok());
    assert_eq!(gate.by_cookie(&out), None, "logged out");
    assert_eq!(gate.by_cookie(&guest).map(|guest| (guest.name, guest.role)), Some(("Guest".into(), Role::Viewer)));

    let mut changed = users();
    changed.users[0].role = Role::Viewer;
    changed.password_hash = quick_hash("another one");
    let (gate, _hand) = gate_again(&changed, folder.path(), START_S + 60);
    assert_eq!(gate.by_cookie(&anna), user("anna", Role::Viewer).ok());
    assert_eq!(gate.by_cookie(&shared_one), None, "the password was changed");
    gate.links_on_disk().revoke(&link.link.id).unwrap();

    changed.users.remove(0);
    let (gate, _hand) = gate_again(&changed, folder.path(), START_S + 60);
    assert_eq!((gate.by_cookie(&anna), gate.by_cookie(&guest)), (None, None), "no such user, and a revoked link");
    let (gate, _hand) = gate_again(&users(), folder.path(), START_S + SESSION_LIFE.as_secs());
    assert_eq!(gate.by_cookie(&anna), None, "it has expired");
    std::fs::write(folder.path().join(SESSIONS_FILE), "{").unwrap();
    let (gate, _hand) = gate_again(&users(), folder.path(), START_S);
    assert_eq!(gate.by_cookie(&anna), None, "damaged: everybody logs in again");
}

#[tokio::test]
async fn a_clock_that_is_set_makes_the_logins_be_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, hand) = gate_again(&users(), folder.path(), 1000);
    let anna = cookie(&gate.login(peer(1), "anna", ANNAS.into()).await.unwrap().unwrap());
    gate.keep_sessions_at_last().await;
    let (early, _) = gate_again(&users(), folder.path(), 1000);
    assert_eq!(early.by_cookie(&anna), None, "nobody can tell when it ends");
    // NTP has answered
    hand.set_wall(WallMicros(1_800_000_000_000_000));
    gate.look_at_clock();
    gate.keep_sessions_at_last().await;
    let (later, _) = gate_again(&users(), folder.path(), 1_800_000_060);
    assert!(later.by_cookie(&anna).is_some());
}
