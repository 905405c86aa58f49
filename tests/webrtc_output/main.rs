//! The WebRTC output against a real peer over loopback: pictures, joins, leaves, bad offers, hostile datagrams.
#![allow(clippy::disallowed_methods)]

mod bars;
mod door;
mod joins;
mod network;
mod offers;
mod pictures;
#[path = "../receiver/mod.rs"]
mod receiver;
mod tcp;
