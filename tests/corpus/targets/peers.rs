//! What a peer sends to the core: the DTLS handshake, and what comes encrypted by it.

use super::datagrams;
use rtc::datachannel::message::Message;
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::Endpoint as Dtls;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::interceptor::{
    AttributedPacket, Interceptor, NackResponderBuilder, Packet, RTCPFeedback, Registry, SenderReportBuilder, Slot,
    StreamInfo, TaggedPacket,
};
use rtc::sansio::Protocol;
use rtc::sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint as Sctp, EndpointConfig, Payload,
    ServerConfig, TransportConfig,
};
use rtc::shared::marshal::Unmarshal;
use rtc::shared::{TransportContext, TransportProtocol};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use rtcam::media::srtp::SrtpProfile;
use rtcam::output::webrtc::feedback::Feedback;
use rtcam::output::webrtc::handshake::Handshake;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

fn browser() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5000))
}

fn rtcam() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 5000))
}

fn dtls_configs() -> &'static [Arc<HandshakeConfig>; 2] {
    static CONFIGS: OnceLock<[Arc<HandshakeConfig>; 2]> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        [false, true].map(|is_client| {
            let provider = rtc::crypto::default_provider().expect("it is built in");
            let names = vec!["rtcam".to_owned()];
            let certificate = Certificate::generate_self_signed(names, provider.crypto()).expect("a certificate");
            // as the core sets it, but for the fingerprint
            let config = ConfigBuilder::default()
                .with_crypto_provider(provider)
                .with_certificates(vec![certificate])
                .with_srtp_protection_profiles(vec![
                    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
                ])
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_insecure_skip_verify(true)
                .with_extended_master_secret(ExtendedMasterSecretType::Require);
            Arc::new(config.build(is_client, None).expect("they fit together"))
        })
    })
}

/// A browser's DTLS handshake and what becomes of its datagrams on their way, by the first byte of each datagram of the
/// input: as it is, replaced, bytes of it changed (place and value, three bytes each), sent twice, or its end replaced.
pub fn dtls(bytes: &[u8]) {
    let [server_config, client_config] = dtls_configs();
    let mut now = Instant::now();
    let mut server = Dtls::new(rtcam(), TransportProtocol::UDP, Some(server_config.clone()));
    let mut client = Dtls::new(browser(), TransportProtocol::UDP, None);
    client.connect(now, rtcam(), client_config.clone(), None).expect("it begins");
    let mut filter = Handshake::new(&[SrtpProfile::Gcm, SrtpProfile::Cm]);
    let mut on_their_way: VecDeque<Vec<u8>> = VecDeque::new();
    let changes = datagrams(bytes).take(32).map(Some).chain([None; 8]);
    for change in changes {
        while let Some(sent) = client.poll_transmit() {
            on_their_way.push_back(sent.message.to_vec());
        }
        let Some(datagram) = on_their_way.pop_front().or(change.map(|_| Vec::new())) else { break };
        for datagram in changed(datagram, change.unwrap_or_default()) {
            if let Some(shown) = filter.datagram(&datagram) {
                // an error is what a datagram of no use gives
                let _ = server.read(now, browser(), None, shown[..].into());
            }
        }
        while let Some(sent) = server.poll_transmit() {
            let _ = client.read(now, rtcam(), None, sent.message);
        }
        now += Duration::from_millis(300);
        let _ = server.handle_timeout(browser(), now);
        let _ = client.handle_timeout(rtcam(), now);
    }
    if bytes.is_empty() {
        let done = server.get_connections_keys().count() == 1 && client.write(now, rtcam(), b"hello").is_ok();
        assert!(done, "a handshake that nobody disturbs comes to its end");
    }
}

fn changed(mut datagram: Vec<u8>, change: &[u8]) -> Vec<Vec<u8>> {
    let Some((how, with)) = change.split_first() else { return vec![datagram] };
    match how % 4 {
        0 => return vec![with.to_vec(), datagram],
        1 => {
            for [high, low, value] in with.as_chunks::<3>().0 {
                let at = usize::from(u16::from_be_bytes([*high, *low]));
                datagram.get_mut(at).into_iter().for_each(|byte| *byte ^= value);
            }
        }
        2 => return vec![datagram.clone(), datagram],
        _ => {
            let length = datagram.len() * usize::from(with.first().copied().unwrap_or(0)) / 256;
            datagram.truncate(length);
            datagram.extend(with.iter().skip(1));
        }
    }
    vec![datagram]
}

