//! The line to one seat: by its viewer's data channel or by its WebSocket.
//!
//! Owns the bound of what waits for a seat. Must never wait for a seat: who does not take what it is sent loses its
//! socket. Input: what the room tells.

use super::{Inner, Lounge};
use crate::http::call::Call;
use crate::output::{ViewerDoor, ViewerId};
use crate::signal::message::{ByeReason, Message};
use crate::signal::room::words::{SeatId, Told};
use axum::extract::ws::Utf8Bytes;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Messages waiting for one WebSocket.
pub const TEXTS: usize = 256;
/// One of each kind, with room to spare: a seat is asked each thing once.
const ORDERS: usize = 8;

/// The ways to one seat.
pub(super) struct Line {
    /// Of the task that serves the seat; an older one has nothing to say any more.
    pub epoch: u64,
    /// While its WebSocket is open.
    pub texts: Option<mpsc::Sender<Utf8Bytes>>,
    pub orders: mpsc::Sender<Order>,
    pub viewer: Option<ViewerId>,
    /// The viewer's "sync" channel is open.
    pub channel: bool,
    /// It has asked for the picture: until then it is not worth a line in the log, of which a crowd could make thousands.
    pub is_logged: bool,
}

/// What the lounge wants of the task that serves a seat.
pub enum Order {
    End(ByeReason),
    /// Too many messages wait for its socket.
    Behind,
    /// Another socket has come for the seat; it gets the viewer.
    HandOver(oneshot::Sender<Call>),
}

/// What the task that serves a seat holds.
pub struct Place {
    pub seat: SeatId,
    pub(super) epoch: u64,
    pub texts: mpsc::Receiver<Utf8Bytes>,
    pub orders: mpsc::Receiver<Order>,
    lounge: Arc<Lounge>,
}

impl Drop for Place {
    /// For a task that was cut off; one that ran to its end has said so before.
    fn drop(&mut self) {
        self.lounge.part(self.seat, self.epoch);
    }
}

impl Line {
    /// What is known of the seat goes on; the older task is asked for the viewer it holds.
    fn follow(&mut self, older: Line) -> Option<oneshot::Receiver<Call>> {
        (self.viewer, self.channel, self.is_logged) = (older.viewer, older.channel, older.is_logged);
        let (give, call) = oneshot::channel();
        older.orders.try_send(Order::HandOver(give)).is_ok().then_some(call)
    }

    /// False: it did not take what it was sent, and has lost its socket.
    fn send(&mut self, door: &dyn ViewerDoor, prefers_channel: bool, text: &Utf8Bytes) -> bool {
        let by_channel = self.viewer.filter(|_| self.channel && (prefers_channel || self.texts.is_none()));
        if by_channel.is_some_and(|viewer| door.send(viewer, text.to_string())) {
            return true;
        }
        let Some(texts) = &self.texts else { return true };
        if let Err(mpsc::error::TrySendError::Full(_)) = texts.try_send(text.clone()) {
            self.texts = None;
            let _ = self.orders.try_send(Order::Behind);
            return false;
        }
        true
    }
}

impl Lounge {
    /// The line of a seat, in the place of an older one.
    pub(super) fn open_line(
        self: &Arc<Self>,
        inner: &mut Inner,
        seat: SeatId,
        talks: bool,
    ) -> (Place, Option<oneshot::Receiver<Call>>) {
        inner.last_epoch += 1;
        let epoch = inner.last_epoch;
        let (text_in, texts) = mpsc::channel(self.texts);
        let (order_in, orders) = mpsc::channel(ORDERS);
        let texts_in = talks.then_some(text_in);
        let mut line =
            Line { epoch, texts: texts_in, orders: order_in, viewer: None, channel: false, is_logged: false };
        let older = inner.lines.remove(&seat).and_then(|older| line.follow(older));
        inner.lines.insert(seat, line);
        (Place { seat, epoch, texts, orders, lounge: self.clone() }, older)
    }

    pub(super) fn tell(&self, inner: &mut Inner, to: SeatId, told: &Told) {
        if matches!(told, Told::Relay { .. }) {
            self.counts.relayed.inc();
        }
        if let Some(line) = inner.lines.get_mut(&to) {
            self.send(line, told.prefers_channel(), &Utf8Bytes::from(told.to_json()));
        }
    }

    pub(super) fn tell_all(&self, inner: &mut Inner, told: &Told, but: Option<SeatId>) {
        if matches!(told, Told::Chat(_)) {
            self.counts.chat_lines.inc();
        }
        let text = Utf8Bytes::from(told.to_json());
        for (seat, line) in &mut inner.lines {
            if Some(*seat) != but {
                self.send(line, told.prefers_channel(), &text);
            }
        }
    }

    fn send(&self, line: &mut Line, prefers_channel: bool, text: &Utf8Bytes) {
        if !line.send(&*self.door, prefers_channel, text) {
            self.counts.behind.inc();
        }
    }

    /// On the data channel a message came by.
    pub(super) fn answer(&self, place: &Place, message: &Message) {
        let inner = self.inner();
        if let Some(viewer) = inner.lines.get(&place.seat).and_then(|line| line.viewer) {
            self.door.send(viewer, message.to_json());
        }
    }
}
