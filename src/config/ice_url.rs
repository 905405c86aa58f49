//! URLs of STUN and TURN servers (RFC 7064, RFC 7065), taken apart.
//!
//! Pure. Must never resolve a name. Input: `urls` of `[[webrtc.ice_server]]`.

use std::net::Ipv6Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Stun,
    Stuns,
    Turn,
    Turns,
}

impl Scheme {
    pub fn is_turn(self) -> bool {
        matches!(self, Scheme::Turn | Scheme::Turns)
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Stun | Scheme::Turn => 3478,
            Scheme::Stuns | Scheme::Turns => 5349,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceUrl {
    pub scheme: Scheme,
    /// A name or an address; IPv6 without its brackets.
    pub host: String,
    pub port: u16,
    pub transport: Transport,
}

impl IceUrl {
    pub fn parse(text: &str) -> Option<IceUrl> {
        let (scheme, rest) = text.split_once(':')?;
        let scheme = match scheme {
            "stun" => Scheme::Stun,
            "stuns" => Scheme::Stuns,
            "turn" => Scheme::Turn,
            "turns" => Scheme::Turns,
            _ => return None,
        };
        let (authority, transport) = match rest.split_once('?') {
            Some((authority, "transport=udp")) if scheme == Scheme::Turn => (authority, Transport::Udp),
            Some((authority, "transport=tcp")) if scheme.is_turn() => (authority, Transport::Tcp),
            Some(_) => return None,
            None if matches!(scheme, Scheme::Stun | Scheme::Turn) => (rest, Transport::Udp),
            None => (rest, Transport::Tcp),
        };
        let (host, port) = split_port(authority)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
            None => scheme.default_port(),
        };
        Some(IceUrl { scheme, host: host.to_owned(), port, transport })
    }

    /// Whether it answers STUN Binding requests over UDP. TURN servers do (RFC 8656 section 1).
    pub fn answers_udp_binding(&self) -> bool {
        self.transport == Transport::Udp && matches!(self.scheme, Scheme::Stun | Scheme::Turn)
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((address, Some(port))),
            None => after.is_empty().then_some((address, None)),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(is_name)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_both_documents_are_read() {
        for (text, scheme, host, port, transport) in [
            ("stun:stun.example.org", Scheme::Stun, "stun.example.org", 3478, Transport::Udp),
            ("stun:192.0.2.1:19302", Scheme::Stun, "192.0.2.1", 19302, Transport::Udp),
            ("stun:[2001:db8::1]", Scheme::Stun, "2001:db8::1", 3478, Transport::Udp),
            ("turn:[2001:db8::1]:99?transport=tcp", Scheme::Turn, "2001:db8::1", 99, Transport::Tcp),
            ("turn:relay?transport=udp", Scheme::Turn, "relay", 3478, Transport::Udp),
            ("turns:relay", Scheme::Turns, "relay", 5349, Transport::Tcp),
            ("turns:relay:443?transport=tcp", Scheme::Turns, "relay", 443, Transport::Tcp),
        ] {
            let wanted = IceUrl { scheme, host: host.into(), port, transport };
            assert_eq!(IceUrl::parse(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_no_browser_takes_is_refused() {
        for text in [
            "",
            "stun.example.org",
            "http://stun.example.org",
            "stun:",
            "stun://stun.example.org",
            "stun:host:0",
            "stun:host:99999",
            "stun:host:x",
            "stun:host?transport=udp",
            "turn:host?transport=sctp",
            "turns:host?transport=udp",
            "stun:[::1",
            "stun:[host]",
            "stun:[::1]x",
            "stun:2001:db8::1",
            "turn:user@host",
        ] {
            assert_eq!(IceUrl::parse(text), None, "{text}");
        }
    }
}
