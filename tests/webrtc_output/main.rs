//! The WebRTC output against a real peer over loopback: pictures, joins, leaves, bad offers, hostile datagrams.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code)]
mod bars;
mod door;
mod network;
mod offers;
mod pictures;
#[path = "../receiver/mod.rs"]
mod receiver;
mod tcp;
