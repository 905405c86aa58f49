//! A headless viewer for tests: the async `webrtc` crate as peer, openh264's decoder as eye.
//!
//! Offers recvonly H.264 and a "sync" data channel as our page does, takes an answer, and hands out decoded pictures.
#![allow(dead_code, clippy::disallowed_methods)]

pub mod nat_box;

use async_trait::async_trait;
use bytes::Bytes;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
pub use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_VP8, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp::codec::h264::H264Packet;
use rtc::rtp::packetizer::Depacketizer;
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::statistics::StatsSelector;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceGatheringState,
    RTCIceServer, RTCPeerConnectionState,
};

/// A decoded picture, planes packed. All planes are empty where the receiver does not decode.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub y: Vec<u8>,
    pub u: Vec<u8>,
    pub v: Vec<u8>,
    pub key: bool,
    pub rtp_time: u32,
    pub received_at: Instant,
    /// Encoded size in bytes.
    pub bytes: usize,
}

#[derive(Default)]
pub struct Counters {
    pub packets: AtomicU64,
    /// Breaks in the order of packets since the first picture; tests ask `Receiver::gaps`.
    pub gaps: AtomicU64,
    pub undecodable: AtomicU64,
    /// Pictures that came before the first key picture; it is asked for then, as browsers do.
    pub before_key: AtomicU64,
    /// Packets that carried a header extension.
    pub extended: AtomicU64,
}

/// Far longer than anything takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(45);

pub struct Receiver {
    pub connection: Arc<dyn PeerConnection>,
    pub pictures: mpsc::UnboundedReceiver<Picture>,
    pub state: watch::Receiver<RTCPeerConnectionState>,
    pub channel: Arc<dyn DataChannel>,
    pub counters: Arc<Counters>,
    pub sdp: String,
}

pub struct Options {
    /// Where this viewer's own socket sits.
    pub bind: String,
    pub codec: &'static str,
    pub profile_level_id: &'static str,
    /// Off: pictures are counted and told, not decoded.
    pub decode: bool,
    /// Also listen for ICE-TCP: `address:port`.
    pub bind_tcp: Option<String>,
    /// STUN and TURN (over UDP) servers; the offer waits until they have been asked.
    pub ice_servers: Vec<RTCIceServer>,
    /// SRTP protection profiles in this viewer's order; empty: all it has, GCM first.
    pub srtp: Vec<SrtpProtectionProfile>,
    /// Off: once connected this viewer sends no ICE checks. Browsers do, at very different intervals.
    pub checks: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            bind: "127.0.0.1:0".into(),
            codec: MIME_TYPE_H264,
            profile_level_id: "42e01f",
            decode: true,
            bind_tcp: None,
            ice_servers: Vec::new(),
            srtp: Vec::new(),
            checks: true,
        }
    }
}

pub const VP8: &str = MIME_TYPE_VP8;

struct Handler {
    pictures: mpsc::UnboundedSender<Picture>,
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: watch::Sender<bool>,
    counters: Arc<Counters>,
    decode: bool,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let eye = self.decode.then(|| Decoder::new().expect("decoder"));
        tokio::spawn(play(track, eye, self.pictures.clone(), self.counters.clone()));
    }
}

