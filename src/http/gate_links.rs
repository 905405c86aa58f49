//! The links of the gate, as the room speaks of them.
//!
//! Owns nothing: what a link is and whether it opens is the gate's business, who may ask for one is the room's.

use super::gate::Gate;
use super::links;
use crate::clock::Clock;
use crate::config::Role;
use crate::signal::identity::Identity;
use crate::signal::room::Links;
use crate::signal::room::words::Link;
use std::time::Duration;

pub struct GateLinks {
    pub gate: Gate,
    pub clock: Clock,
}

impl GateLinks {
    fn word(&self, link: &links::Link, path: Option<String>) -> Link {
        let expires_s = link.expires_s.saturating_sub(self.clock.wall().0 / 1_000_000);
        Link { id: link.id.clone(), role: link.role, name: link.name.clone(), expires_s, path }
    }
}

impl Links for GateLinks {
    fn make(&self, role: Role, for_s: u64, name: &str) -> Result<Link, String> {
        let made = self.gate.make_link(role, Duration::from_secs(for_s), name).map_err(|error| error.to_string())?;
        Ok(self.word(&made.link, Some(made.path())))
    }

    fn list(&self) -> Result<Vec<Link>, String> {
        Ok(self.gate.links().iter().map(|link| self.word(link, None)).collect())
    }

    fn revoke(&self, id: &str) -> Result<(), String> {
        self.gate.revoke(id).then_some(()).ok_or_else(|| "there is no such link".into())
    }

    fn is_good(&self, identity: &Identity) -> bool {
        self.gate.is_still_valid(identity)
    }

    fn newly_revoked(&self) -> Vec<String> {
        self.gate.newly_ended_links()
    }
}
