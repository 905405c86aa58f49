//! A box between a viewer and the server, as a NAT is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::UdpSocket;

/// A box between viewer and server, as a NAT is: forwards both ways from a port of its own, can take a new port, can
/// go dark.
pub struct NatBox {
    pub address: SocketAddr,
    /// Set: the next datagram of the viewer leaves by a new port.
    pub rebind: Arc<AtomicBool>,
    pub dark: Arc<AtomicBool>,
}

impl NatBox {
    pub async fn start(server: SocketAddr) -> NatBox {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = inside.local_addr().unwrap();
        let (rebind, dark) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (rebind_now, dark_now) = (rebind.clone(), dark.clone());
        tokio::spawn(async move {
            let mut outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut viewer = None;
            let (mut up, mut down) = ([0u8; 2048], [0u8; 2048]);
            loop {
                tokio::select! {
                    Ok((len, from)) = inside.recv_from(&mut up) => {
                        viewer = Some(from);
                        if rebind_now.swap(false, Ordering::Relaxed) {
                            outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                        }
                        if !dark_now.load(Ordering::Relaxed) {
                            let _ = outside.send_to(&up[..len], server).await;
                        }
                    }
                    Ok((len, _)) = outside.recv_from(&mut down) => {
                        if let (Some(viewer), false) = (viewer, dark_now.load(Ordering::Relaxed)) {
                            let _ = inside.send_to(&down[..len], viewer).await;
                        }
                    }
                }
            }
        });
        NatBox { address, rebind, dark }
    }
}

/// An offer from which the server cannot learn the viewer's own address, or it would go round the box.
pub fn without_candidates(sdp: &str) -> String {
    sdp.lines().filter(|line| !line.starts_with("a=candidate")).map(|line| format!("{line}\r\n")).collect()
}