impl Receiver {
    /// A viewer with its offer made.
    pub async fn offer(options: Options) -> Receiver {
        let mut engine = MediaEngine::default();
        let feedback = |kind: &str, parameter: &str| RTCPFeedback { typ: kind.into(), parameter: parameter.into() };
        let fmtp = match options.codec {
            MIME_TYPE_H264 => {
                format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={}", options.profile_level_id)
            }
            _ => String::new(),
        };
        let codec = RTCRtpCodec {
            mime_type: options.codec.into(),
            clock_rate: 90000,
            channels: 0,
            sdp_fmtp_line: fmtp,
            rtcp_feedback: vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")],
        };
        engine
            .register_codec(RTCRtpCodecParameters { rtp_codec: codec, payload_type: 97 }, RtpCodecKind::Video)
            .expect("codec");
        for uri in ["playout-delay", "abs-capture-time"] {
            let uri = format!("http://www.webrtc.org/experiments/rtp-hdrext/{uri}");
            let extension = rtc::rtp_transceiver::rtp_sender::RTCRtpHeaderExtensionCapability { uri };
            engine.register_header_extension(extension, RtpCodecKind::Video, None).expect("extension");
        }
        let registry = register_default_interceptors(Registry::new(), &mut engine).expect("interceptors");
        let settings = SettingEngineBuilder::new()
            .with_include_loopback_candidate(true)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .with_host_acceptance_min_wait(Some(Duration::ZERO))
            .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
            .with_srtp_protection_profiles(options.srtp)
            .with_ice_timeouts(None, None, (!options.checks).then_some(Duration::ZERO))
            .build();
        let (pictures_in, pictures) = mpsc::unbounded_channel();
        let (state_in, state) = watch::channel(RTCPeerConnectionState::New);
        let (gathered_in, mut gathered) = watch::channel(false);
        let counters = Arc::new(Counters::default());
        let handler = Handler {
            pictures: pictures_in,
            state: state_in,
            gathered: gathered_in,
            counters: counters.clone(),
            decode: options.decode,
        };
        let asks_servers = !options.ice_servers.is_empty();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(handler))
            .with_configuration(RTCConfigurationBuilder::new().with_ice_servers(options.ice_servers).build())
            .with_udp_addrs(vec![options.bind])
            .with_tcp_addrs(options.bind_tcp.into_iter().collect())
            .build()
            .await
            .expect("peer connection");
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            streams: vec![],
            send_encodings: vec![],
        };
        connection.add_transceiver_from_kind(RtpCodecKind::Video, Some(init)).await.expect("transceiver");
        let channel = connection.create_data_channel("sync", None).await.expect("data channel");
        let offer = connection.create_offer(None).await.expect("offer");
        connection.set_local_description(offer).await.expect("local description");
        if asks_servers {
            // a server that is silent must not keep the viewer
            let _ = tokio::time::timeout(Duration::from_secs(3), gathered.wait_for(|done| *done)).await;
        }
        let sdp = connection.local_description().await.expect("description").sdp;
        Receiver { connection, pictures, state, channel, counters, sdp }
    }

    pub async fn answer(&self, sdp: &str) {
        let answer = RTCSessionDescription::answer(sdp.to_string()).expect("an answer");
        self.connection.set_remote_description(answer).await.expect("remote description");
        // the crate connects by TCP only to candidates that are trickled
        for line in sdp.lines().filter(|line| line.contains(" tcptype passive")) {
            let candidate = line.trim_start_matches("a=").to_string();
            let candidate = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
            self.connection.add_ice_candidate(candidate).await.expect("a TCP candidate");
        }
    }

    /// A new offer with new ICE credentials.
    pub async fn restart_offer(&self) -> String {
        self.connection.restart_ice().await.expect("restart");
        let offer = self.connection.create_offer(None).await.expect("offer");
        self.connection.set_local_description(offer).await.expect("local description");
        self.connection.local_description().await.expect("description").sdp
    }

    /// The answer taken last.
    pub async fn remote_sdp(&self) -> String {
        self.connection.remote_description().await.expect("there was an answer").sdp
    }

    /// The pair of candidates in use, as `local/remote protocol`, such as `relay/host udp`.
    pub async fn path(&self) -> Option<String> {
        let sctp = self.connection.sctp().await?;
        let ice = sctp.transport().ice_transport();
        let pair = ice.get_selected_candidate_pair().await.ok()??;
        Some(format!("{}/{} {}", pair.local().typ, pair.remote().typ, pair.local().protocol))
    }

    /// The next decoded picture; panics with `what` where none comes.
    pub async fn picture(&mut self, what: &str) -> Picture {
        match tokio::time::timeout(PATIENCE, self.pictures.recv()).await {
            Ok(Some(picture)) => picture,
            _ => panic!("no picture: {what} (state {:?})", *self.state.borrow()),
        }
    }

    /// Throws away what came so far and returns the next picture that comes from now on.
    pub async fn fresh_picture(&mut self, what: &str) -> Picture {
        while self.pictures.try_recv().is_ok() {}
        self.picture(what).await
    }

    pub async fn wait_for(&mut self, wanted: RTCPeerConnectionState) {
        let waiting = self.state.wait_for(|state| *state == wanted);
        let reached = tokio::time::timeout(PATIENCE, waiting).await.is_ok_and(|r| r.is_ok());
        assert!(reached, "still {:?}, wanted {wanted:?}", *self.state.borrow());
    }

    /// Sends on the data channel and waits for an answer of that type.
    pub async fn channel_answer(&self, text: &str, kind: &str) -> String {
        let wanted = format!(r#""type":"{kind}""#);
        let deadline = Instant::now() + PATIENCE;
        let mut sent = text.is_empty();
        while Instant::now() < deadline {
            let event = tokio::time::timeout(Duration::from_millis(300), self.channel.poll()).await;
            if let Ok(Some(DataChannelEvent::OnMessage(message))) = event {
                let text = String::from_utf8_lossy(&message.data).to_string();
                if text.contains(&wanted) {
                    return text;
                }
            }
            if !sent && self.channel.send_text(text).await.is_ok() {
                sent = true;
            }
        }
        panic!("no {kind} on the data channel");
    }

    /// Breaks in the order of packets. None counts where this machine kept the test from reading until its socket was full:
    /// it says so, and then nothing is known of what was sent.
    pub async fn gaps(&self) -> u64 {
        let counted = self.counters.gaps.load(Ordering::Relaxed);
        match self.overflowed().await {
            0 => counted,
            overflowed => {
                eprintln!("{counted} gaps, and {overflowed} datagrams for which our own socket had no room");
                0
            }
        }
    }

    /// Datagrams that the kernel dropped because our socket was full; the last field of its table.
    pub async fn overflowed(&self) -> u64 {
        let Some(sctp) = self.connection.sctp().await else { return 0 };
        let Ok(Some(pair)) = sctp.transport().ice_transport().get_selected_candidate_pair().await else { return 0 };
        let wanted = format!(":{:04X}", pair.local().port);
        let table = std::fs::read_to_string("/proc/net/udp").expect("Linux");
        let ours =
            table.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|own| own.ends_with(&wanted)));
        ours.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
    }

    /// The SRTP profile that both sides agreed on.
    pub async fn srtp(&self) -> String {
        let report = self.connection.get_stats(Instant::now(), StatsSelector::None).await;
        report.transport().expect("a transport").srtp_cipher.clone()
    }

    pub async fn close(self) {
        let _ = self.connection.close().await;
    }
}