const SSRC: u32 = 7;
const SENT: u16 = 64;

/// RTP and RTCP of a viewer that was sent 64 packets, as it is and as SRTP: nobody is sent more again than was sent.
pub fn rtcp(bytes: &[u8]) {
    let provider = rtc::crypto::default_provider().expect("it is built in");
    let profile = ProtectionProfile::Aes128CmHmacSha1_80;
    let mut srtp = Context::new(&[7; 16], &[9; 14], profile, None, None, provider.crypto()).expect("keys of its size");
    let feedback = Feedback::default();
    let mut chain = Registry::new()
        .with(Slot::NackResponder, NackResponderBuilder::new().with_size(256).build())
        .with(Slot::SenderReport, SenderReportBuilder::new().build())
        .with(Slot::from(500), feedback.interceptor(SSRC))
        .build();
    let nack = RTCPFeedback { typ: "nack".into(), parameter: String::new() };
    chain.bind_local_stream(&StreamInfo {
        ssrc: SSRC,
        // some peers have none: then it is the same stream again
        ssrc_rtx: bytes.len().is_multiple_of(2).then_some(SSRC + 1),
        payload_type_rtx: bytes.len().is_multiple_of(2).then_some(103),
        clock_rate: 90_000,
        rtcp_feedback: vec![nack],
        ..StreamInfo::default()
    });
    let now = Instant::now();
    let tagged =
        |packet| TaggedPacket { now, transport: TransportContext::default(), message: AttributedPacket::new(packet) };
    for sequence_number in 0..SENT {
        let mut packet = rtc::rtp::Packet { payload: vec![5; 20].into(), ..Default::default() };
        (packet.header.ssrc, packet.header.sequence_number) = (SSRC, sequence_number);
        chain.handle_write(tagged(Packet::Rtp(packet))).expect("it is taken");
    }
    while chain.poll_write().is_some() {}
    let mut again = 0;
    for datagram in datagrams(bytes).take(64) {
        let mut datagram = &datagram[..datagram.len().min(1500)];
        let _ = (srtp.decrypt_rtp(datagram), srtp.decrypt_rtcp(datagram));
        // RFC 5761 section 4: by the second byte
        let packet = match datagram.get(1) {
            Some(192..=223) => rtc::rtcp::packet::unmarshal(&mut datagram).ok().map(Packet::Rtcp),
            _ => rtc::rtp::Packet::unmarshal(&mut datagram).ok().map(Packet::Rtp),
        };
        let Some(packet) = packet else { continue };
        let _ = chain.handle_read(tagged(packet));
        while chain.poll_read().is_some() {}
        while let Some(sent) = chain.poll_write() {
            again += usize::from(matches!(sent.message.packet, Packet::Rtp(_)));
        }
    }
    assert!(again <= usize::from(SENT), "{again} packets sent again, of {SENT}");
    let loss = feedback.counters().loss;
    assert!((0.0..=1.0).contains(&loss), "{loss}");
}

/// The chunks of a peer whose SCTP association stands: those that name a transmission sequence number (DATA, SACK, FORWARD
/// TSN) count from the first one.
pub fn sctp(bytes: &[u8]) {
    let Some(mut pair) = Established::new() else { panic!("no association") };
    for chunks in datagrams(bytes).take(48) {
        pair.now += Duration::from_millis(20);
        let packet = pair.packet(&chunks[..chunks.len().min(1200)]);
        pair.server_gets(packet);
        pair.read();
        pair.sent_by_server();
    }
    for _ in 0..8 {
        let Some(due) = pair.server.poll_timeout() else { break };
        pair.now = pair.now.max(due);
        pair.server.handle_timeout(pair.now);
        assert!(pair.sent_by_server().len() < 1000);
    }
}

struct Established {
    now: Instant,
    endpoint: Sctp,
    handle: AssociationHandle,
    server: Association,
    /// The server's verification tag, and the first sequence numbers of both.
    tag: [u8; 4],
    ours: u32,
    theirs: u32,
}

