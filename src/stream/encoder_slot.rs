//! The encoder that is open now: opened for the pictures that come, dropped when it fails, tried again.
//!
//! Owns its life and the log lines about it. Must never end the encode thread. Input: the encode thread.

use super::pipeline::{OpenEncoder, ProbedEncoder};
use super::retry::{Backoff, CauseLog};
use crate::encode::Encoder;
use crate::error::Error;
use crate::media::frame::PictureFormat;
use crate::units::{FrameRate, Micros};

pub(super) struct EncoderSlot {
    open: OpenEncoder,
    current: Option<ProbedEncoder>,
    kind: (PictureFormat, FrameRate),
    retry_at: Option<Micros>,
    backoff: Backoff,
    causes: CauseLog,
}

impl EncoderSlot {
    pub fn new(open: OpenEncoder, first: ProbedEncoder) -> EncoderSlot {
        let (backoff, causes) = (Backoff::default(), CauseLog::default());
        let kind = (first.format, first.rate);
        EncoderSlot { open, current: Some(first), kind, retry_at: None, backoff, causes }
    }

    /// Format and rate of the last picture: what a card is drawn for, so that viewers' decoders go on.
    pub fn last_kind(&self) -> (PictureFormat, FrameRate) {
        self.kind
    }

    /// The encoder for such pictures; None while it is broken and waits to be tried again.
    pub fn ready(&mut self, format: &PictureFormat, rate: FrameRate, now: Micros) -> Option<&mut dyn Encoder> {
        self.kind = (*format, rate);
        if !self.current.as_ref().is_some_and(|current| (current.format, current.rate) == self.kind) {
            // the old one goes first: a hardware encoder may have one place only
            self.current = None;
            self.reopen(format, rate, now);
        }
        self.current.as_mut().map(|current| &mut *current.encoder as &mut dyn Encoder)
    }

    fn reopen(&mut self, format: &PictureFormat, rate: FrameRate, now: Micros) {
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        match (self.open)(format, rate) {
            Ok(encoder) => {
                tracing::info!("encoder: {} opened for {} at {rate}", encoder.name(), format.size);
                self.current = Some(ProbedEncoder { encoder, format: *format, rate });
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
        self.current = None;
        let wait = self.backoff.next_wait();
        self.retry_at = Some(now + wait);
        match self.causes.note(&error.to_string(), now) {
            Some(1) => tracing::error!("encoder: {error}; retrying in {} s", wait.as_secs_f64()),
            Some(count) => tracing::error!("encoder: {error} ({count} times); retrying in {} s", wait.as_secs_f64()),
            None => {}
        }
    }
}
