//! The TCP door: accepts, counts, refuses with a reason, and serves HTTP/1.1 with deadlines, over TLS or not.
//!
//! Owns the caps on connections (in total, per address) and their deadlines. Must never wait for one peer on behalf of
//! another: refusals are written by tasks of their own, at most `REFUSALS` at a time. Input: sockets from anybody.

use super::stall::Guarded;
use super::tls::Tls;
use super::{Ends, Shared};
use crate::clock;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tower_service::Service;
use tracing::{debug, warn};

/// Refusals being written at one time; beyond that a connection is just closed.
const REFUSALS: usize = 32;

/// Runs until `Shared::stop`. The connections go on in `tasks`.
pub async fn accept(listener: TcpListener, router: Router, shared: Arc<Shared>, tasks: &mut JoinSet<()>) {
    let mut failures = 0u64;
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                failures = 0;
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                admit(stream, peer, &router, &shared, tasks);
            }
            Err(e) => {
                failures += 1;
                if failures.is_power_of_two() {
                    warn!("http: accept a connection: {e} ({failures} times in a row); trying again in 0.1 s");
                }
                // out of file descriptors, most likely: spinning would make it worse
                clock::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, router: &Router, shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
    match Seats::take(&shared.seats, peer.ip()) {
        Ok(seat) => {
            let Ok(local) = stream.local_addr() else { return };
            let ends = Ends { peer, local: SocketAddr::new(local.ip().to_canonical(), local.port()) };
            tasks.spawn(serve(stream, ends, seat, router.clone(), shared.clone()));
        }
        Err(reason) => {
            // to somebody who expects TLS the words would be noise: the connection is just closed
            if let Some(turn) = Seats::refuse(&shared.seats).filter(|_| shared.tls.is_none()) {
                tasks.spawn(refuse(stream, reason, turn));
            }
        }
    }
}

async fn serve(stream: TcpStream, ends: Ends, seat: Seat, router: Router, shared: Arc<Shared>) {
    // an answer must not wait for the ACK of the one before
    if let Err(e) = stream.set_nodelay(true) {
        debug!("http: TCP_NODELAY: {e}");
    }
    match shared.tls.clone() {
        None => {
            let stream = Guarded::new(stream, shared.limits.stall_within, seat);
            talk(stream, ends, router, shared).await;
        }
        Some(tls) => {
            let mut stop = shared.stop.subscribe();
            let secured = tokio::select! {
                secured = clock::within(shared.limits.header_within, secure(stream, seat, &tls, &shared)) => secured,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match secured {
                Some(Some(stream)) => talk(stream, ends, router, shared).await,
                Some(None) => {}
                None => debug!("http: a TLS handshake took too long"),
            }
        }
    }
}

/// The TLS handshake; None when there is nobody to talk to.
async fn secure(stream: TcpStream, seat: Seat, tls: &Tls, shared: &Shared) -> Option<TlsStream<Guarded>> {
    const HANDSHAKE: u8 = 0x16;
    let mut first = [0u8; 1];
    match stream.peek(&mut first).await {
        Ok(0) | Err(_) => return None,
        Ok(_) if first[0] == HANDSHAKE => {}
        Ok(_) => {
            let text = "this is https: write https:// in front of the address\n";
            answer_and_close(stream, "400 Bad Request", "", text).await;
            return None;
        }
    }
    let accepted = tls.acceptor().accept(Guarded::new(stream, shared.limits.stall_within, seat)).await;
    accepted.inspect_err(|e| debug!("http: a TLS handshake failed: {e}")).ok()
}

async fn talk<S>(stream: S, ends: Ends, router: Router, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.limits;
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        router.clone().call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_within)
        .max_headers(64)
        .max_buf_size(limits.header_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut stop = shared.stop.subscribe();
    let stopped = async { stop.wait_for(|stop| *stop).await.is_ok() };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        debug!("http: a connection ended: {e}");
    }
}

/// Says why, then leaves the peer a moment to read it (closing over unread input would reset the connection).
async fn refuse(stream: TcpStream, reason: &'static str, _turn: Turn) {
    answer_and_close(stream, "503 Service Unavailable", "Retry-After: 5\r\n", reason).await;
}

