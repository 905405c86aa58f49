//! A link made on the command line opens the running program, until it is revoked there.

use crate::client::{ask, get, soon};
use crate::password::password_hash;
use crate::program::Program;
use std::time::Duration;

fn access(program: &Program, arguments: &[&str]) -> String {
    let done = program.run_beside(&[&["access"], arguments].concat());
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_the_page_until_it_is_revoked() {
    let program = Program::start(&[&format!("auth.password_hash={}", password_hash())]);
    let made = access(&program, &["link", "--role", "viewer", "--for", "2h"]);
    let path = &made[made.find("/?link=").expect("a path")..made.find('\n').expect("lines")];
    let id = access(&program, &["links"]).split(' ').next().expect("an id").to_string();

    let reply = get(&program, path).await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("/")), "{reply:?}");
    let cookie = reply.header("set-cookie").and_then(|set| set.split(';').next()).expect("a cookie").to_string();
    let status_of = async |path: &str| ask(&program, "GET", path, &[("Cookie", &cookie)], "").await.status;
    assert_eq!((status_of("/").await, status_of("/api/v1/status").await), (200, 403));

    access(&program, &["revoke", &id]);
    soon("the revocation", async {
        while status_of("/").await != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(get(&program, path).await.status, 401);
    let token = path.trim_start_matches("/?link=");
    assert!(!program.log().contains(token), "the token is in the log");
}
