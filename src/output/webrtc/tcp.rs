//! ICE-TCP, the passive side (RFC 6544): a listener on one fixed port, and the connections of viewers whose network lets
//! no UDP through.
//!
//! Owns listener and connections; every read and write is non-blocking. A connection belongs to nobody until its first
//! frame names a viewer, and carries nothing but checks until one of them succeeded. Must never hold more than its
//! bounds: a viewer that does not keep up gets no pictures (`is_backed_up`), one that stands still is cut off.

use crate::output::ViewerId;
use crate::output::webrtc::demux::{self, DatagramKind, Ends, Routes, Seat};
use crate::output::webrtc::frames::{FrameReader, FrameWriter};
use crate::output::webrtc::udp_sys::Outgoing;
use crate::repeat::{RepeatFilter, Say};
use crate::units::Micros;
use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const NAMED_WITHIN: Duration = Duration::from_secs(5);
const STALL_WITHIN: Duration = Duration::from_secs(10);
/// After a failed accept (no file descriptors), lest the loop spin.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Connections that named no viewer yet; the oldest makes room.
const MAX_NAMELESS: usize = 32;
const MAX_PER_ADDRESS: usize = 16;
/// Latency lives in the kernel's buffer too.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 16 * 1024;

pub struct TcpIce {
    listener: Option<TcpListener>,
    connections: Vec<Connection>,
    max: usize,
    paused_until: Micros,
    complaints: RepeatFilter,
    /// Connections closed because there were too many.
    pub turned_away: u64,
}

struct Connection {
    stream: TcpStream,
    ends: Ends,
    reader: FrameReader,
    writer: FrameWriter,
    viewer: Option<ViewerId>,
    /// We answered a check on it with success.
    verified: bool,
    opened_at: Micros,
    /// Since when nothing of what waits could be sent.
    stuck_since: Option<Micros>,
    over: bool,
}

/// A datagram that came by TCP.
pub struct Frame {
    pub viewer: ViewerId,
    pub seat: Seat,
    pub ends: Ends,
    pub bytes: Vec<u8>,
}

/// Binds `address`; the unspecified IPv4 address also takes IPv6 where the machine has it.
pub fn listen(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let listener = match address.is_unspecified() {
        true => TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?,
        false => TcpListener::bind((address, port))?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl TcpIce {
    pub fn new(listener: Option<TcpListener>, max_viewers: u32) -> TcpIce {
        // one that lives and one that replaces it, each
        let max = 2 * max_viewers as usize + MAX_NAMELESS;
        let complaints = RepeatFilter::new(Duration::from_secs(30), 4);
        TcpIce { listener, connections: Vec::new(), max, paused_until: Micros(0), complaints, turned_away: 0 }
    }

    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The listener and then every connection, in order. False: the listener is not among them.
    pub fn add_fds<'a>(&'a self, now: Micros, fds: &mut Vec<PollFd<'a>>) -> bool {
        let listener = self.listener.as_ref().filter(|_| now >= self.paused_until);
        fds.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        for connection in &self.connections {
            let waiting = if connection.writer.is_backed_up() { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::new(&connection.stream, PollFlags::IN | waiting));
        }
        listener.is_some()
    }

    pub fn next_due(&self, now: Micros) -> Option<Micros> {
        let due = |c: &Connection| match (c.viewer, c.stuck_since) {
            (None, _) => Some(c.opened_at + NAMED_WITHIN),
            (_, Some(since)) => Some(since + STALL_WITHIN),
            _ => None,
        };
        let listens_again = Some(self.paused_until).filter(|at| *at > now);
        self.connections.iter().filter_map(due).chain(listens_again).min()
    }

    /// Takes newcomers in.
    pub fn accept(&mut self, now: Micros) {
        // a few a turn: pictures have their turn too
        for _ in 0..8 {
            let Some(listener) = self.listener.as_ref().filter(|_| now >= self.paused_until) else { return };
            match listener.accept() {
                Ok((stream, peer)) => match Connection::new(stream, peer, now) {
                    Ok(connection) => {
                        self.connections.push(connection);
                        self.enforce_bounds();
                    }
                    Err(error) => tracing::debug!(%error, "webrtc: a TCP connection was gone at once"),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.paused_until = now + ACCEPT_PAUSE;
                    self.complain(now, &error);
                    break;
                }
            }
        }
    }

    fn complain(&mut self, now: Micros, error: &io::Error) {
        let what = format!("webrtc: accept on the TCP port: {error}; trying again every second");
        match self.complaints.observe(now, &what) {
            Say::Now => tracing::warn!("{what}"),
            Say::Count(more) => tracing::warn!("{what} ({more} more times in the last 30 s)"),
            Say::Nothing => {}
        }
    }

    /// Over the bounds the oldest nameless connection goes; where all have names, the newest does.
    fn enforce_bounds(&mut self) {
        while let Some(at) = self.one_too_many() {
            self.connections.remove(at);
            self.turned_away += 1;
        }
    }

    fn one_too_many(&self) -> Option<usize> {
        let nameless = |ip: Option<IpAddr>| {
            let same = move |c: &Connection| c.viewer.is_none() && ip.is_none_or(|ip| c.ends.peer.ip() == ip);
            self.connections.iter().enumerate().filter(move |(_, c)| same(c)).map(|(at, _)| at)
        };
        if nameless(None).count() > MAX_NAMELESS {
            return nameless(None).next();
        }
        if self.connections.len() > self.max {
            return nameless(None).next().or(Some(self.connections.len() - 1));
        }
        let newest = self.connections.last()?.ends.peer.ip();
        let of_address = self.connections.iter().filter(|c| c.ends.peer.ip() == newest).count();
        (of_address > MAX_PER_ADDRESS).then(|| nameless(Some(newest)).next().unwrap_or(self.connections.len() - 1))
    }

    /// Reads what the connections marked in `ready` have: whole datagrams, with whom they are for.
    pub fn receive(&mut self, ready: &[bool], routes: &Routes) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut buffer = [0; READ_BYTES];
        for (connection, _) in self.connections.iter_mut().zip(ready).filter(|(_, ready)| **ready) {
            connection.read(&mut buffer, routes, &mut frames);
        }
        frames
    }

    /// Takes what goes by TCP out of the queue.
    pub fn send(&mut self, now: Micros, queue: &mut Vec<Outgoing>) {
        if !queue.iter().any(|datagram| datagram.tcp) {
            return;
        }
        queue.retain(|datagram| {
            if datagram.tcp {
                self.push(datagram);
            }
            !datagram.tcp
        });
        self.flush(now);
    }

    fn push(&mut self, datagram: &Outgoing) {
        let its = |c: &&mut Connection| c.ends.peer == datagram.peer && c.ends.local.ip() == datagram.local;
        // none: it has gone meanwhile
        if let Some(connection) = self.connections.iter_mut().find(its) {
            connection.verified |= demux::is_check_success(&datagram.bytes);
            connection.writer.push(&datagram.bytes);
        }
    }

    pub fn flush(&mut self, now: Micros) {
        for connection in &mut self.connections {
            connection.flush(now);
        }
    }

    /// Whether pictures for that viewer would only wait here.
    pub fn is_backed_up(&self, viewer: ViewerId) -> bool {
        let its = |c: &&Connection| c.viewer == Some(viewer) && c.verified;
        self.connections.iter().filter(its).any(|c| c.writer.is_backed_up())
    }

    /// Closes what is over: broken, nameless for too long, stuck, or its viewer gone.
    pub fn tidy(&mut self, now: Micros, routes: &Routes) {
        self.connections.retain(|c| {
            let nameless = c.viewer.is_none() && now.since(c.opened_at) >= NAMED_WITHIN;
            let stuck = c.stuck_since.is_some_and(|since| now.since(since) >= STALL_WITHIN);
            let orphan = c.viewer.is_some_and(|viewer| routes.seat_of(viewer).is_none());
            !(c.over || nameless || stuck || orphan)
        });
    }
}

