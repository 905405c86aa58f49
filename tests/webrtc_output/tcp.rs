//! Viewers that come by ICE-TCP, and strangers on its port.

use crate::bars::Bars;
use crate::door::{HERE, PATIENCE, gone, join, until};
use crate::receiver::nat_box::without_candidates;
use crate::receiver::{Options, Receiver};
use rtcam::clock::Clock;
use rtcam::config::WebRtcConfig;
use rtcam::output::webrtc::WebRtc;
use rtcam::output::{Offer, ViewerDoor, ViewerEvent, ViewerId};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

fn start_with_tcp(bars: &Arc<Bars>) -> Arc<WebRtc> {
    let try_one = || {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let tcp_port = free.local_addr().expect("bound").port();
        drop(free);
        let config = WebRtcConfig { udp_port: 0, tcp_port, max_viewers: 4, ..WebRtcConfig::default() };
        WebRtc::start(&config, IpAddr::V4(Ipv4Addr::LOCALHOST), bars.clone(), Clock::system())
    };
    // another test may be given the port that was free
    (0..4).find_map(|_| try_one().ok()).unwrap_or_else(|| try_one().expect("starts"))
}

/// A viewer that knows no way but TCP, by `through` instead of the port itself where that is given.
async fn join_by_tcp(door: &WebRtc, through: Option<SocketAddr>) -> (Receiver, ViewerId, mpsc::Receiver<ViewerEvent>) {
    let receiver = Receiver::offer(Options { bind_tcp: Some("127.0.0.1:0".into()), ..Options::default() }).await;
    let (events, events_out) = mpsc::channel(8);
    let reply = door.offer(Offer { sdp: without_candidates(&receiver.sdp), from: HERE, events }).await;
    let answer = reply.expect("an answer comes").expect("the offer is good");
    let port = |address: SocketAddr| format!(" {} typ host tcptype", address.port());
    let real = door.tcp_addr().expect("it listens");
    let sdp = answer.sdp.replace(&port(real), &port(through.unwrap_or(real)));
    let by_tcp = sdp.lines().filter(|line| !line.starts_with("a=candidate") || line.contains(" tcp "));
    receiver.answer(&by_tcp.map(|line| format!("{line}\r\n")).collect::<String>()).await;
    (receiver, answer.viewer, events_out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_without_udp_comes_by_tcp_and_its_connection_goes_with_it() {
    let bars = Bars::start();
    let door = start_with_tcp(&bars);
    let (mut receiver, _, _events) = join_by_tcp(&door, None).await;
    for _ in 0..20 {
        receiver.picture("by TCP").await;
    }
    assert_eq!(receiver.gaps().await, 0);
    let path = || door.viewers().first().and_then(|viewer| viewer.path);
    until(|| "the status knows no path".into(), || path().is_some()).await;
    assert_eq!(path().map(|path| path.protocol), Some("tcp"));
    let network = || format!("{:?}", door.network());
    until(network, || door.network().tcp_connections > 0).await;
    receiver.close().await;
    gone(&door, &bars).await;
    until(network, || door.network().tcp_connections == 0).await;
}

/// Passes a TCP connection on; while `stalled` nothing goes to the viewer.
async fn stalling_box(server: SocketAddr, stalled: Arc<AtomicBool>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((viewer, _)) = listener.accept().await {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(16 * 1024).unwrap();
            let (mut from_server, mut to_server) = socket.connect(server).await.unwrap().into_split();
            let (mut from_viewer, mut to_viewer) = viewer.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_viewer, &mut to_server).await });
            let stalled = stalled.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                loop {
                    while stalled.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    match from_server.read(&mut buffer).await {
                        Ok(len) if len > 0 && to_viewer.write_all(&buffer[..len]).await.is_ok() => {}
                        _ => return,
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_viewer_that_stalls_loses_pictures_and_nobody_else_does() {
    let bars = Bars::start();
    let door = start_with_tcp(&bars);
    let stalled = Arc::new(AtomicBool::new(false));
    let middle = stalling_box(door.tcp_addr().expect("it listens"), stalled.clone()).await;
    let (mut slow, slow_id, _slow_events) = join_by_tcp(&door, Some(middle)).await;
    let (mut fast, fast_id, _events) = join(&door, Options::default()).await;
    slow.picture("before the stall").await;
    fast.picture("the first").await;
    // a viewer that has just connected has no figures for a moment
    let dropped = |id| door.viewers().iter().find(|v| v.viewer == id).map_or(0, |v| v.pictures_dropped);
    bars.make_noise();
    stalled.store(true, Ordering::Relaxed);
    let begun = std::time::Instant::now();
    while dropped(slow_id) == 0 {
        assert!(begun.elapsed() < PATIENCE, "the stall is not noticed");
        fast.picture("while the other stalls").await;
    }
    eprintln!("a stall is noticed after {:?}", begun.elapsed());
    stalled.store(false, Ordering::Relaxed);
    for _ in 0..10 {
        slow.fresh_picture("after the stall").await;
    }
    assert_eq!(dropped(fast_id), 0);
    assert_eq!(fast.gaps().await, 0);
    for receiver in [slow, fast] {
        receiver.close().await;
    }
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_on_the_tcp_port_are_few_and_short_lived_and_a_seated_viewer_plays_on() {
    let bars = Bars::start();
    let door = start_with_tcp(&bars);
    let (mut receiver, _, _events) = join_by_tcp(&door, None).await;
    receiver.picture("the first").await;
    let mut strangers = Vec::new();
    for at in 0..200u32 {
        let mut stream = tokio::net::TcpStream::connect(door.tcp_addr().expect("it listens")).await.expect("accepted");
        // silent ones, HTTP, frames of noise, and checks for nobody
        let noise: Vec<u8> = match at % 4 {
            0 => Vec::new(),
            1 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            2 => [0, 5, 22, 254, 253, 1, 2].to_vec(),
            _ => [&[0, 20, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &at.to_be_bytes(), &[0; 8]].concat(),
        };
        let _ = stream.write_all(&noise).await;
        strangers.push(stream);
    }
    receiver.fresh_picture("among strangers").await;
    assert!(door.network().tcp_connections <= 2 * 4 + 32, "{:?}", door.network());
    assert!(door.network().socket.tcp_turned_away > 0, "{:?}", door.network());
    let begun = std::time::Instant::now();
    while door.network().tcp_connections > 2 {
        assert!(begun.elapsed() < PATIENCE, "the nameless stay: {:?}", door.network());
        receiver.picture("meanwhile").await;
    }
    assert_eq!(receiver.gaps().await, 0);
    receiver.close().await;
    gone(&door, &bars).await;
}
