//! How packets to viewers may be encrypted (SRTP protection profiles), and which of them suits a processor.

use crate::cpu::Cpu;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpProfile {
    /// AES_CM_128_HMAC_SHA1_80: counter mode and SHA-1. Every WebRTC peer has it (RFC 8827 section 6.5).
    Cm,
    /// AEAD_AES_128_GCM.
    Gcm,
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

    pub fn named(name: &str) -> Option<SrtpProfile> {
        SrtpProfile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The cheaper one: without instructions for it GCM costs more than twice as much.
    pub fn cheaper_on(cpu: &Cpu) -> SrtpProfile {
        if cpu.has_gcm() { SrtpProfile::Gcm } else { SrtpProfile::Cm }
    }
}

/// What is taken from viewers, given the board's order (empty: unknown). Of two that both sides have, DTLS lets the
/// browser choose, and some choose GCM: where that is the dear one it is not taken at all.
pub fn taken(order: &[SrtpProfile], cpu: &Cpu) -> Vec<SrtpProfile> {
    match order.first().copied().unwrap_or_else(|| SrtpProfile::cheaper_on(cpu)) {
        SrtpProfile::Cm => vec![SrtpProfile::Cm],
        SrtpProfile::Gcm => vec![SrtpProfile::Gcm, SrtpProfile::Cm],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_decides_and_where_it_is_unknown_the_processor() {
        let (bare, with_aes) = (Cpu::default(), Cpu { aes: true, pmull: true, ..Cpu::default() });
        let (cm, gcm) = (SrtpProfile::Cm, SrtpProfile::Gcm);
        assert_eq!(taken(&[], &bare), [cm]);
        assert_eq!(taken(&[], &with_aes), [gcm, cm]);
        assert_eq!(taken(&[cm, gcm], &with_aes), [cm]);
        assert_eq!(taken(&[gcm, cm], &bare), [gcm, cm]);
    }

    #[test]
    fn what_every_peer_must_have_is_always_taken() {
        for order in [vec![], vec![SrtpProfile::Cm], vec![SrtpProfile::Gcm]] {
            assert!(taken(&order, &Cpu::default()).contains(&SrtpProfile::Cm), "{order:?}");
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
