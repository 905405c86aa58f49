//! The password: every row of the route table, with none, wrong and right credentials.

use crate::bench::{Bench, PASSWORD, Reply, logged};
use rtcam::config::Config;
use rtcam::http::{Access, Limits, route_table};

/// What a request with the given headers gets on every row of the table.
async fn every_row(bench: &Bench, headers: &[(&str, &str)]) -> Vec<(String, Access, Reply)> {
    let mut replies = Vec::new();
    for row in route_table() {
        let path = row.path.replace("{id}", "0");
        let reply = bench.ask(row.method.as_str(), &path, headers, "").await;
        replies.push((format!("{} {path}", row.method), row.access, reply));
    }
    replies
}

fn is_open(access: Access) -> bool {
    matches!(access, Access::Probe | Access::Open)
}

#[tokio::test]
async fn without_credentials_only_open_rows_answer() {
    let bench = Bench::with_password().await;
    let forged = [
        vec![],
        vec![("Cookie", "rtcam_session=0000000000000000000000000000000000000000000000000000000000000000")],
        vec![("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-User", "admin")],
        vec![("Authorization", "Digest username=admin")],
    ];
    for headers in &forged {
        for (name, access, reply) in every_row(&bench, headers).await {
            assert_eq!(reply.status == 401, !is_open(access), "{name} with {headers:?}: {}", reply.status);
        }
    }
    assert!(bench.door.book().offers.is_empty());
    bench.stop().await;
}

#[tokio::test]
async fn a_wrong_password_opens_nothing() {
    let bench = Bench::with_password().await;
    for (name, access, reply) in every_row(&bench, &[("Authorization", "Bearer wrong")]).await {
        let refused = reply.status == 401 || reply.status == 429;
        assert_eq!(refused, !is_open(access), "{name}: {}", reply.status);
    }
    bench.stop().await;
}

#[tokio::test]
async fn the_right_password_opens_every_row() {
    let bench = Bench::with_password().await;
    for (name, _, reply) in every_row(&bench, &[("Authorization", &format!("Bearer {PASSWORD}"))]).await {
        assert!(![401, 403, 405, 429].contains(&reply.status), "{name}: {}", reply.status);
    }
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
        for (name, access, reply) in every_row(&bench, headers).await {
            assert_eq!(reply.status == 403, access != Access::Probe, "{name} with {headers:?}: {}", reply.status);
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
    let bench = Bench::with_password().await;
    assert_eq!(bench.ask("POST", "/login", &[], "password=wrong").await.status, 401);
    let reply = bench.ask("POST", "/login", &[], &format!("password={PASSWORD}")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")));
    bench.stop().await;
}

#[tokio::test]
async fn no_log_line_metric_or_status_holds_a_secret() {
    let bench = Bench::with_password().await;
    let login = bench.ask("POST", "/login", &[], &format!("password={PASSWORD}")).await;
    let cookie = login.header("set-cookie").unwrap().split(';').next().unwrap().to_string();
    let bearer = format!("Bearer {PASSWORD}");
    let offer = [("Content-Type", "application/sdp"), ("Authorization", bearer.as_str())];
    let whep = bench.ask("POST", "/whep", &offer, "v=0").await;
    let location = whep.header("location").unwrap().to_string();
    bench.ask("GET", "/", &[("Cookie", &cookie)], "").await;
    bench.ask("GET", "/", &[("Authorization", "Bearer wrong-canary")], "").await;
    bench.ask("POST", "/login", &[], "password=form-canary").await;
    let mut seen = String::new();
    for path in ["/metrics", "/api/v1/status"] {
        let reply = bench.ask("GET", path, &[("Cookie", &cookie)], "").await;
        assert_eq!(reply.status, 200);
        seen += &reply.body;
    }
    bench.stop().await;
    let log = logged();
    assert!(log.contains("wrong password"), "the log was not collected:\n{log}");
    seen += &log;
    let secret = cookie.split('=').nth(1).unwrap();
    let id = location.trim_start_matches("/whep/");
    for canary in [PASSWORD, "wrong-canary", "form-canary", secret, id, "$argon2"] {
        let line = seen.lines().find(|line| line.contains(canary));
        assert!(line.is_none(), "{canary} is in: {line:?}");
    }
}