async fn play(
    track: Arc<dyn TrackRemote>,
    mut eye: Option<Decoder>,
    pictures: mpsc::UnboundedSender<Picture>,
    counters: Arc<Counters>,
) {
    let mut depacketizer = H264Packet::default();
    let mut unit: Vec<u8> = Vec::new();
    let mut last_sequence: Option<u16> = None;
    let mut begun = false;
    // until the first key picture, which the first packets may have been lost with
    let mut damaged = true;
    let mut asked_at: Option<Instant> = None;
    while let Some(event) = track.poll().await {
        let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
        counters.packets.fetch_add(1, Ordering::Relaxed);
        counters.extended.fetch_add(u64::from(!packet.header.extensions.is_empty()), Ordering::Relaxed);
        let sequence = packet.header.sequence_number;
        if last_sequence.replace(sequence).is_some_and(|last| sequence != last.wrapping_add(1)) {
            // until then packets may be lost while our own keys are being set up
            counters.gaps.fetch_add(u64::from(begun), Ordering::Relaxed);
            damaged = true;
            depacketizer = H264Packet::default();
        }
        let payload: Bytes = packet.payload.clone();
        match depacketizer.depacketize(&payload) {
            Ok(nals) => unit.extend_from_slice(&nals),
            Err(_) => damaged = true,
        }
        if !packet.header.marker {
            continue;
        }
        let bytes = std::mem::take(&mut unit);
        let key = rtcam::media::h264::nal_units(&bytes).any(|nal| rtcam::media::h264::nal_type(nal) == 5);
        if damaged && !key {
            counters.before_key.fetch_add(u64::from(!begun), Ordering::Relaxed);
            // as browsers do: ask for a key picture, again when none came
            if asked_at.is_none_or(|at| at.elapsed() > Duration::from_millis(300)) {
                asked_at = Some(Instant::now());
                let loss = PictureLossIndication { sender_ssrc: 0, media_ssrc: packet.header.ssrc };
                let _ = track.write_rtcp(vec![Box::new(loss)]).await;
            }
            continue;
        }
        (begun, damaged) = (true, false);
        let mut picture = Picture {
            width: 0,
            height: 0,
            y: Vec::new(),
            u: Vec::new(),
            v: Vec::new(),
            key,
            rtp_time: packet.header.timestamp,
            received_at: Instant::now(),
            bytes: bytes.len(),
        };
        if let Some(decoder) = &mut eye
            && !look(decoder, &bytes, &mut picture)
        {
            counters.undecodable.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        if pictures.send(picture).is_err() {
            return;
        }
    }
}

/// Fills in size and planes; false where the decoder gave no picture.
fn look(decoder: &mut Decoder, bytes: &[u8], picture: &mut Picture) -> bool {
    let Ok(Some(decoded)) = decoder.decode(bytes) else { return false };
    let (width, height) = decoded.dimensions();
    let (ys, us, vs) = decoded.strides();
    let pack = |plane: &[u8], stride: usize, width: usize, rows: usize| -> Vec<u8> {
        plane.chunks(stride).take(rows).flat_map(|row| &row[..width]).copied().collect()
    };
    (picture.width, picture.height) = (width, height);
    picture.y = pack(decoded.y(), ys, width, height);
    picture.u = pack(decoded.u(), us, width / 2, height / 2);
    picture.v = pack(decoded.v(), vs, width / 2, height / 2);
    true
}
