//! Batched sending on the one UDP socket, with segmentation by the kernel (UDP_SEGMENT, Linux 4.18, udp(7)).
//!
//! Owns the buffers of the sending system call. Must never block and never decide anything: a full socket is the
//! caller's business. Input: datagrams of viewers, in the order they are to leave.

use crate::output::webrtc::udp_sys::{BATCH, CONTROL_BYTES, Control, MediaSocket, Outgoing};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

/// Kernel limits: 64 segments (UDP_MAX_SEGMENTS), 64 KiB a datagram.
const SEGMENTS: usize = 60;
const SEGMENTED_BYTES: usize = 60_000;

#[derive(Clone, Copy, Debug, Default)]
pub struct SendCounters {
    pub datagrams: u64,
    pub messages: u64,
    pub system_calls: u64,
    /// Datagrams the kernel refused for good (unreachable network, address gone).
    pub refused: u64,
}

/// Sends batches. Each thread has its own.
pub struct Sender {
    socket: MediaSocket,
    segmentation: bool,
    runs: Vec<Run>,
    slices: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    pub counters: SendCounters,
}

// SAFETY: the raw pointers in `slices` and `headers` are written and used within one call of `send` only.
unsafe impl Send for Sender {}

/// Consecutive datagrams that go out as one message.
struct Run {
    datagrams: usize,
    first_slice: usize,
    address: libc::sockaddr_storage,
    address_len: u32,
    control: Control,
    control_len: usize,
}

impl Sender {
    pub fn new(socket: MediaSocket) -> Sender {
        Sender {
            socket,
            segmentation: true,
            runs: Vec::new(),
            slices: Vec::new(),
            headers: Vec::new(),
            counters: SendCounters::default(),
        }
    }

    /// Sends from the front of `queue` and removes what was sent or refused for good. What stays did not fit into the
    /// socket's buffer: wait until it is writable.
    pub fn send(&mut self, queue: &mut Vec<Outgoing>) {
        let mut done = 0;
        // a run of so many was refused: its first datagram goes alone and shows whether segmentation was why
        let mut doubted: Option<usize> = None;
        while done < queue.len() {
            match self.send_some(&queue[done..], doubted.is_some()) {
                Ok(0) => break,
                Ok(sent) => {
                    self.segmentation &= doubted.take().is_none();
                    done += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match (doubted.take(), self.runs.first().map_or(1, |run| run.datagrams)) {
                    (None, run) if run > 1 && may_be_segmentation(&error) => doubted = Some(run),
                    (whole, run) => {
                        // where its first may not go the rest of a run may not either
                        let refused = whole.unwrap_or(run);
                        self.counters.refused += refused as u64;
                        done += refused;
                    }
                },
            }
        }
        queue.drain(..done);
    }

    /// One sendmmsg; returns how many datagrams of `queue` went out. `alone`: only the first, as it is.
    fn send_some(&mut self, queue: &[Outgoing], alone: bool) -> io::Result<usize> {
        self.prepare(if alone { &queue[..1] } else { queue });
        let fd = self.socket.socket.as_raw_fd();
        // SAFETY: every header points to a Run, slices and payloads that live until the call returns.
        let sent = unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), self.headers.len() as u32, 0) };
        self.counters.system_calls += 1;
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let datagrams = self.runs[..sent as usize].iter().map(|run| run.datagrams).sum::<usize>();
        self.counters.messages += sent as u64;
        self.counters.datagrams += datagrams as u64;
        Ok(datagrams)
    }

    fn prepare(&mut self, queue: &[Outgoing]) {
        self.runs.clear();
        self.slices.clear();
        self.headers.clear();
        let mut rest = queue;
        while !rest.is_empty() && self.runs.len() < BATCH {
            let count = if self.segmentation { run_length(rest) } else { 1 };
            let first_slice = self.slices.len();
            for datagram in &rest[..count] {
                let base = datagram.bytes.as_ptr().cast_mut().cast();
                self.slices.push(libc::iovec { iov_base: base, iov_len: datagram.bytes.len() });
            }
            let run = Run::new(&rest[0], count, first_slice, self.socket.ipv6);
            self.runs.push(run);
            rest = &rest[count..];
        }
        for run in &mut self.runs {
            // SAFETY: an all-zero mmsghdr is valid; the fields that matter are set below.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = (&raw mut run.address).cast();
            header.msg_hdr.msg_namelen = run.address_len;
            header.msg_hdr.msg_iov = &raw mut self.slices[run.first_slice];
            header.msg_hdr.msg_iovlen = run.datagrams as _;
            header.msg_hdr.msg_control = run.control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = run.control_len as _;
            self.headers.push(header);
        }
    }
}

