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
}

pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![which(facts)];
    findings.extend(verified(facts.profile));
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
    let startup = &facts.profile.startup;
    let name = running(facts, &startup.vendor_apps)?;
    let how =
        if startup.vendor_stop.is_empty() { format!("stop {name}") } else { format!("run {}", startup.vendor_stop) };
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
        judge(&Facts { profile, choice: "auto", compatible: vec!["rockchip,rv1126".into()], processes })
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
    fn an_unverified_board_is_called_so_and_a_pc_is_not() {
        assert!(says(&judged(&profile("rv1126"), &[]), Level::Warn, "verified"));
        assert!(!says(&judged(&profile("pc"), &[]), Level::Warn, "verified"));
        assert!(says(&judged(&Profile::default(), &[]), Level::Warn, "no profile"));
    }
}
