//! The gate: who comes in, who waits, and what is forgotten when.

use super::*;
use argon2::password_hash::CustomizedPasswordHasher;
use axum::http::HeaderValue;

const PASSWORD: &str = "correct horse";

/// The quickest hash argon2 allows: what is tested is what surrounds it.
fn quick_hash(password: &str) -> Secret {
    let params = Params::new(8, 1, 1, None).unwrap();
    let hash = Argon2::default()
        .hash_password_customized(password.as_bytes(), b"0123456789abcdef", None, None, params)
        .unwrap();
    Secret::new(hash.to_string())
}

fn gate() -> (Gate, clock::TestHand) {
    let (clock, hand) = Clock::test();
    (Gate::new(&quick_hash(PASSWORD), clock).unwrap(), hand)
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

#[tokio::test]
async fn without_a_password_everybody_is_welcome() {
    let gate = Gate::new(&Secret::default(), Clock::test().0).unwrap();
    assert_eq!(gate.check(peer(1), &HeaderMap::new()).await, Verdict::Welcome);
}

#[tokio::test]
async fn a_hash_that_is_none_is_refused_without_showing_it() {
    let Err(error) = Gate::new(&Secret::new("canary"), Clock::test().0) else { panic!("accepted") };
    assert_eq!(error.kind(), ErrorKind::BadConfig);
    assert!(!error.to_string().contains("canary"));
}

#[tokio::test]
async fn bearer_and_basic_open_with_the_password_only() {
    let (gate, hand) = gate();
    let basic = |text: &str| with(header::AUTHORIZATION, &format!("Basic {}", Base64::encode_string(text.as_bytes())));
    let table = [
        (HeaderMap::new(), Verdict::Unknown),
        (bearer(PASSWORD), Verdict::Welcome),
        (with(header::AUTHORIZATION, "bEARER  correct horse"), Verdict::Welcome),
        (basic(&format!("anybody:{PASSWORD}")), Verdict::Welcome),
        (basic(&format!(":{PASSWORD}")), Verdict::Welcome),
        (bearer("correct hors"), Verdict::WrongPassword),
        (bearer(&"x".repeat(2000)), Verdict::WrongPassword),
        (basic("anybody:"), Verdict::WrongPassword),
        (basic(PASSWORD), Verdict::Unknown),
        (with(header::AUTHORIZATION, "Basic !!!"), Verdict::Unknown),
        (with(header::AUTHORIZATION, "Digest x"), Verdict::Unknown),
        (with(header::COOKIE, "rtcam_session=00"), Verdict::Unknown),
    ];
    for (headers, verdict) in table {
        assert_eq!(gate.check(peer(1), &headers).await, verdict, "{headers:?}");
        hand.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn a_login_gives_a_cookie_that_opens_for_twelve_hours() {
    let (gate, hand) = gate();
    let cookie = gate.login(peer(1), PASSWORD.into()).await.unwrap().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    let headers = with(header::COOKIE, &format!("other=1; {pair}"));
    assert_eq!(gate.check(peer(1), &headers).await, Verdict::Welcome);
    hand.advance(SESSION_LIFE - Duration::from_secs(1));
    assert_eq!(gate.check(peer(1), &headers).await, Verdict::Welcome);
    hand.advance(Duration::from_secs(1));
    assert_eq!(gate.check(peer(1), &headers).await, Verdict::Unknown);
}

#[tokio::test]
async fn a_logout_ends_the_session() {
    let (gate, _hand) = gate();
    let cookie = gate.login(peer(1), PASSWORD.into()).await.unwrap().unwrap();
    let headers = with(header::COOKIE, cookie.split(';').next().unwrap());
    assert!(gate.logout(&headers).contains("Max-Age=0"));
    assert_eq!(gate.check(peer(1), &headers).await, Verdict::Unknown);
}

#[tokio::test]
async fn wrong_passwords_make_their_address_wait_and_nobody_else() {
    let (gate, hand) = gate();
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(gate.check(peer(1), &bearer("wrong")).await, Verdict::WrongPassword);
        // not even the right one: else guesses would be free
        assert_eq!(gate.check(peer(1), &bearer(PASSWORD)).await, Verdict::Wait { seconds: wait });
        assert_eq!(gate.check(peer(2), &bearer(PASSWORD)).await, Verdict::Welcome);
        hand.advance(Duration::from_secs(u64::from(wait)));
    }
    assert_eq!(gate.check(peer(1), &bearer(PASSWORD)).await, Verdict::Welcome);
    assert_eq!(gate.check(peer(1), &bearer("wrong")).await, Verdict::WrongPassword);
    assert_eq!(gate.check(peer(1), &bearer(PASSWORD)).await, Verdict::Wait { seconds: 1 });
}

#[tokio::test]
async fn a_cookie_is_not_stopped_by_somebody_elses_guesses_from_the_same_address() {
    let (gate, _hand) = gate();
    let cookie = gate.login(peer(1), PASSWORD.into()).await.unwrap().unwrap();
    assert_eq!(gate.check(peer(1), &bearer("wrong")).await, Verdict::WrongPassword);
    let headers = with(header::COOKIE, cookie.split(';').next().unwrap());
    assert_eq!(gate.check(peer(1), &headers).await, Verdict::Welcome);
}

#[tokio::test]
async fn the_right_password_is_remembered_for_a_while_and_a_wrong_one_never() {
    let (gate, hand) = gate();
    let guard = gate.0.clone().unwrap();
    let known = |password: &str| guard.remembers(&guard.digest(&Secret::new(password)).unwrap());
    gate.check(peer(1), &bearer("wrong")).await;
    assert!(!known("wrong"));
    gate.check(peer(2), &bearer(PASSWORD)).await;
    assert!(known(PASSWORD));
    hand.advance(REMEMBER);
    assert!(!known(PASSWORD));
}

#[tokio::test]
async fn requests_of_one_address_that_come_together_all_get_in() {
    let gate = Gate::new(&quick_hash(PASSWORD), Clock::system()).unwrap();
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move { gate.check(peer(1), &bearer(PASSWORD)).await })
        })
        .collect();
    for each in tries {
        assert_eq!(each.await.unwrap(), Verdict::Welcome);
    }
}

