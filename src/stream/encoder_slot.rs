//! The encoder that is open now: opened for the pictures that come, dropped when it fails, tried again, and given up
//! for the next one when it fails too often. Meanwhile a stand-in encodes the card that tells viewers.
//!
//! Owns their lives and the log lines about them. Must never end the encode thread. Input: the encode thread.

use super::pipeline::OpenEncoder;
use super::retry::{Backoff, CauseLog};
use crate::encode::Encoder;
use crate::error::Error;
use crate::media::frame::PictureFormat;
use crate::units::{FrameRate, Micros};
use std::time::Duration;

/// Format and rate of pictures.
pub(super) type Kind = (PictureFormat, FrameRate);

/// So many failures within such a time, and the next encoder takes over.
const STRIKES: usize = 3;
const STRIKES_WITHIN: Duration = Duration::from_secs(60);

pub(super) struct EncoderSlot {
    open: OpenEncoder,
    /// Of `kind`.
    current: Option<Box<dyn Encoder>>,
    kind: Kind,
    /// The kind last told in the log.
    told: Option<Kind>,
    retry: Option<Retry>,
    backoff: Backoff,
    causes: CauseLog,
    /// When `current` failed lately.
    strikes: Vec<Micros>,
    /// What failed too often, until nothing else works either.
    without: Vec<&'static str>,
    /// The name of the one that opened last.
    last: &'static str,
    stand_in: StandIn,
}

struct Retry {
    at: Micros,
    cause: String,
}

/// For the card while the encoder waits to be tried again: any other encoder.
#[derive(Default)]
enum StandIn {
    Wanted {
        without: Vec<&'static str>,
    },
    Open {
        encoder: Box<dyn Encoder>,
        without: Vec<&'static str>,
    },
    /// There is none, or it failed too.
    #[default]
    None,
}

impl StandIn {
    /// To be opened again for another kind of pictures.
    fn close(&mut self) {
        if let StandIn::Open { without, .. } = self {
            *self = StandIn::Wanted { without: std::mem::take(without) };
        }
    }
}

impl EncoderSlot {
    /// `last`: the name of the encoder that opens here, as far as is known.
    pub fn new(open: OpenEncoder, first: Kind, last: &'static str) -> EncoderSlot {
        EncoderSlot {
            open,
            current: None,
            kind: first,
            told: None,
            retry: None,
            backoff: Backoff::default(),
            causes: CauseLog::default(),
            strikes: Vec::new(),
            without: Vec::new(),
            last,
            stand_in: StandIn::None,
        }
    }

    /// Of the last picture: what a card is drawn for, so that viewers' decoders go on.
    pub fn last_kind(&self) -> Kind {
        self.kind
    }

    /// Why the camera's pictures cannot be encoded now.
    pub fn down(&self, now: Micros) -> Option<&str> {
        self.retry.as_ref().filter(|retry| self.current.is_none() && now < retry.at).map(|retry| retry.cause.as_str())
    }

    /// Ends the encoder; the next picture gets a fresh one.
    pub fn close(&mut self) {
        self.current = None;
    }

    /// Something else is shown from now on. A rate control that remembers another picture (the card, a dark room hours
    /// ago) makes key pictures of twice the size.
    pub fn renew(&mut self) {
        if self.current.as_mut().is_some_and(|current| !current.renew()) {
            self.close();
        }
    }

    /// Whether the camera's pictures of that kind can be encoded now.
    pub fn opens(&mut self, kind: Kind, now: Micros) -> bool {
        if self.kind != kind {
            self.kind = kind;
            self.close();
            self.stand_in.close();
        }
        if self.current.is_none() && self.down(now).is_none() {
            self.reopen(now);
        }
        self.current.is_some()
    }

    /// The encoder for such pictures; while it is broken and waits to be tried again, its stand-in or None.
    pub fn ready(&mut self, kind: Kind, now: Micros) -> Option<&mut dyn Encoder> {
        if !self.opens(kind, now) {
            return self.stand_in();
        }
        self.current.as_mut().map(|current| &mut **current as &mut dyn Encoder)
    }

    fn reopen(&mut self, now: Micros) {
        let (format, rate) = self.kind;
        match (self.open)(&format, rate, &self.without) {
            Ok(encoder) => {
                if self.told.replace(self.kind) != Some(self.kind) {
                    tracing::info!("encoder: {} opened for {} at {rate}", encoder.name(), format.size);
                }
                self.last = encoder.name();
                self.current = Some(encoder);
                self.stand_in = StandIn::None;
            }
            Err(error) => {
                if !matches!(self.stand_in, StandIn::Open { .. }) {
                    self.stand_in = StandIn::Wanted { without: self.without_also(self.last) };
                }
                // better one that fails now and then than none
                self.without.clear();
                self.wait(&error, now);
            }
        }
    }

    fn without_also(&self, name: &'static str) -> Vec<&'static str> {
        [&self.without[..], &[name]].concat()
    }

    fn stand_in(&mut self) -> Option<&mut dyn Encoder> {
        if let StandIn::Wanted { without } = &mut self.stand_in {
            let (format, rate) = self.kind;
            self.stand_in = match (self.open)(&format, rate, without) {
                Ok(mut encoder) => {
                    encoder.force_key();
                    StandIn::Open { encoder, without: std::mem::take(without) }
                }
                Err(error) => {
                    tracing::debug!("encoder: no stand-in for the card: {error}");
                    StandIn::None
                }
            };
        }
        match &mut self.stand_in {
            StandIn::Open { encoder, .. } => Some(&mut **encoder),
            _ => None,
        }
    }

    pub fn worked(&mut self) {
        if self.current.is_some() && self.retry.take().is_some() {
            tracing::info!("encoder: works again");
            self.backoff.reset();
            self.causes.clear();
        }
    }

    /// The encoder that `ready` gave last failed.
    pub fn failed(&mut self, error: &Error, now: Micros) {
        let Some(failed) = self.current.take() else {
            tracing::debug!("encoder: stand-in for the card: {error}");
            self.stand_in = StandIn::None;
            return;
        };
        let name = failed.name();
        // before another one is opened: there may be only one of its kind
        drop(failed);
        self.strikes.retain(|at| now.since(*at) < STRIKES_WITHIN);
        self.strikes.push(now);
        if self.strikes.len() >= STRIKES {
            self.give_up(name, error, now);
        } else {
            self.wait(error, now);
            self.stand_in = StandIn::Wanted { without: self.without_also(name) };
        }
    }

    fn give_up(&mut self, name: &'static str, error: &Error, now: Micros) {
        tracing::error!("encoder: {error}; {name} failed {STRIKES} times within a minute: the next encoder takes over");
        self.strikes.clear();
        self.without.push(name);
        self.told = None;
        self.retry = Some(Retry { at: now, cause: error.to_string() });
    }

    fn wait(&mut self, error: &Error, now: Micros) {
        let (wait, cause) = (self.backoff.next_wait(), error.to_string());
        if let Some(next) = self.causes.note(&cause, wait, now) {
            tracing::error!("encoder: {cause}; {next}");
        }
        self.retry = Some(Retry { at: now + wait, cause });
    }
}
