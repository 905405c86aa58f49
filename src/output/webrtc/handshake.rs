//! What of a viewer's DTLS handshake the core gets to see.
//!
//! Two things stand between the wire and the core. The core takes the first SRTP profile of the *browser's* list that we
//! have too (RFC 5764 section 4.1.1 leaves the choice to the server), and browsers list the dearest one first: so their
//! list is shown to the core in our order. That is done in the first ClientHello only, which no side's Finished covers
//! (RFC 6347 section 4.2.1); the one with the cookie passes untouched. And the core keeps every handshake fragment and
//! puts messages together by recursion: so only well-formed ones pass, and not many.
//!
//! Pure, one per viewer. Input: datagrams of strangers. Must never keep more than one ClientHello, show the core more
//! bytes than came, nor touch a record that is encrypted.

use crate::media::srtp::SrtpProfile;
use std::borrow::Cow;
use std::ops::Range;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const USE_SRTP: u16 = 14;
const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
/// Browsers' with post-quantum keys have 1.8 KB. Longer ones pass as they are.
const MAX_HELLO: usize = 8 * 1024;
/// Handshake messages and fragments in the clear, in a viewer's whole life. A handshake has a dozen, repeated a few times.
const MAX_MESSAGES: u32 = 256;
/// Encrypted handshake records: Finished, repeated when our answer is lost. Longer ones are not Finished.
const MAX_ENCRYPTED: u32 = 32;
const MAX_ENCRYPTED_BYTES: usize = 256;

pub struct Handshake {
    order: Vec<u16>,
    hello: Hello,
    messages: u32,
    encrypted: u32,
}

/// A first ClientHello being put together.
#[derive(Default)]
struct Hello {
    body: Vec<u8>,
    here: Vec<bool>,
}

/// A handshake message or a fragment of one (RFC 6347 section 4.2.2).
struct Message<'a> {
    kind: u8,
    length: usize,
    sequence: u16,
    offset: usize,
    fragment: &'a [u8],
}

impl Handshake {
    /// `order`: the profiles we take, the one we like best first.
    pub fn new(order: &[SrtpProfile]) -> Handshake {
        let order = order.iter().map(|profile| profile.number()).collect();
        Handshake { order, hello: Hello::default(), messages: 0, encrypted: 0 }
    }

    /// What the core gets of a DTLS datagram; None: nothing.
    pub fn datagram<'a>(&mut self, bytes: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if !Records(bytes).any(|record| record[0] == HANDSHAKE) {
            return Some(Cow::Borrowed(bytes));
        }
        let mut out = Vec::with_capacity(bytes.len());
        for record in Records(bytes) {
            let body = &record[RECORD_HEADER..];
            match (record[0], record[3..5] == [0, 0]) {
                (HANDSHAKE, true) => self.in_the_clear(record, body, &mut out),
                (HANDSHAKE, false) => {
                    self.encrypted = self.encrypted.saturating_add(1);
                    if self.encrypted <= MAX_ENCRYPTED && body.len() <= MAX_ENCRYPTED_BYTES {
                        out.extend_from_slice(record);
                    }
                }
                _ => out.extend_from_slice(record),
            }
        }
        (!out.is_empty()).then_some(Cow::Owned(out))
    }

    fn in_the_clear(&mut self, record: &[u8], body: &[u8], out: &mut Vec<u8>) {
        let Some(messages) = messages(body) else { return };
        self.messages = self.messages.saturating_add(messages.len() as u32);
        if self.messages > MAX_MESSAGES {
            return;
        }
        match messages.as_slice() {
            [hello] if hello.is_first_hello() && self.order.len() > 1 => {
                if let Some(body) = self.hello.take(hello) {
                    put_hello(record, &in_our_order(body, &self.order), out);
                }
            }
            _ => out.extend_from_slice(record),
        }
    }
}

