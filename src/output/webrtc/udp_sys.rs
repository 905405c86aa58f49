//! The one UDP socket of the WebRTC output: batched receive with the destination address, batched send with
//! segmentation by the kernel (UDP_SEGMENT, Linux 4.18, udp(7)).
//!
//! Owns the socket and the system call buffers. Must never block and never decide anything: a full socket is the
//! caller's business. IPv4 peers appear as IPv4 addresses also on a dual-stack socket.

use bytes::BytesMut;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

/// One datagram to send. `local` is the address it must leave from (ICE answers from where it was asked).
pub struct Outgoing {
    pub local: IpAddr,
    pub peer: SocketAddr,
    /// Goes as a frame over the TCP connection of these two ends instead; never reaches the socket.
    pub tcp: bool,
    pub bytes: BytesMut,
}

/// A datagram received into the receiver's own buffer.
pub struct Incoming<'a> {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub bytes: &'a [u8],
}

/// Cheap to clone; all clones are the same socket.
#[derive(Clone)]
pub struct MediaSocket {
    socket: Arc<UdpSocket>,
    port: u16,
    /// An IPv6 socket, which takes IPv4 as mapped addresses.
    ipv6: bool,
}

const SEND_BUFFER_BYTES: i32 = 2 << 20;
const RECEIVE_BUFFER_BYTES: i32 = 512 << 10;

impl MediaSocket {
    /// Binds `address`; the unspecified IPv4 address also takes IPv6 where the machine has it.
    pub fn bind(address: IpAddr, port: u16) -> io::Result<MediaSocket> {
        let wants_all = address.is_unspecified();
        if wants_all && let Ok(socket) = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)) {
            return MediaSocket::prepare(socket, true);
        }
        let address = if wants_all { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { address };
        MediaSocket::prepare(UdpSocket::bind((address, port))?, matches!(address, IpAddr::V6(_)))
    }

    fn prepare(socket: UdpSocket, ipv6: bool) -> io::Result<MediaSocket> {
        socket.set_nonblocking(true)?;
        let fd = socket.as_raw_fd();
        if ipv6 {
            set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        } else {
            set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        // The kernel caps these (wmem_max, rmem_max); smaller buffers work, bursts are then split by our own queue.
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER_BYTES);
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES);
        let port = socket.local_addr()?.port();
        Ok(MediaSocket { socket: Arc::new(socket), port, ipv6 })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr().map(canonical)
    }
}

impl AsFd for MediaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn set_option(fd: i32, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: `value` lives through the call and its size is given.
    let r = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<i32>() as u32) };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// ::ffff:a.b.c.d is the IPv4 address a.b.c.d seen through a dual-stack socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const BATCH: usize = 32;
/// No WebRTC peer sends more than an Ethernet frame holds; longer datagrams are cut and then fail authentication.
const DATAGRAM_BYTES: usize = 2048;
const CONTROL_BYTES: usize = 64;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// Receives up to 32 datagrams per system call.
pub struct Receiver {
    socket: MediaSocket,
    buffers: Box<[[u8; DATAGRAM_BYTES]; BATCH]>,
    addresses: Box<[libc::sockaddr_storage; BATCH]>,
    controls: Box<[Control; BATCH]>,
}

impl Receiver {
    pub fn new(socket: MediaSocket) -> Receiver {
        Receiver {
            socket,
            buffers: Box::new([[0; DATAGRAM_BYTES]; BATCH]),
            // SAFETY: all-zero is a valid sockaddr_storage (family AF_UNSPEC).
            addresses: Box::new([unsafe { zeroed() }; BATCH]),
            controls: Box::new([Control([0; CONTROL_BYTES]); BATCH]),
        }
    }