#[test]
fn sessions_are_bounded_and_the_oldest_goes_first() {
    let mut sessions = Sessions::default();
    let token = |n: usize| -> Token {
        let mut token = Token::default();
        token[..8].copy_from_slice(&(n as u64).to_le_bytes());
        token
    };
    for n in 0..=SESSIONS {
        sessions.add(token(n), Micros(n as u64));
    }
    assert_eq!(sessions.0.len(), SESSIONS);
    assert!(!sessions.contains(&token(0), Micros(1000)));
    assert!(sessions.contains(&token(1), Micros(1000)) && sessions.contains(&token(SESSIONS), Micros(1000)));
}

#[test]
fn remembered_mistakes_are_bounded_and_a_running_guess_is_never_forgotten() {
    let mut backoff = Backoff::default();
    let address = |n: u32| IpAddr::from(n.to_be_bytes());
    assert_eq!(backoff.begin(address(0), Micros(0)), Turn::Now);
    for n in 1..5000u32 {
        assert_eq!(backoff.begin(address(n), Micros(u64::from(n))), Turn::Now);
        backoff.end(address(n), Some(false), Micros(u64::from(n)));
        assert!(backoff.0.len() <= ADDRESSES);
    }
    assert_eq!(backoff.begin(address(0), Micros(5000)), Turn::Later);
}

#[test]
fn mistakes_are_forgotten_after_a_quarter_of_an_hour() {
    let mut backoff = Backoff::default();
    for _ in 0..5 {
        backoff.0.entry(peer(1)).and_modify(|m| m.wait_until = Micros(0));
        backoff.begin(peer(1), Micros(0));
        backoff.end(peer(1), Some(false), Micros(0));
    }
    let later = Micros(0) + FORGET_AFTER;
    assert_eq!(backoff.begin(peer(1), later), Turn::Now);
    assert_eq!(backoff.end(peer(1), Some(false), later), 1);
}

#[test]
fn tokens_are_random_and_survive_their_text_form() {
    let (a, b) = (random().unwrap(), random().unwrap());
    assert_ne!(a, b);
    assert_eq!(unhex(&hex(&a)), Some(a));
    assert_eq!(unhex(&"+1".repeat(32)), None);
    assert!(same(&a, &a) && !same(&a, &b));
}
