//! What the processor can do, and what encrypting packets costs on it.
//!
//! Pure. Input: /proc/cpuinfo, and what encrypting a packet was measured to cost.

use super::Finding;
use crate::media::srtp::{self, SrtpCost, SrtpProfile};

const GROUP: &str = "cpu";

/// What of the processor matters to us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    pub cores: usize,
    pub aes: bool,
    /// Polynomial multiplication, which GCM needs besides AES.
    pub pmull: bool,
    pub simd: bool,
}

/// The `Features` (ARM) or `flags` (x86) that all cores have.
pub fn parse(cpuinfo: &str) -> Cpu {
    let value = |line: &'_ str, names: &[&str]| -> Option<String> {
        let (name, value) = line.split_once(':')?;
        names.contains(&name.trim()).then(|| value.to_owned())
    };
    let lists: Vec<String> = cpuinfo.lines().filter_map(|line| value(line, &["Features", "flags"])).collect();
    let all_have = |names: &[&str]| {
        !lists.is_empty() && lists.iter().all(|list| list.split_whitespace().any(|flag| names.contains(&flag)))
    };
    Cpu {
        cores: cpuinfo.lines().filter(|line| value(line, &["processor"]).is_some()).count(),
        aes: all_have(&["aes"]),
        pmull: all_have(&["pmull", "pclmulqdq"]),
        simd: all_have(&["neon", "asimd", "sse2"]),
    }
}

/// `order`: what the board's profile says; empty: rtcam measures at start, too.
pub fn judge(cpu: &Cpu, measured: Option<SrtpCost>, order: &[SrtpProfile]) -> Vec<Finding> {
    let yes_no = |has: bool| if has { "yes" } else { "no" };
    let what =
        format!("{} cores, SIMD {}, AES instructions {}", cpu.cores, yes_no(cpu.simd), yes_no(cpu.aes && cpu.pmull));
    let mut findings = vec![Finding::ok(GROUP, what)];
    if !cpu.simd {
        let advice = "use the profile of a board with NEON, or a smaller picture";
        findings.push(Finding::warn(GROUP, "no SIMD instructions seen: encoding in software will be slow", advice));
    }
    findings.extend(measured.map(|cost| judge_srtp(cost, order)));
    findings
}

fn judge_srtp(cost: SrtpCost, order: &[SrtpProfile]) -> Finding {
    let taken = srtp::taken(order, Some(cost));
    let names: Vec<&str> = taken.iter().map(|profile| profile.name()).collect();
    let what = format!("packets are encrypted with {} ({cost})", names.join(", else "));
    // close together on a busy machine says nothing
    let clear = cost.cm_us.max(cost.gcm_us) >= 1.3 * cost.cm_us.min(cost.gcm_us);
    if order.is_empty() || taken[0] == cost.cheaper() || !clear {
        return Finding::ok(GROUP, what);
    }
    let what = format!("{what}: the board's profile says so, and {} is cheaper here", cost.cheaper().name());
    Finding::warn(GROUP, what, "set board to a profile that fits, and tell us these figures")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    const A7: &str = "processor\t: 0\nmodel name\t: ARMv7 Processor rev 5 (v7l)\nFeatures\t: half thumb fastmult vfp \
                      edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm\n\nprocessor\t: 1\nFeatures\t: half \
                      neon vfpv4\n\nHardware\t: Generic DT based system\n";

    #[test]
    fn a_cortex_a7_has_neon_and_no_aes() {
        let cpu = parse(A7);
        assert_eq!(cpu, Cpu { cores: 2, aes: false, pmull: false, simd: true });
        assert_eq!(judge(&cpu, None, &[]), [Finding::ok(GROUP, "2 cores, SIMD yes, AES instructions no")]);
    }

    #[test]
    fn features_have_other_names_on_other_processors() {
        for text in [
            "processor : 0\nFeatures : fp asimd evtstrm aes pmull sha1 sha2 crc32\n",
            "processor\t: 0\nflags\t\t: fpu sse2 pclmulqdq aes avx\n",
        ] {
            assert_eq!(parse(text), Cpu { cores: 1, aes: true, pmull: true, simd: true }, "{text}");
        }
    }

    #[test]
    fn what_was_measured_is_told_and_a_profile_that_takes_the_dear_one() {
        let (cm, gcm) = (SrtpProfile::Cm, SrtpProfile::Gcm);
        let judged = |cm_us, gcm_us, order: &[SrtpProfile]| judge_srtp(SrtpCost { cm_us, gcm_us }, order);
        let by_itself = judged(60.0, 132.04, &[]);
        let said = "packets are encrypted with AES_CM_128_HMAC_SHA1_80 (measured per packet: AES-CM 60.0 us, AES-GCM 132.0 us)";
        assert_eq!(by_itself, Finding::ok(GROUP, said));
        let either = judged(120.0, 70.0, &[]).what;
        assert!(either.contains("AEAD_AES_128_GCM, else AES_CM_128_HMAC"), "{either}");
        assert_eq!(judged(60.0, 130.0, &[gcm, cm]).level, Level::Warn);
        assert_eq!(judged(60.0, 130.0, &[cm]).level, Level::Ok);
        assert_eq!(judged(60.0, 70.0, &[gcm]).level, Level::Ok, "nearly the same");
    }

    #[test]
    fn one_core_without_a_feature_is_enough_to_lack_it() {
        let text = "processor : 0\nFeatures : asimd aes pmull\nprocessor : 1\nFeatures : asimd\n";
        assert_eq!(parse(text), Cpu { cores: 2, aes: false, pmull: false, simd: true });
        assert_eq!(parse("nothing known"), Cpu::default());
    }
}
