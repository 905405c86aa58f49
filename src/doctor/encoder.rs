//! Which encoders really open, and whether the one that will be taken can keep up.
//!
//! Pure. Input: one attempt to open each backend for the configured picture.

use super::Finding;
use crate::config::board::Profile;
use crate::media::h264;
use crate::units::{FrameRate, KbitPerSec, Size};

const GROUP: &str = "encoder";
pub const SOFTWARE: &str = "openh264";
/// What small ARM processors encode in software at a usable rate.
const SMALL: Size = Size { width: 640, height: 480 };

pub struct Facts<'a> {
    pub profile: &'a Profile,
    /// As in `std::env::consts::ARCH`.
    pub architecture: &'static str,
    pub size: Size,
    pub rate: FrameRate,
    pub bitrate: KbitPerSec,
    /// `auto` or a name.
    pub wanted: &'a str,
    /// Each backend of this build in its order, with the reason where it does not open.
    pub backends: Vec<Attempt>,
    /// Of those the profile names, the device nodes that are there.
    pub devices: Vec<String>,
}

type Attempt = (&'static str, Option<String>);

impl Facts<'_> {
    /// The backend that would encode.
    pub fn taken(&self) -> Option<&'static str> {
        let attempts = match self.wanted {
            "auto" => self.in_order(),
            named => self.backends.iter().filter(|(name, _)| *name == named).collect(),
        };
        attempts.into_iter().find(|(_, why)| why.is_none()).map(|(name, _)| *name)
    }

    /// What `auto` tries, as the board's profile orders it.
    fn in_order(&self) -> Vec<&Attempt> {
        let order = &self.profile.encoder.backends;
        if order.is_empty() {
            return self.backends.iter().collect();
        }
        order.iter().filter_map(|wanted| self.backends.iter().find(|(name, _)| name == wanted)).collect()
    }
}

pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.backends.iter().map(|backend| judge_backend(facts, backend)).collect();
    match facts.taken() {
        None => findings.push(Finding::bad(
            GROUP,
            format!("no encoder opens for {} (encoder.backend = {:?})", facts.size, facts.wanted),
            "set encoder.backend = \"auto\", and a size that is even and at least 16x16",
        )),
        Some(name) => findings.extend(judge_taken(facts, name)),
    }
    findings
}

fn judge_backend(facts: &Facts, (name, why): &Attempt) -> Finding {
    match why {
        None => Finding::ok(GROUP, format!("{name} opens for {}", facts.size)),
        // the profile says that this very board should have it
        Some(why)
            if facts.profile.is_one_board() && facts.profile.encoder.backends.iter().any(|known| known == name) =>
        {
            let there = match facts.devices.as_slice() {
                [] => "none of its device nodes is there".into(),
                devices => format!("of its device nodes there are {}", devices.join(", ")),
            };
            let advice =
                "install the vendor's encoder library, and see that rtcam's user may use the nodes (group video)";
            Finding::warn(GROUP, format!("{name} does not open: {why}; {there}"), advice)
        }
        Some(why) => Finding::ok(GROUP, format!("{name} is not for this machine: {why}")),
    }
}

fn judge_taken(facts: &Facts, name: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_big = facts.size.width * facts.size.height > SMALL.width * SMALL.height;
    if name == SOFTWARE && is_big && ["arm", "aarch64"].contains(&facts.architecture) {
        findings.push(Finding::warn(
            GROUP,
            format!("{} in software is much for an ARM processor: fewer pictures a second than asked for", facts.size),
            format!(
                "set camera.width = {} and camera.height = {}, or make the hardware encoder work",
                SMALL.width, SMALL.height
            ),
        ));
    }
    if name != SOFTWARE {
        findings.extend(judge_bitrate(facts));
        findings.push(judge_level(facts, name));
    }
    findings
}

fn judge_bitrate(facts: &Facts) -> Option<Finding> {
    let known = facts.profile.bitrates();
    // of a machine without a profile nothing is known
    (*known.end() > 0 && !known.contains(&facts.bitrate.0)).then(|| {
        let what = format!("{} is outside of what this board's encoder is known to take", facts.bitrate);
        Finding::warn(GROUP, what, format!("set encoder.bitrate_kbps to {known:?}"))
    })
}

fn judge_level(facts: &Facts, name: &str) -> Finding {
    let level = h264::level_for(facts.size, facts.rate);
    let text = |level: u8| format!("{}.{}", level / 10, level % 10);
    match facts.profile.highest_level().filter(|highest| level > *highest) {
        None => Finding::ok(GROUP, format!("{name} is asked for constrained baseline, level {}", text(level))),
        Some(highest) => Finding::warn(
            GROUP,
            format!(
                "{} at {} is H.264 level {}; this board's encoder is known to reach {}",
                facts.size,
                facts.rate,
                text(level),
                text(highest)
            ),
            "set a smaller camera.width and camera.height, or a lower camera.fps",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::board::BOARDS;
    use crate::doctor::{Level, can_stream};

    fn judged(wanted: &str, architecture: &'static str, size: (u32, u32), mpp: Option<&str>) -> Vec<Finding> {
        let profile = BOARDS[0].profile().expect("rv1126");
        let backends = vec![("mpp", mpp.map(str::to_owned)), ("openh264", None)];
        let size = Size { width: size.0, height: size.1 };
        let (rate, bitrate) = (FrameRate::per_second(30), KbitPerSec(2500));
        judge(&Facts { profile: &profile, architecture, size, rate, bitrate, wanted, backends, devices: vec![] })
    }

    fn worst(findings: &[Finding]) -> Level {
        findings.iter().map(|finding| finding.level).max().expect("there is always one")
    }

    #[test]
    fn a_hardware_encoder_that_does_not_open_is_told_and_software_streams() {
        let findings = judged("auto", "arm", (640, 480), Some("no library"));
        assert_eq!(worst(&findings), Level::Warn);
        assert!(findings[0].what.contains("mpp does not open: no library"), "{findings:?}");
        assert_eq!(worst(&judged("auto", "arm", (640, 480), None)), Level::Ok);
    }

    #[test]
    fn software_at_720p_is_too_much_for_a_small_arm_but_not_for_a_pc() {
        let much = |architecture| {
            let findings = judged("auto", architecture, (1280, 720), Some("no library"));
            findings.iter().any(|finding| finding.what.contains("is much for"))
        };
        assert!(much("arm") && much("aarch64") && !much("x86_64"));
    }

    #[test]
    fn what_hardware_is_asked_for_is_told_and_more_than_it_is_known_to_reach_is_a_warning() {
        let says = |size, part: &str| judged("auto", "arm", size, None).iter().any(|f| f.what.contains(part));
        assert!(says((1280, 720), "mpp is asked for constrained baseline, level 3.1"));
        assert!(says((3840, 2160), "level 5.1") && !says((3840, 2160), "is known to reach"));
        assert!(says(
            (4096, 4096),
            "4096x4096 at 30 fps is H.264 level 6.2; this board's encoder is known to reach 5.1"
        ));
    }

    #[test]
    fn a_named_backend_that_does_not_open_is_bad() {
        let findings = judged("mpp", "arm", (640, 480), Some("no library"));
        assert!(!can_stream(&findings), "{findings:?}");
        assert!(can_stream(&judged("mpp", "arm", (640, 480), None)));
    }
}
