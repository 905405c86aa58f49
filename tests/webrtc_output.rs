//! The WebRTC output against a real peer over loopback: pictures, joins, leaves, bad offers, hostile datagrams.
#![allow(clippy::disallowed_methods)]

mod receiver;

use openh264::OpenH264API;
use openh264::encoder::{BitRate, Encoder, EncoderConfig, FrameRate, FrameType, RateControlMode};
use openh264::formats::YUVSlices;
use receiver::nat_box::{NatBox, without_candidates};
use receiver::{Options, Receiver, SrtpProtectionProfile};
use rtcam::clock::Clock;
use rtcam::config::WebRtcConfig;
use rtcam::media::h264::declare_constrained_baseline;
use rtcam::media::packet::AccessUnit;
use rtcam::media::srtp::SrtpProfile;
use rtcam::output::webrtc::WebRtc;
use rtcam::output::{CloseReason, Offer, OfferError, ViewerDoor, ViewerEvent, ViewerId};
use rtcam::stream::hub::{Bound, Hub};
use rtcam::stream::status::{CameraState, StreamStatus};
use rtcam::stream::{Stream, Subscription, Wake};
use rtcam::units::{KbitPerSec, Micros, Pts90k};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;

/// A stream of its own: a moving bar, encoded at 30 fps while somebody is subscribed.
struct Bars {
    shared: Arc<Shared>,
}

struct Shared {
    hub: Mutex<Hub<u64, Arc<AccessUnit>>>,
    wakers: Mutex<Vec<(u64, Arc<dyn Wake>)>>,
    key_wanted: AtomicBool,
    keys: AtomicU64,
    encoded: AtomicU64,
    next: AtomicU64,
    /// Pictures that cost what the bit rate allows.
    noise: AtomicBool,
    end: AtomicBool,
}

struct Ticket {
    key: u64,
    shared: Arc<Shared>,
}

impl Bars {
    fn start() -> Arc<Bars> {
        let shared = Arc::new(Shared {
            hub: Mutex::new(Hub::new(Bound { items: 30, bytes: 4 << 20 })),
            wakers: Mutex::default(),
            key_wanted: AtomicBool::new(true),
            keys: AtomicU64::new(0),
            encoded: AtomicU64::new(0),
            next: AtomicU64::new(0),
            noise: AtomicBool::new(false),
            end: AtomicBool::new(false),
        });
        let work = shared.clone();
        std::thread::spawn(move || encode(work));
        Arc::new(Bars { shared })
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
    }
}

