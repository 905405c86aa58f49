//! What an answer is made with, gathered at the moment it is made: interfaces come and go, and so do mappings.
//!
//! Must never wait: what is not known yet is left out.

use crate::config::ExtraAddress;
use crate::output::NatKind;
use crate::output::webrtc::negotiation::Terms;
use crate::output::webrtc::network::SharedNetwork;
use crate::output::webrtc::reach::{Reach, own_addresses};
use crate::stream::Stream;
use crate::units::Micros;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub struct Reacher {
    pub bind: IpAddr,
    pub extra: Vec<ExtraAddress>,
    pub udp_port: u16,
    pub tcp_port: Option<u16>,
    pub network: SharedNetwork,
    pub stream: Arc<dyn Stream>,
}

impl Reacher {
    pub fn terms(&self) -> Terms {
        let reach = Reach::new(own_addresses(self.bind), &self.extra, self.udp_port, self.tcp_port);
        let public = self.network.read().found.public;
        Terms { reach: reach.with_reflexive(&public), profile_level_id: self.stream.profile_level_id() }
    }

    pub fn nat(&self) -> NatKind {
        self.network.read().found.nat
    }

    /// How long an answer should be put off to have all in it.
    pub fn worth_waiting(&self, now: Micros) -> Option<Duration> {
        self.network.read().worth_waiting(now)
    }
}
