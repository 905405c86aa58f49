//! The encoder that is open now: opened for the pictures that come, dropped when it fails, tried again.
//!
//! Owns its life and the log lines about it. Must never end the encode thread. Input: the encode thread.

use super::pipeline::OpenEncoder;
use super::retry::{Backoff, CauseLog};
use crate::encode::Encoder;
use crate::error::Error;
use crate::media::frame::PictureFormat;
use crate::units::{FrameRate, Micros};

/// Format and rate of pictures.
pub(super) type Kind = (PictureFormat, FrameRate);

pub(super) struct EncoderSlot {
    open: OpenEncoder,
    /// Of `kind`.
    current: Option<Box<dyn Encoder>>,
    kind: Kind,
    /// The kind last told in the log.
    told: Option<Kind>,
    retry_at: Option<Micros>,
    backoff: Backoff,
    causes: CauseLog,
}

impl EncoderSlot {
    pub fn new(open: OpenEncoder, first: Kind) -> EncoderSlot {
        let (backoff, causes) = (Backoff::default(), CauseLog::default());
        EncoderSlot { open, current: None, kind: first, told: None, retry_at: None, backoff, causes }
    }

    /// Of the last picture: what a card is drawn for, so that viewers' decoders go on.
    pub fn last_kind(&self) -> Kind {
        self.kind
    }

    /// Ends the encoder; the next picture gets a fresh one. A rate control that remembers another picture (the card,
    /// a dark room hours ago) makes key pictures of twice the size.
    pub fn close(&mut self) {
        self.current = None;
    }

    /// The encoder for such pictures; None while it is broken and waits to be tried again.
    pub fn ready(&mut self, kind: Kind, now: Micros) -> Option<&mut dyn Encoder> {
        if self.kind != kind {
            self.kind = kind;
            self.close();
        }
        if self.current.is_none() && self.retry_at.is_none_or(|at| now >= at) {
            self.reopen(now);
        }
        self.current.as_mut().map(|current| &mut **current as &mut dyn Encoder)
    }

    fn reopen(&mut self, now: Micros) {
        let (format, rate) = self.kind;
        match (self.open)(&format, rate) {
            Ok(encoder) => {
                if self.told.replace(self.kind) != Some(self.kind) {
                    tracing::info!("encoder: {} opened for {} at {rate}", encoder.name(), format.size);
                }
                self.current = Some(encoder);
            }
            Err(error) => self.failed(&error, now),
        }
    }

    pub fn worked(&mut self) {
        if self.retry_at.take().is_some() {
            tracing::info!("encoder: works again");
            self.backoff.reset();
            self.causes.clear();
        }
    }

    pub fn failed(&mut self, error: &Error, now: Micros) {
        self.close();
        let wait = self.backoff.next_wait();
        self.retry_at = Some(now + wait);
        if let Some(next) = self.causes.note(&error.to_string(), wait, now) {
            tracing::error!("encoder: {error}; {next}");
        }
    }
}
