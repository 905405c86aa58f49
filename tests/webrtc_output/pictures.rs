//! What a viewer gets: pictures that decode, encrypted as wanted, and the data channel beside them.

use crate::bars::{Bars, HEIGHT, WIDTH};
use crate::door::{event, gone, join, start, until};
use crate::receiver::{Options, SrtpProtectionProfile};
use rtcam::clock::Clock;
use rtcam::config::WebRtcConfig;
use rtcam::media::srtp::SrtpProfile;
use rtcam::output::webrtc::WebRtc;
use rtcam::output::{CloseReason, ViewerDoor, ViewerEvent};
use rtcam::units::{Micros, Pts90k};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_pictures_that_decode_starting_with_a_key_picture() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let (mut receiver, viewer, mut events) = join(&door, Options::default()).await;
    assert_eq!(event(&mut events).await, ViewerEvent::Connected);
    let first = receiver.picture("the first").await;
    let before = receiver.counters.before_key.load(Ordering::Relaxed);
    // its first packets may be lost while its own keys are being set up; our stream has no key pictures of its own accord
    assert!(first.key && before < 100, "it starts with a key picture, {before} pictures were of no use before it");
    assert_eq!((first.width, first.height), (WIDTH, HEIGHT));
    let mut last = first.rtp_time;
    for at in 0..30 {
        let picture = receiver.picture("one of 30").await;
        let step = picture.rtp_time.wrapping_sub(last);
        assert!(step > 0 && step < 10 * 90_000, "picture {at}: RTP time follows the capture clock, step {step}");
        last = picture.rtp_time;
        let bright = picture.y.iter().filter(|&&v| v > 130).count() as f64 / picture.y.len() as f64;
        assert!((0.4..0.6).contains(&bright), "half of the bars are bright, {bright}");
    }
    assert_eq!(receiver.gaps().await, 0);
    assert!(receiver.counters.extended.load(Ordering::Relaxed) > 30, "the playout-delay extension is on the packets");
    until(|| format!("{:?}", door.viewers()), || door.viewers().iter().any(|one| one.path.is_some())).await;
    let stats = door.viewers();
    assert_eq!((stats.len(), stats[0].viewer), (1, viewer));
    assert!(stats[0].peer.is_some() && stats[0].connected_at.is_some());
    assert_eq!(stats[0].path.map(|path| (path.local, path.protocol)), Some(("host", "udp")));
    receiver.close().await;
    assert_eq!(event(&mut events).await, ViewerEvent::Closed(CloseReason::Left));
    gone(&door, &bars).await;
    let encoded = bars.encoded();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(bars.encoded() <= encoded + 1, "nothing is encoded while nobody watches");
    door.stop(&Clock::system(), Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_nobody_asks_for_any_more_is_closed() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let (mut receiver, _, events) = join(&door, Options::default()).await;
    receiver.picture("the first").await;
    drop(events);
    gone(&door, &bars).await;
    door.stop(&Clock::system(), Duration::from_secs(2));
}

/// With a clock that stands still no later turn of the loop can make up for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_left_is_out_of_the_statistics_at_once() {
    let (clock, hand) = Clock::test();
    let bars = Bars::start();
    let config = WebRtcConfig { udp_port: 0, ..WebRtcConfig::default() };
    let door = WebRtc::start(&config, IpAddr::V4(Ipv4Addr::LOCALHOST), bars.clone(), clock).expect("starts");
    let ticking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            hand.advance(Duration::from_millis(10));
        }
    });
    let (_receiver, viewer, mut events) = join(&door, Options::default()).await;
    assert_eq!(event(&mut events).await, ViewerEvent::Connected);
    let connected = || matches!(door.viewers()[..], [ref viewer] if viewer.connected_at.is_some());
    until(|| format!("its figures: {:?}", door.viewers()), connected).await;
    ticking.abort();
    let _ = ticking.await;
    door.close(viewer);
    gone(&door, &bars).await;
    door.stop(&Clock::system(), Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_reports_lives_however_rarely_it_checks_its_path() {
    let bars = Bars::start();
    let door = start(&bars, 4);
    let (mut receiver, _, _events) = join(&door, Options { checks: false, ..Options::default() }).await;
    let first = receiver.picture("the first").await.received_at;
    // longer than Firefox waits between two checks
    while receiver.picture("while it only reports").await.received_at < first + Duration::from_secs(7) {}
    receiver.close().await;
    gone(&door, &bars).await;
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
    let told = || door.viewers().first().and_then(|viewer| viewer.srtp).map(SrtpProfile::name);
    until(|| "the status does not tell".into(), || told().is_some()).await;
    let told = told().expect("as before");
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