impl Established {
    fn new() -> Option<Established> {
        let now = Instant::now();
        let config = || Arc::new(EndpointConfig::default());
        let serving = Arc::new(ServerConfig::new(TransportConfig::default()));
        let mut endpoint = Sctp::new(rtcam(), TransportProtocol::UDP, config(), Some(serving));
        let mut calling = Sctp::new(browser(), TransportProtocol::UDP, config(), None);
        let client = ClientConfig::new(TransportConfig::default());
        let (_, mut client) = calling.connect(now, client, rtcam()).ok()?;
        let mut servers: HashMap<AssociationHandle, Association> = HashMap::new();
        let (mut tag, mut ours, mut theirs) = ([0; 4], 0, 0);
        for _ in 0..4 {
            for packet in sent(&mut client, now) {
                if packet[12] == INIT {
                    ours = u32::from_be_bytes(packet[28..32].try_into().ok()?);
                }
                match endpoint.handle(now, browser(), None, packet) {
                    Some((handle, DatagramEvent::NewAssociation(server))) => drop(servers.insert(handle, server)),
                    Some((handle, DatagramEvent::AssociationEvent(event))) => {
                        servers.get_mut(&handle)?.handle_event(event)
                    }
                    _ => {}
                }
            }
            for packet in servers.values_mut().flat_map(|server| sent(server, now)) {
                if packet[12] == INIT_ACK {
                    tag = packet[16..20].try_into().ok()?;
                    theirs = u32::from_be_bytes(packet[28..32].try_into().ok()?);
                }
                if let Some((_, DatagramEvent::AssociationEvent(event))) = calling.handle(now, rtcam(), None, packet) {
                    client.handle_event(event);
                }
            }
        }
        let (handle, server) = servers.into_iter().next()?;
        Some(Established { now, endpoint, handle, server, tag, ours, theirs })
    }

    fn packet(&self, chunks: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x13, 0x88, 0x13, 0x88];
        packet.extend(if chunks.first() == Some(&INIT) { [0; 4] } else { self.tag });
        packet.extend([0; 4]);
        packet.extend(chunks);
        let mut at = 12;
        while let Some(&[kind, _, high, low]) = packet.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            let first = match kind {
                DATA | FORWARD_TSN => self.ours,
                SACK => self.theirs.wrapping_sub(1),
                _ => 0,
            };
            if let Some(number) = packet.get_mut(at + 4..at + 8).filter(|_| first != 0) {
                let counted = first.wrapping_add(u32::from_be_bytes(number.try_into().expect("four bytes")));
                number.copy_from_slice(&counted.to_be_bytes());
            }
            at += usize::from(u16::from_be_bytes([high, low])).max(4).next_multiple_of(4);
        }
        let checksum = crc32c(&packet);
        packet[8..12].copy_from_slice(&checksum.to_le_bytes());
        packet
    }

    fn server_gets(&mut self, packet: Vec<u8>) {
        match self.endpoint.handle(self.now, browser(), None, packet.into()) {
            Some((handle, DatagramEvent::AssociationEvent(event))) if handle == self.handle => {
                self.server.handle_event(event)
            }
            _ => {}
        }
    }

    /// Everything that has arrived, as the core does it; what opens a channel is read as such.
    fn read(&mut self) {
        while self.server.poll().is_some() {}
        while self.server.accept_stream().is_some() {}
        for id in self.server.stream_ids() {
            let Ok(mut stream) = self.server.stream(id) else { continue };
            while let Ok(Some(chunks)) = stream.read_sctp() {
                let mut message = vec![0; chunks.len()];
                if chunks.read(&mut message).is_ok() {
                    let _ = Message::unmarshal(&mut &message[..]);
                }
            }
        }
    }

    fn sent_by_server(&mut self) -> Vec<bytes::Bytes> {
        sent(&mut self.server, self.now)
    }
}

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const FORWARD_TSN: u8 = 192;

fn sent(association: &mut Association, now: Instant) -> Vec<bytes::Bytes> {
    let mut sent = Vec::new();
    while let Some(transmit) = association.poll_transmit(now) {
        if let Payload::RawEncode(packets) = transmit.message {
            sent.extend(packets);
        }
    }
    sent
}

/// Castagnoli's, as RFC 9260 appendix A has it.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
