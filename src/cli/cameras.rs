//! `rtcam cameras [--json]`: the cameras of this machine with their formats, sizes, rates and controls.
//!
//! Prints and nothing else. Input: `capture::list_cameras`.

use crate::capture::{CameraListing, ControlListing, FormatListing, list_cameras};
use crate::error::Result;
use std::fmt::Write as _;
use std::io::Write as _;

pub fn run(json: bool) -> Result<()> {
    let cameras = list_cameras();
    let text = if json { as_json(&cameras) } else { as_text(&cameras) };
    // a closed pipe (`| head`) is no failure worth a message
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

fn as_json(cameras: &[CameraListing]) -> String {
    let text = serde_json::to_string_pretty(cameras).expect("plain strings and numbers always serialise");
    text + "\n"
}

fn as_text(cameras: &[CameraListing]) -> String {
    if cameras.is_empty() {
        return "No camera found. rtcam needs read and write access to /dev/video* (group video).\n".into();
    }
    let blocks: Vec<String> = cameras.iter().map(camera_text).collect();
    blocks.join("\n")
}

fn camera_text(camera: &CameraListing) -> String {
    let mut text = format!("{}  {}\n", camera.path, camera.card);
    let api = if camera.multiplanar { "multi-planar" } else { "single-planar" };
    push(&mut text, format_args!("  driver    {}, {}, {api}", camera.driver, camera.bus));
    push(&mut text, format_args!("  device    \"{}\" or \"name:{}\"{}", camera.path, camera.name, usb_choice(camera)));
    camera.formats.iter().for_each(|format| format_text(&mut text, format));
    camera.controls.iter().for_each(|control| control_text(&mut text, control));
    text
}

fn usb_choice(camera: &CameraListing) -> String {
    camera.usb_id.as_ref().map_or(String::new(), |id| format!(" or \"usb:{id}\""))
}

fn format_text(text: &mut String, format: &FormatListing) {
    let note = if format.usable { "" } else { "  (not used by rtcam)" };
    push(text, format_args!("  {:<8}  {}{note}", format.fourcc, format.description));
    if !format.usable {
        return;
    }
    for size in &format.sizes {
        let rates: Vec<String> = size.fps.iter().map(f64::to_string).collect();
        let rates = if rates.is_empty() { "rate not told".into() } else { format!("{} fps", rates.join(", ")) };
        push(text, format_args!("            {:<12} {rates}", size.size));
    }
}

fn control_text(text: &mut String, control: &ControlListing) {
    let value = control.value.map_or("-".into(), |value| value.to_string());
    let range = match control.kind {
        "integer" | "integer64" | "menu" | "integer menu" => {
            format!("  {}..={}, default {}", control.minimum, control.maximum, control.default)
        }
        "boolean" => format!("  default {}", control.default),
        _ => String::new(),
    };
    push(
        text,
        format_args!("  control   {:<32} {:<12} {value}{range}{}", control.name, control.kind, menu_text(control)),
    );
}

fn menu_text(control: &ControlListing) -> String {
    if control.menu.is_empty() { String::new() } else { format!("  ({})", control.menu.join(", ")) }
}

fn push(text: &mut String, line: std::fmt::Arguments) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::SizeListing;

    fn webcam() -> CameraListing {
        CameraListing {
            path: "/dev/video0".into(),
            name: "HD Webcam".into(),
            card: "HD Webcam: HD Webcam".into(),
            driver: "uvcvideo".into(),
            bus: "usb-0000:00:14.0-1".into(),
            usb_id: Some("046d:0825".into()),
            multiplanar: false,
            formats: vec![
                FormatListing {
                    fourcc: "YUYV".into(),
                    description: "YUYV 4:2:2".into(),
                    usable: true,
                    sizes: vec![SizeListing { size: "640x480".into(), fps: vec![30.0, 7.5] }],
                },
                FormatListing { fourcc: "H264".into(), description: "H.264".into(), usable: false, sizes: vec![] },
            ],
            controls: vec![ControlListing {
                name: "Power Line Frequency".into(),
                kind: "menu",
                value: Some(1),
                minimum: 0,
                maximum: 2,
                step: 1,
                default: 1,
                menu: vec!["Disabled".into(), "50 Hz".into()],
            }],
        }
    }

    #[test]
    fn the_table_shows_what_to_write_into_the_config() {
        let text = as_text(&[webcam()]);
        for part in [
            "/dev/video0  HD Webcam: HD Webcam\n",
            "\"/dev/video0\" or \"name:HD Webcam\" or \"usb:046d:0825\"",
            "640x480      30, 7.5 fps\n",
            "H264      H.264  (not used by rtcam)\n",
            "Power Line Frequency             menu         1  0..=2, default 1  (Disabled, 50 Hz)\n",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        assert!(as_text(&[]).starts_with("No camera found"));
    }

    #[test]
    fn the_json_has_the_same_content() {
        let value: serde_json::Value = serde_json::from_str(&as_json(&[webcam()])).unwrap();
        assert_eq!(value[0]["formats"][0]["sizes"][0]["fps"][1], 7.5);
        assert_eq!(value[0]["usb_id"], "046d:0825");
        assert_eq!(as_json(&[]), "[]\n");
    }
}