fn encode(shared: Arc<Shared>) {
    let config = EncoderConfig::new()
        .max_frame_rate(FrameRate::from_hz(30.0))
        .bitrate(BitRate::from_bps(500_000))
        .rate_control_mode(RateControlMode::Bitrate);
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).expect("encoder");
    let clock = Clock::system();
    let (mut y, chroma) = (vec![0u8; WIDTH * HEIGHT], vec![128u8; WIDTH * HEIGHT / 4]);
    let (mut number, mut seed) = (0u64, 1u32);
    while !shared.end.load(Ordering::Relaxed) {
        clock.sleep(Duration::from_millis(33));
        if shared.hub.lock().unwrap().is_empty() {
            continue;
        }
        for (at, value) in y.iter_mut().enumerate() {
            *value = if (at % WIDTH + number as usize * 4) % 80 < 40 { 200 } else { 60 };
            if shared.noise.load(Ordering::Relaxed) {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value = (seed >> 24) as u8;
            }
        }
        if shared.key_wanted.swap(false, Ordering::Relaxed) {
            encoder.force_intra_frame();
        }
        let now = clock.now();
        let slices = YUVSlices::new((&y, &chroma, &chroma), (WIDTH, HEIGHT), (WIDTH, WIDTH / 2, WIDTH / 2));
        let stream = encoder.encode(&slices).expect("encode");
        let key = matches!(stream.frame_type(), FrameType::IDR);
        let mut bytes = stream.to_vec();
        declare_constrained_baseline(&mut bytes);
        let unit = AccessUnit {
            bytes,
            key,
            pts: Pts90k::from_capture(now),
            captured_at: now,
            overlaid_at: now,
            encoded_at: clock.now(),
            sequence: number,
            size: None,
        };
        number += 1;
        shared.keys.fetch_add(u64::from(key), Ordering::Relaxed);
        shared.encoded.fetch_add(1, Ordering::Relaxed);
        shared.hub.lock().unwrap().publish(&Arc::new(unit));
        shared.wakers.lock().unwrap().iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Stream for Bars {
    fn subscribe(&self, waker: Arc<dyn Wake>) -> Box<dyn Subscription> {
        let key = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.shared.hub.lock().unwrap().join(key);
        self.shared.wakers.lock().unwrap().push((key, waker));
        self.shared.key_wanted.store(true, Ordering::Relaxed);
        Box::new(Ticket { key, shared: self.shared.clone() })
    }

    fn profile_level_id(&self) -> [u8; 3] {
        [0x42, 0xe0, 0x0d]
    }

    fn status(&self) -> StreamStatus {
        StreamStatus {
            camera: CameraState::Live,
            source: None,
            encoder: "test",
            bitrate: KbitPerSec(500),
            captured_fps: 30.0,
            encoded_fps: 30.0,
            encoded_kbps: 500.0,
            captured: 0,
            capture_dropped: 0,
            encoded: 0,
            encoder_skipped: 0,
            encoder_copied: 0,
            key_pictures: 0,
            camera_opens: 1,
            overlay_time: Duration::ZERO,
            encode_time: Duration::ZERO,
            subscribers: 0,
            capture_beat: Micros(0),
            encode_beat: Micros(0),
        }
    }
}

impl Subscription for Ticket {
    fn take(&mut self) -> Option<Arc<AccessUnit>> {
        self.shared.hub.lock().unwrap().take(self.key)
    }
    fn request_key(&mut self) {
        self.shared.key_wanted.store(true, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.hub.lock().unwrap().leave(self.key);
        self.shared.wakers.lock().unwrap().retain(|(key, _)| *key != self.key);
    }
}

fn start(bars: &Arc<Bars>, max_viewers: u32) -> Arc<WebRtc> {
    let config = WebRtcConfig { udp_port: 0, max_viewers, ..WebRtcConfig::default() };
    WebRtc::start(&config, IpAddr::V4(Ipv4Addr::LOCALHOST), bars.clone(), Clock::system()).expect("starts")
}

async fn join(door: &WebRtc, options: Options) -> (Receiver, ViewerId, mpsc::Receiver<ViewerEvent>) {
    let receiver = Receiver::offer(options).await;
    let (events, events_out) = mpsc::channel(8);
    let reply = door.offer(Offer { sdp: receiver.sdp.clone(), events });
    let answer = reply.await.expect("an answer comes").expect("the offer is good");
    receiver.answer(&answer.sdp).await;
    (receiver, answer.viewer, events_out)
}

async fn refused(door: &WebRtc, sdp: String) -> OfferError {
    let (events, _) = mpsc::channel(8);
    door.offer(Offer { sdp, events }).await.expect("an answer comes").expect_err("the offer is refused")
}

/// The next one about the connection; the data channel opens when it likes.
async fn event(events: &mut mpsc::Receiver<ViewerEvent>) -> ViewerEvent {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), events.recv());
        match next.await.expect("an event in time").expect("an event") {
            ViewerEvent::Channel(_) => {}
            event => return event,
        }
    }
}

