//! Which board this is, and whether its 3A service runs and the vendor's application does not.
//!
//! Pure. Input: the profile, the device tree's names, the names of the processes.

use super::Finding;
use crate::config::board::Profile;

const GROUP: &str = "board";

pub struct Facts<'a> {
    pub profile: &'a Profile,
    /// `auto`, or what the user said.
    pub choice: &'a str,
    /// From the device tree; empty where there is none.
    pub compatible: Vec<String>,
    /// As in /proc/PID/comm.
    pub processes: Vec<String>,
    /// Of this program, as in `std::env::consts::ARCH`.
    pub architecture: &'static str,
    /// The version of the C library.
    pub glibc: Option<String>,
}

pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![which(facts)];
    findings.extend(verified(facts.profile));
    findings.extend(program(facts));
    findings.extend(glibc(facts));
    findings.extend(three_a(facts));
    findings.extend(vendor_app(facts));
    findings
}

fn which(facts: &Facts) -> Finding {
    let tree = if facts.compatible.is_empty() { "no device tree".into() } else { facts.compatible.join(", ") };
    if facts.profile.name.is_empty() {
        let what = format!("no profile for this machine ({tree}); the built-in defaults are used");
        return Finding::warn(GROUP, what, "set board = \"...\" to the profile of a similar board");
    }
    let how = if facts.choice == "auto" { format!("found by: {tree}") } else { "set by board".into() };
    Finding::ok(GROUP, format!("{}, {how}", facts.profile))
}

fn verified(profile: &Profile) -> Option<Finding> {
    // an emulator and a PC are what the tests run on
    let is_board = profile.is_one_board() && profile.name != "qemu-virt";
    (is_board && !profile.is_verified()).then(|| {
        let what = format!("nobody has verified this profile on hardware yet ({})", profile.status.notes);
        Finding::warn(GROUP, what, "if something below is wrong, set it in rtcam.toml and tell us")
    })
}

/// A board whose processor runs programs of two kinds may have the slower one.
fn program(facts: &Facts) -> Option<Finding> {
    let target = &facts.profile.build.target;
    (!target.is_empty() && !target.starts_with(facts.architecture)).then(|| {
        let what = format!("this program is for {}; the one made for this board is for {target}", facts.architecture);
        Finding::warn(GROUP, what, "install that one, unless this system runs only programs of this kind")
    })
}

fn glibc(facts: &Facts) -> Option<Finding> {
    let (has, known) = (facts.glibc.as_ref()?, &facts.profile.build.glibc);
    let numbers = |version: &str| version.split('.').map_while(|part| part.parse().ok()).collect::<Vec<u32>>();
    if numbers(has) >= numbers(known) {
        return Some(Finding::ok(GROUP, format!("glibc {has}")));
    }
    let what = format!("glibc {has} is older than that of any such board we know ({known})");
    Some(Finding::warn(GROUP, what, "is this the right profile? rtcam is not tested with such a system"))
}

fn running<'a>(facts: &'a Facts, names: &'a [String]) -> Option<&'a String> {
    names.iter().find(|name| facts.processes.contains(name))
}

fn three_a(facts: &Facts) -> Option<Finding> {
    let names = &facts.profile.startup.three_a;
    if names.is_empty() {
        return None;
    }
    Some(match running(facts, names) {
        Some(name) => Finding::ok(GROUP, format!("the 3A service {name} runs (exposure, white balance)")),
        None => {
            let what =
                format!("no 3A service runs ({}): the board's own camera will be dark or green", names.join(", "));
            Finding::warn(GROUP, what, format!("start {}; with a USB camera none is needed", names[0]))
        }
    })
}

fn vendor_app(facts: &Facts) -> Option<Finding> {
    let name = running(facts, &facts.profile.startup.vendor_apps)?;
    let stop = &facts.profile.startup.vendor_stop;
    let how = if stop.is_empty() { format!("stop {name}") } else { format!("run {stop}") };
    let advice = format!("{how}, and keep it from starting at boot; leave the 3A service running");
    Some(Finding::warn(GROUP, format!("the vendor's application {name} runs and holds camera and encoder"), advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::board::BOARDS;
    use crate::doctor::Level;

    fn profile(name: &str) -> Profile {
        BOARDS.iter().find(|board| board.name == name).expect("a board").profile().expect("a good profile")
    }

    fn judged(profile: &Profile, processes: &[&str]) -> Vec<Finding> {
        let processes = processes.iter().map(|name| name.to_string()).collect();
        let compatible = vec!["rockchip,rv1126".into()];
        judge(&Facts {
            profile,
            choice: "auto",
            compatible,
            processes,
            architecture: "arm",
            glibc: Some("2.28".into()),
        })
    }

    fn says(findings: &[Finding], level: Level, part: &str) -> bool {
        findings.iter().any(|finding| finding.level == level && finding.what.contains(part))
    }

    #[test]
    fn the_3a_service_is_missed_and_the_vendors_application_found() {
        let rv1126 = profile("rv1126");
        let stock = judged(&rv1126, &["init", "ispserver", "mediaserver"]);
        assert!(says(&stock, Level::Ok, "3A service ispserver runs"), "{stock:?}");
        assert!(says(&stock, Level::Warn, "application mediaserver runs"), "{stock:?}");
        assert!(stock.iter().any(|f| f.advice.as_ref().is_some_and(|a| a.contains("/oem/RkLunch-stop.sh"))));
        let bare = judged(&rv1126, &["init"]);
        assert!(says(&bare, Level::Warn, "dark or green") && !says(&bare, Level::Warn, "application"), "{bare:?}");
    }

    #[test]
    fn the_program_of_another_kind_and_an_old_c_library_are_told() {
        let rv1126 = profile("rv1126");
        assert!(says(&judged(&rv1126, &[]), Level::Ok, "glibc 2.28"));
        let facts = |architecture, glibc: &str| {
            let compatible = vec!["rockchip,rv1126".into()];
            let glibc = Some(glibc.to_owned());
            judge(&Facts { profile: &rv1126, choice: "auto", compatible, processes: vec![], architecture, glibc })
        };
        assert!(says(&facts("arm", "2.4"), Level::Warn, "glibc 2.4 is older"), "as numbers, not as text");
        assert!(says(&facts("arm", "2.36.9000"), Level::Ok, "glibc 2.36.9000"));
        assert!(!says(&facts("arm", "2.36"), Level::Warn, "the one made for this board"));
        let other = facts("aarch64", "2.36");
        assert!(
            says(&other, Level::Warn, "the one made for this board is for armv7-unknown-linux-gnueabihf"),
            "{other:?}"
        );
    }

    #[test]
    fn an_unverified_board_is_called_so_and_a_pc_is_not() {
        assert!(says(&judged(&profile("rv1126"), &[]), Level::Warn, "verified"));
        assert!(!says(&judged(&profile("pc"), &[]), Level::Warn, "verified"));
        assert!(says(&judged(&Profile::default(), &[]), Level::Warn, "no profile"));
    }
}
