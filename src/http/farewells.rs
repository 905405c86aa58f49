//! Connections that are refused: each hears why and is closed, at the cost of two system calls and no task.
//!
//! Owns the last few of them for a moment: closing over input that was not read resets a connection, and some peers throw
//! the words away then. Must never wait for one. Over TLS the words would be noise: there, closing is all there is.

use crate::clock::Clock;
use crate::units::Micros;
use rustix::net::{SendFlags, send};
use std::collections::VecDeque;
use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

/// Beyond so many the oldest is closed at once; it has its words by then.
const HELD: usize = 64;
const HELD_FOR: Duration = Duration::from_secs(1);

pub struct Farewells {
    clock: Clock,
    held: VecDeque<(Micros, TcpStream)>,
}

impl Farewells {
    pub fn new(clock: Clock) -> Farewells {
        Farewells { clock, held: VecDeque::new() }
    }

    /// `stream` does not block.
    pub fn refuse(&mut self, stream: TcpStream, words: &str) {
        say(&stream, words);
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        if self.held.len() == HELD {
            self.held.pop_front().into_iter().for_each(close);
        }
        self.held.push_back((self.clock.now(), stream));
    }

    /// Call every now and then while there are any.
    pub fn tick(&mut self) {
        let now = self.clock.now();
        while self.held.front().is_some_and(|(since, _)| now >= *since + HELD_FOR) {
            self.held.pop_front().into_iter().for_each(close);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// What fits into the socket's buffer at once: with nothing sent before, that is all of it.
pub fn say(stream: impl AsFd, words: &str) {
    // whoever is gone does not need to hear it
    let _ = send(stream, words.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

fn close((_, mut stream): (Micros, TcpStream)) {
    let mut unread = [0u8; 4096];
    for _ in 0..4 {
        match stream.read(&mut unread) {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn everybody_hears_why_and_few_are_held() {
        let (clock, hand) = Clock::test();
        let mut farewells = Farewells::new(clock);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peers = Vec::new();
        for number in 0..3 * HELD {
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            // a request that nobody reads
            peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            farewells.refuse(stream, "HTTP/1.1 503 full\r\n");
            peers.push(peer);
            assert_eq!(farewells.held.len(), HELD.min(number + 1));
        }
        for mut peer in peers {
            let mut heard = [0; 19];
            peer.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"HTTP/1.1 503 full\r\n");
        }
        farewells.tick();
        assert!(!farewells.is_empty());
        hand.advance(HELD_FOR);
        farewells.tick();
        assert!(farewells.is_empty());
    }
}
