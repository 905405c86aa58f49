//! Who may talk to us from a browser: the Host and Origin check, against foreign pages and DNS rebinding.
//!
//! Pure functions over header values. Must never trust X-Forwarded-* or resolve a name. Input: request headers (hostile),
//! our own addresses, `http.names`.
//!
//! Host: one of our own IP literals or localhost, with any port (a forwarded port reaches us under another number, and a
//! rebinding attack needs a name, not a port); or a configured name. A configured name without a port matches any port.
//! Origin: none at all (not a browser's cross-site request); or the very host and port of the Host header; or one of our
//! own addresses with the port we listen on; or a configured name. Own addresses are served as http, or as https with TLS
//! of our own; a configured name may be either, for a proxy in front that ends TLS.

use axum::http::{HeaderMap, Uri, header};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Ip(IpAddr),
    /// Lower case, without a trailing dot.
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub host: Host,
    pub port: Option<u16>,
}

/// What this request may name.
pub struct Allowed<'a> {
    /// Addresses of this machine (canonical: no IPv4-mapped IPv6).
    pub own: &'a [IpAddr],
    /// The port the connection came in on.
    pub port: u16,
    /// `http.names`.
    pub names: &'a [Authority],
    /// Whether we serve https.
    pub tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoHost,
    ForeignHost,
    ForeignOrigin,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Refusal::NoHost => "the request has no usable Host header",
            Refusal::ForeignHost => "this server does not go by that name; add it to http.names to allow it",
            Refusal::ForeignOrigin => "pages of that origin may not use this server; add it to http.names to allow it",
        })
    }
}

pub fn check(uri: &Uri, headers: &HeaderMap, allowed: &Allowed) -> Result<(), Refusal> {
    let hosts: Vec<&[u8]> = headers.get_all(header::HOST).iter().map(|v| v.as_bytes()).collect();
    let origins: Vec<&[u8]> = headers.get_all(header::ORIGIN).iter().map(|v| v.as_bytes()).collect();
    // `GET http://name/ HTTP/1.1`: the two names must agree, or one of them is a lie
    let target = uri.authority().map(|a| a.as_str());
    if target.is_some_and(|t| hosts.first().is_none_or(|h| !t.as_bytes().eq_ignore_ascii_case(h))) {
        return Err(Refusal::ForeignHost);
    }
    judge(&hosts, &origins, allowed)
}

/// Header values in, verdict out.
pub fn judge(hosts: &[&[u8]], origins: &[&[u8]], allowed: &Allowed) -> Result<(), Refusal> {
    let [host] = hosts else { return Err(Refusal::NoHost) };
    let host = Authority::parse(host).ok_or(Refusal::NoHost)?;
    if !allowed.is_own(&host.host) && !allowed.is_name(&host.host, host.port.unwrap_or(default_port(allowed.tls))) {
        return Err(Refusal::ForeignHost);
    }
    match origins {
        [] => Ok(()),
        [origin] if allowed.origin(origin, &host) => Ok(()),
        _ => Err(Refusal::ForeignOrigin),
    }
}

