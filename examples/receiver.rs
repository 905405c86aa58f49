//! A headless viewer for tests on other machines than this one (QEMU guests): plays a WHEP stream for a while, decodes
//! it, and says in JSON what it saw. Exit 1 when a check failed.
//!
//! receiver --whep URL [--password P] [--rewrite-candidate IP:PORT] [--seconds N] [--expect-logo] [--json]
//!          [--bind IP:PORT] [--bind-tcp IP:PORT] [--ice-server URL[,USERNAME,CREDENTIAL]]... [--until-connected]
//! --until-connected: ends with the first picture.
#![allow(clippy::disallowed_methods)]

#[path = "../tests/receiver/mod.rs"]
mod receiver;

use receiver::{Options, Picture, Receiver};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use webrtc::peer_connection::RTCIceServer;

struct Arguments {
    whep: String,
    password: Option<String>,
    rewrite: Option<String>,
    seconds: f64,
    expect_logo: bool,
    options: Options,
    until_connected: bool,
}

fn arguments() -> Arguments {
    let mut found = Arguments {
        whep: String::new(),
        password: None,
        rewrite: None,
        seconds: 10.0,
        expect_logo: false,
        options: Options::default(),
        until_connected: false,
    };
    let mut rest = std::env::args().skip(1);
    while let Some(name) = rest.next() {
        let mut value = || rest.next().unwrap_or_else(|| panic!("{name} needs a value"));
        match name.as_str() {
            "--whep" => found.whep = value(),
            "--password" => found.password = Some(value()),
            "--rewrite-candidate" => found.rewrite = Some(value()),
            "--seconds" => found.seconds = value().parse().expect("--seconds takes a number"),
            "--expect-logo" => found.expect_logo = true,
            "--json" => {}
            "--bind" => found.options.bind = value(),
            "--bind-tcp" => found.options.bind_tcp = Some(value()),
            "--ice-server" => found.options.ice_servers.push(ice_server(&value())),
            "--until-connected" => (found.until_connected, found.options.decode) = (true, false),
            _ => panic!("unknown argument {name}"),
        }
    }
    found
}

