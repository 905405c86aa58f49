//! Access: every row of the route table with every kind of credential, and the ways in and out.

use crate::bench::{Bench, PASSWORD, Reply, hash};
use rtcam::clock::{Clock, TestHand, WallMicros};
use rtcam::config::{AuthMode, Config, Role, UserConfig};
use rtcam::http::{Access, Limits, Route, route_table};
use std::time::Duration;

const LINK_LIFE: Duration = Duration::from_secs(60);

/// Vera may watch, Otto operate, Hanna host; the shared password makes a host.
fn with_users() -> Config {
    let mut config = Config::default();
    config.auth.password_hash = hash(PASSWORD);
    let roles = [("vera", Viewer), ("otto", Operator), ("hanna", Host)];
    config.auth.users = roles
        .map(|(name, role)| UserConfig { name: name.into(), role, password_hash: hash(&password_of(name)) })
        .into();
    config
}

fn password_of(name: &str) -> String {
    format!("{name}s password")
}

async fn bench_at(config: Config) -> (Bench, TestHand) {
    let (clock, hand) = Clock::test();
    hand.set_wall(WallMicros(1_800_000_000_000_000));
    (Bench::with_clock(Limits::default(), config, clock).await, hand)
}

/// What a request shows of itself.
#[derive(Clone, Copy, Debug)]
enum Shown {
    /// Written down by anybody.
    Headers(&'static [(&'static str, &'static str)]),
    SharedPassword,
    Password(&'static str, &'static str),
    /// Of who logged in.
    Cookie(&'static str, Fate),
    Link(Role, Fate),
    /// The cookie a link was exchanged for.
    LinksCookie(Role, Fate),
}

/// What has become of it since.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Good,
    Expired,
    Revoked,
    LoggedOut,
}

use Fate::*;
use Role::{Host, Operator, Viewer};
use Shown::*;

const FORGED_FORWARDING: &[(&str, &str)] = &[
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;proto=https"),
    ("X-Forwarded-User", "hanna"),
    ("X-Remote-User", "hanna"),
];
const FORGED_COOKIE: &str = "rtcam_session=0000000000000000000000000000000000000000000000000000000000000000";
const FORGED_LINK: &str =
    "Bearer rtl1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Everything there is to show, and what it proves.
const TABLE: [(Shown, Option<Role>); 27] = [
    (Headers(&[]), None),
    (Headers(FORGED_FORWARDING), None),
    (Headers(&[("Cookie", FORGED_COOKIE)]), None),
    (Headers(&[("Authorization", FORGED_LINK)]), None),
    (Headers(&[("Authorization", "Digest username=hanna")]), None),
    (Headers(&[("Authorization", "Bearer wrong")]), None),
    (Password("hanna", "veras password"), None),
    (Password("nobody", "hannas password"), None),
    (Cookie("hanna", Expired), None),
    (Cookie("hanna", LoggedOut), None),
    (Link(Host, Expired), None),
    (Link(Host, Revoked), None),
    (LinksCookie(Host, Expired), None),
    (LinksCookie(Host, Revoked), None),
    (SharedPassword, Some(Host)),
    (Password("vera", "veras password"), Some(Viewer)),
    (Password("otto", "ottos password"), Some(Operator)),
    (Password("hanna", "hannas password"), Some(Host)),
    (Cookie("vera", Good), Some(Viewer)),
    (Cookie("otto", Good), Some(Operator)),
    (Cookie("hanna", Good), Some(Host)),
    (Link(Viewer, Good), Some(Viewer)),
    (Link(Operator, Good), Some(Operator)),
    (Link(Host, Good), Some(Host)),
    (LinksCookie(Viewer, Good), Some(Viewer)),
    (LinksCookie(Operator, Good), Some(Operator)),
    (LinksCookie(Host, Good), Some(Host)),
];

impl Shown {
    async fn headers(self, bench: &Bench, hand: &TestHand) -> Vec<(&'static str, String)> {
        match self {
            Headers(headers) => headers.iter().map(|(name, value)| (*name, value.to_string())).collect(),
            SharedPassword => vec![("Authorization", format!("Bearer {PASSWORD}"))],
            Password(name, password) => basic(name, password),
            Cookie(name, fate) => {
                let headers = logged_in(bench, name).await;
                match fate {
                    Good => {}
                    Expired => hand.advance(Duration::from_secs(12 * 3600)),
                    Revoked => panic!("links are revoked, sessions are logged out"),
                    LoggedOut => assert_eq!(ask(bench, "POST", "/logout", &headers).await.status, 303),
                }
                headers
            }
            Link(role, fate) | LinksCookie(role, fate) => {
                let (id, headers) = by_link(bench, role, matches!(self, LinksCookie(..))).await;
                match fate {
                    Good => {}
                    Expired => hand.advance(LINK_LIFE),
                    Revoked => assert!(bench.gate.revoke(&id)),
                    LoggedOut => panic!("links are revoked, sessions are logged out"),
                }
                headers
            }
        }
    }
}

fn basic(name: &str, password: &str) -> Vec<(&'static str, String)> {
    use base64ct::{Base64, Encoding};
    vec![("Authorization", format!("Basic {}", Base64::encode_string(format!("{name}:{password}").as_bytes())))]
}

fn cookie_of(reply: &Reply) -> Vec<(&'static str, String)> {
    let set = reply.header("set-cookie").expect("a cookie");
    vec![("Cookie", set.split(';').next().unwrap().to_string())]
}

async fn logged_in(bench: &Bench, name: &str) -> Vec<(&'static str, String)> {
    let form = format!("name={name}&password={}", password_of(name).replace(' ', "+"));
    let reply = bench.ask("POST", "/login", &[], &form).await;
    assert_eq!((reply.status, reply.header("location")), (303, Some("/")), "{name}");
    cookie_of(&reply)
}

/// The link's id, and what shows it: itself, or the cookie it was exchanged for.
async fn by_link(bench: &Bench, role: Role, as_cookie: bool) -> (String, Vec<(&'static str, String)>) {
    let made = bench.gate.make_link(role, LINK_LIFE, "a guest").unwrap();
    if !as_cookie {
        return (made.link.id, vec![("Authorization", format!("Bearer {}", made.token))]);
    }
    let reply = bench.get(&made.path()).await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("/")));
    (made.link.id, cookie_of(&reply))
}

