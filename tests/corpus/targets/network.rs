//! What anybody may send by UDP, or by TCP in its stead: before DTLS has proven who it is.

use super::datagrams;
use rtcam::media::srtp::SrtpProfile;
use rtcam::output::ViewerId;
use rtcam::output::webrtc::demux::{self, DatagramKind, Routes, Seat};
use rtcam::output::webrtc::frames::{FrameReader, FrameWriter};
use rtcam::output::webrtc::handshake::Handshake;
use rtcam::output::webrtc::reflexive::Reflexive;
use rtcam::units::Micros;
use std::net::SocketAddr;

const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const ORDER: [SrtpProfile; 2] = [SrtpProfile::Gcm, SrtpProfile::Cm];

/// Datagrams of one viewer's DTLS handshake: the core is never shown more than came, and of what is not in fragments
/// nothing but the order of the SRTP profiles changes.
pub fn handshake(bytes: &[u8]) {
    let mut handshake = Handshake::new(&ORDER);
    let (mut came, mut shown, mut in_fragments) = (0, 0, false);
    for datagram in datagrams(bytes) {
        came += datagram.len();
        in_fragments |= records(datagram).any(is_fragment);
        let Some(out) = handshake.datagram(datagram) else { continue };
        shown += out.len();
        assert!(shown <= came, "{shown} bytes shown of {came}");
        if !in_fragments {
            assert_only_the_order_changes(datagram, &out);
        }
    }
    if let Some(hello) = datagrams(bytes).next().and_then(|datagram| datagram.get(RECORD_HEADER + MESSAGE_HEADER..)) {
        cut_anywhere_it_stays_the_same(hello, 1 + bytes.len() % 97);
    }
}

fn records(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length: [u8; 2] = datagram.get(11..RECORD_HEADER)?.try_into().expect("two bytes");
        let (record, rest) = datagram.split_at_checked(RECORD_HEADER + usize::from(u16::from_be_bytes(length)))?;
        datagram = rest;
        Some(record)
    })
}

/// Of a handshake message in the clear: the lengths of message and fragment differ, or it begins later.
fn is_fragment(record: &[u8]) -> bool {
    let body = &record[RECORD_HEADER..];
    record[0] == 22 && record[3..5] == [0, 0] && body.len() >= MESSAGE_HEADER && body[1..4] != body[9..12]
}

fn assert_only_the_order_changes(datagram: &[u8], out: &[u8]) {
    if datagram == out {
        return;
    }
    let mut came = records(datagram);
    let mut whole = 0;
    for record in records(out) {
        whole += record.len();
        assert!(came.any(|before| is_reordered(before, record)), "{record:?} of {datagram:?}");
    }
    assert_eq!(whole, out.len(), "a record that is cut");
}

/// Equal, or differing in the order of some pairs of bytes next to each other.
fn is_reordered(before: &[u8], after: &[u8]) -> bool {
    if before == after || before.len() != after.len() {
        return before == after;
    }
    let differs = |at: &usize| before[*at] != after[*at];
    let places = 0..before.len();
    let (Some(first), Some(last)) = (places.clone().find(differs), places.rev().find(differs)) else { return true };
    let sorted = |bytes: &[u8]| {
        let mut pairs = bytes.as_chunks::<2>().0.to_vec();
        pairs.sort();
        pairs
    };
    // the first byte that differs may be the second of its pair
    let same_pairs = |from: usize| {
        let until = (from + (last + 1 - from).next_multiple_of(2)).min(before.len());
        sorted(&before[from..until]) == sorted(&after[from..until])
    };
    first > RECORD_HEADER + MESSAGE_HEADER && (same_pairs(first) || same_pairs(first - 1))
}

fn cut_anywhere_it_stays_the_same(hello: &[u8], piece: usize) {
    if hello.is_empty() || hello.len() > 8192 || hello.len().div_ceil(piece) > 250 {
        return;
    }
    let shown = |piece: usize| {
        let mut handshake = Handshake::new(&ORDER);
        let parts = hello.chunks(piece).enumerate().map(|(at, part)| client_hello(hello.len(), at * piece, part));
        let mut shown = parts.filter_map(|record| handshake.datagram(&record).map(|shown| shown.into_owned()));
        let only = shown.next().expect("all of it is there");
        assert!(shown.next().is_none(), "shown twice");
        only[RECORD_HEADER..].to_vec()
    };
    assert_eq!(shown(piece), shown(hello.len()), "in pieces of {piece}");
}

