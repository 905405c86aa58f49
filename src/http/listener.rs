//! The TCP door: accepts, counts, refuses with a reason, and serves HTTP/1.1 with deadlines, over TLS or not.
//!
//! Owns the deadlines of connections; how many there may be is in `connections.rs`. Must never wait for one peer on behalf
//! of another: a refusal is one write that does not block. Input: sockets from anybody.

use super::connections::{Seat, Seats, Use};
use super::farewells::Farewells;
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
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tower_service::Service;
use tracing::{debug, warn};

/// How often those who were refused are looked at.
const FAREWELLS_EVERY: Duration = Duration::from_millis(250);

/// Runs until `Shared::stop`. The connections go on in `tasks`.
pub async fn accept(listener: TcpListener, router: Router, shared: Arc<Shared>, tasks: &mut JoinSet<()>) {
    let mut failures = 0u64;
    let mut farewells = Farewells::new(shared.clock.clone());
    loop {
        while tasks.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = clock::sleep(FAREWELLS_EVERY), if !farewells.is_empty() => {
                farewells.tick();
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                failures = 0;
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                match Seats::take(&shared.seats, peer.ip()) {
                    Ok(seat) => admit(stream, peer, seat, &router, &shared, tasks),
                    Err(words) => refuse(stream, words, &shared, &mut farewells),
                }
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

fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    seat: Seat,
    router: &Router,
    shared: &Arc<Shared>,
    tasks: &mut JoinSet<()>,
) {
    let Ok(local) = stream.local_addr() else { return };
    let ends = Ends { peer, local: SocketAddr::new(local.ip().to_canonical(), local.port()) };
    let (router, shared) = (router.clone(), shared.clone());
    tasks.spawn(async move {
        let used = seat.used().clone();
        tokio::select! {
            // first: what has been served, be it for a moment, says why when it is dropped
            biased;
            () = serve(stream, ends, seat, router, shared) => {}
            // dropping the stream says why
            () = used.gives_way() => debug!("http: a connection that said nothing gave way to another"),
        }
    });
}

fn refuse(stream: TcpStream, words: &str, shared: &Shared, farewells: &mut Farewells) {
    // to somebody who expects TLS the words would be noise: the connection is just closed
    if shared.tls.is_none()
        && let Ok(stream) = stream.into_std()
    {
        farewells.refuse(stream, words);
    }
}

async fn serve(stream: TcpStream, ends: Ends, seat: Seat, router: Router, shared: Arc<Shared>) {
    // an answer must not wait for the ACK of the one before
    if let Err(e) = stream.set_nodelay(true) {
        debug!("http: TCP_NODELAY: {e}");
    }
    match shared.tls.clone() {
        None => {
            let used = seat.used().clone();
            let stream = Guarded::new(stream, shared.limits.stall_within, seat).plain();
            talk(stream, ends, used, router, shared).await;
        }
        Some(tls) => {
            let used = seat.used().clone();
            let mut stop = shared.stop.subscribe();
            let secured = tokio::select! {
                secured = clock::within(shared.limits.header_within, secure(stream, seat, &tls, &shared)) => secured,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match secured {
                Some(Some(stream)) => talk(stream, ends, used, router, shared).await,
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

async fn talk<S>(stream: S, ends: Ends, used: Arc<Use>, router: Router, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.limits;
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        request.extensions_mut().insert(used.clone());
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