impl Connection {
    fn new(stream: TcpStream, peer: SocketAddr, now: Micros) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // only latency suffers when it stays as it is
        let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let ends = Ends { local: canonical(stream.local_addr()?), peer: canonical(peer), tcp: true };
        Ok(Connection {
            stream,
            ends,
            reader: FrameReader::default(),
            writer: FrameWriter::default(),
            viewer: None,
            verified: false,
            opened_at: now,
            stuck_since: None,
            over: false,
        })
    }

    fn read(&mut self, buffer: &mut [u8], routes: &Routes, frames: &mut Vec<Frame>) {
        let len = match self.stream.read(buffer) {
            Ok(0) => return self.over = true,
            Ok(len) => len,
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => return,
            Err(_) => return self.over = true,
        };
        let Connection { reader, viewer, verified, ends, over, .. } = self;
        let each = |frame: &[u8]| {
            if viewer.is_none() {
                *viewer = routes.find_by_name(frame);
            }
            let Some((viewer, seat)) = viewer.and_then(|viewer| Some((viewer, routes.seat_of(viewer)?))) else {
                return *over = true;
            };
            if *verified || demux::kind(frame) == DatagramKind::Stun {
                frames.push(Frame { viewer, seat, ends: *ends, bytes: frame.to_vec() });
            }
        };
        if reader.take(&buffer[..len], each).is_err() {
            self.over = true;
        }
    }

    fn flush(&mut self, now: Micros) {
        while self.writer.is_backed_up() {
            match self.stream.write(self.writer.unsent()) {
                Ok(0) => return self.over = true,
                Ok(sent) => {
                    self.writer.sent(sent);
                    self.stuck_since = None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stuck_since = self.stuck_since.or(Some(now));
                    return;
                }
                Err(_) => return self.over = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_pause_the_port_is_listened_to_in_time() {
        let listener = listen(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).expect("a free port");
        let mut tcp = TcpIce::new(Some(listener), 1);
        assert_eq!(tcp.next_due(Micros(1)), None);
        tcp.paused_until = Micros(1_000_000);
        let mut fds = Vec::new();
        assert!(!tcp.add_fds(Micros(1), &mut fds), "it rests");
        assert_eq!(tcp.next_due(Micros(1)), Some(Micros(1_000_000)));
        assert!(tcp.add_fds(Micros(1_000_000), &mut fds));
        assert_eq!(tcp.next_due(Micros(1_000_000)), None);
    }
}