async fn answer_and_close(mut stream: TcpStream, status: &str, headers: &str, body: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{headers}\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let talk = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        let mut unread = [0u8; 512];
        for _ in 0..16 {
            if stream.read(&mut unread).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    if let Some(Err(e)) = clock::within(Duration::from_secs(1), talk).await {
        debug!("http: answer and close a connection: {e}");
    }
}

/// Who sits where. Shared by the accept loop and every connection.
pub struct Seats {
    total: usize,
    per_address: usize,
    taken: Mutex<Taken>,
    refusing: AtomicUsize,
    refused: AtomicU64,
}

#[derive(Default)]
struct Taken {
    total: usize,
    /// No more entries than connections.
    by_address: HashMap<IpAddr, usize>,
}

impl Seats {
    pub fn new(total: usize, per_address: usize) -> Arc<Seats> {
        let (refusing, refused) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Seats { total, per_address, taken: Mutex::default(), refusing, refused })
    }

    pub fn take(seats: &Arc<Seats>, peer: IpAddr) -> Result<Seat, &'static str> {
        let network = network(peer);
        let mut taken = seats.taken();
        if taken.total >= seats.total {
            return Err("the server has all the connections it can serve; try again later\n");
        }
        let here = taken.by_address.get(&network).copied().unwrap_or(0);
        // everything behind a proxy or a tunnel on this machine comes from loopback
        if here >= seats.per_address && !peer.is_loopback() {
            return Err("too many connections from your address; try again later\n");
        }
        taken.total += 1;
        taken.by_address.insert(network, here + 1);
        Ok(Seat { seats: seats.clone(), network })
    }

    fn refuse(seats: &Arc<Seats>) -> Option<Turn> {
        seats.refused.fetch_add(1, Ordering::Relaxed);
        let turn = Turn(seats.clone());
        (seats.refusing.fetch_add(1, Ordering::AcqRel) < REFUSALS).then_some(turn)
    }

    pub fn open(&self) -> usize {
        self.taken().total
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        // whoever panicked while counting left whole numbers behind
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, given back on drop.
pub struct Seat {
    seats: Arc<Seats>,
    network: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.total -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.network) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.network);
            }
        }
    }
}

/// One of the refusals being written.
struct Turn(Arc<Seats>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.refusing.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 subscriber owns.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip => ip,
    }
}

/// An address as logs may have it: enough to tell networks apart, not people.
pub fn redacted(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.x")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:x")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_gets_its_share_and_others_still_get_in() {
        let seats = Seats::new(20, 16);
        let held: Vec<_> = (0..16).map(|_| Seats::take(&seats, ip("10.0.0.1")).ok().unwrap()).collect();
        assert!(Seats::take(&seats, ip("10.0.0.1")).is_err_and(|e| e.contains("your address")));
        assert!(Seats::take(&seats, ip("::ffff:10.0.0.1")).is_err());
        let other = Seats::take(&seats, ip("10.0.0.2")).ok().unwrap();
        drop((held, other));
        assert_eq!(seats.open(), 0);
        assert!(seats.taken().by_address.is_empty());
    }

    #[test]
    fn loopback_may_use_every_seat_but_not_one_more() {
        let seats = Seats::new(20, 16);
        let held: Vec<_> = (0..20).map(|_| Seats::take(&seats, ip("127.0.0.1")).ok().unwrap()).collect();
        assert!(Seats::take(&seats, ip("127.0.0.1")).is_err_and(|e| e.contains("all the connections")));
        drop(held);
        assert!(Seats::take(&seats, ip("127.0.0.1")).is_ok());
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one_address() {
        let seats = Seats::new(20, 2);
        let _held = ["2001:db8::1", "2001:db8::2"].map(|a| Seats::take(&seats, ip(a)).ok().unwrap());
        assert!(Seats::take(&seats, ip("2001:db8::3")).is_err());
        assert!(Seats::take(&seats, ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn addresses_in_logs_lack_their_last_part() {
        for (address, shown) in [
            ("192.168.1.77", "192.168.1.x"),
            ("::ffff:10.0.0.1", "10.0.0.x"),
            ("2001:db8:1:2:aaaa::1", "2001:db8:1:x"),
            ("::1", "0:0:0:x"),
        ] {
            assert_eq!(redacted(ip(address)), shown);
        }
    }

    #[test]
    fn no_more_than_so_many_refusals_are_written_at_a_time() {
        let seats = Seats::new(0, 0);
        let turns: Vec<_> = (0..REFUSALS).map(|_| Seats::refuse(&seats).unwrap()).collect();
        assert!(Seats::refuse(&seats).is_none());
        drop(turns);
        assert!(Seats::refuse(&seats).is_some());
        assert_eq!(seats.refused(), REFUSALS as u64 + 2);
    }
}
