//! What encrypting packets costs on this machine, and the choice that follows from it.
//!
//! Processors differ by more than ten times, and no list of instructions tells: the library's code for them counts too.
//! Must never touch a viewer's keys: it encrypts a packet of its own.

use crate::clock::thread_cpu;
use crate::error::{Error, ErrorKind, Result};
use crate::media::srtp::{SrtpCost, SrtpProfile, taken};
use crate::output::webrtc::MAX_PAYLOAD;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::peer_connection::RTCPeerConnection;
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use rtc::statistics::StatsSelector;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// About 15 ms in all on the slowest board.
const BATCH: u32 = 8;
const BATCHES: u32 = 6;

/// What DTLS may agree on, the best first. `order`: the board's; empty: measured here.
pub fn choose(order: &[SrtpProfile]) -> Vec<SrtpProfile> {
    let measured = if order.is_empty() { measure().ok() } else { None };
    let taken = taken(order, measured);
    let names: Vec<&str> = taken.iter().map(|profile| profile.name()).collect();
    let why = measured.map_or_else(|| "by the board's profile".into(), |cost| cost.to_string());
    tracing::debug!("webrtc: packets are encrypted with {} ({why})", names.join(", else "));
    taken
}

pub fn in_dtls(profile: SrtpProfile) -> SrtpProtectionProfile {
    match profile {
        SrtpProfile::Cm => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        SrtpProfile::Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    }
}

/// What both sides agreed on; None before that.
pub fn agreed(now: Instant, connection: &mut RTCPeerConnection) -> Option<SrtpProfile> {
    let report = connection.get_stats(now, StatsSelector::None);
    match report.transport()?.srtp_cipher.as_str() {
        "SRTP_AES128_CM_HMAC_SHA1_80" => Some(SrtpProfile::Cm),
        "SRTP_AEAD_AES_128_GCM" => Some(SrtpProfile::Gcm),
        _ => None,
    }
}

/// The least of some batches: what others do on this machine only adds.
fn measure() -> Result<SrtpCost> {
    let cost = |profile| -> Result<f64> {
        let mut sealing = Sealing::new(profile)?;
        sealing.seal(BATCH);
        let mut least = Duration::MAX;
        for _ in 0..BATCHES {
            let started = thread_cpu();
            sealing.seal(BATCH);
            least = least.min(thread_cpu() - started);
        }
        Ok(least.as_secs_f64() * 1e6 / f64::from(BATCH))
    };
    Ok(SrtpCost { cm_us: cost(SrtpProfile::Cm)?, gcm_us: cost(SrtpProfile::Gcm)? })
}

/// One full packet, encrypted again and again.
pub struct Sealing {
    context: Context,
    packet: Vec<u8>,
    sequence: u16,
}

impl Sealing {
    pub fn new(profile: SrtpProfile) -> Result<Sealing> {
        let internal = |cause: &dyn std::fmt::Debug| Error::new(ErrorKind::Internal, format!("SRTP: {cause:?}"));
        let provider = rtc::crypto::default_provider().map_err(|cause| internal(&cause))?;
        let in_srtp = match profile {
            SrtpProfile::Cm => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpProfile::Gcm => ProtectionProfile::AeadAes128Gcm,
        };
        let (key, salt) = (vec![7; in_srtp.key_len()], vec![9; in_srtp.salt_len()]);
        let context = Context::new(&key, &salt, in_srtp, None, None, provider.crypto());
        let mut packet = vec![0x55; 12 + MAX_PAYLOAD];
        packet[..12].copy_from_slice(&[0x80, 102, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        Ok(Sealing { context: context.map_err(|cause| internal(&cause))?, packet, sequence: 0 })
    }

    pub fn seal(&mut self, packets: u32) {
        for _ in 0..packets {
            self.sequence = self.sequence.wrapping_add(1);
            self.packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
            drop(black_box(self.context.encrypt_rtp(&self.packet)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_measured_and_the_choice_has_what_every_peer_has() {
        let cost = measure().expect("it measures");
        assert!(cost.cm_us > 0.0 && cost.gcm_us > 0.0, "{cost}");
        assert!(choose(&[]).contains(&SrtpProfile::Cm));
        assert_eq!(choose(&[SrtpProfile::Gcm, SrtpProfile::Cm])[0], SrtpProfile::Gcm);
    }

    #[test]
    fn the_core_has_the_same_numbers() {
        for profile in SrtpProfile::ALL {
            assert_eq!(SrtpProtectionProfile::from(profile.number()), in_dtls(profile));
        }
    }
}
