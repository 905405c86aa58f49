//! How packets to viewers may be encrypted (SRTP protection profiles), and which of them suits a machine.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpProfile {
    /// AES_CM_128_HMAC_SHA1_80: counter mode and SHA-1. Every WebRTC peer has it (RFC 8827 section 6.5).
    Cm,
    /// AEAD_AES_128_GCM.
    Gcm,
}

/// CPU time to encrypt one full packet for one viewer, microseconds.
#[derive(Clone, Copy, Debug)]
pub struct SrtpCost {
    pub cm_us: f64,
    pub gcm_us: f64,
}

impl SrtpProfile {
    pub const ALL: [SrtpProfile; 2] = [SrtpProfile::Cm, SrtpProfile::Gcm];

    /// As in IANA's registry.
    pub fn name(self) -> &'static str {
        match self {
            SrtpProfile::Cm => "AES_CM_128_HMAC_SHA1_80",
            SrtpProfile::Gcm => "AEAD_AES_128_GCM",
        }
    }

    /// As on the wire (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
    pub fn number(self) -> u16 {
        match self {
            SrtpProfile::Cm => 1,
            SrtpProfile::Gcm => 7,
        }
    }

    pub fn named(name: &str) -> Option<SrtpProfile> {
        SrtpProfile::ALL.into_iter().find(|profile| profile.name() == name)
    }
}

impl SrtpCost {
    pub fn cheaper(&self) -> SrtpProfile {
        if self.gcm_us < self.cm_us { SrtpProfile::Gcm } else { SrtpProfile::Cm }
    }
}

impl std::fmt::Display for SrtpCost {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "measured per packet: AES-CM {:.1} us, AES-GCM {:.1} us", self.cm_us, self.gcm_us)
    }
}

/// What is taken from viewers, the best first: as the board's profile orders it, else (an empty order) by what was
/// measured. Where GCM is the dear one it is not taken at all: every peer has the other.
pub fn taken(order: &[SrtpProfile], measured: Option<SrtpCost>) -> Vec<SrtpProfile> {
    match order.first().copied().or(measured.map(|cost| cost.cheaper())) {
        Some(SrtpProfile::Cm) => vec![SrtpProfile::Cm],
        Some(SrtpProfile::Gcm) | None => vec![SrtpProfile::Gcm, SrtpProfile::Cm],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CM: SrtpProfile = SrtpProfile::Cm;
    const GCM: SrtpProfile = SrtpProfile::Gcm;

    #[test]
    fn the_board_decides_and_where_it_is_silent_the_measurement() {
        let dear_gcm = Some(SrtpCost { cm_us: 60.0, gcm_us: 132.0 });
        let dear_cm = Some(SrtpCost { cm_us: 120.0, gcm_us: 70.0 });
        assert_eq!(taken(&[], dear_gcm), [CM]);
        assert_eq!(taken(&[], dear_cm), [GCM, CM]);
        assert_eq!(taken(&[CM, GCM], dear_cm), [CM]);
        assert_eq!(taken(&[GCM, CM], dear_gcm), [GCM, CM]);
    }

    #[test]
    fn what_every_peer_must_have_is_always_taken() {
        for order in [vec![], vec![CM], vec![GCM]] {
            assert!(taken(&order, None).contains(&CM), "{order:?}");
        }
    }

    #[test]
    fn names_lead_back() {
        for profile in SrtpProfile::ALL {
            assert_eq!(SrtpProfile::named(profile.name()), Some(profile));
        }
        assert_eq!(SrtpProfile::named("AES_CM_128_HMAC_SHA1_32"), None);
    }
}
