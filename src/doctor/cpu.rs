//! What the processor can do, and which SRTP profile is the cheaper one on it.
//!
//! Pure. Input: /proc/cpuinfo, and what encrypting a packet was measured to cost.

use super::Finding;

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

/// CPU time to encrypt one full packet for one viewer, microseconds.
#[derive(Clone, Copy, Debug)]
pub struct SrtpCost {
    pub cm_us: f64,
    pub gcm_us: f64,
}

const CM: &str = "AES_CM_128_HMAC_SHA1_80";
const GCM: &str = "AEAD_AES_128_GCM";

/// The SRTP profile that costs less on this processor, and how we know.
fn cheaper_srtp(cpu: &Cpu, measured: Option<SrtpCost>) -> (&'static str, String) {
    match measured {
        Some(SrtpCost { cm_us, gcm_us }) => {
            let how = format!("measured per packet: AES-CM {cm_us:.1} us, AES-GCM {gcm_us:.1} us");
            (if gcm_us < cm_us { GCM } else { CM }, how)
        }
        None => (if cpu.aes && cpu.pmull { GCM } else { CM }, "by these instructions, not measured".into()),
    }
}

pub fn judge(cpu: &Cpu, measured: Option<SrtpCost>) -> Vec<Finding> {
    let yes_no = |has: bool| if has { "yes" } else { "no" };
    let (profile, how) = cheaper_srtp(cpu, measured);
    let (simd, aes) = (yes_no(cpu.simd), yes_no(cpu.aes && cpu.pmull));
    let what = format!(
        "{} cores, SIMD {simd}, AES instructions {aes}; the cheaper SRTP profile: {profile} ({how})",
        cpu.cores
    );
    let mut findings = vec![Finding::ok(GROUP, what)];
    if !cpu.simd {
        let advice = "use the profile of a board with NEON, or a smaller picture";
        findings.push(Finding::warn(GROUP, "no SIMD instructions seen: encoding in software will be slow", advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const A7: &str = "processor\t: 0\nmodel name\t: ARMv7 Processor rev 5 (v7l)\nFeatures\t: half thumb fastmult vfp \
                      edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm\n\nprocessor\t: 1\nFeatures\t: half \
                      neon vfpv4\n\nHardware\t: Generic DT based system\n";

    #[test]
    fn a_cortex_a7_has_neon_and_no_aes() {
        let cpu = parse(A7);
        assert_eq!(cpu, Cpu { cores: 2, aes: false, pmull: false, simd: true });
        assert_eq!(cheaper_srtp(&cpu, None).0, CM);
        assert!(judge(&cpu, None)[0].what.contains("AES_CM_128_HMAC_SHA1_80"));
    }

    #[test]
    fn with_aes_and_polynomial_multiplication_gcm_is_cheaper() {
        for text in [
            "processor : 0\nFeatures : fp asimd evtstrm aes pmull sha1 sha2 crc32\n",
            "processor\t: 0\nflags\t\t: fpu sse2 pclmulqdq aes avx\n",
        ] {
            assert_eq!(cheaper_srtp(&parse(text), None).0, GCM, "{text}");
        }
        assert_eq!(cheaper_srtp(&parse("processor : 0\nFeatures : asimd aes\n"), None).0, CM);
    }

    #[test]
    fn what_was_measured_counts_more_than_instructions() {
        let cpu = parse(A7);
        assert_eq!(cheaper_srtp(&cpu, Some(SrtpCost { cm_us: 90.0, gcm_us: 60.0 })).0, GCM);
        let findings = judge(&cpu, Some(SrtpCost { cm_us: 60.0, gcm_us: 132.04 }));
        assert!(
            findings[0]
                .what
                .ends_with(": AES_CM_128_HMAC_SHA1_80 (measured per packet: AES-CM 60.0 us, AES-GCM 132.0 us)")
        );
    }

    #[test]
    fn one_core_without_a_feature_is_enough_to_lack_it() {
        let text = "processor : 0\nFeatures : asimd aes pmull\nprocessor : 1\nFeatures : asimd\n";
        assert_eq!(parse(text), Cpu { cores: 2, aes: false, pmull: false, simd: true });
        assert_eq!(parse("nothing known"), Cpu::default());
    }
}
