//! Canaries: a run through every route and every way in, with secrets and an address that are looked for afterwards in
//! everything the program says: log lines of every level and library, metrics, status, bodies and headers.

use crate::bench::{Bench, PASSWORD, Reply, hash, logged, soon};
use futures_util::{SinkExt, StreamExt};
use rtcam::config::{Config, Role, UserConfig};
use rtcam::http::{Limits, route_table};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// Where the client comes from: an address that no other test has.
const PEER: &str = "127.77.66.55";
const USERS_PASSWORD: &str = "users-canary-password";
const SDP: &str =
    "v=0\r\na=ice-ufrag:canary-ufrag\r\na=ice-pwd:canary-ice-pwd\r\na=fingerprint:sha-256 canary-print\r\n";

/// What was said to the client, but for the two headers whose job is to hand a secret over.
#[derive(Default)]
struct Said(String);

impl Said {
    fn note(&mut self, reply: &Reply) {
        let handed_over = |line: &&str| {
            let line = line.to_ascii_lowercase();
            line.starts_with("set-cookie:") || line.starts_with("location: /whep/")
        };
        self.0.extend(reply.head.lines().filter(|line| !handed_over(line)).flat_map(|line| [line, "\n"]));
        self.0 += &reply.body;
        self.0 += "\n";
    }
}

async fn from_peer(bench: &Bench) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{PEER}:0").parse().unwrap()).unwrap();
    socket.connect(bench.address).await.unwrap()
}

async fn ask(bench: &Bench, said: &mut Said, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let stream = from_peer(bench).await;
    let reply = bench.ask_over(stream, method, path, headers, body).await;
    said.note(&reply);
    reply
}

fn secret_of(reply: &Reply) -> String {
    let set = reply.header("set-cookie").expect("a cookie");
    set.split(';').next().unwrap().split_once('=').unwrap().1.to_string()
}

fn config() -> Config {
    let mut config = Config::default();
    config.auth.password_hash = hash(PASSWORD);
    config.auth.users = vec![UserConfig { name: "anna".into(), role: Role::Host, password_hash: hash(USERS_PASSWORD) }];
    config
}

