//! Pages of other sites, names that were bent to point here, and addresses that somebody only claims to have.

use crate::client::ask;
use crate::program::Program;
use crate::raw::{connect_as, exchange, head, upgrade};
use crate::siege::Siege;
use std::io::Write;
use std::process::{Command, Stdio};
use tokio::io::AsyncWriteExt;

const FOREIGN_HOST: &str = "does not go by that name";
const FOREIGN_ORIGIN: &str = "pages of that origin may not use this server";

const FORGED: [(&str, &str); 5] = [
    ("X-Forwarded-For", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;host=localhost;proto=https"),
    ("X-Forwarded-Host", "localhost"),
    ("X-Real-IP", "127.0.0.1"),
    ("X-Forwarded-Proto", "https"),
];

fn forged_lines() -> String {
    FORGED.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_sites_get_nothing() {
    let siege = Siege::lay("cross-site WebSockets").await;
    let own = siege.program.address.to_string();
    let other_port = format!("http://127.0.0.1:{}", siege.program.address.port() ^ 1);
    let origins = ["http://evil.example", "https://evil.example", "null", "", "file://", &other_port];
    for origin in origins.into_iter().chain([format!("https://{own}").as_str(), &format!("http://{own}.evil.example")])
    {
        for more in ["", &forged_lines()] {
            let answer =
                exchange(&siege.program, &upgrade(&own, &format!("Origin: {origin}\r\nConnection: close\r\n{more}")))
                    .await;
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(FOREIGN_ORIGIN), "{origin}: {answer}");
        }
        let headers = [("Origin", origin), ("Content-Type", "application/sdp")];
        let offer = ask(&siege.program, "POST", "/whep", &headers, "v=0\r\n").await;
        assert!(offer.status == 403 && offer.header("access-control-allow-origin").is_none(), "{origin}: {offer:?}");
    }
    // the same with an origin of ours is let in: what is refused above is refused for its origin
    let mut stream = connect_as(&siege.program, 0).await;
    stream.write_all(upgrade(&own, &format!("Origin: http://{own}\r\n")).as_bytes()).await.expect("it listens");
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    drop(stream);
    siege.lift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_bent_to_this_address_get_nothing_whatever_a_proxy_is_said_to_have_seen() {
    let siege = Siege::lay("foreign Host headers").await;
    let port = siege.program.address.port();
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.7",
    ] {
        for more in ["", &forged_lines()] {
            for path in ["/", "/api/v1/status", "/metrics", "/whep"] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
                let answer = exchange(&siege.program, &request).await;
                // nobody gets /whep by GET
                let refused = answer.starts_with("HTTP/1.1 403 ") && answer.contains(FOREIGN_HOST);
                assert!(refused || path == "/whep" && answer.starts_with("HTTP/1.1 405 "), "{host} {path}: {answer}");
            }
            let answer = exchange(&siege.program, &upgrade(host, &format!("Connection: close\r\n{more}"))).await;
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(FOREIGN_HOST), "{host}: {answer}");
        }
    }
    for hosts in ["", "Host: localhost\r\nHost: evil.example\r\n", "Host: localhost@evil.example\r\n"] {
        let answer = exchange(&siege.program, &format!("GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{hosts:?}: {answer}");
    }
    siege.lift().await;
}

/// What the program's own command makes of a password.
fn password_hash() -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtcam"));
    let mut child = command.arg("password").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("built");
    child.stdin.take().expect("piped").write_all(b"correct horse battery").expect("it reads");
    let line = String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("text");
    line.split('"').nth(1).expect("a value in quotes").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claimed_address_opens_no_door_and_gives_no_further_guesses() {
    let program = Program::start(&[&format!("auth.password_hash={}", password_hash())]);
    let refused = ask(&program, "GET", "/api/v1/status", &FORGED, "").await;
    assert_eq!(refused.status, 401, "a claimed address is nobody's password: {refused:?}");
    let mut statuses = Vec::new();
    for number in 0..6 {
        let address = format!("198.51.100.{number}");
        let forwarded = format!("for={address}");
        let headers =
            [("Authorization", "Bearer guess"), ("X-Forwarded-For", address.as_str()), ("Forwarded", &forwarded)];
        statuses.push(ask(&program, "GET", "/api/v1/status", &headers, "").await.status);
    }
    println!("six guesses under six claimed addresses: {statuses:?}");
    // each wrong one doubles the wait of the real address
    assert!(statuses.contains(&429) && statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert!(!program.log().contains("198.51.100."), "a claimed address is taken for nothing:\n{}", program.log());
}