fn ice_server(text: &str) -> RTCIceServer {
    let mut parts = text.splitn(3, ',').map(str::to_owned);
    let urls = parts.next().into_iter().collect();
    RTCIceServer { urls, username: parts.next().unwrap_or_default(), credential: parts.next().unwrap_or_default() }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = arguments();
    // towards a forwarded port the reply comes from loopback; this viewer's own address does not matter then
    let mut receiver = Receiver::offer(std::mem::take(&mut arguments.options)).await;
    let started = Instant::now();
    let reply = post(&arguments, &receiver.sdp).await;
    let (head, answer) = reply.split_once("\r\n\r\n").expect("an HTTP response");
    if !head.starts_with("HTTP/1.1 201") {
        eprintln!("no answer to the offer: {}: {answer}", head.lines().next().unwrap_or_default());
        return ExitCode::FAILURE;
    }
    receiver.answer(&rewritten(answer, arguments.rewrite.as_deref())).await;
    let end = started + Duration::from_secs_f64(arguments.seconds);
    let mut seen = Seen::default();
    while let Ok(Some(picture)) = tokio::time::timeout_at(end.into(), receiver.pictures.recv()).await {
        seen.take(started, picture);
        if arguments.until_connected {
            break;
        }
    }
    let logo = seen.last.as_ref().filter(|picture| !picture.y.is_empty()).map(logo_error);
    let path = receiver.path().await;
    println!(
        "{}",
        serde_json::json!({
            "frames": seen.frames,
            "keys": seen.keys,
            "first_frame_ms": seen.first.map(|span| span.as_millis() as u64),
            "longest_gap_ms": seen.longest_gap.as_millis() as u64,
            "width": seen.last.as_ref().map(|p| p.width),
            "height": seen.last.as_ref().map(|p| p.height),
            "bytes": seen.bytes,
            "packets": receiver.counters.packets.load(Ordering::Relaxed),
            "gaps": receiver.counters.gaps.load(Ordering::Relaxed),
            "undecodable": receiver.counters.undecodable.load(Ordering::Relaxed),
            "logo_error": logo,
            "path": path,
        })
    );
    receiver.close().await;
    let logo_seen = logo.is_some_and(|error| error <= LOGO_TOLERANCE);
    if arguments.expect_logo && !logo_seen {
        eprintln!("the logo is not where it should be: mean difference {logo:?}, at most {LOGO_TOLERANCE} wanted");
        return ExitCode::FAILURE;
    }
    if seen.frames == 0 {
        eprintln!("no picture in {} s", arguments.seconds);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[derive(Default)]
struct Seen {
    frames: u64,
    keys: u64,
    bytes: usize,
    first: Option<Duration>,
    longest_gap: Duration,
    last: Option<Picture>,
}

impl Seen {
    fn take(&mut self, started: Instant, picture: Picture) {
        self.frames += 1;
        self.keys += u64::from(picture.key);
        self.bytes += picture.bytes;
        self.first.get_or_insert(picture.received_at - started);
        if let Some(before) = &self.last {
            self.longest_gap = self.longest_gap.max(picture.received_at - before.received_at);
        }
        self.last = Some(picture);
    }
}

async fn post(arguments: &Arguments, offer: &str) -> String {
    let rest = arguments.whep.strip_prefix("http://").expect("--whep http://HOST:PORT/PATH");
    let (host, path) = rest.split_once('/').expect("a path after the host");
    let authorization =
        arguments.password.as_ref().map(|p| format!("Authorization: Bearer {p}\r\n")).unwrap_or_default();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/sdp\r\n{authorization}\
         Content-Length: {}\r\nConnection: close\r\n\r\n{offer}",
        offer.len()
    );
    let mut stream = TcpStream::connect(host).await.expect("the server answers");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a text reply");
    reply
}

/// Points the answer's candidates at a forwarded port.
fn rewritten(answer: &str, to: Option<&str>) -> String {
    let Some((ip, port)) = to.and_then(|to| to.rsplit_once(':')) else { return answer.to_string() };
    let rewrite = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if line.starts_with("a=candidate:") && words.len() > 5 {
            words[4] = ip;
            words[5] = port;
        }
        words.join(" ")
    };
    answer.lines().map(|line| rewrite(line) + "\r\n").collect()
}

const LOGO_TOLERANCE: f64 = 12.0;
const LOGO_MARGIN: usize = 16;

/// Mean difference between the picture's brightness and the opaque pixels of the default logo in the top right corner,
/// in full or limited range, whichever fits better. 255 when the picture is too small.
fn logo_error(picture: &Picture) -> f64 {
    let file = include_bytes!("../assets/rtcam-logo.png");
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("the logo is a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a small picture")];
    let info = reader.next_frame(&mut pixels).expect("the logo is whole");
    let (width, height) = (info.width as usize, info.height as usize);
    if picture.width < width + LOGO_MARGIN || picture.height < height + LOGO_MARGIN {
        return 255.0;
    }
    let left = picture.width - LOGO_MARGIN - width;
    let mut sums = [0.0; 2];
    let mut count = 0.0;
    for (at, rgba) in pixels.chunks(4).enumerate().filter(|(_, rgba)| rgba[3] == 255) {
        let [r, g, b] = [0, 1, 2].map(|c| f64::from(rgba[c]));
        let full = 0.299 * r + 0.587 * g + 0.114 * b;
        let seen = f64::from(picture.y[(LOGO_MARGIN + at / width) * picture.width + left + at % width]);
        sums[0] += (seen - full).abs();
        sums[1] += (seen - (16.0 + full * 219.0 / 255.0)).abs();
        count += 1.0;
    }
    sums[0].min(sums[1]) / count
}
