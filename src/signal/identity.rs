//! Who somebody is, as far as access knows: what a request's credentials prove.
//!
//! Owns no credential. Made by `http` (gate) for each request that passed, read by the room.

use crate::config::Role;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name they logged in with, or the one on their link. Empty: they choose one themselves.
    pub name: String,
    /// What they may do when they come in; a host of the room may change it while they stay.
    pub role: Role,
    pub proof: Proof,
}

/// What they came in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Nothing: access is open.
    None,
    /// The one shared password.
    Password,
    /// A name and its password.
    User,
    /// A signed link, by its id; revoking it ends their stay.
    Link(String),
}

impl Identity {
    /// Somebody in a daemon that asks nobody: on loopback, everybody is at home.
    pub fn at_home() -> Identity {
        Identity { name: String::new(), role: Role::Host, proof: Proof::None }
    }
}
