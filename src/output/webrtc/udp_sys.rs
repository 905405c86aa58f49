//! The one UDP socket of the WebRTC output: how it is opened, and batched receive with the destination address.
//!
//! Owns the socket and the buffers of the receiving system call. Must never block and never decide anything. Sending is
//! in `udp_send_sys.rs`. Input: datagrams of anybody; IPv4 peers appear as IPv4 addresses also on a dual-stack socket.

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
    pub(super) socket: Arc<UdpSocket>,
    port: u16,
    /// An IPv6 socket, which takes IPv4 as mapped addresses.
    pub(super) ipv6: bool,
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

/// Messages of one system call.
pub(super) const BATCH: usize = 32;
/// No WebRTC peer sends more than an Ethernet frame holds; longer datagrams are cut and then fail authentication.
const DATAGRAM_BYTES: usize = 2048;
pub(super) const CONTROL_BYTES: usize = 64;

/// Room for the control messages of one datagram, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Control(pub(super) [u8; CONTROL_BYTES]);

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
