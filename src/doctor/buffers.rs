//! The memory pictures travel in: can the encoder read the camera's buffers where they lie, and is reading them dear?
//!
//! Pure. Input: what the buffers of the chosen camera were like, and the nodes that hand out memory for hardware.

use super::Finding;
use crate::capture::BufferReport;
use crate::config::board::Profile;

const GROUP: &str = "buffers";
/// Reading at less than this share of ordinary memory's speed: no cache covers the buffers.
const UNCACHED_BELOW: f64 = 0.25;
/// Rows that a logo of 256x64 covers, luma and chroma, read and written.
const LOGO_BYTES: f64 = 2.0 * 1.5 * 256.0 * 64.0;

pub struct Facts<'a> {
    pub profile: &'a Profile,
    /// None: there is no camera to look at.
    pub camera: Option<Result<BufferReport, String>>,
    /// The encoder that would be taken reads dmabufs.
    pub hardware_encoder: bool,
    /// Nodes that hand out memory (dma_heap, DRM, ion), with the reason where one does not open.
    pub allocators: Vec<(String, Option<String>)>,
}

pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &facts.camera {
        None => {}
        Some(Err(why)) => findings.push(Finding::ok(GROUP, format!("the camera's buffers were not measured: {why}"))),
        Some(Ok(report)) => {
            findings.push(judge_export(facts, report));
            findings.push(judge_speed(report));
        }
    }
    findings.extend(judge_allocators(facts));
    findings
}

fn judge_export(facts: &Facts, report: &BufferReport) -> Finding {
    match (&report.export_refused, facts.hardware_encoder) {
        (None, true) => Finding::ok(GROUP, "the camera's buffers are exported (dmabuf): the encoder reads them there"),
        (None, false) => Finding::ok(GROUP, "the camera's buffers can be exported (dmabuf)"),
        (Some(why), false) => Finding::ok(GROUP, format!("no dmabuf from this camera ({why}); software needs none")),
        (Some(why), true) => Finding::warn(
            GROUP,
            format!("no dmabuf from this camera ({why}): each picture is copied for the hardware encoder"),
            "take another node of the same camera (`rtcam cameras`), or a smaller picture",
        ),
    }
}

fn judge_speed(report: &BufferReport) -> Finding {
    let BufferReport { picture, read_mb_s, ordinary_mb_s, .. } = report;
    let what = format!("reading a buffer ({picture}): {read_mb_s:.0} MB/s, ordinary memory {ordinary_mb_s:.0} MB/s");
    if *read_mb_s >= UNCACHED_BELOW * ordinary_mb_s {
        return Finding::ok(GROUP, what);
    }
    let milliseconds = |bytes: f64| bytes / read_mb_s.max(0.1) / 1000.0;
    match report.in_place {
        true => Finding::warn(
            GROUP,
            format!("{what}: not cached; a logo of 256x64 costs {:.1} ms a picture", milliseconds(LOGO_BYTES)),
            "keep overlays small and solid (opacity = 1.0): only what they mix with the picture is read",
        ),
        false => Finding::warn(
            GROUP,
            format!("{what}: not cached, and this format is read whole, {:.0} ms", milliseconds(report.bytes as f64)),
            "set camera.format = \"NV12\" if the camera has it: then only the rows under overlays are read",
        ),
    }
}

