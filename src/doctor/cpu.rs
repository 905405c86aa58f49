//! What the processor can do, and which SRTP profile is the cheaper one on it.
//!
//! Pure. Input: the processor, and what encrypting a packet was measured to cost.

use super::Finding;
use crate::cpu::Cpu;
use crate::media::srtp::{self, SrtpProfile};

const GROUP: &str = "cpu";

/// CPU time to encrypt one full packet for one viewer, microseconds.
#[derive(Clone, Copy, Debug)]
pub struct SrtpCost {
    pub cm_us: f64,
    pub gcm_us: f64,
}

/// The SRTP profile that costs less on this processor, and how we know.
fn cheaper_srtp(cpu: &Cpu, measured: Option<SrtpCost>) -> (SrtpProfile, String) {
    match measured {
        Some(SrtpCost { cm_us, gcm_us }) => {
            let how = format!("measured per packet: AES-CM {cm_us:.1} us, AES-GCM {gcm_us:.1} us");
            (if gcm_us < cm_us { SrtpProfile::Gcm } else { SrtpProfile::Cm }, how)
        }
        None => (SrtpProfile::cheaper_on(cpu), "by these instructions, not measured".into()),
    }
}

/// `order`: what the board's profile says; empty: the processor decides.
pub fn judge(cpu: &Cpu, measured: Option<SrtpCost>, order: &[SrtpProfile]) -> Vec<Finding> {
    let yes_no = |has: bool| if has { "yes" } else { "no" };
    let (profile, how) = cheaper_srtp(cpu, measured);
    let (simd, aes) = (yes_no(cpu.simd), yes_no(cpu.has_gcm()));
    let what = format!(
        "{} cores, SIMD {simd}, AES instructions {aes}; the cheaper SRTP profile: {} ({how})",
        cpu.cores,
        profile.name()
    );
    let mut findings = vec![Finding::ok(GROUP, what)];
    findings.extend(judge_choice(profile, srtp::taken(order, cpu)[0], measured));
    if !cpu.simd {
        let advice = "use the profile of a board with NEON, or a smaller picture";
        findings.push(Finding::warn(GROUP, "no SIMD instructions seen: encoding in software will be slow", advice));
    }
    findings
}

/// What rtcam takes when that is clearly not the cheaper one.
fn judge_choice(cheaper: SrtpProfile, first: SrtpProfile, measured: Option<SrtpCost>) -> Option<Finding> {
    let SrtpCost { cm_us, gcm_us } = measured?;
    // close together on a busy machine says nothing
    if cheaper == first || cm_us.max(gcm_us) < 1.3 * cm_us.min(gcm_us) {
        return None;
    }
    let what = format!("viewers get {} by this board's profile, and {} is cheaper here", first.name(), cheaper.name());
    Some(Finding::warn(GROUP, what, "set board to a profile that fits, and tell us these figures"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    const NEON: Cpu = Cpu { cores: 2, aes: false, pmull: false, simd: true };

    #[test]
    fn the_processor_tells_the_cheaper_profile() {
        assert!(judge(&NEON, None, &[])[0].what.contains("AES_CM_128_HMAC_SHA1_80"));
        let with_aes = Cpu { aes: true, pmull: true, ..NEON };
        assert!(judge(&with_aes, None, &[])[0].what.contains("AEAD_AES_128_GCM"));
    }

    #[test]
    fn what_was_measured_counts_more_than_instructions() {
        assert_eq!(cheaper_srtp(&NEON, Some(SrtpCost { cm_us: 90.0, gcm_us: 60.0 })).0, SrtpProfile::Gcm);
        let findings = judge(&NEON, Some(SrtpCost { cm_us: 60.0, gcm_us: 132.04 }), &[]);
        assert!(
            findings[0]
                .what
                .ends_with(": AES_CM_128_HMAC_SHA1_80 (measured per packet: AES-CM 60.0 us, AES-GCM 132.0 us)")
        );
    }

    #[test]
    fn a_profile_that_takes_the_dear_one_is_told() {
        let levels = |cm_us, gcm_us, order: &[SrtpProfile]| -> Vec<Level> {
            let findings = judge(&NEON, Some(SrtpCost { cm_us, gcm_us }), order);
            findings.iter().map(|finding| finding.level).collect()
        };
        assert_eq!(levels(60.0, 130.0, &[SrtpProfile::Gcm, SrtpProfile::Cm]), [Level::Ok, Level::Warn]);
        assert_eq!(levels(60.0, 130.0, &[SrtpProfile::Cm]), [Level::Ok]);
        assert_eq!(levels(60.0, 70.0, &[SrtpProfile::Gcm]), [Level::Ok], "nearly the same");
    }
}
