//! TLS on the port: which certificate is shown, from files of the user's or of our own making.
//!
//! Owns the certificate in use and its renewal. Must never stop serving because a new certificate cannot be used: the old
//! one stays, with one warning. Only TLS 1.3: every browser and client of the last years speaks it. Input: `[http]`, PEM
//! files, the state folder.

use super::certificate::{self, Pair};
use super::state::{Stamp, StateFolder};
use crate::clock::Clock;
use crate::config::{HttpConfig, TlsMode};
use crate::error::{Error, ErrorKind, Result};
use crate::units::Micros;
use ring::digest;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto, version};
use tracing::{info, warn};

const FILE: &str = "tls.pem";
const RENEWAL_RETRIED_AFTER: Duration = Duration::from_secs(3600);

pub struct Tls {
    source: Source,
    clock: Clock,
    current: Mutex<Current>,
}

enum Source {
    SelfSigned { names: Vec<String>, state: Option<Arc<StateFolder>> },
    Files { certificate: PathBuf, key: PathBuf },
}

struct Current {
    config: Arc<ServerConfig>,
    fingerprint: String,
    /// Unix time at which the leaf certificate ends.
    ends_s: u64,
    /// Of the files that were read last, whether they could be used or not.
    stamps: [Option<Stamp>; 2],
    /// After a renewal that failed.
    not_before: Micros,
}

impl Tls {
    /// None: plain HTTP. Fails when the files of the config cannot be used.
    pub fn open(config: &HttpConfig, state: Option<Arc<StateFolder>>, clock: Clock) -> Result<Option<Arc<Tls>>> {
        let source = match config.tls {
            TlsMode::Off => return Ok(None),
            TlsMode::SelfSigned => Source::SelfSigned { names: certificate::own_names(&config.names), state },
            TlsMode::Files => {
                Source::Files { certificate: config.tls_certificate.clone(), key: config.tls_key.clone() }
            }
        };
        let current = Mutex::new(source.load(&clock)?);
        Ok(Some(Arc::new(Tls { source, clock, current })))
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current().config.clone())
    }

    /// Whether the files of the config could be used; starts nothing and makes nothing.
    pub fn try_files(config: &HttpConfig) -> Result<()> {
        match config.tls {
            TlsMode::Files => {
                use_pair(Pair::of_files(&config.tls_certificate, &config.tls_key)?, [None; 2]).map(|_| ())
            }
            TlsMode::Off | TlsMode::SelfSigned => Ok(()),
        }
    }

    /// SHA-256 of the certificate, as browsers show it.
    pub fn fingerprint(&self) -> String {
        self.current().fingerprint.clone()
    }

    /// Takes a certificate that was replaced, and renews our own in time. Looks at the disk.
    pub fn refresh(&self) {
        let stamps = self.source.stamps();
        let is_due = match &self.source {
            Source::Files { .. } => stamps != self.current().stamps,
            Source::SelfSigned { .. } => certificate::is_due(self.current().ends_s, self.clock.wall()),
        };
        if !is_due || self.clock.now() < self.current().not_before {
            return;
        }
        match self.source.load(&self.clock) {
            Ok(new) => {
                info!("http: new certificate, SHA-256 {}", new.fingerprint);
                *self.current() = new;
            }
            Err(error) => {
                let mut current = self.current();
                // a renewal that fails is tried again an hour later, files when they change
                (current.stamps, current.not_before) = (stamps, self.source.retry_at(self.clock.now()));
                warn!("http: take a new certificate: {error}; the old one stays for now");
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // replaced as a whole: nothing is half-done when a thread panics
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn stamps(&self) -> [Option<Stamp>; 2] {
        match self {
            Source::SelfSigned { .. } => [None; 2],
            Source::Files { certificate, key } => [Stamp::of(certificate), Stamp::of(key)],
        }
    }

    fn retry_at(&self, now: Micros) -> Micros {
        match self {
            Source::SelfSigned { .. } => now + RENEWAL_RETRIED_AFTER,
            Source::Files { .. } => now,
        }
    }

    fn load(&self, clock: &Clock) -> Result<Current> {
        // stamps first: what changes in between is read again
        let stamps = self.stamps();
        let pair = match self {
            Source::SelfSigned { names, state } => kept_or_made(names, state.as_deref(), clock)?,
            Source::Files { certificate, key } => Pair::of_files(certificate, key)?,
        };
        use_pair(pair, stamps)
    }
}

fn use_pair(pair: Pair, stamps: [Option<Stamp>; 2]) -> Result<Current> {
    let leaf = pair.chain.first().ok_or_else(|| Error::new(ErrorKind::BadConfig, "no certificate in the file"))?;
    let (fingerprint, ends_s) = (fingerprint(leaf), certificate::end_of(leaf)?);
    let bad = |error| Error::new(ErrorKind::BadConfig, "http: use the certificate and its key").because(error);
    let provider = Arc::new(crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&version::TLS13]).map_err(bad)?;
    let mut config = builder.with_no_client_auth().with_single_cert(pair.chain, pair.key).map_err(bad)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Current { config: Arc::new(config), fingerprint, ends_s, stamps, not_before: Micros(0) })
}

/// The one in the state folder, if it will still do; else a new one, kept there.
fn kept_or_made(names: &[String], state: Option<&StateFolder>, clock: &Clock) -> Result<Pair> {
    let kept = state.and_then(|state| match state.read(FILE) {
        Ok(pem) => pem.and_then(|pem| Pair::of_pem(&pem).ok()),
        Err(error) => {
            warn!("http: read {}: {error}; making a new certificate", state.file(FILE).display());
            None
        }
    });
    if let Some(pair) = kept
        && !pair
            .chain
            .first()
            .is_some_and(|leaf| certificate::end_of(leaf).is_ok_and(|s| certificate::is_due(s, clock.wall())))
    {
        return Ok(pair);
    }
    let made = certificate::make(names, clock.wall())?;
    let written = match state {
        Some(state) => state.lock(clock).and_then(|_lock| state.write(FILE, made.pem.reveal().as_bytes())).err(),
        None => Some(std::io::Error::new(std::io::ErrorKind::NotFound, "no state folder")),
    };
    if let Some(error) = written {
        warn!("http: keep our certificate: {error}; the next start makes another, and browsers will ask again");
    }
    Pair::of_pem(made.pem.reveal().as_bytes())
}

fn fingerprint(certificate: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, certificate);
    let pairs: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