async fn gone(door: &WebRtc, bars: &Bars) {
    for _ in 0..100 {
        if door.viewers().is_empty() && bars.shared.hub.lock().unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("still there: {:?}", door.viewers());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_pictures_that_decode_starting_with_a_key_picture() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let (mut receiver, viewer, mut events) = join(&door, Options::default()).await;
    assert_eq!(event(&mut events).await, ViewerEvent::Connected);
    let first = receiver.picture("the first").await;
    let before = receiver.counters.before_key.load(Ordering::Relaxed);
    // its first packets may be lost while its own keys are being set up
    assert!(first.key && before < 15, "it starts with a key picture, {before} pictures were of no use before it");
    assert_eq!((first.width, first.height), (WIDTH, HEIGHT));
    let mut last = first.rtp_time;
    for at in 0..30 {
        let picture = receiver.picture("one of 30").await;
        let step = picture.rtp_time.wrapping_sub(last);
        assert!(step > 0 && step < 90_000, "picture {at}: RTP time follows the capture clock, step {step}");
        last = picture.rtp_time;
        let bright = picture.y.iter().filter(|&&v| v > 130).count() as f64 / picture.y.len() as f64;
        assert!((0.4..0.6).contains(&bright), "half of the bars are bright, {bright}");
    }
    assert_eq!(receiver.counters.gaps.load(Ordering::Relaxed), 0);
    assert!(receiver.counters.extended.load(Ordering::Relaxed) > 30, "the playout-delay extension is on the packets");
    let stats = door.viewers();
    assert_eq!((stats.len(), stats[0].viewer), (1, viewer));
    assert!(stats[0].peer.is_some() && stats[0].connected_at.is_some());
    assert_eq!(stats[0].path.map(|path| (path.local, path.protocol)), Some(("host", "udp")));
    receiver.close().await;
    assert_eq!(event(&mut events).await, ViewerEvent::Closed(CloseReason::Left));
    gone(&door, &bars).await;
    let encoded = bars.shared.encoded.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(bars.shared.encoded.load(Ordering::Relaxed) <= encoded + 1, "nothing is encoded while nobody watches");
    door.stop(&Clock::system(), Duration::from_secs(2));
}

/// What is agreed on with a viewer of that order, where ours is `order`; pictures must come.
async fn agreed(order: &[SrtpProfile], theirs: &[SrtpProtectionProfile]) -> String {
    let bars = Bars::start();
    let config = WebRtcConfig { udp_port: 0, srtp: order.to_vec(), ..WebRtcConfig::default() };
    let bind = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let door = WebRtc::start(&config, bind, bars.clone(), Clock::system()).expect("starts");
    let (mut receiver, _, _events) = join(&door, Options { srtp: theirs.to_vec(), ..Options::default() }).await;
    receiver.picture("the first").await;
    receiver.picture("the second").await;
    let name = receiver.srtp().await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let told = loop {
        match door.viewers().first().and_then(|viewer| viewer.srtp) {
            Some(profile) => break profile.name(),
            None => assert!(std::time::Instant::now() < deadline, "the status does not tell"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(told.contains("GCM"), name.contains("GCM"), "the status tells what is so");
    receiver.close().await;
    door.stop(&Clock::system(), Duration::from_secs(2));
    name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_are_encrypted_as_the_board_wants_it_as_far_as_the_browser_can() {
    use SrtpProtectionProfile::{Srtp_Aead_Aes_128_Gcm, Srtp_Aead_Aes_256_Gcm, Srtp_Aes128_Cm_Hmac_Sha1_80};
    let (cm, gcm) = (SrtpProfile::Cm, SrtpProfile::Gcm);
    let only_cm = agreed(&[cm, gcm], &[]).await;
    assert!(only_cm.contains("CM_HMAC_SHA1_80"), "a viewer that would rather have GCM: {only_cm}");
    let best = agreed(&[gcm, cm], &[]).await;
    assert!(best.contains("AEAD_AES_128_GCM"), "{best}");
    let as_chromium = [Srtp_Aes128_Cm_Hmac_Sha1_80, Srtp_Aead_Aes_256_Gcm, Srtp_Aead_Aes_128_Gcm];
    let ours_first = agreed(&[gcm, cm], &as_chromium).await;
    assert!(ours_first.contains("AEAD_AES_128_GCM"), "a viewer that would rather have CM: {ours_first}");
    let only_cm = agreed(&[cm, gcm], &as_chromium).await;
    assert!(only_cm.contains("CM_HMAC_SHA1_80"), "where GCM is dear: {only_cm}");
    let theirs = [Srtp_Aead_Aes_256_Gcm, Srtp_Aes128_Cm_Hmac_Sha1_80];
    let common = agreed(&[gcm, cm], &theirs).await;
    assert!(common.contains("CM_HMAC_SHA1_80"), "what both have: {common}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_states_what_the_stream_is() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    for profile in ["42e01f", "42001f"] {
        let receiver = Receiver::offer(Options { profile_level_id: profile, ..Options::default() }).await;
        let (events, _keep) = mpsc::channel(8);
        let answer = door.offer(Offer { sdp: receiver.sdp.clone(), events }).await.expect("reply").expect("good");
        let wanted = format!("profile-level-id={}0d", &profile[..4]);
        assert!(answer.sdp.contains(&wanted), "{wanted} in {}", answer.sdp);
        assert!(answer.sdp.contains("packetization-mode=1") && answer.sdp.contains("a=sendonly"));
        assert!(answer.sdp.contains("a=setup:passive") && answer.sdp.contains("typ host"));
        door.close(answer.viewer);
        receiver.close().await;
    }
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_cannot_work_are_refused_with_the_reason_and_leave_nothing() {
    let bars = Bars::start();
    let door = start(&bars, 1);
    let vp8 = Receiver::offer(Options { codec: receiver::VP8, ..Options::default() }).await;
    assert_eq!(refused(&door, vp8.sdp.clone()).await, OfferError::NoH264);
    assert!(matches!(refused(&door, "hello".into()).await, OfferError::BadOffer(_)));
    let good = Receiver::offer(Options::default()).await;
    let broken = good.sdp.replace("a=mid:", "a=nid:");
    assert!(matches!(refused(&door, broken).await, OfferError::BadOffer(_)));
    gone(&door, &bars).await;
    let (mut seated, _, _events) = join(&door, Options::default()).await;
    seated.picture("the only place").await;
    assert_eq!(refused(&door, good.sdp.clone()).await, OfferError::Full { max_viewers: 1 });
    for receiver in [vp8, good, seated] {
        receiver.close().await;
    }
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_never_connects_is_closed_after_the_deadline() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let receiver = Receiver::offer(Options::default()).await;
    let (events, mut events_out) = mpsc::channel(8);
    door.offer(Offer { sdp: receiver.sdp.clone(), events }).await.expect("reply").expect("good");
    let ViewerEvent::Tried(tried) = event(&mut events_out).await else { panic!("what was tried comes first") };
    assert_eq!((tried.ours.join(" "), tried.checks_received), ("host udp 4".to_string(), 0));
    // whether its candidates are in the offer already is a matter of luck
    assert!(tried.theirs.iter().all(|kind| kind == "host udp 4"), "{tried:?}");
    assert_eq!(event(&mut events_out).await, ViewerEvent::Closed(CloseReason::ConnectTimeout));
    receiver.close().await;
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_channel_tells_our_clock_and_where_the_stream_stands() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let (mut receiver, _, _events) = join(&door, Options::default()).await;
    receiver.picture("the first").await;
    let before = Clock::system().now().0;
    let reply = receiver.channel_answer(r#"{"type":"clock","t0":12.5}"#, "clock").await;
    let reply: serde_json::Value = serde_json::from_str(&reply).expect("JSON");
    let told = reply["server_us"].as_u64().expect("microseconds");
    assert!(told >= before && told <= Clock::system().now().0, "our monotonic clock");
    assert_eq!(reply["t0"], 12.5);
    let stream: serde_json::Value = serde_json::from_str(&receiver.channel_answer("", "stream").await).expect("JSON");
    let captured = Micros(stream["captured_us"].as_u64().expect("microseconds"));
    assert_eq!(stream["rtp"].as_u64(), Some(u64::from(Pts90k::from_capture(captured).rtp())));
    receiver.close().await;
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_comes_back_from_the_same_address_and_port_works() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let nat = NatBox::start(door.local_addr()).await;
    for round in 0..3 {
        let (mut receiver, _events) = join_through(&door, &nat).await;
        for _ in 0..10 {
            receiver.fresh_picture("after coming back").await;
        }
        // every other time its goodbye is lost: the old viewer is still seated when the next one comes
        nat.dark.store(round % 2 == 0, Ordering::Relaxed);
        receiver.close().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        nat.dark.store(false, Ordering::Relaxed);
    }
    door.stop(&Clock::system(), Duration::from_secs(2));
}

async fn join_through(door: &WebRtc, nat: &NatBox) -> (Receiver, mpsc::Receiver<ViewerEvent>) {
    let receiver = Receiver::offer(Options::default()).await;
    let (events, events_out) = mpsc::channel(8);
    let sdp = without_candidates(&receiver.sdp);
    let answer = door.offer(Offer { sdp, events }).await.expect("reply").expect("good");
    let own = format!("{} typ", door.local_addr()).replace(':', " ");
    let boxed = format!("{} typ", nat.address).replace(':', " ");
    assert!(answer.sdp.contains(&own), "{own} in {}", answer.sdp);
    receiver.answer(&answer.sdp.replace(&own, &boxed)).await;
    (receiver, events_out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_whose_network_dies_is_noticed_and_leaves_nothing() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let nat = NatBox::start(door.local_addr()).await;
    let (mut receiver, mut events) = join_through(&door, &nat).await;
    receiver.picture("the first").await;
    assert_eq!(event(&mut events).await, ViewerEvent::Connected);
    nat.dark.store(true, Ordering::Relaxed);
    assert_eq!(event(&mut events).await, ViewerEvent::Closed(CloseReason::Lost));
    gone(&door, &bars).await;
    receiver.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_whose_nat_gives_it_another_port_plays_on() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let nat = NatBox::start(door.local_addr()).await;
    let (mut receiver, _events) = join_through(&door, &nat).await;
    receiver.picture("the first").await;
    nat.rebind.store(true, Ordering::Relaxed);
    // the new port is learned with the viewer's next consent check
    let mut after = 0;
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(12) {
        receiver.fresh_picture("after the port changed").await;
        after += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(after > 20, "{after} pictures");
    assert_eq!(door.viewers().len(), 1);
    receiver.close().await;
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_stray_datagrams_cost_a_seated_viewer_nothing() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let (mut receiver, _, _events) = join(&door, Options::default()).await;
    receiver.picture("before").await;
    let stray = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 7u32;
    for round in 0..10_000usize {
        let bytes: Vec<u8> = (0..round % 1501)
            .map(|_| {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                (state >> 24) as u8
            })
            .collect();
        let _ = stray.send_to(&bytes, door.local_addr());
        if round % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    for _ in 0..30 {
        receiver.picture("during and after the flood").await;
    }
    assert_eq!(receiver.counters.gaps.load(Ordering::Relaxed), 0, "no packet was lost");
    assert_eq!(receiver.counters.undecodable.load(Ordering::Relaxed), 0);
    assert!(door.counters().stray_datagrams > 1000, "they arrived and were dropped");
    assert_eq!(door.viewers().len(), 1);
    receiver.close().await;
    gone(&door, &bars).await;
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_viewers_join_and_leave_and_share_key_pictures() {
    let bars = Bars::start();
    let door = start(&bars, 32);
    for _ in 0..3 {
        let before = bars.shared.keys.load(Ordering::Relaxed);
        let mut viewers = Vec::new();
        for _ in 0..20 {
            viewers.push(join(&door, Options::default()).await);
        }
        for (receiver, _, _) in &mut viewers {
            receiver.picture("one of twenty").await;
        }
        let keys = bars.shared.keys.load(Ordering::Relaxed) - before;
        assert!(keys <= 40, "joiners share key pictures: {keys} for 20");
        for (receiver, _, _) in viewers {
            receiver.close().await;
        }
        gone(&door, &bars).await;
    }
    let (files, tasks) = (open_files(), threads());
    for _ in 0..2 {
        let (mut receiver, _, _events) = join(&door, Options::default()).await;
        receiver.picture("one more").await;
        receiver.close().await;
        gone(&door, &bars).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(open_files() <= files + 1, "files: {} then {}", files, open_files());
    assert!(threads() <= tasks + 1, "threads: {} then {}", tasks, threads());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ice_restart_keeps_the_viewer_and_gives_it_new_credentials() {
    let bars = Bars::start();
    let door = start(&bars, 1);
    let (mut receiver, viewer, mut events) = join(&door, Options::default()).await;
    for _ in 0..20 {
        receiver.picture("before the restart").await;
    }
    let before = door.viewers()[0].connected_at;
    let ufrag = |sdp: &str| sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:").map(str::to_owned));
    for round in 0..2 {
        let offer = receiver.restart_offer().await;
        let old = receiver.remote_sdp().await;
        let answer = door.restart(viewer, offer).await.expect("an answer comes").expect("it can restart");
        assert_eq!(answer.viewer, viewer);
        assert!(ufrag(&answer.sdp).is_some() && ufrag(&answer.sdp) != ufrag(&old), "new credentials, round {round}");
        receiver.answer(&answer.sdp).await;
        receiver.fresh_picture("after the restart").await;
    }
    assert_eq!(door.viewers()[0].connected_at, before, "one viewer all along");
    assert_eq!(event(&mut events).await, ViewerEvent::Connected);
    let rest: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert!(rest.iter().all(|event| *event == ViewerEvent::Channel(true)), "nothing else was told: {rest:?}");
    let nobody = door.restart(ViewerId(99), receiver.sdp.clone()).await;
    assert!(nobody.is_err(), "the question is dropped");
    assert!(matches!(door.restart(viewer, "hello".into()).await, Ok(Err(OfferError::BadOffer(_)))));
    receiver.fresh_picture("a bad restart harms nobody").await;
    receiver.close().await;
    gone(&door, &bars).await;
}

fn start_with_tcp(bars: &Arc<Bars>) -> Arc<WebRtc> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let tcp_port = free.local_addr().expect("bound").port();
    drop(free);
    let config = WebRtcConfig { udp_port: 0, tcp_port, max_viewers: 4, ..WebRtcConfig::default() };
    WebRtc::start(&config, IpAddr::V4(Ipv4Addr::LOCALHOST), bars.clone(), Clock::system()).expect("starts")
}

/// A viewer that knows no way but TCP, by `through` instead of the port itself where that is given.
async fn join_by_tcp(door: &WebRtc, through: Option<SocketAddr>) -> (Receiver, ViewerId) {
    let receiver = Receiver::offer(Options { bind_tcp: Some("127.0.0.1:0".into()), ..Options::default() }).await;
    let (events, _) = mpsc::channel(8);
    let reply = door.offer(Offer { sdp: without_candidates(&receiver.sdp), events }).await;
    let answer = reply.expect("an answer comes").expect("the offer is good");
    let port = |address: SocketAddr| format!(" {} typ host tcptype", address.port());
    let real = door.tcp_addr().expect("it listens");
    let sdp = answer.sdp.replace(&port(real), &port(through.unwrap_or(real)));
    let by_tcp = sdp.lines().filter(|line| !line.starts_with("a=candidate") || line.contains(" tcp "));
    receiver.answer(&by_tcp.map(|line| format!("{line}\r\n")).collect::<String>()).await;
    (receiver, answer.viewer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_without_udp_comes_by_tcp_and_its_connection_goes_with_it() {
    let bars = Bars::start();
    let door = start_with_tcp(&bars);
    let (mut receiver, _) = join_by_tcp(&door, None).await;
    for _ in 0..20 {
        receiver.picture("by TCP").await;
    }
    assert_eq!(receiver.counters.gaps.load(Ordering::Relaxed), 0);
    assert_eq!(door.viewers()[0].path.map(|path| path.protocol), Some("tcp"));
    assert!(door.network().tcp_connections > 0);
    receiver.close().await;
    gone(&door, &bars).await;
    for _ in 0..100 {
        if door.network().tcp_connections == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", door.network());
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
    let (mut slow, slow_id) = join_by_tcp(&door, Some(middle)).await;
    let (mut fast, fast_id, _events) = join(&door, Options::default()).await;
    slow.picture("before the stall").await;
    fast.picture("the first").await;
    // a viewer that has just connected has no figures for a moment
    let dropped = |id| door.viewers().iter().find(|v| v.viewer == id).map_or(0, |v| v.pictures_dropped);
    bars.shared.noise.store(true, Ordering::Relaxed);
    stalled.store(true, Ordering::Relaxed);
    let begun = std::time::Instant::now();
    while dropped(slow_id) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(9), "the stall is not noticed");
        fast.picture("while the other stalls").await;
    }
    stalled.store(false, Ordering::Relaxed);
    for _ in 0..10 {
        slow.fresh_picture("after the stall").await;
    }
    assert_eq!(dropped(fast_id), 0);
    assert_eq!(fast.counters.gaps.load(Ordering::Relaxed), 0);
    for receiver in [slow, fast] {
        receiver.close().await;
    }
    gone(&door, &bars).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_on_the_tcp_port_are_few_and_short_lived_and_a_seated_viewer_plays_on() {
    let bars = Bars::start();
    let door = start_with_tcp(&bars);
    let (mut receiver, _) = join_by_tcp(&door, None).await;
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
    let begun = std::time::Instant::now();
    while door.network().tcp_connections > 2 {
        assert!(begun.elapsed() < Duration::from_secs(9), "the nameless stay: {:?}", door.network());
        receiver.picture("meanwhile").await;
    }
    assert_eq!(receiver.counters.gaps.load(Ordering::Relaxed), 0);
    receiver.close().await;
    gone(&door, &bars).await;
}