    /// Hands every waiting datagram of one batch to `take`. Returns whether more may be waiting.
    pub fn receive(&mut self, mut take: impl FnMut(Incoming)) -> bool {
        // SAFETY: all-zero iovec and mmsghdr are valid (null pointers, zero lengths); filled below.
        let mut slices: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for at in 0..BATCH {
            slices[at].iov_base = self.buffers[at].as_mut_ptr().cast();
            slices[at].iov_len = DATAGRAM_BYTES;
            let header = &mut headers[at].msg_hdr;
            header.msg_name = (&raw mut self.addresses[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_iov = &raw mut slices[at];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[at].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
        }
        let fd = self.socket.socket.as_raw_fd();
        // SAFETY: every header points into buffers of self (or the stack) that outlive the call, with their true sizes.
        let count = unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), BATCH as u32, 0, std::ptr::null_mut()) };
        let count = usize::try_from(count).unwrap_or(0);
        for (at, header) in headers.iter().enumerate().take(count) {
            let Some(peer) = read_address(&self.addresses[at]) else { continue };
            let Some(local) = destination(&header.msg_hdr) else { continue };
            let bytes = &self.buffers[at][..(header.msg_len as usize).min(DATAGRAM_BYTES)];
            take(Incoming { local: SocketAddr::new(local, self.socket.port), peer: canonical(peer), bytes });
        }
        count == BATCH
    }
}

fn read_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel wrote a sockaddr_in; sockaddr_storage is large and aligned enough for it.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the kernel wrote a sockaddr_in6; as above.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

/// The address a datagram was sent to, from its IP_PKTINFO / IPV6_PKTINFO control message (ip(7), ipv6(7)).
fn destination(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel filled msg_control; the CMSG functions stay within msg_controllen.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, so it points to a whole cmsghdr inside the control buffer.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        if (level, kind) == (libc::IPPROTO_IP, libc::IP_PKTINFO) {
            // SAFETY: this level and type carry an in_pktinfo; read unaligned to be safe on any target.
            let info: libc::in_pktinfo =
                unsafe { libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().read_unaligned() };
            return Some(IpAddr::V4(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes())));
        }
        if (level, kind) == (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) {
            // SAFETY: this level and type carry an in6_pktinfo.
            let info: libc::in6_pktinfo =
                unsafe { libc::CMSG_DATA(message).cast::<libc::in6_pktinfo>().read_unaligned() };
            return Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)).to_canonical());
        }
        // SAFETY: `message` came from CMSG_FIRSTHDR/NXTHDR of the same header.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

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
        while done < queue.len() {
            match self.send_some(&queue[done..]) {
                Ok(0) => break,
                Ok(sent) => done += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if self.segmentation && self.runs.first().is_some_and(|run| run.datagrams > 1) => {
                    // EIO or EINVAL: this path or kernel cannot segment (no checksum offload, Linux before 4.18)
                    self.segmentation = false;
                }
                Err(_) => {
                    let refused = self.runs.first().map_or(1, |run| run.datagrams);
                    self.counters.refused += refused as u64;
                    done += refused;
                }
            }
        }
        queue.drain(..done);
    }

    /// One sendmmsg; returns how many datagrams of `queue` went out.
    fn send_some(&mut self, queue: &[Outgoing]) -> io::Result<usize> {
        self.prepare(queue);
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

    fn datagram(peer: SocketAddr, local: IpAddr, fill: u8, len: usize) -> Outgoing {
        Outgoing { local, peer, tcp: false, bytes: BytesMut::from(vec![fill; len].as_slice()) }
    }

    fn wait_readable(socket: &impl AsFd) {
        let mut fds = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN)];
        let limit = rustix::time::Timespec { tv_sec: 5, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&limit)).expect("poll works");
    }

    fn receive_all(receiver: &mut Receiver, count: usize) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let mut got = Vec::new();
        for _ in 0..50 {
            if got.len() == count {
                break;
            }
            wait_readable(&receiver.socket.clone());
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
        let got = receive_all(&mut Receiver::new(b.clone()), 22);
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
        assert_eq!(receive_all(&mut Receiver::new(b), 1)[0].2, [2; 10]);
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
