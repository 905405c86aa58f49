//! TLS on the port, with a client that trusts the certificate in the state folder and nothing else.

use crate::bench::{Bench, PASSWORD, Reply, hash, soon};
use crate::connections::patient;
use futures_util::{SinkExt, StreamExt};
use rtcam::config::{Config, TlsMode};
use rtcam::http::Limits;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_tungstenite::tungstenite::Message;

async fn secure_bench(limits: Limits) -> (Bench, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { state_dir: folder.path().into(), ..Config::default() };
    config.http.tls = TlsMode::SelfSigned;
    config.http.names = vec!["cam.example".into()];
    config.auth.password_hash = hash(PASSWORD);
    (Bench::with(limits, config).await, folder)
}

fn trusting(folder: &TempDir) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.path().join("tls.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

async fn connect(bench: &Bench, folder: &TempDir, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    soon(trusting(folder).connect(name, bench.connect().await)).await
}

#[tokio::test]
async fn the_page_comes_over_tls_under_every_name_and_no_other() {
    let (bench, folder) = secure_bench(Limits::default()).await;
    for name in ["127.0.0.1", "localhost", "cam.example", "::1"] {
        let stream = connect(&bench, &folder, name).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let reply = bench.ask_over(stream, "GET", "/", &[], "").await;
        assert!(reply.status == 401 && reply.body.contains("<form"), "{name}: {}", reply.body);
    }
    assert!(connect(&bench, &folder, "evil.example").await.is_err());
    bench.stop().await;
}

#[tokio::test]
async fn a_login_over_tls_gives_a_secure_cookie_that_opens_the_websocket() {
    let (bench, folder) = secure_bench(Limits::default()).await;
    let (https, http) = (format!("https://{}", bench.address), format!("http://{}", bench.address));
    let form = format!("password={PASSWORD}");
    let stream = connect(&bench, &folder, "127.0.0.1").await.unwrap();
    let foreign = bench.ask_over(stream, "POST", "/login", &[("Origin", &http)], &form).await;
    assert_eq!(foreign.status, 403, "a page over plain HTTP is not ours");
    let stream = connect(&bench, &folder, "127.0.0.1").await.unwrap();
    let reply = bench.ask_over(stream, "POST", "/login", &[("Origin", &https)], &form).await;
    let cookie = reply.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; Secure"), "{cookie}");

    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let mut request = format!("wss://{}/ws", bench.address).into_client_request().unwrap();
    request.headers_mut().insert("Cookie", cookie.split(';').next().unwrap().parse().unwrap());
    request.headers_mut().insert("Origin", https.parse().unwrap());
    let stream = connect(&bench, &folder, "127.0.0.1").await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::text(r#"{"type":"hello","version":1}"#)).await.unwrap();
    let welcome = soon(socket.next()).await.unwrap().unwrap();
    assert!(welcome.to_text().unwrap().contains("welcome"), "{welcome}");
    bench.stop().await;
}

#[tokio::test]
async fn plain_http_is_told_that_this_is_https() {
    let (bench, _folder) = secure_bench(Limits::default()).await;
    let reply = bench.get("/").await;
    assert_eq!(reply.status, 400);
    assert!(reply.body.contains("this is https"), "{}", reply.body);
    bench.stop().await;
}

#[tokio::test]
async fn a_handshake_has_the_deadline_of_a_header_and_a_seat() {
    // long enough for the handshake at the end, on any machine
    let limits = Limits { header_within: Duration::from_secs(2), connections: 2, ..Limits::default() };
    let (bench, folder) = secure_bench(limits).await;
    let (mut silent, mut slow) = (bench.connect().await, bench.connect().await);
    slow.write_all(&[0x16, 3, 1]).await.unwrap();
    // both seats may still be taken: then the third is closed without a word
    let third = connect(&bench, &folder, "127.0.0.1").await;
    for stream in [&mut silent, &mut slow] {
        let mut bytes = Vec::new();
        let _ = soon(stream.read_to_end(&mut bytes)).await;
        assert!(bytes.len() < 10, "at most an alert: {bytes:?}");
    }
    drop(third);
    let back = async {
        while connect(&bench, &folder, "127.0.0.1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(back).await;
    bench.stop().await;
}

#[tokio::test]
async fn noise_that_looks_like_a_handshake_harms_nobody() {
    let (bench, folder) = secure_bench(Limits::default()).await;
    for noise in [&b"\x16\x03\x01\xff\xff"[..], &[0x16; 70_000], b"\x16\x03\x01\x00\x05hello world"] {
        let mut stream = bench.connect().await;
        let _ = stream.write_all(noise).await;
        let _ = stream.shutdown().await;
        let reply = Reply::read(&mut stream).await;
        assert_eq!(reply.status, 0);
    }
    assert!(connect(&bench, &folder, "127.0.0.1").await.is_ok());
    bench.stop().await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_handshake() {
    let (bench, _folder) = secure_bench(patient()).await;
    let _silent = bench.connect().await;
    bench.get("/").await;
    bench.stop().await;
}
