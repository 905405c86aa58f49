//! The output with a stream behind it, and how viewers come and go.

use crate::bars::Bars;
use crate::receiver::{Options, Receiver};
use rtcam::clock::Clock;
use rtcam::config::WebRtcConfig;
use rtcam::output::webrtc::WebRtc;
use rtcam::output::{Offer, OfferError, ViewerDoor, ViewerEvent, ViewerId};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Far longer than anything takes on a busy machine; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// Where all viewers of a test are, if it does not say otherwise.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub fn start(bars: &Arc<Bars>, max_viewers: u32) -> Arc<WebRtc> {
    let config = WebRtcConfig { udp_port: 0, max_viewers, ..WebRtcConfig::default() };
    WebRtc::start(&config, IpAddr::V4(Ipv4Addr::LOCALHOST), bars.clone(), Clock::system()).expect("starts")
}

pub async fn join(door: &WebRtc, options: Options) -> (Receiver, ViewerId, mpsc::Receiver<ViewerEvent>) {
    let receiver = Receiver::offer(options).await;
    let (events, events_out) = mpsc::channel(8);
    let reply = door.offer(Offer { sdp: receiver.sdp.clone(), from: HERE, events });
    let answer = reply.await.expect("an answer comes").expect("the offer is good");
    receiver.answer(&answer.sdp).await;
    (receiver, answer.viewer, events_out)
}

pub async fn refused(door: &WebRtc, sdp: String) -> OfferError {
    let (events, _) = mpsc::channel(8);
    door.offer(Offer { sdp, from: HERE, events }).await.expect("an answer comes").expect_err("the offer is refused")
}

/// The next one about the connection; the data channel opens when it likes.
pub async fn event(events: &mut mpsc::Receiver<ViewerEvent>) -> ViewerEvent {
    loop {
        let next = tokio::time::timeout(PATIENCE, events.recv());
        match next.await.expect("an event in time").expect("an event") {
            ViewerEvent::Channel(_) => {}
            event => return event,
        }
    }
}

pub async fn gone(door: &WebRtc, bars: &Bars) {
    until(|| format!("still there: {:?}", door.viewers()), || door.viewers().is_empty() && !bars.is_watched()).await;
}

/// What the output tells of its viewers and of itself is up to 250 ms old.
pub async fn until(what: impl Fn() -> String, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{}", what());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
