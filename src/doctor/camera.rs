//! Which cameras there are, which one rtcam would take, and who holds it.
//!
//! Pure. Input: what each video node answered.

use super::Finding;
use crate::capture::{CameraListing, NodeReport};
use crate::config::SourceChoice;

const GROUP: &str = "camera";

pub struct Facts {
    pub source: SourceChoice,
    pub nodes: Vec<NodeReport>,
    /// The path of the node that would be opened, or why there is none.
    pub chosen: Result<String, String>,
}

pub fn judge(facts: &Facts) -> Vec<Finding> {
    if matches!(facts.source, SourceChoice::Pattern | SourceChoice::File) {
        return vec![Finding::ok(GROUP, "none is needed: camera.source is not a camera")];
    }
    let mut findings: Vec<Finding> = facts.nodes.iter().map(|node| judge_node(facts, node)).collect();
    if let Err(why) = &facts.chosen {
        let advice =
            "connect a camera; is its driver in the kernel (lsusb, dmesg)? `rtcam cameras` lists what is there";
        findings.push(match facts.source {
            SourceChoice::Auto => Finding::warn(GROUP, format!("{why}: a moving pattern is shown instead"), advice),
            _ => Finding::bad(GROUP, format!("{why}: no picture"), advice),
        });
    }
    findings
}

fn judge_node(facts: &Facts, node: &NodeReport) -> Finding {
    let ours = facts.chosen.as_ref() == Ok(&node.path);
    let title = format!("{}{} ({})", node.path, if ours { ", the one rtcam takes" } else { "" }, node.name);
    let complain = |what: String, advice: &str| {
        if ours { Finding::bad(GROUP, what, advice) } else { Finding::warn(GROUP, what, advice) }
    };
    match (&node.camera, &node.holder) {
        // shown as it is, by another rtcam: that one streams
        (_, Some(holder)) if holder.starts_with("rtcam (") => {
            Finding::ok(GROUP, format!("{title}: in use by {holder}"))
        }
        (_, Some(holder)) => {
            complain(format!("{title}: held by {holder}"), "stop that program, or give rtcam another camera")
        }
        (Err(fault), None) if fault.detail.contains("group video") => {
            let advice = "add the user to the group video (usermod -aG video USER) and log in again; install.sh does it for the service";
            complain(format!("{title}: {}", fault.detail), advice)
        }
        (Err(fault), None) => {
            complain(format!("{title}: {}", fault.detail), "unplug it and plug it in again; see dmesg")
        }
        (Ok(camera), None) => judge_formats(&title, camera, ours),
    }
}

fn judge_formats(title: &str, camera: &CameraListing, ours: bool) -> Finding {
    let names = |usable: bool| {
        let of_kind = camera.formats.iter().filter(|format| format.usable == usable);
        of_kind.map(|format| format.fourcc.as_str()).collect::<Vec<_>>().join(", ")
    };
    let usable = names(true);
    match (usable.is_empty(), ours) {
        (false, _) => Finding::ok(GROUP, format!("{title}: {usable}")),
        (true, true) => Finding::bad(
            GROUP,
            format!("{title}: none of its formats ({}) can be shown", names(false)),
            "name another node: camera.device = \"name:...\"; raw sensor nodes need the image processor's node instead",
        ),
        // one sensor has many nodes
        (true, false) => Finding::ok(GROUP, format!("{title}: not used, raw or unknown formats")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Fault, FaultKind, FormatListing};
    use crate::doctor::Level;

    fn node(path: &str, fourcc: &str, holder: Option<&str>) -> NodeReport {
        let format =
            FormatListing { fourcc: fourcc.into(), description: "".into(), usable: fourcc != "BG10", sizes: vec![] };
        let camera = CameraListing {
            path: path.into(),
            name: "Cam".into(),
            card: "Cam".into(),
            driver: "uvcvideo".into(),
            bus: "usb".into(),
            usb_id: None,
            multiplanar: false,
            formats: vec![format],
            controls: vec![],
        };
        NodeReport { path: path.into(), name: "Cam".into(), camera: Ok(camera), holder: holder.map(str::to_owned) }
    }

    fn levels(source: SourceChoice, nodes: Vec<NodeReport>, chosen: Result<&str, &str>) -> Vec<Level> {
        let facts = Facts { source, nodes, chosen: chosen.map(str::to_owned).map_err(str::to_owned) };
        judge(&facts).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn only_trouble_with_the_camera_that_is_taken_is_bad() {
        let nodes = || vec![node("/dev/video0", "YUYV", Some("ffmpeg (pid 7)")), node("/dev/video2", "NV12", None)];
        assert_eq!(levels(SourceChoice::Auto, nodes(), Ok("/dev/video2")), [Level::Warn, Level::Ok]);
        assert_eq!(levels(SourceChoice::Auto, nodes(), Ok("/dev/video0")), [Level::Bad, Level::Ok]);
        let ours = vec![node("/dev/video0", "YUYV", Some("rtcam (pid 7)"))];
        assert_eq!(levels(SourceChoice::Auto, ours, Ok("/dev/video0")), [Level::Ok]);
    }

    #[test]
    fn a_raw_sensor_node_is_bad_only_when_it_is_the_one() {
        let raw = || vec![node("/dev/video0", "BG10", None)];
        assert_eq!(levels(SourceChoice::V4l2, raw(), Ok("/dev/video0")), [Level::Bad]);
        assert_eq!(levels(SourceChoice::V4l2, raw(), Ok("/dev/video9")), [Level::Ok]);
    }

    #[test]
    fn no_camera_is_bad_where_one_was_asked_for() {
        assert_eq!(levels(SourceChoice::Auto, vec![], Err("no camera is connected")), [Level::Warn]);
        assert_eq!(levels(SourceChoice::V4l2, vec![], Err("no camera is connected")), [Level::Bad]);
        assert_eq!(levels(SourceChoice::Pattern, vec![], Err("no camera is connected")), [Level::Ok]);
    }

    #[test]
    fn a_node_without_permission_says_which_group_helps() {
        let detail = "open /dev/video0: Permission denied (rtcam's user must be in the group video)".into();
        let camera = Err(Fault { kind: FaultKind::Failing, detail });
        let nodes = vec![NodeReport { camera, ..node("/dev/video0", "NV12", None) }];
        let facts = Facts { source: SourceChoice::Auto, nodes, chosen: Ok("/dev/video0".into()) };
        let finding = &judge(&facts)[0];
        assert_eq!(finding.level, Level::Bad);
        assert!(finding.advice.as_ref().is_some_and(|advice| advice.contains("usermod -aG video")), "{finding:?}");
    }
}
