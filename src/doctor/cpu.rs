//! What the processor can do, and which SRTP profile is the cheaper one on it.
//!
//! Pure. Input: /proc/cpuinfo. Nothing is measured here: the choice follows from the instructions alone.

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

/// The SRTP profile that costs less on this processor.
pub fn cheaper_srtp(cpu: &Cpu) -> &'static str {
    if cpu.aes && cpu.pmull { "AEAD_AES_128_GCM" } else { "AES_CM_128_HMAC_SHA1_80" }
}

pub fn judge(cpu: &Cpu) -> Vec<Finding> {
    let yes_no = |has: bool| if has { "yes" } else { "no" };
    let what = format!(
        "{} cores, SIMD {}, AES instructions {}: {} is the cheaper SRTP profile here (by these instructions, not measured)",
        cpu.cores,
        yes_no(cpu.simd),
        yes_no(cpu.aes && cpu.pmull),
        cheaper_srtp(cpu)
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
        assert_eq!(cheaper_srtp(&cpu), "AES_CM_128_HMAC_SHA1_80");
        assert!(judge(&cpu)[0].what.contains("AES_CM_128_HMAC_SHA1_80"));
    }

    #[test]
    fn with_aes_and_polynomial_multiplication_gcm_is_cheaper() {
        for text in [
            "processor : 0\nFeatures : fp asimd evtstrm aes pmull sha1 sha2 crc32\n",
            "processor\t: 0\nflags\t\t: fpu sse2 pclmulqdq aes avx\n",
        ] {
            assert_eq!(cheaper_srtp(&parse(text)), "AEAD_AES_128_GCM", "{text}");
        }
        assert_eq!(cheaper_srtp(&parse("processor : 0\nFeatures : asimd aes\n")), "AES_CM_128_HMAC_SHA1_80");
    }

    #[test]
    fn one_core_without_a_feature_is_enough_to_lack_it() {
        let text = "processor : 0\nFeatures : asimd aes pmull\nprocessor : 1\nFeatures : asimd\n";
        assert_eq!(parse(text), Cpu { cores: 2, aes: false, pmull: false, simd: true });
        assert_eq!(parse("nothing known"), Cpu::default());
    }
}
