//! Certificates: reading PEM, and making a self-signed one for every name of this machine.
//!
//! Must never put a private key into a log or an error. Input: PEM files, our own addresses and names, the wall clock.

use crate::clock::WallMicros;
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY_S: u64 = 86_400;
/// The longest that Apple's systems take.
const LIFE_DAYS: u64 = 825;
/// So long before its end ours is renewed.
const RENEWED_DAYS: u64 = 30;
/// A certificate that is a day old works on machines whose clock is a little behind.
const BACKDATED_S: u64 = DAY_S;
const MOST_BYTES: u64 = 1 << 20;

/// A certificate with its chain, leaf first, and its key.
pub struct Pair {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Pair {
    pub fn of_files(certificate: &Path, key: &Path) -> Result<Pair> {
        let pair = Pair { chain: chain(&read(certificate)?), key: key_of(&read(key)?, &key.display().to_string())? };
        if pair.chain.is_empty() {
            let what = format!("{}: no certificate in this file; expected PEM", certificate.display());
            return Err(Error::new(ErrorKind::BadConfig, what));
        }
        Ok(pair)
    }

    /// Both in one text.
    pub fn of_pem(pem: &[u8]) -> Result<Pair> {
        Ok(Pair { chain: chain(pem), key: key_of(pem, "our certificate")? })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let refuse = |error: std::io::Error| {
        let what = format!("{}: cannot read it", path.display());
        Error::new(ErrorKind::BadConfig, what).because(error)
    };
    let bytes = std::fs::metadata(path).map_err(refuse)?.len();
    if bytes > MOST_BYTES {
        return Err(Error::new(ErrorKind::BadConfig, format!("{}: this is no PEM file: far too long", path.display())));
    }
    std::fs::read(path).map_err(refuse)
}

fn chain(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).map_while(|certificate| certificate.ok()).collect()
}

fn key_of(pem: &[u8], place: &str) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let what = format!("{place}: no private key in it; expected PEM without a passphrase");
        Error::new(ErrorKind::BadConfig, what)
    })
}

/// Unix time at which a certificate ends.
pub fn end_of(certificate: &[u8]) -> Result<u64> {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => Ok(parsed.validity().not_after.timestamp().max(0) as u64),
        Err(error) => {
            Err(Error::new(ErrorKind::BadConfig, "http: the certificate cannot be read").because(error.to_string()))
        }
    }
}

/// Whether ours is to be renewed; never, while the clock may be wrong.
pub fn is_due(ends_s: u64, wall: WallMicros) -> bool {
    wall.is_plausible() && wall.0 / 1_000_000 + RENEWED_DAYS * DAY_S >= ends_s
}

pub struct Made {
    /// Key and certificate. Never to be logged.
    pub pem: Secret,
}

/// A self-signed certificate for these names and addresses.
pub fn make(names: &[String], wall: WallMicros) -> Result<Made> {
    let fail = |error: rcgen::Error| Error::new(ErrorKind::Internal, "http: make a certificate").because(error);
    let mut params = CertificateParams::new(names).map_err(fail)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "rtcam");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now_s = if wall.is_plausible() { wall } else { WallMicros::WRITTEN }.0 / 1_000_000;
    let at = |unix_s: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_s);
    params.not_before = at(now_s - BACKDATED_S);
    params.not_after = at(now_s - BACKDATED_S + LIFE_DAYS * DAY_S);
    let key = KeyPair::generate().map_err(fail)?;
    let certificate = params.self_signed(&key).map_err(fail)?;
    Ok(Made { pem: Secret::new(format!("{}{}", key.serialize_pem(), certificate.pem())) })
}

/// Under what browsers may reach this machine: its addresses, its name, those of the config.
pub fn own_names(configured: &[String]) -> Vec<String> {
    let addresses = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = addresses.iter().map(|interface| interface.ip().to_canonical());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    names_of(addresses, &host, configured)
}

fn names_of(addresses: impl Iterator<Item = IpAddr>, host: &str, configured: &[String]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    names.extend(addresses.map(|ip| ip.to_string()));
    names.push(host.to_lowercase());
    if !host.contains('.') {
        names.push(format!("{}.local", host.to_lowercase()));
    }
    names.extend(configured.iter().map(|name| host_of(name).to_lowercase()));
    let mut known = std::collections::HashSet::new();
    names.retain(|name| is_usable(name) && known.insert(name.clone()));
    names
}

/// `[v6]:port`, `[v6]`, `host:port` or `host`.
fn host_of(name: &str) -> &str {
    match name.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => name.split(':').next().unwrap_or(name),
    }
}

/// What may stand in a certificate.
fn is_usable(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.parse::<IpAddr>().is_ok() || name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallMicros = WallMicros(1_800_000_000_000_000);

    fn made(names: &[&str], wall: WallMicros) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Pair::of_pem(make(&names, wall).unwrap().pem.reveal().as_bytes()).unwrap()
    }

    #[test]
    fn ours_lives_825_days_and_is_due_30_days_before() {
        let ends_s = end_of(&made(&["localhost"], NOW).chain[0]).unwrap();
        assert_eq!(ends_s, 1_800_000_000 + 824 * DAY_S);
        let at = |s: u64| WallMicros(s * 1_000_000);
        assert!(!is_due(ends_s, NOW) && !is_due(ends_s, at(ends_s - 30 * DAY_S - 1)));
        assert!(is_due(ends_s, at(ends_s - 30 * DAY_S)) && is_due(ends_s, at(ends_s + 1)));
    }

    #[test]
    fn a_board_that_starts_in_1970_makes_one_that_is_good_today_and_renews_none() {
        let ends_s = end_of(&made(&["localhost"], WallMicros(5_000_000)).chain[0]).unwrap();
        assert!(ends_s > WallMicros::WRITTEN.0 / 1_000_000 + 800 * DAY_S);
        assert!(!is_due(0, WallMicros(5_000_000)));
    }

    #[test]
    fn the_names_are_those_a_browser_may_use_once_each() {
        let addresses = ["192.168.1.5", "127.0.0.1", "fd00::5"].map(|ip| ip.parse().unwrap());
        let configured = ["Cam.example:8443", "[2001:db8::1]:80", "under_score.example"].map(String::from);
        assert_eq!(
            names_of(addresses.into_iter(), "Board-7", &configured),
            [
                "localhost",
                "127.0.0.1",
                "::1",
                "192.168.1.5",
                "fd00::5",
                "board-7",
                "board-7.local",
                "cam.example",
                "2001:db8::1"
            ]
        );
        assert!(make(&names_of(addresses.into_iter(), "(none)", &configured), NOW).is_ok());
    }

    #[test]
    fn what_is_no_certificate_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("good.pem"), folder.path().join("bad.pem"));
        std::fs::write(&good, make(&["localhost".into()], NOW).unwrap().pem.reveal()).unwrap();
        std::fs::write(&bad, "-----BEGIN PRIVATE KEY-----\ncanary!\n-----END PRIVATE KEY-----\n").unwrap();
        assert!(Pair::of_files(&good, &good).is_ok());
        for (certificate, key) in [(&bad, &good), (&good, &bad), (&good, &folder.path().join("none.pem"))] {
            let Err(error) = Pair::of_files(certificate, key) else { panic!("{certificate:?} {key:?} accepted") };
            assert_eq!(error.kind(), ErrorKind::BadConfig);
            assert!(error.to_string().contains(".pem") && !error.to_string().contains("canary"), "{error}");
        }
    }
}