impl Message<'_> {
    /// Without a cookie yet, as far as its number tells; `in_our_order` looks.
    fn is_first_hello(&self) -> bool {
        self.kind == CLIENT_HELLO && self.sequence == 0 && self.length <= MAX_HELLO
    }
}

impl Hello {
    /// The whole body, once all of it is here. Another length means another hello. Shown once, it has to come whole again:
    /// or each byte more of it would be a whole one more for the core, which keeps them.
    fn take(&mut self, part: &Message) -> Option<Vec<u8>> {
        if self.body.len() != part.length {
            *self = Hello { body: vec![0; part.length], here: vec![false; part.length] };
        }
        let place = part.offset..part.offset + part.fragment.len();
        self.body[place.clone()].copy_from_slice(part.fragment);
        self.here[place].fill(true);
        self.here.iter().all(|here| *here).then(|| std::mem::take(self).body)
    }
}

/// The records of a datagram; ends at the first that is cut.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let &[high, low] = self.0.get(11..RECORD_HEADER)? else { return None };
        let len = RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
        let record = self.0.get(..len)?;
        self.0 = &self.0[len..];
        Some(record)
    }
}

/// The messages of a record. None: what no handshake has, such as empty messages and fragments, or one that is cut.
fn messages(mut body: &[u8]) -> Option<Vec<Message<'_>>> {
    let mut found = Vec::new();
    while let Some((header, rest)) = body.split_first_chunk::<MESSAGE_HEADER>() {
        let [kind, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = *header;
        let number = |a, b, c| usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let (length, offset, fragment_length) = (number(l0, l1, l2), number(o0, o1, o2), number(f0, f1, f2));
        let (fragment, after) = rest.split_at_checked(fragment_length)?;
        // the core takes all that follows a fragment for its own: it must be the last
        let fits = fragment_length > 0 && offset + fragment_length <= length;
        if !fits || (fragment_length < length && !after.is_empty()) {
            return None;
        }
        found.push(Message { kind, length, sequence: u16::from_be_bytes([s0, s1]), offset, fragment });
        body = after;
    }
    (body.is_empty() && !found.is_empty()).then_some(found)
}

/// One record with all of a first ClientHello, numbered as `record` was.
fn put_hello(record: &[u8], body: &[u8], out: &mut Vec<u8>) {
    // both lengths fit: a body has at most MAX_HELLO bytes
    let length = (body.len() as u32).to_be_bytes();
    out.extend_from_slice(&record[..11]);
    out.extend_from_slice(&((MESSAGE_HEADER + body.len()) as u16).to_be_bytes());
    out.extend_from_slice(&[
        CLIENT_HELLO,
        length[1],
        length[2],
        length[3],
        0,
        0,
        0,
        0,
        0,
        length[1],
        length[2],
        length[3],
    ]);
    out.extend_from_slice(body);
}

/// A ClientHello with the profiles of `order` first in its use_srtp list. One with a cookie, or that cannot be read,
/// stays as it is: the core judges it.
fn in_our_order(mut hello: Vec<u8>, order: &[u16]) -> Vec<u8> {
    if let Some(place) = profiles(&hello) {
        let list = &mut hello[place];
        let mut theirs: Vec<[u8; 2]> = list.as_chunks::<2>().0.to_vec();
        theirs
            .sort_by_key(|profile| order.iter().position(|ours| ours.to_be_bytes() == *profile).unwrap_or(order.len()));
        list.copy_from_slice(theirs.as_flattened());
    }
    hello
}

