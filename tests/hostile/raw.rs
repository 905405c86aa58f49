//! Connections without a client library: hostile ones keep to no protocol.

use crate::client::soon;
use crate::program::{PATIENCE, Program};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// What closes a connection in time closes it after 10 s; the rest is for a busy machine.
pub const CLOSED_WITHIN: Duration = Duration::from_secs(10).saturating_add(PATIENCE);

/// From one of 200 addresses of this machine.
pub async fn connect_as(program: &Program, number: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let last = 2 + (number % 200) as u8;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).expect("a loopback address");
    soon("a connection", socket.connect(program.address)).await.expect("it listens")
}

/// Everything it says until it closes the connection. Being reset is one way of being closed.
pub async fn until_closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(CLOSED_WITHIN, stream.read_to_end(&mut bytes));
    let _ = reading.await.expect("a connection was never closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A request as it is written, and everything that comes back.
pub async fn exchange(program: &Program, request: &str) -> String {
    let mut stream = connect_as(program, 0).await;
    let _ = stream.write_all(request.as_bytes()).await;
    until_closed(&mut stream).await
}

/// The head of an upgrade to a WebSocket, with more header lines (each ended by CR LF).
pub fn upgrade(host: &str, more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Reads to the end of the response's head.
pub async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => break,
            }
        }
    };
    soon("the head of a response", reading).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The refusal of somebody for whom there is no connection left.
pub fn is_full(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 5") && answer.contains("all the connections")
}