fn client_hello(length: usize, offset: usize, part: &[u8]) -> Vec<u8> {
    let number = |n: usize| (n as u32).to_be_bytes();
    let [_, _, high, low] = number(MESSAGE_HEADER + part.len());
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, high, low, 1];
    record.extend(&number(length)[1..]);
    record.extend([0, 0]);
    record.extend(&number(offset)[1..]);
    record.extend(&number(part.len())[1..]);
    record.extend(part);
    record
}

/// Datagrams to the one UDP port, from four addresses: whose they are, and the answers of a STUN server.
pub fn stun(bytes: &[u8]) {
    let mut routes = Routes::default();
    routes.add(ViewerId(1), "one".into());
    routes.add(ViewerId(2), "two".into());
    let server: SocketAddr = "198.51.100.1:3478".parse().expect("an address");
    let own: SocketAddr = "10.0.0.5:8189".parse().expect("an address");
    for (number, datagram) in datagrams(bytes).take(64).enumerate() {
        let from = SocketAddr::from(([192, 0, 2, (number % 4) as u8], 5000));
        let named = routes.find_by_name(datagram);
        if let Some((viewer, seat)) = routes.find(from, datagram) {
            assert!(routes.seat_of(viewer) == Some(seat) && seat == Seat::Lobby);
            assert!(demux::kind(datagram) != DatagramKind::Other);
        }
        if let Some(viewer) = named {
            let ufrag = demux::check_ufrag(datagram);
            assert_eq!(ufrag, Some(if viewer == ViewerId(1) { "one" } else { "two" }));
            routes.learn(from, viewer);
        }
        let check = demux::check_transaction(datagram);
        assert!(check.is_some() || !demux::is_nomination(datagram));
        assert_eq!(demux::success_transaction(datagram).is_some(), demux::is_check_success(datagram));
        if let Some(check) = check {
            routes.expect_answer(ViewerId(2), check);
        }
        answer_of_server(own, server, datagram);
    }
    routes.remove(ViewerId(1));
    routes.remove(ViewerId(2));
    for datagram in datagrams(bytes).take(64) {
        assert_eq!(routes.find(SocketAddr::from(([192, 0, 2, 0], 5000)), datagram), None);
    }
}

/// With the id of our question in it, so that the rest is looked at.
fn answer_of_server(own: SocketAddr, server: SocketAddr, datagram: &[u8]) {
    let mut reflexive = Reflexive::default();
    reflexive.set_servers(vec![server]);
    let (now, mut asked) = (Micros(1_000_000), Vec::new());
    reflexive.poll(now, true, &mut asked);
    let mut answer = datagram.to_vec();
    if let (Some((_, question)), Some(id)) = (asked.first(), answer.get_mut(8..20)) {
        id.copy_from_slice(&question[8..20]);
    }
    reflexive.datagram(now, own, server, &answer);
    assert!(reflexive.found(now).public.len() <= 1);
}

/// A TCP connection in RFC 4571 framing; the first byte says in how large portions it comes.
pub fn framing(bytes: &[u8]) {
    let Some((portion, stream)) = bytes.split_first() else { return };
    let (at_once, broken) = frames(stream, stream.len().max(1));
    let (in_portions, broken_later) = frames(stream, 1 + usize::from(*portion) * 8);
    assert_eq!((&at_once, broken), (&in_portions, broken_later));
    let mut writer = FrameWriter::default();
    at_once.iter().for_each(|frame| writer.push(frame));
    if writer.dropped == 0 {
        assert_eq!(frames(writer.unsent(), usize::MAX), (at_once, false));
    }
}

fn frames(stream: &[u8], portion: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut reader, mut frames) = (FrameReader::default(), Vec::new());
    let mut each = |frame: &[u8]| {
        assert!((1..=2048).contains(&frame.len()));
        frames.push(frame.to_vec());
    };
    let broken = stream.chunks(portion).any(|part| reader.take(part, &mut each).is_err());
    (frames, broken)
}