impl Allowed<'_> {
    fn is_own(&self, host: &Host) -> bool {
        match host {
            Host::Ip(ip) => ip.is_loopback() || self.own.contains(ip),
            Host::Name(name) => name == "localhost",
        }
    }

    fn is_name(&self, host: &Host, port: u16) -> bool {
        self.names.iter().any(|name| name.host == *host && name.port.is_none_or(|p| p == port))
    }

    fn origin(&self, origin: &[u8], host: &Authority) -> bool {
        let (tls, rest) = match origin {
            [b'h', b't', b't', b'p', b':', b'/', b'/', rest @ ..] => (false, rest),
            [b'h', b't', b't', b'p', b's', b':', b'/', b'/', rest @ ..] => (true, rest),
            _ => return false,
        };
        let Some(origin) = Authority::parse(rest) else { return false };
        let port = origin.port.unwrap_or(default_port(tls));
        if self.is_name(&origin.host, port) {
            return true;
        }
        let same_as_host = origin.host == host.host && port == host.port.unwrap_or(default_port(tls));
        let reached_directly = host.port.unwrap_or(default_port(tls)) == self.port && port == self.port;
        tls == self.tls && self.is_own(&origin.host) && (same_as_host || reached_directly)
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl Authority {
    /// `host`, `host:port`, `1.2.3.4:port`, `[::1]:port`; nothing else around it.
    pub fn parse(text: &[u8]) -> Option<Authority> {
        let text = std::str::from_utf8(text).ok()?;
        if let Some(rest) = text.strip_prefix('[') {
            let (ip, tail) = rest.split_once(']')?;
            let ip: Ipv6Addr = ip.parse().ok()?;
            let port = if tail.is_empty() { None } else { Some(port(tail.strip_prefix(':')?)?) };
            return Some(Authority { host: Host::Ip(IpAddr::V6(ip).to_canonical()), port });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, tail)) => (name, Some(port(tail)?)),
            None => (text, None),
        };
        Some(Authority { host: Host::parse(name)?, port })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Some(Host::Ip(ip.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        (!name.is_empty() && name.len() <= 253 && name.bytes().all(fits)).then_some(Host::Name(name))
    }
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Result<(), Refusal> = Ok(());
    const NO_HOST: Result<(), Refusal> = Err(Refusal::NoHost);
    const HOST: Result<(), Refusal> = Err(Refusal::ForeignHost);
    const ORIGIN: Result<(), Refusal> = Err(Refusal::ForeignOrigin);

    type Row = (&'static [&'static str], &'static [&'static str], Result<(), Refusal>);

    /// We are 192.168.1.5 and fd00::5 on port 8080; configured: cam.example, door.example:8443.
    const TABLE: &[Row] = &[
        // Host alone
        (&["192.168.1.5:8080"], &[], OK),
        (&["127.0.0.1:8080"], &[], OK),
        (&["[::1]:8080"], &[], OK),
        (&["[fd00::5]:8080"], &[], OK),
        (&["[FD00:0::5]:8080"], &[], OK),
        (&["[::ffff:192.168.1.5]:8080"], &[], OK),
        (&["localhost:8080"], &[], OK),
        (&["LocalHost:8080"], &[], OK),
        (&["localhost"], &[], OK),
        (&["localhost:9000"], &[], OK),
        (&["CAM.Example"], &[], OK),
        (&["cam.example.:8080"], &[], OK),
        (&["door.example:8443"], &[], OK),
        (&["door.example"], &[], HOST),
        (&["192.168.1.6:8080"], &[], HOST),
        (&["[fd00::6]:8080"], &[], HOST),
        (&["evil.example"], &[], HOST),
        (&["cam.example.evil.example"], &[], HOST),
        (&["localhost.evil.example:8080"], &[], HOST),
        (&[], &[], NO_HOST),
        (&["192.168.1.5:8080", "192.168.1.5:8080"], &[], NO_HOST),
        (&["user@192.168.1.5:8080"], &[], NO_HOST),
        (&["192.168.1.5:+8080"], &[], NO_HOST),
        (&["[fd00::5"], &[], NO_HOST),
        (&["fd00::5"], &[], NO_HOST),
        // Origin of ourselves
        (&["192.168.1.5:8080"], &["http://192.168.1.5:8080"], OK),
        (&["[fd00::5]:8080"], &["http://[fd00::5]:8080"], OK),
        (&["localhost:9000"], &["http://localhost:9000"], OK),
        (&["127.0.0.1:8080"], &["http://localhost:8080"], OK),
        (&["192.168.1.5"], &["http://192.168.1.5"], OK),
        (&["cam.example"], &["https://cam.example"], OK),
        (&["cam.example:8080"], &["http://CAM.example:8080"], OK),
        (&["192.168.1.5:8080"], &["http://cam.example"], OK),
        (&["192.168.1.5:8080"], &["https://door.example:8443"], OK),
        // and of others
        (&["192.168.1.5:8080"], &["https://door.example"], ORIGIN),
        (&["192.168.1.5:8080"], &["http://192.168.1.5:3000"], ORIGIN),
        (&["localhost:9000"], &["http://localhost:8080"], ORIGIN),
        (&["192.168.1.5:8080"], &["https://192.168.1.5:8080"], ORIGIN),
        (&["192.168.1.5:8080"], &["http://evil.example"], ORIGIN),
        (&["192.168.1.5:8080"], &["null"], ORIGIN),
        (&["192.168.1.5:8080"], &[""], ORIGIN),
        (&["192.168.1.5:8080"], &["http://192.168.1.5:8080", "http://192.168.1.5:8080"], ORIGIN),
        (&["192.168.1.5:8080"], &["http://192.168.1.5:8080, http://evil.example"], ORIGIN),
        (&["192.168.1.5:8080"], &["http://192.168.1.5:8080/"], ORIGIN),
        (&["192.168.1.5:8080"], &["http://192.168.1.5:8080@evil.example"], ORIGIN),
        (&["192.168.1.5:8080"], &["file://"], ORIGIN),
        (&["192.168.1.5:8080"], &["chrome-extension://192.168.1.5:8080"], ORIGIN),
        // DNS rebinding: the name resolves to us, but it is not ours
        (&["evil.example:8080"], &["http://evil.example:8080"], HOST),
    ];

    fn names() -> Vec<Authority> {
        ["cam.example", "door.example:8443"].iter().map(|n| Authority::parse(n.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn the_table_of_hosts_and_origins_holds() {
        let own: Vec<IpAddr> = vec!["192.168.1.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let names = names();
        let allowed = Allowed { own: &own, port: 8080, names: &names, tls: false };
        let bytes = |list: &'static [&'static str]| list.iter().map(|s| s.as_bytes()).collect::<Vec<_>>();
        let wrong: Vec<_> = TABLE
            .iter()
            .filter(|(hosts, origins, verdict)| judge(&bytes(hosts), &bytes(origins), &allowed) != *verdict)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(TABLE.len() >= 40);
    }

    #[test]
    fn a_request_target_that_names_another_host_is_refused() {
        let allowed = Allowed { own: &[], port: 80, names: &[], tls: false };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        assert_eq!(check(&"http://evil.example/ws".parse().unwrap(), &headers, &allowed), HOST);
        assert_eq!(check(&"http://LOCALHOST/ws".parse().unwrap(), &headers, &allowed), OK);
        assert_eq!(check(&"/ws".parse().unwrap(), &headers, &allowed), OK);
    }

    #[test]
    fn with_tls_of_our_own_only_https_pages_are_ours() {
        let own: Vec<IpAddr> = vec!["192.168.1.5".parse().unwrap()];
        let allowed = Allowed { own: &own, port: 443, names: &names(), tls: true };
        let table: [(&[u8], &[u8], _); 6] = [
            (b"192.168.1.5", b"https://192.168.1.5", OK),
            (b"192.168.1.5", b"https://localhost", OK),
            (b"localhost:9443", b"https://localhost:9443", OK),
            (b"192.168.1.5", b"http://192.168.1.5", ORIGIN),
            (b"192.168.1.5", b"http://192.168.1.5:443", ORIGIN),
            (b"192.168.1.5", b"https://evil.example", ORIGIN),
        ];
        for (host, origin, verdict) in table {
            assert_eq!(judge(&[host], &[origin], &allowed), verdict, "{}", String::from_utf8_lossy(origin));
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let allowed = Allowed { own: &[], port: 80, names: &[], tls: false };
        assert_eq!(judge(&[b"\xff\xfe"], &[], &allowed), NO_HOST);
        assert_eq!(judge(&[b"localhost"], &[b"http://\xff"], &allowed), ORIGIN);
    }
}
