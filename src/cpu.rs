//! What of the processor matters to us: SIMD for pictures, AES for packets.
//!
//! Pure but for `Cpu::this`, which reads /proc/cpuinfo. Must never execute an instruction to see whether it is there.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    pub cores: usize,
    pub aes: bool,
    /// Polynomial multiplication, which GCM needs besides AES.
    pub pmull: bool,
    pub simd: bool,
}

impl Cpu {
    pub fn this() -> Cpu {
        Cpu::parse(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
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

    /// Whether AES-GCM runs on instructions of its own. As a 32-bit ARM program never: our cipher library has no code
    /// for them there.
    pub fn has_gcm(&self) -> bool {
        !cfg!(target_arch = "arm") && self.aes && self.pmull
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cortex_a7_has_neon_and_no_aes() {
        let text = "processor\t: 0\nmodel name\t: ARMv7 Processor rev 5 (v7l)\nFeatures\t: half thumb fastmult vfp edsp \
                    neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm\n\nprocessor\t: 1\nFeatures\t: half neon \
                    vfpv4\n\nHardware\t: Generic DT based system\n";
        assert_eq!(Cpu::parse(text), Cpu { cores: 2, aes: false, pmull: false, simd: true });
    }

    #[test]
    fn gcm_needs_aes_and_polynomial_multiplication() {
        for (text, gcm) in [
            ("processor : 0\nFeatures : fp asimd evtstrm aes pmull sha1 sha2 crc32\n", true),
            ("processor\t: 0\nflags\t\t: fpu sse2 pclmulqdq aes avx\n", true),
            ("processor : 0\nFeatures : asimd aes\n", false),
        ] {
            assert_eq!(Cpu::parse(text).has_gcm(), gcm, "{text}");
        }
    }

    #[test]
    fn one_core_without_a_feature_is_enough_to_lack_it() {
        let text = "processor : 0\nFeatures : asimd aes pmull\nprocessor : 1\nFeatures : asimd\n";
        assert_eq!(Cpu::parse(text), Cpu { cores: 2, aes: false, pmull: false, simd: true });
        assert_eq!(Cpu::parse("nothing known"), Cpu::default());
    }
}