/// This path or kernel cannot segment (no checksum offload, a small MTU, Linux before 4.18), or the address is no good.
fn may_be_segmentation(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

/// How many datagrams from the front may go out as one: same ends, same length, the last may be shorter.
fn run_length(queue: &[Outgoing]) -> usize {
    let (first, len) = (&queue[0], queue[0].bytes.len());
    let mut total = len;
    for (at, next) in queue.iter().enumerate().skip(1) {
        total += next.bytes.len();
        let fits = at < SEGMENTS && total <= SEGMENTED_BYTES;
        if !fits || next.peer != first.peer || next.local != first.local || next.bytes.len() > len {
            return at;
        }
        if next.bytes.len() < len {
            return at + 1;
        }
    }
    queue.len()
}

impl Run {
    fn new(first: &Outgoing, datagrams: usize, first_slice: usize, ipv6: bool) -> Run {
        let (address, address_len) = write_address(first.peer, ipv6);
        let mut run =
            Run { datagrams, first_slice, address, address_len, control: Control([0; CONTROL_BYTES]), control_len: 0 };
        if !first.local.is_unspecified() {
            run.leave_from(first.local, ipv6);
        }
        if datagrams > 1 {
            run.push_control(libc::SOL_UDP, libc::UDP_SEGMENT, &(first.bytes.len() as u16).to_ne_bytes());
        }
        run
    }

    fn leave_from(&mut self, local: IpAddr, ipv6: bool) {
        match (local, ipv6) {
            (IpAddr::V4(v4), false) => {
                // struct in_pktinfo: interface index, source address, (header destination, unused)
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&v4.octets());
                self.push_control(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            (local, _) => {
                // struct in6_pktinfo: source address, interface index
                let v6 = match local {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                    IpAddr::V6(v6) => v6,
                };
                let mut info = [0; 20];
                info[..16].copy_from_slice(&v6.octets());
                self.push_control(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    /// Appends a control message (cmsg(3)); all of ours together fit CONTROL_BYTES on 32 and 64 bits.
    fn push_control(&mut self, level: i32, kind: i32, data: &[u8]) {
        let head = size_of::<libc::cmsghdr>();
        let len = head + data.len();
        let mut header = [0u8; 16];
        let word = size_of::<usize>();
        header[..word].copy_from_slice(&len.to_ne_bytes());
        header[word..word + 4].copy_from_slice(&level.to_ne_bytes());
        header[word + 4..word + 8].copy_from_slice(&kind.to_ne_bytes());
        let room = &mut self.control.0[self.control_len..];
        room[..head].copy_from_slice(&header[..head]);
        room[head..len].copy_from_slice(data);
        self.control_len += len.next_multiple_of(word);
    }
}

fn write_address(peer: SocketAddr, ipv6: bool) -> (libc::sockaddr_storage, u32) {
    // SAFETY: all-zero is a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let (ip, scope) = match peer {
        SocketAddr::V4(v4) if !ipv6 => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is larger than and aligned for sockaddr_in.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(address) };
            return (storage, size_of::<libc::sockaddr_in>() as u32);
        }
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
        SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
    };
    let address = libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as _,
        sin6_port: peer.port().to_be(),
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
        sin6_scope_id: scope,
    };
    // SAFETY: sockaddr_storage is larger than and aligned for sockaddr_in6.
    unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(address) };
    (storage, size_of::<libc::sockaddr_in6>() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::webrtc::udp_sys::Receiver;
    use bytes::BytesMut;
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
    use std::os::fd::AsFd;

    fn datagram(peer: SocketAddr, local: IpAddr, fill: u8, len: usize) -> Outgoing {
        Outgoing { local, peer, tcp: false, bytes: BytesMut::from(vec![fill; len].as_slice()) }
    }

    fn wait_readable(socket: &impl AsFd) {
        let mut fds = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN)];
        let limit = rustix::time::Timespec { tv_sec: 5, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&limit)).expect("poll works");
    }

    fn receive_all(socket: &MediaSocket, count: usize) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let mut receiver = Receiver::new(socket.clone());
        let mut got = Vec::new();
        for _ in 0..50 {
            if got.len() == count {
                break;
            }
            wait_readable(socket);
            receiver.receive(|d| got.push((d.local, d.peer, d.bytes.to_vec())));
        }
        got
    }

    fn loops(bind: IpAddr, via: IpAddr) {
        let a = MediaSocket::bind(bind, 0).expect("bind");
        let b = MediaSocket::bind(bind, 0).expect("bind");
        let to = SocketAddr::new(via, b.port());
        let mut queue: Vec<Outgoing> = (0..20u8).map(|i| datagram(to, via, i, 1000)).collect();
        queue.push(datagram(to, via, 99, 300));
        queue.push(datagram(to, via, 100, 1200));
        let mut sender = Sender::new(a.clone());
        sender.send(&mut queue);
        assert!(queue.is_empty());
        let got = receive_all(&b, 22);
        let sizes: Vec<(u8, usize)> = got.iter().map(|g| (g.2[0], g.2.len())).collect();
        let wanted: Vec<(u8, usize)> = (0..20).map(|i| (i, 1000)).chain([(99, 300), (100, 1200)]).collect();
        assert_eq!(sizes, wanted, "all, in order, boundaries kept");
        assert!(got.iter().all(|g| g.0 == to && g.1 == SocketAddr::new(via, a.port())), "both ends are known");
        assert_eq!(sender.counters.datagrams, 22);
        if sender.segmentation {
            assert_eq!(sender.counters.messages, 2, "21 datagrams of one length class are one message");
        }
    }

    #[test]
    fn datagrams_keep_order_borders_and_both_addresses() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        loops(v4, v4);
        loops(IpAddr::V4(Ipv4Addr::UNSPECIFIED), v4);
    }

    #[test]
    fn a_socket_on_all_addresses_speaks_ipv6_too() {
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            return; // a machine without IPv6 has nothing to show here
        }
        loops(IpAddr::V4(Ipv4Addr::UNSPECIFIED), v6);
        loops(v6, v6);
    }

    #[test]
    fn a_refused_datagram_is_counted_and_the_rest_goes_out() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let a = MediaSocket::bind(v4, 0).expect("bind");
        let b = MediaSocket::bind(v4, 0).expect("bind");
        // port 0 cannot be sent to (EINVAL)
        let mut queue =
            vec![datagram(SocketAddr::new(v4, 0), v4, 1, 10), datagram(SocketAddr::new(v4, b.port()), v4, 2, 10)];
        let mut sender = Sender::new(a);
        sender.send(&mut queue);
        assert!(queue.is_empty());
        assert_eq!(sender.counters.refused, 1);
        assert_eq!(receive_all(&b, 1)[0].2, [2; 10]);
    }

    #[test]
    fn an_address_that_cannot_be_sent_to_costs_nobody_else_the_segmentation() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let a = MediaSocket::bind(v4, 0).expect("bind");
        let mut sender = Sender::new(a);
        let mut queue: Vec<Outgoing> = (0..3).map(|fill| datagram(SocketAddr::new(v4, 0), v4, fill, 10)).collect();
        sender.send(&mut queue);
        assert!(queue.is_empty());
        assert_eq!((sender.counters.refused, sender.counters.datagrams), (3, 0));
        assert!(sender.segmentation, "the address was at fault");
    }

    #[test]
    fn runs_end_where_destination_or_length_change() {
        let (x, y) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        let l = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let run = |spec: &[(SocketAddr, usize)]| {
            run_length(&spec.iter().map(|&(peer, len)| datagram(peer, l, 0, len)).collect::<Vec<_>>())
        };
        assert_eq!(run(&[(x, 9), (x, 9), (y, 9)]), 2);
        assert_eq!(run(&[(x, 9), (x, 8), (x, 8)]), 2, "a shorter one ends the run");
        assert_eq!(run(&[(x, 9), (x, 10)]), 1);
        assert_eq!(run(&[(x, 1000); 100]), SEGMENTS);
    }
}
