//! Whether our ports are free, and who can reach them.
//!
//! Pure. Input: the outcome of binding each of them for a moment.

use super::Finding;
use std::io::ErrorKind;
use std::net::SocketAddr;

const GROUP: &str = "network";

pub struct Facts {
    pub listen: SocketAddr,
    pub http: Result<(), ErrorKind>,
    pub udp: SocketAddr,
    pub media: Result<(), ErrorKind>,
    /// ICE-TCP, where it is on.
    pub tcp: Option<(SocketAddr, Result<(), ErrorKind>)>,
    /// Bytes that a socket may hold for sending (net.core.wmem_max), and what the board's profile wants, where known.
    pub send_buffer: Option<(u32, u32)>,
    /// Another rtcam runs on this machine.
    pub runs_already: bool,
}

pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![
        judge_port(facts, &format!("TCP {} (page)", facts.listen), facts.http, "http.listen"),
        judge_port(facts, &format!("UDP {} (video)", facts.udp), facts.media, "webrtc.udp_port"),
    ];
    if let Some((tcp, outcome)) = facts.tcp {
        findings.push(judge_port(facts, &format!("TCP {tcp} (video)"), outcome, "webrtc.tcp_port"));
    }
    findings.extend(facts.send_buffer.map(judge_send_buffer));
    if facts.listen.ip().to_canonical().is_loopback() {
        findings.push(Finding::warn(
            GROUP,
            "only this machine can watch",
            "run `rtcam password`, put its line under [auth], and set http.listen = \"0.0.0.0:8080\"",
        ));
    }
    findings
}

/// A smaller one works: rtcam's own queue splits the burst of a key picture.
fn judge_send_buffer((allowed, wanted): (u32, u32)) -> Finding {
    let what = format!("sockets may hold {} KiB for sending", allowed / 1024);
    match allowed < wanted {
        false => Finding::ok(GROUP, what),
        true => Finding {
            advice: Some(format!("for many viewers: sysctl -w net.core.wmem_max={wanted}")),
            ..Finding::ok(GROUP, what)
        },
    }
}

fn judge_port(facts: &Facts, port: &str, outcome: Result<(), ErrorKind>, key: &str) -> Finding {
    match outcome {
        Ok(()) => Finding::ok(GROUP, format!("{port} is free")),
        Err(ErrorKind::AddrInUse) if facts.runs_already => {
            Finding::ok(GROUP, format!("{port} is taken, and an rtcam runs already"))
        }
        Err(ErrorKind::AddrInUse) => {
            Finding::bad(GROUP, format!("{port} is taken by another program"), format!("stop it, or set another {key}"))
        }
        Err(ErrorKind::AddrNotAvailable) => {
            let advice = format!("set {key} to an address of this machine, or \"0.0.0.0:8080\" for all");
            Finding::bad(GROUP, format!("{port}: this machine has no such address"), advice)
        }
        Err(ErrorKind::PermissionDenied) => {
            Finding::bad(GROUP, format!("{port}: ports below 1024 need a permission"), format!("set another {key}"))
        }
        Err(other) => Finding::bad(GROUP, format!("{port} cannot be opened: {other}"), format!("set another {key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn levels(listen: &str, http: Result<(), ErrorKind>, runs_already: bool) -> Vec<Level> {
        let listen: SocketAddr = listen.parse().expect("an address");
        let facts = Facts {
            listen,
            http,
            udp: SocketAddr::new(listen.ip(), 8189),
            media: Ok(()),
            tcp: None,
            send_buffer: None,
            runs_already,
        };
        judge(&facts).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_port_that_cannot_be_had_is_bad_unless_rtcam_has_it() {
        let everywhere = "0.0.0.0:8080";
        assert_eq!(levels(everywhere, Ok(()), false), [Level::Ok, Level::Ok]);
        assert_eq!(levels(everywhere, Err(ErrorKind::AddrInUse), false), [Level::Bad, Level::Ok]);
        assert_eq!(levels(everywhere, Err(ErrorKind::AddrInUse), true), [Level::Ok, Level::Ok]);
        for kind in [ErrorKind::PermissionDenied, ErrorKind::AddrNotAvailable, ErrorKind::Other] {
            assert_eq!(levels(everywhere, Err(kind), true), [Level::Bad, Level::Ok], "{kind:?}");
        }
    }

    #[test]
    fn the_tcp_port_for_video_is_looked_at_where_it_is_on() {
        let address: SocketAddr = "0.0.0.0:8190".parse().expect("an address");
        let facts = Facts {
            listen: address,
            http: Ok(()),
            udp: address,
            media: Ok(()),
            tcp: Some((address, Err(ErrorKind::AddrInUse))),
            send_buffer: None,
            runs_already: false,
        };
        let told = |finding: &Finding| finding.level == Level::Bad && finding.what.contains("8190 (video)");
        assert!(judge(&facts).iter().any(told));
    }

    #[test]
    fn a_small_send_buffer_is_no_trouble_but_comes_with_advice() {
        let small = judge_send_buffer((212_992, 1_048_576));
        assert_eq!((small.level, small.what.as_str()), (Level::Ok, "sockets may hold 208 KiB for sending"));
        assert!(small.advice.is_some_and(|advice| advice.ends_with("sysctl -w net.core.wmem_max=1048576")));
        assert_eq!(judge_send_buffer((4 << 20, 1 << 20)).advice, None);
    }

    #[test]
    fn listening_on_this_machine_only_is_worth_a_word() {
        assert_eq!(levels("127.0.0.1:8080", Ok(()), false).last(), Some(&Level::Warn));
        assert_eq!(levels("[::1]:8080", Ok(()), false).last(), Some(&Level::Warn));
    }
}
