//! Datagrams over a byte stream: RFC 4571 framing, two bytes of length before each (ICE-TCP, RFC 6544 section 3).
//!
//! Sans-IO: bytes in any portions come in, whole frames go out, and the other way round. Both directions have a bound.

/// No WebRTC peer sends a longer one; who does is not one.
const MAX_FRAME: usize = 2048;
/// Unsent bytes of one connection. Pictures stop long before (`is_backed_up`); this bounds the rest.
const MAX_UNSENT: usize = 256 * 1024;

/// Cuts what arrives into frames.
#[derive(Default)]
pub struct FrameReader {
    waiting: Vec<u8>,
}

/// The peer does not speak RFC 4571; nothing more can be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

impl FrameReader {
    /// Takes bytes in, hands whole frames out. Never holds more than one frame and what came with it.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Broken> {
        self.waiting.extend_from_slice(bytes);
        let mut rest = &self.waiting[..];
        while let Some((head, after)) = rest.split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*head));
            if len > MAX_FRAME {
                return Err(Broken);
            }
            let Some(frame) = after.get(..len) else { break };
            // an empty frame is a keep-alive
            if !frame.is_empty() {
                each(frame);
            }
            rest = &after[len..];
        }
        let done = self.waiting.len() - rest.len();
        self.waiting.drain(..done);
        Ok(())
    }
}

/// Frames on their way out.
#[derive(Default)]
pub struct FrameWriter {
    unsent: Vec<u8>,
    pub dropped: u64,
}

impl FrameWriter {
    /// Adds a frame; a full buffer drops it whole, as a network does.
    pub fn push(&mut self, datagram: &[u8]) {
        match u16::try_from(datagram.len()) {
            Ok(len) if self.unsent.len() + 2 + datagram.len() <= MAX_UNSENT => {
                self.unsent.extend_from_slice(&len.to_be_bytes());
                self.unsent.extend_from_slice(datagram);
            }
            _ => self.dropped += 1,
        }
    }

    pub fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    pub fn sent(&mut self, bytes: usize) {
        self.unsent.drain(..bytes.min(self.unsent.len()));
    }

    /// The kernel's buffer is full: what is added now will be late.
    pub fn is_backed_up(&self) -> bool {
        !self.unsent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn framed(frames: &[&[u8]]) -> Vec<u8> {
        let mut writer = FrameWriter::default();
        frames.iter().for_each(|frame| writer.push(frame));
        writer.unsent().to_vec()
    }

    #[test]
    fn frames_come_out_whole_at_every_split() {
        let long = [7u8; 1200];
        let frames: [&[u8]; 5] = [b"stun", b"", &long, b"x", b"last"];
        let stream = framed(&frames);
        for first in 0..=stream.len() {
            for second in [first, first + 1, (first + stream.len()) / 2, stream.len()] {
                let second = second.clamp(first, stream.len());
                let (mut reader, mut got) = (FrameReader::default(), Vec::new());
                for part in [&stream[..first], &stream[first..second], &stream[second..]] {
                    reader.take(part, |frame| got.push(frame.to_vec())).expect("well-formed");
                }
                let wanted: Vec<&[u8]> = frames.iter().copied().filter(|frame| !frame.is_empty()).collect();
                assert_eq!(got, wanted, "split at {first} and {second}");
                assert!(reader.waiting.is_empty());
            }
        }
    }

    #[test]
    fn a_length_no_peer_uses_ends_it() {
        let mut reader = FrameReader::default();
        assert_eq!(reader.take(b"GET / HTTP/1.1\r\n", |_| panic!("no frame")), Err(Broken));
        assert_eq!(FrameReader::default().take(&[0xff, 0xff], |_| panic!("no frame")), Err(Broken));
    }

    #[test]
    fn any_bytes_in_any_portions_are_survived_and_little_is_held() {
        let mut dice = Dice::new(9);
        for _ in 0..300 {
            let mut reader = FrameReader::default();
            for _ in 0..40 {
                let count = dice.place(600);
                let mut bytes = dice.bytes(count);
                // lengths that may be, so that more than the first frame is looked at
                bytes.iter_mut().step_by(97).for_each(|b| *b %= 8);
                let broken = reader.take(&bytes, |frame| assert!(frame.len() <= MAX_FRAME)).is_err();
                assert!(reader.waiting.len() <= 2 + MAX_FRAME + 600);
                if broken {
                    break;
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_whole_and_counted() {
        let mut writer = FrameWriter::default();
        assert!(!writer.is_backed_up());
        let datagram = [1u8; 1000];
        for _ in 0..1000 {
            writer.push(&datagram);
        }
        assert!(writer.unsent().len() <= MAX_UNSENT && writer.unsent().len() % 1002 == 0);
        assert_eq!(writer.dropped, 1000 - (MAX_UNSENT / 1002) as u64);
        writer.sent(1001);
        assert!(writer.is_backed_up());
        writer.sent(usize::MAX);
        assert!(!writer.is_backed_up());
        writer.push(&[0; 70_000]);
        assert!(!writer.is_backed_up(), "no frame holds it");
    }
}