#[tokio::test]
async fn nothing_that_is_said_or_logged_holds_a_secret_or_a_whole_address() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::with(Limits::default(), Config { state_dir: folder.path().into(), ..config() }).await;
    let mut said = Said::default();
    let said = &mut said;

    let made = bench.gate.make_link(Role::Viewer, Duration::from_secs(600), "a guest").unwrap();
    let gone = bench.gate.make_link(Role::Host, Duration::from_secs(600), "").unwrap();
    bench.gate.revoke(&gone.link.id);
    let by_link = secret_of(&ask(&bench, said, "GET", &made.path(), &[], "").await);
    let shared = ask(&bench, said, "POST", "/login", &[], &format!("password={PASSWORD}")).await;
    let by_password = secret_of(&shared);
    let users = format!("name=anna&password={USERS_PASSWORD}");
    let by_name = secret_of(&ask(&bench, said, "POST", "/login", &[], &users).await);
    // right and wrong, in every place where a secret may stand
    for form in ["password=form-canary", "name=name-canary&password=form-canary", "password%3Dbody-canary"] {
        ask(&bench, said, "POST", "/login", &[], form).await;
    }
    for path in [gone.path(), "/?link=rtl1.query-canary".into(), "/?link=query-canary&x=1".into()] {
        ask(&bench, said, "GET", &path, &[], "").await;
    }
    let cookies = [format!("rtcam_session={by_password}"), "rtcam_session=cookie-canary".to_string()];
    let bearer = |text: &str| format!("Bearer {text}");
    let shown = [
        ("Cookie", cookies[0].clone()),
        ("Cookie", cookies[1].clone()),
        ("Authorization", bearer(&made.token)),
        ("Authorization", bearer(&gone.token)),
        ("Authorization", bearer("rtl1.bearer-canary")),
        ("Authorization", bearer("bearer-canary")),
        ("Authorization", "Basic basic-canary".to_string()),
        ("Authorization", "Digest digest-canary".to_string()),
    ];
    for row in route_table().iter().filter(|row| row.path != "/logout") {
        let path = row.path.replace("{file}", "dom.js");
        for (name, value) in &shown {
            let path = path.replace("{id}", "id-canary");
            ask(&bench, said, row.method.as_str(), &path, &[(name, value)], "").await;
        }
        // what is refused before anybody is asked
        let foreign = [("Host", "host-canary.example"), ("Origin", "http://origin-canary.example")];
        ask(&bench, said, row.method.as_str(), &path.replace("{id}", "0"), &foreign, "").await;
    }

    let cookie = ("Cookie", cookies[0].as_str());
    let offer = ask(&bench, said, "POST", "/whep", &[cookie, ("Content-Type", "application/sdp")], SDP).await;
    let resource = offer.header("location").expect("a resource").to_string();
    let patch = [cookie, ("Content-Type", "application/trickle-ice-sdpfrag")];
    let candidate = "a=candidate:1 1 udp 1 192.0.2.77 5 typ host\r\na=candidate:candidate-canary\r\n";
    ask(&bench, said, "PATCH", &resource, &patch, candidate).await;
    ask(&bench, said, "PATCH", &resource, &[cookie, ("Content-Type", "canary/type")], "").await;
    speak(&bench, &cookies[0]).await;
    for path in ["/metrics", "/api/v1/status"] {
        assert_eq!(ask(&bench, said, "GET", path, &[cookie], "").await.status, 200);
    }
    ask(&bench, said, "DELETE", &resource, &[cookie], "").await;
    // noise where HTTP is expected
    let reply = Reply::read(&mut noise(&bench).await).await;
    said.note(&reply);
    ask(&bench, said, "POST", "/logout", &[cookie], "").await;
    bench.stop().await;

    let log = logged();
    // the search must have something to find
    assert!(log.contains("wrong password from 127.77.66.x for the shared password"), "no such line:\n{log}");
    assert!(said.0.contains(r#""peer":"192.0.2.x""#), "no viewer's address was searched");
    assert!(log.contains("for user \"anna\"") && said.0.contains("rtcam_viewers"), "not all was searched");
    let token = |text: &str| text.trim_start_matches("rtl1.").to_string();
    let mut secrets: Vec<String> = [PASSWORD, USERS_PASSWORD, "$argon2", "canary"].map(String::from).into();
    secrets.extend([by_link, by_password, by_name, token(&made.token), token(&gone.token)]);
    secrets.push(resource.trim_start_matches("/whep/").to_string());
    for secret in &secrets {
        let line = |text: &str| text.lines().find(|line| line.contains(secret.as_str())).map(String::from);
        assert_eq!(line(&said.0), None, "{secret} was said");
        assert_eq!(line(&log), None, "{secret} was logged");
    }
    // a viewer's own address and its candidates too
    for address in [PEER, "192.0.2.77", "192.0.2.1:"] {
        let line = |text: &str| text.lines().find(|line| line.contains(address)).map(String::from);
        assert_eq!(line(&said.0), None, "{address} was said");
        assert_eq!(line(&log), None, "{address} was logged");
    }
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may read it");
    }
}

/// A page's words on the WebSocket, good and bad.
async fn speak(bench: &Bench, cookie: &str) {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let mut request = format!("ws://{}/ws", bench.address).into_client_request().unwrap();
    request.headers_mut().insert("Cookie", cookie.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, from_peer(bench).await).await.unwrap();
    let words = [
        r#"{"type":"hello","version":1,"name":"hello-canary","resume":"resume-canary"}"#.to_string(),
        r#"{"type":"type-canary","text":"text-canary"}"#.to_string(),
        "not-json-canary".to_string(),
        r#"{"type":"candidate","candidate":"candidate:canary"}"#.to_string(),
        format!(r#"{{"type":"offer","sdp":{}}}"#, serde_json::Value::from(SDP)),
        r#"{"type":"bye","reason":"left"}"#.to_string(),
    ];
    for text in words {
        if socket.send(Message::text(text)).await.is_err() {
            break;
        }
    }
    soon(async { while let Some(Ok(_)) = socket.next().await {} }).await;
}

async fn noise(bench: &Bench) -> TcpStream {
    use tokio::io::AsyncWriteExt;
    let mut stream = from_peer(bench).await;
    // the server may answer and close before it has read everything
    let _ = stream.write_all(b"\x16\x03\x01canary noise-canary\r\n\r\n").await;
    stream
}