async fn ask(bench: &Bench, method: &str, path: &str, headers: &[(&'static str, String)]) -> Reply {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    bench.ask(method, path, &headers, "").await
}

fn path_of(row: &Route) -> String {
    row.path.replace("{id}", "0").replace("{file}", "dom.js")
}

/// Whether a row answered as it must to somebody of this role.
fn is_right(row: &Route, role: Option<Role>, status: u16) -> bool {
    let refusals = [401, 403, 405, 429];
    match (row.access.least_role(), role) {
        (None, _) => !refusals.contains(&status),
        (Some(_), None) => status == 401,
        (Some(least), Some(role)) if role < least => status == 403,
        (Some(_), Some(_)) => !refusals.contains(&status),
    }
}

#[tokio::test]
async fn every_row_answers_everybody_as_the_table_says() {
    let (bench, hand) = bench_at(with_users()).await;
    let mut wrong = Vec::new();
    for row in route_table() {
        let path = path_of(&row);
        for (shown, proves) in TABLE {
            let headers = shown.headers(&bench, &hand).await;
            let status = ask(&bench, row.method.as_str(), &path, &headers).await.status;
            if !is_right(&row, proves, status) {
                wrong.push(format!("{} {path} with {shown:?}: {status}", row.method));
            }
            // past every wait for wrong passwords
            hand.advance(Duration::from_secs(61));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(bench.door.book().offers.is_empty());
    bench.stop().await;
}

#[tokio::test]
async fn where_access_is_open_strangers_get_what_was_written_and_no_more() {
    for role in [Viewer, Operator, Host] {
        let mut config = with_users();
        config.auth.mode = AuthMode::Open;
        config.auth.open_role = role;
        let (bench, _hand) = bench_at(config).await;
        for row in route_table() {
            let path = path_of(&row);
            let status = bench.ask(row.method.as_str(), &path, &[], "").await.status;
            assert!(is_right(&row, Some(role), status), "{} {path} as {role:?}: {status}", row.method);
        }
        bench.stop().await;
    }
}

#[tokio::test]
async fn a_forwarded_address_does_not_shorten_the_wait() {
    let (bench, _hand) = bench_at(with_users()).await;
    let mut statuses = Vec::new();
    for n in 1..=3 {
        let address = format!("198.51.100.{n}");
        let headers = [("Authorization", "Bearer wrong"), ("X-Forwarded-For", address.as_str())];
        statuses.push(bench.ask("GET", "/", &headers, "").await.status);
    }
    assert_eq!(statuses, [401, 429, 429]);
    bench.stop().await;
}

#[tokio::test]
async fn one_users_wrong_passwords_make_nobody_else_wait() {
    let (bench, _hand) = bench_at(with_users()).await;
    for status in [401, 429, 429] {
        assert_eq!(bench.ask("POST", "/login", &[], "name=hanna&password=wrong").await.status, status);
    }
    for name in ["vera", "otto"] {
        logged_in(&bench, name).await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_link_that_does_not_open_says_why_in_the_form() {
    let (bench, hand) = bench_at(with_users()).await;
    let make = || bench.gate.make_link(Viewer, LINK_LIFE, "");
    let says = async |path: &str, language: &str, words: &str| {
        let reply = bench.ask("GET", path, &[("Accept-Language", language)], "").await;
        assert_eq!(reply.status, 401);
        assert!(reply.body.contains(words) && reply.body.contains("<form"), "{words}: {}", reply.body);
        assert!(reply.header("set-cookie").is_none());
    };
    says("/?link=rtl1.AAAA", "en", "not complete").await;
    says("/?link=%3Cscript%3E", "en", "not complete").await;
    let made = make().unwrap();
    bench.gate.revoke(&made.link.id);
    says(&made.path(), "en", "no longer valid").await;
    says(&made.path(), "zh-CN", "链接已失效").await;
    let made = make().unwrap();
    hand.set_wall(WallMicros(3_000_000));
    says(&made.path(), "en", "clock is not set").await;
    hand.set_wall(WallMicros(1_800_000_000_000_000));
    hand.advance(LINK_LIFE);
    says(&made.path(), "en", "has expired").await;
    bench.stop().await;
}

#[tokio::test]
async fn the_form_asks_for_a_name_where_there_are_names_and_lets_people_out() {
    let (bench, _hand) = bench_at(with_users()).await;
    for form in [bench.get("/").await, bench.get("/login").await] {
        assert!(form.body.contains(r#"name="name""#) && form.body.contains(r#"name="password""#));
    }
    let headers = logged_in(&bench, "vera").await;
    let page = ask(&bench, "GET", "/login", &headers).await;
    assert!(page.status == 200 && page.body.contains(r#"action="/logout""#), "{}", page.body);
    bench.stop().await;
    let bench = Bench::with_password().await;
    assert!(!bench.get("/login").await.body.contains(r#"name="name""#));
    bench.stop().await;
    // nothing to log in with
    let bench = Bench::start().await;
    assert_eq!(bench.get("/login").await.header("location"), Some("/"));
    bench.stop().await;
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused_on_every_row_but_the_probe() {
    let bench = Bench::start().await;
    let forged = [
        vec![("Host", "evil.example"), ("Origin", "http://evil.example")],
        vec![("Host", "evil.example"), ("X-Forwarded-Host", "localhost")],
        vec![("Origin", "http://evil.example")],
        vec![("Origin", "null")],
    ];
    for headers in &forged {
        for row in route_table() {
            let path = path_of(&row);
            let status = bench.ask(row.method.as_str(), &path, headers, "").await.status;
            let refused = status == 403;
            assert_eq!(refused, row.access != Access::Probe, "{} {path} with {headers:?}: {status}", row.method);
        }
    }
    bench.stop().await;
}

#[tokio::test]
async fn the_page_without_a_session_is_the_login_form_and_after_it_the_page() {
    let bench = Bench::with_password().await;
    let form = bench.get("/").await;
    assert_eq!(form.status, 401);
    assert!(form.body.contains(r#"action="/login""#) && !form.body.contains("<script"));
    let nonce = form.header("content-security-policy").unwrap().split("nonce-").nth(1).unwrap();
    assert!(form.body.contains(&format!("nonce=\"{}\"", nonce.split('\'').next().unwrap())));
    let chinese = bench.ask("GET", "/", &[("Accept-Language", "zh-CN,zh;q=0.9")], "").await;
    assert!(chinese.body.contains("密码"));

    let own = format!("http://{}", bench.address);
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Origin", own.as_str())];
    let reply = bench.ask("POST", "/login", &headers, &format!("password={PASSWORD}")).await;
    assert_eq!((reply.status, reply.header("location")), (303, Some("/")));
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_string();
    let page = bench.ask("GET", "/", &[("Cookie", &cookie)], "").await;
    assert!(page.status == 200 && page.body.contains("<video"));

    let reply = bench.ask("POST", "/logout", &[("Cookie", &cookie), ("Origin", &own)], "").await;
    assert_eq!(reply.status, 303);
    assert_eq!(bench.ask("GET", "/main.js", &[("Cookie", &cookie)], "").await.status, 401);
    bench.stop().await;
}

#[tokio::test]
async fn a_password_with_every_kind_of_character_survives_the_form() {
    use argon2::password_hash::CustomizedPasswordHasher;
    let password = "ä +&=%/密";
    let params = argon2::Params::new(8, 1, 1, None).unwrap();
    let hash = argon2::Argon2::default()
        .hash_password_customized(password.as_bytes(), b"0123456789abcdef", None, None, params)
        .unwrap();
    let mut config = Config::default();
    config.auth.password_hash = rtcam::config::Secret::new(hash.to_string());
    let bench = Bench::with(Limits::default(), config).await;
    let encoded = "%C3%A4+%2B%26%3D%25%2F%E5%AF%86";
    assert_eq!(bench.ask("POST", "/login", &[], &format!("password={encoded}")).await.status, 303);
    for broken in ["", "password", "pass=x", "\u{0}", "a b"] {
        let status = bench.ask("POST", "/login", &[], broken).await.status;
        assert!(status == 400 || status == 401 || status == 429, "{broken:?}: {status}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn wrong_logins_have_to_wait_and_are_told_how_long() {
    let (bench, hand) = bench_at(with_users()).await;
    let right = format!("password={PASSWORD}");
    assert_eq!(bench.ask("POST", "/login", &[], "password=wrong").await.status, 401);
    let reply = bench.ask("POST", "/login", &[], &right).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")));
    hand.advance(Duration::from_secs(1));
    assert_eq!(bench.ask("POST", "/login", &[], &right).await.status, 303);
    bench.stop().await;
}
