//! Stray datagrams at the media port, in the midst of live sessions.

use crate::client::answer_for;
use crate::receiver::{Options, Receiver};
use crate::siege::{Siege, media_address};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// xorshift64: the same datagrams in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Of that length, and of a kind that the demultiplexer (RFC 7983) takes for something.
fn datagram(noise: &mut Noise, length: usize, ufrag: &str) -> Vec<u8> {
    let mut bytes = noise.bytes(length);
    let begin = |bytes: &mut Vec<u8>, start: &[u8]| {
        let fits = start.len().min(bytes.len());
        bytes[..fits].copy_from_slice(&start[..fits]);
    };
    match noise.next() % 6 {
        // STUN: a binding request with the name of a live session and a wrong signature
        0 => {
            let name = format!("{ufrag}:evil");
            let mut start = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            start[2..4].copy_from_slice(&(length.saturating_sub(20) as u16).to_be_bytes());
            start.extend_from_slice(&[7; 12]);
            start.extend_from_slice(&[0, 6, 0, name.len() as u8]);
            start.extend_from_slice(name.as_bytes());
            begin(&mut bytes, &start);
        }
        1 => begin(&mut bytes, &[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]),
        // DTLS: a handshake record
        2 => begin(&mut bytes, &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0]),
        // RTP and RTCP
        3 => begin(&mut bytes, &[0x80, 97]),
        4 => begin(&mut bytes, &[0x81, 206]),
        _ => {}
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_stray_datagrams_of_every_length() {
    let siege = Siege::lay("10,000 stray datagrams").await;
    // a viewer that never comes: its answer says where the media port is and how a session of now is called
    let receiver = Receiver::offer(Options { decode: false, ..Options::default() }).await;
    let reply = answer_for(&siege.program, &receiver.sdp, &[]).await;
    let media = media_address(&reply.body);
    let name =
        reply.body.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).expect("ICE has a name").to_string();
    let location = reply.header("location").expect("201 has a Location").to_string();
    let sockets: Vec<UdpSocket> = (2..10)
        .map(|last| UdpSocket::bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).expect("a free port"))
        .collect();
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for number in 0..10_000 {
        let bytes = datagram(&mut noise, number % 1501, &name);
        sockets[number % sockets.len()].send_to(&bytes, media).expect("loopback takes it");
    }
    let answered = sockets.iter().filter(|socket| {
        socket.set_nonblocking(true).expect("a socket");
        socket.recv(&mut [0; 1500]).is_ok()
    });
    println!("10,000 stray datagrams: {} of 8 senders were answered", answered.count());
    let gone = crate::client::ask(&siege.program, "DELETE", &location, &[], "").await;
    // after 10 s it has been given up
    assert!([200, 404].contains(&gone.status), "{gone:?}");
    receiver.close().await;
    siege.lift().await;
}