/// Only hardware encoders need one; of several one is enough.
fn judge_allocators(facts: &Facts) -> Option<Finding> {
    let names = |opens: bool| {
        let of_kind = facts.allocators.iter().filter(|(_, why)| why.is_none() == opens);
        of_kind.map(|(path, _)| path.as_str()).collect::<Vec<_>>().join(", ")
    };
    let usable = names(true);
    if !usable.is_empty() {
        return Some(Finding::ok(GROUP, format!("memory for hardware: {usable}")));
    }
    let wants_mpp = facts.profile.is_one_board() && facts.profile.encoder.backends.iter().any(|name| name == "mpp");
    if !wants_mpp {
        return None;
    }
    Some(match facts.allocators.as_slice() {
        [] => Finding::warn(
            GROUP,
            "no node hands out memory for hardware (/dev/dma_heap, /dev/dri, /dev/ion): the hardware encoder cannot open",
            "boot a kernel with dma-heap or DRM; the vendor's has one of them",
        ),
        all => {
            let causes: Vec<String> =
                all.iter().map(|(path, why)| format!("{path}: {}", why.as_deref().unwrap_or_default())).collect();
            Finding::warn(
                GROUP,
                format!("no node that hands out memory for hardware opens ({})", causes.join("; ")),
                "add rtcam's user to the group video and install systemd/60-rtcam.rules (install.sh does both)",
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::board::BOARDS;
    use crate::doctor::Level::{self, Ok as Fine, Warn};

    fn report(read_mb_s: f64, in_place: bool, export_refused: Option<&str>) -> BufferReport {
        BufferReport {
            picture: "NV12 1280x720".into(),
            in_place,
            export_refused: export_refused.map(str::to_owned),
            bytes: 1_382_400,
            read_mb_s,
            ordinary_mb_s: 1000.0,
        }
    }

    fn judged(
        camera: Option<BufferReport>,
        hardware_encoder: bool,
        allocators: &[(&str, Option<&str>)],
    ) -> Vec<Finding> {
        let profile = BOARDS[0].profile().expect("rv1126");
        let allocators = allocators.iter().map(|(path, why)| (path.to_string(), why.map(str::to_owned))).collect();
        judge(&Facts { profile: &profile, camera: camera.map(Ok), hardware_encoder, allocators })
    }

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    const HEAP: [(&str, Option<&str>); 1] = [("/dev/dma_heap/cma", None)];

    #[test]
    fn memory_that_no_cache_covers_is_told_with_what_it_costs() {
        assert_eq!(levels(&judged(Some(report(900.0, true, None)), true, &HEAP)), [Fine, Fine, Fine]);
        let slow = judged(Some(report(45.0, true, None)), true, &HEAP);
        assert_eq!(levels(&slow), [Fine, Warn, Fine]);
        assert!(slow[1].what.ends_with("a logo of 256x64 costs 1.1 ms a picture"), "{slow:?}");
        let whole = judged(Some(report(45.0, false, None)), true, &HEAP);
        assert!(whole[1].what.ends_with("this format is read whole, 31 ms"), "{whole:?}");
    }

    #[test]
    fn no_dmabuf_matters_to_a_hardware_encoder_only() {
        let camera = || Some(report(900.0, true, Some("Inappropriate ioctl for device")));
        assert_eq!(levels(&judged(camera(), true, &HEAP))[0], Warn);
        assert_eq!(levels(&judged(camera(), false, &HEAP))[0], Fine);
    }

    #[test]
    fn of_the_nodes_that_hand_out_memory_one_is_enough() {
        let card = ("/dev/dri/card0", Some("Permission denied"));
        assert_eq!(levels(&judged(None, true, &[card, HEAP[0]])), [Fine]);
        let closed = judged(None, false, &[card]);
        assert!(closed[0].level == Warn && closed[0].what.contains("/dev/dri/card0: Permission denied"), "{closed:?}");
        assert_eq!(levels(&judged(None, false, &[])), [Warn]);
        let pc = Profile::default();
        assert!(judge(&Facts { profile: &pc, camera: None, hardware_encoder: false, allocators: vec![] }).is_empty());
    }

    #[test]
    fn a_camera_that_could_not_be_asked_is_no_trouble_of_its_own() {
        let profile = Profile::default();
        let camera = Some(Err("/dev/video0 (Cam): busy".into()));
        let findings = judge(&Facts { profile: &profile, camera, hardware_encoder: false, allocators: vec![] });
        assert_eq!(levels(&findings), [Fine]);
    }
}
