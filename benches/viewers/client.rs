//! One viewer: the sans-IO core for ICE and DTLS, a socket, and counters in place of a decoder.

use crate::Failure;
use bytes::BytesMut;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

pub struct Client {
    connection: RTCPeerConnection,
    socket: UdpSocket,
    address: SocketAddr,
    due: Instant,
    pub packets: u64,
    /// Packets with the marker bit.
    pub pictures: u64,
}

/// Until one of them has a datagram or a timer is due.
pub fn wait(clients: &[Client], longest: Duration) -> Result<(), Failure> {
    let due = clients.iter().map(|client| client.due).min();
    let wait = due.map_or(longest, |due| due.saturating_duration_since(Instant::now()).min(longest));
    let mut fds: Vec<PollFd> = clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::IN)).collect();
    poll(&mut fds, Some(&wait.try_into()?))?;
    Ok(())
}

impl Client {
    /// Offers, posts the offer to `whep` (`host:port`), takes the answer.
    pub fn join(whep: &str) -> Result<Client, Failure> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let now = Instant::now();
        let mut connection = connection(now)?;
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            streams: vec![],
            send_encodings: vec![],
        };
        connection.add_transceiver_from_kind(RtpCodecKind::Video, Some(init))?;
        connection.create_data_channel("sync", None)?;
        let offer = connection.create_offer(None)?;
        connection.set_local_description(now, offer)?;
        connection.add_local_candidate(candidate(address)?)?;
        let sdp = connection.local_description().ok_or("no description")?.sdp;
        let answer = post(whep, &sdp)?;
        connection.set_remote_description(Instant::now(), RTCSessionDescription::answer(answer)?)?;
        Ok(Client { connection, socket, address, due: now, packets: 0, pictures: 0 })
    }

    pub fn turn(&mut self) -> Result<(), Failure> {
        self.receive()?;
        let now = Instant::now();
        if self.due <= now {
            self.connection.handle_timeout(now)?;
        }
        self.send()?;
        while self.connection.poll_event().is_some() {}
        while self.connection.poll_read().is_some() {}
        self.send()?;
        self.due =
            self.connection.poll_timeout().unwrap_or(now + Duration::from_secs(1)).max(now + Duration::from_millis(1));
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 2048];
        loop {
            let (len, peer) = match self.socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let datagram = &buffer[..len];
            if is_media(datagram) {
                self.packets += 1;
                self.pictures += u64::from(datagram[1] & 0x80 != 0);
                continue;
            }
            let transport = TransportContext {
                local_addr: self.address,
                peer_addr: peer,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            };
            let message = TaggedBytesMut { now: Instant::now(), transport, message: BytesMut::from(datagram) };
            // early packets may come before the core can read them
            let _ = self.connection.handle_read(message);
        }
    }

    fn send(&mut self) -> Result<(), Failure> {
        while let Some(datagram) = self.connection.poll_write() {
            self.socket.send_to(&datagram.message, datagram.transport.peer_addr)?;
        }
        Ok(())
    }

    pub fn leave(&mut self) -> Result<(), Failure> {
        self.connection.close()?;
        self.send()
    }
}

/// RTP and not RTCP (RFC 5761 section 4).
fn is_media(datagram: &[u8]) -> bool {
    datagram.len() > 12 && (128..192).contains(&datagram[0]) && !(192..224).contains(&datagram[1])
}

fn connection(now: Instant) -> Result<RTCPeerConnection, Failure> {
    let mut engine = MediaEngine::default();
    let feedback = |kind: &str, parameter: &str| RTCPFeedback { typ: kind.into(), parameter: parameter.into() };
    let codec = RTCRtpCodec {
        mime_type: MIME_TYPE_H264.into(),
        clock_rate: 90000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".into(),
        rtcp_feedback: vec![feedback("nack", ""), feedback("nack", "pli")],
    };
    engine.register_codec(RTCRtpCodecParameters { rtp_codec: codec, payload_type: 97 }, RtpCodecKind::Video)?;
    let settings = SettingEngineBuilder::new()
        .with_include_loopback_candidate(true)
        .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .build();
    Ok(RTCPeerConnectionBuilder::new().with_media_engine(engine).with_setting_engine(settings).build(now)?)
}

fn candidate(address: SocketAddr) -> Result<rtc::peer_connection::transport::RTCIceCandidateInit, Failure> {
    let base_config = CandidateConfig {
        network: "udp".into(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..Default::default()
    };
    let candidate = CandidateHostConfig { base_config, ..Default::default() }.new_candidate_host()?;
    Ok(RTCIceCandidate::from(&candidate).to_json()?)
}

fn post(whep: &str, offer: &str) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(whep)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "POST /whep HTTP/1.1\r\nHost: {whep}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{offer}",
        offer.len()
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or("half an HTTP reply")?;
    if !head.starts_with("HTTP/1.1 201") {
        return Err(format!("WHEP: {} {body}", head.lines().next().unwrap_or_default()).into());
    }
    Ok(body.into())
}
