//! The HTTP port against real sockets on loopback, with a fake viewer door and a fake stream.

#![allow(clippy::disallowed_methods)]

mod access;
mod bench;
mod canary;
mod connections;
mod page;
mod pages;
mod revoked;
mod room;
mod tls;
mod websocket;
mod whep;
