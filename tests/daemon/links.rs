//! A link made on the command line opens the running program, until it is revoked there.

use crate::client::{answer_for, ask, get, soon};
use crate::password::{PASSWORD, password_hash};
use crate::program::Program;
use crate::receiver::{Options, Receiver};
use crate::signalling::{answered, hear, open_socket_with, say};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub fn access(program: &Program, arguments: &[&str]) -> String {
    let done = program.run_beside(&[&["access"], arguments].concat());
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// Its path and its id.
pub fn viewer_link(program: &Program) -> (String, String) {
    let made = access(program, &["link", "--role", "viewer", "--for", "2h"]);
    let path = &made[made.find("/?link=").expect("a path")..made.find('\n').expect("lines")];
    let id = access(program, &["links"]).split(' ').next().expect("an id").to_string();
    (path.to_string(), id)
}

pub async fn cookie_for(program: &Program, path: &str) -> String {
    let reply = get(program, path).await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("/")), "{reply:?}");
    reply.header("set-cookie").and_then(|set| set.split(';').next()).expect("a cookie").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_the_page_until_it_is_revoked() {
    let program = Program::start(&[&format!("auth.password_hash={}", password_hash())]);
    let (path, id) = viewer_link(&program);
    let cookie = cookie_for(&program, &path).await;
    let status_of = async |path: &str| ask(&program, "GET", path, &[("Cookie", &cookie)], "").await.status;
    assert_eq!((status_of("/").await, status_of("/api/v1/status").await), (200, 403));

    access(&program, &["revoke", &id]);
    soon("the revocation", async {
        while status_of("/").await != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(get(&program, &path).await.status, 401);
    let token = path.trim_start_matches("/?link=");
    assert!(!program.log().contains(token), "the token is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_came_by_a_link_goes_with_it_from_the_page_and_from_whep() {
    let program = Program::start(&[&format!("auth.password_hash={}", password_hash())]);
    let (path, id) = viewer_link(&program);
    let mut socket = open_socket_with(&program, "Cookie", &cookie_for(&program, &path).await).await;
    say(&mut socket, json!({"type": "hello", "version": 1, "name": "Guest"})).await;
    hear(&mut socket, "welcome").await;
    let options = || Options { decode: false, ..Options::default() };
    let mut page = Receiver::offer(options()).await;
    page.answer(answered(&mut socket, &page.sdp).await["sdp"].as_str().expect("text")).await;
    page.picture("on the page").await;
    let mut player = Receiver::offer(options()).await;
    let bearer = format!("Bearer {}", path.trim_start_matches("/?link="));
    let reply = answer_for(&program, &player.sdp, &[("Authorization", &bearer)]).await;
    player.answer(&reply.body).await;
    player.picture("by WHEP").await;
    let location = reply.header("location").expect("201 has a Location").to_string();

    access(&program, &["revoke", &id]);
    let begun = Instant::now();
    assert_eq!(hear(&mut socket, "bye").await["reason"], "revoked");
    let page_s = begun.elapsed().as_secs_f64();
    let host = format!("Bearer {PASSWORD}");
    soon("both viewers end", async {
        loop {
            let status = ask(&program, "GET", "/api/v1/status", &[("Authorization", &host)], "").await;
            let status: Value = serde_json::from_str(&status.body).expect("JSON");
            if status["viewers"] == json!([]) && status["people"] == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    println!("revoked elsewhere: bye after {page_s:.2} s, no viewer is left after {:?}", begun.elapsed());
    let gone = ask(&program, "DELETE", &location, &[("Authorization", &host)], "").await;
    assert_eq!(gone.status, 404, "{gone:?}");
    page.close().await;
    player.close().await;
}