/// Where the profiles of use_srtp are (RFC 6347 section 4.2.1, RFC 5764 section 4.1.1).
fn profiles(hello: &[u8]) -> Option<Range<usize>> {
    let mut at = Cursor { bytes: hello, at: 0 };
    at.skip(2 + 32)?;
    let session = at.byte()?;
    at.skip(session)?;
    if at.byte()? != 0 {
        return None;
    }
    let suites = at.number()?;
    at.skip(suites)?;
    let compression = at.byte()?;
    at.skip(compression)?;
    let extensions = at.number()?;
    let end = at.at.checked_add(extensions).filter(|end| *end <= hello.len())?;
    while at.at < end {
        let (kind, len) = (at.number()?, at.number()?);
        if kind == usize::from(USE_SRTP) {
            let list = at.number()?;
            // list, then the MKI with a length of one byte
            return (list % 2 == 0 && list + 3 <= len && at.at + list <= end).then_some(at.at..at.at + list);
        }
        at.skip(len)?;
    }
    None
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn byte(&mut self) -> Option<usize> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(usize::from(byte))
    }

    fn number(&mut self) -> Option<usize> {
        Some(self.byte()? << 8 | self.byte()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: [SrtpProfile; 2] = [SrtpProfile::Gcm, SrtpProfile::Cm];

    /// A ClientHello as browsers send it, its use_srtp between other extensions.
    fn hello(cookie: &[u8], profiles: &[u16], padding: usize) -> Vec<u8> {
        let mut extensions = vec![0, 23, 0, 0, 0, 21];
        extensions.extend((padding as u16).to_be_bytes());
        extensions.resize(extensions.len() + padding, 0);
        let list = 2 * profiles.len() as u16;
        extensions.extend([[0, 14], (list + 3).to_be_bytes(), list.to_be_bytes()].as_flattened());
        profiles.iter().for_each(|profile| extensions.extend(profile.to_be_bytes()));
        extensions.extend([0, 0xff, 1, 0, 1, 0]);
        let mut body = vec![0xfe, 0xfd];
        body.extend([9; 32]);
        body.extend([0, cookie.len() as u8]);
        body.extend(cookie);
        body.extend([0, 2, 0xc0, 0x2b, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    /// Records of epoch 0, each with a fragment of `body`.
    fn records(sequence: u16, body: &[u8], fragment: usize) -> Vec<Vec<u8>> {
        let one = |(at, part): (usize, &[u8])| {
            let number = |n: usize| (n as u32).to_be_bytes()[1..].to_vec();
            let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, at as u8];
            record.extend(((12 + part.len()) as u16).to_be_bytes());
            record.push(CLIENT_HELLO);
            record.extend(number(body.len()));
            record.extend(sequence.to_be_bytes());
            record.extend([number(at * fragment), number(part.len())].concat());
            record.extend(part);
            record
        };
        body.chunks(fragment).enumerate().map(one).collect()
    }

    fn whole(sequence: u16, body: &[u8]) -> Vec<u8> {
        records(sequence, body, body.len()).concat()
    }

    #[test]
    fn the_browsers_list_is_put_in_our_order() {
        let mut handshake = Handshake::new(&ORDER);
        let shown = handshake.datagram(&whole(0, &hello(&[], &[1, 8, 7], 0))).map(Cow::into_owned);
        assert_eq!(shown, Some(whole(0, &hello(&[], &[7, 1, 8], 0))));
        let only_theirs = whole(0, &hello(&[], &[8, 2], 0));
        assert_eq!(handshake.datagram(&only_theirs).as_deref(), Some(&only_theirs[..]));
    }

    #[test]
    fn what_the_finished_messages_cover_is_never_touched() {
        let first = whole(0, &hello(&[], &[1, 7], 0));
        for (order, datagram) in [
            (&ORDER[..], whole(1, &hello(&[5; 20], &[1, 7], 0))),
            (&ORDER[..], whole(0, &hello(&[5; 20], &[1, 7], 0))),
            (&ORDER[..1], first.clone()),
            (&ORDER[..], vec![20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]),
            (&ORDER[..], [23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2].to_vec()),
            (&ORDER[..], [22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2].to_vec()),
        ] {
            assert_eq!(Handshake::new(order).datagram(&datagram).as_deref(), Some(&datagram[..]));
        }
    }

    #[test]
    fn a_hello_in_parts_is_put_together_wherever_it_is_cut_and_whatever_is_lost() {
        let (theirs, ours) = (hello(&[], &[1, 7], 1500), hello(&[], &[7, 1], 1500));
        for cut in 1..theirs.len() {
            if theirs.len().div_ceil(cut) > 100 {
                continue;
            }
            let mut parts = records(0, &theirs, cut);
            let mut handshake = Handshake::new(&ORDER);
            let last = parts.pop().expect("at least one");
            for part in parts.iter().rev().chain(parts.first()) {
                assert_eq!(handshake.datagram(part), None, "cut at {cut}");
            }
            let shown = handshake.datagram(&last).expect("it is complete");
            assert_eq!(shown[RECORD_HEADER..], whole(0, &ours)[RECORD_HEADER..], "cut at {cut}");
            let again = records(0, &theirs, cut);
            assert!(again.iter().filter_map(|part| handshake.datagram(part)).count() == 1, "sent again, shown again");
            let at_once = Handshake::new(&ORDER).datagram(&records(0, &theirs, cut).concat()).map(Cow::into_owned);
            assert_eq!(at_once.map(|shown| shown[RECORD_HEADER..].to_vec()), Some(shown[RECORD_HEADER..].to_vec()));
        }
    }

    #[test]
    fn fragments_that_would_pile_up_in_the_core_do_not_reach_it() {
        let mut handshake = Handshake::new(&ORDER);
        let body = [1; 4000];
        let pieces = records(2, &body, 1);
        let passed = pieces.iter().rev().filter(|piece| handshake.datagram(piece).is_some()).count();
        assert_eq!(passed, MAX_MESSAGES as usize);
        let mut handshake = Handshake::new(&ORDER);
        let record = |body: &[u8]| [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, body.len() as u8], body].concat();
        for malformed in [
            record(&[11, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
            record(&[11, 0, 0, 9, 0, 1, 0, 0, 8, 0, 0, 2, 1, 1]),
            record(&[11, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 1, 1, 11, 0, 0, 9, 0, 1, 0, 0, 1, 0, 0, 1, 1]),
            record(&[11, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 9, 1]),
            record(&[]),
        ] {
            assert_eq!(handshake.datagram(&malformed), None, "{malformed:?}");
        }
        let long = [&[22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0][..], &[0; 1024]].concat();
        assert_eq!(handshake.datagram(&long), None, "nothing that long is a Finished");
        let finished = [22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2];
        let passed = (0..1000).filter(|_| handshake.datagram(&finished).is_some()).count();
        assert_eq!(passed, MAX_ENCRYPTED as usize - 1);
    }

    #[test]
    fn a_hello_is_not_shown_again_for_each_byte_that_is_repeated() {
        let body = hello(&[], &[1, 7], 4000);
        let mut handshake = Handshake::new(&ORDER);
        let parts = records(0, &body, 100);
        let byte = records(0, &body, 1).swap_remove(0);
        let shown = |handshake: &mut Handshake, part: &[u8]| handshake.datagram(part).map_or(0, |shown| shown.len());
        let whole: usize = parts.iter().map(|part| shown(&mut handshake, part)).sum();
        assert!(whole > body.len());
        assert!(handshake.hello.body.is_empty(), "nothing is kept of what was shown");
        let more: usize = (0..200).map(|_| shown(&mut handshake, &byte)).sum();
        assert_eq!(more, 0, "200 times one byte is no hello");
    }

    #[test]
    fn any_bytes_of_any_length_are_survived() {
        let good = whole(0, &hello(&[], &[1, 7], 40));
        let mut state = 1u32;
        for round in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                bytes[(state >> 8) as usize % good.len()] = state as u8;
            }
            bytes.truncate(good.len() - round % good.len());
            let mut handshake = Handshake::new(&ORDER);
            handshake.datagram(&bytes);
            handshake.datagram(&bytes);
        }
    }
}
