//! A TCP stream that gives up on a peer which does not read, and that carries its seat among the connections to the end.
//!
//! Must never limit how long a peer may think before it sends: that is the header deadline's and the session's matter.

use super::connections::{GAVE_WAY, Seat};
use super::farewells;
use crate::clock;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub struct Guarded {
    stream: TcpStream,
    limit: Duration,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Given back when the stream goes, also after an upgrade to WebSocket.
    seat: Seat,
    /// Nothing was written yet, and the peer speaks plain HTTP.
    may_say_why: bool,
}

impl Guarded {
    pub fn new(stream: TcpStream, limit: Duration, seat: Seat) -> Guarded {
        Guarded { stream, limit, stalled: None, seat, may_say_why: false }
    }

    /// Of somebody who would understand a refusal in plain HTTP.
    pub fn plain(mut self) -> Guarded {
        self.may_say_why = true;
        self
    }

    /// A pending write is an error once it has been pending for `limit`.
    fn watch<T>(&mut self, cx: &mut Context, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            self.may_say_why = false;
            return result;
        }
        let limit = self.limit;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(clock::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl Drop for Guarded {
    /// A peer that never said a word, and has to give way, hears why.
    fn drop(&mut self) {
        if self.may_say_why && self.seat.used().has_given_way() {
            farewells::say(&self.stream, GAVE_WAY);
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        parts: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        // a TCP socket has nothing to flush: always ready, so no sign of progress
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
