//! H.264 encoders behind one trait, and the table of backends.
//!
//! A new backend is one new file and one row in `ENCODERS`. Input: frames with their overlay already on.

mod chroma_sys;
mod openh264;
mod openh264_sys;

use crate::config::EncoderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Frame, PictureFormat};
use crate::media::packet::AccessUnit;
use crate::units::{FrameRate, KbitPerSec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// `out.bytes` and `out.key` are filled. Every IDR carries SPS and PPS; constrained baseline, no B frames.
    Unit,
    /// The rate control left this picture out.
    Skipped,
}

pub trait Encoder: Send {
    /// For logs and the status page: `openh264`.
    fn name(&self) -> &'static str;

    /// Encodes one picture of the format the encoder was opened with. Fills `bytes` and `key` of `out`, nothing else.
    fn encode(&mut self, frame: &Frame, out: &mut AccessUnit) -> Result<Encoded>;

    /// Makes the next picture an IDR.
    fn force_key(&mut self);

    /// Takes effect within a few pictures.
    fn set_bitrate(&mut self, rate: KbitPerSec) -> Result<()>;
}

/// One row per backend.
pub struct EncoderKind {
    pub name: &'static str,
    pub open: fn(&EncoderConfig, &PictureFormat, FrameRate) -> Result<Box<dyn Encoder>>,
}

pub const ENCODERS: &[EncoderKind] = &[EncoderKind { name: openh264::NAME, open: openh264::open }];

/// Opens the backend the config names; `auto` takes the first of the table that opens.
pub fn open(config: &EncoderConfig, format: &PictureFormat, rate: FrameRate) -> Result<Box<dyn Encoder>> {
    open_from(ENCODERS, config, format, rate)
}

fn open_from(
    table: &[EncoderKind],
    config: &EncoderConfig,
    format: &PictureFormat,
    rate: FrameRate,
) -> Result<Box<dyn Encoder>> {
    if config.backend != "auto" {
        let kind = table.iter().find(|kind| kind.name == config.backend);
        return kind.ok_or_else(|| unknown(table, &config.backend)).and_then(|kind| (kind.open)(config, format, rate));
    }
    let mut causes = Vec::new();
    for kind in table {
        match (kind.open)(config, format, rate) {
            Ok(encoder) => return Ok(encoder),
            Err(cause) => causes.push(format!("{}: {cause}", kind.name)),
        }
    }
    Err(Error::new(ErrorKind::Unsupported, format!("no encoder opens for {}: {}", format.size, causes.join("; "))))
}

/// Whether this build has the backend that the config names; else the words for the user.
pub fn check_backend(name: &str) -> std::result::Result<(), String> {
    if name == "auto" || ENCODERS.iter().any(|kind| kind.name == name) { Ok(()) } else { Err(known(ENCODERS)) }
}

fn unknown(table: &[EncoderKind], name: &str) -> Error {
    let why = known(table);
    Error::new(ErrorKind::BadConfig, format!("encoder.backend = {name:?}: {why}"))
}

fn known(table: &[EncoderKind]) -> String {
    let names: Vec<_> = table.iter().map(|kind| format!("{:?}", kind.name)).collect();
    format!("no such encoder in this build; known are \"auto\", {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{Colour, Layout, Matrix, Range};
    use crate::units::Size;

    fn format() -> PictureFormat {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
        PictureFormat::packed(Layout::I420, Size { width: 64, height: 64 }, colour)
    }

    fn refuses(_: &EncoderConfig, _: &PictureFormat, _: FrameRate) -> Result<Box<dyn Encoder>> {
        Err(Error::new(ErrorKind::NotFound, "open /dev/video9"))
    }

    const TABLE: &[EncoderKind] =
        &[EncoderKind { name: "broken", open: refuses }, EncoderKind { name: openh264::NAME, open: openh264::open }];

    fn opened(backend: &str, table: &[EncoderKind]) -> Result<&'static str> {
        let config = EncoderConfig { backend: backend.into(), ..EncoderConfig::default() };
        open_from(table, &config, &format(), FrameRate::per_second(30)).map(|encoder| encoder.name())
    }

    #[test]
    fn auto_takes_the_first_backend_that_opens() {
        assert_eq!(opened("auto", TABLE).ok(), Some("openh264"));
        let error = opened("auto", &TABLE[..1]).expect_err("none opens");
        assert_eq!(error.to_string(), "no encoder opens for 64x64: broken: open /dev/video9");
    }

    #[test]
    fn a_named_backend_is_taken_or_its_own_error_told() {
        assert_eq!(opened("openh264", TABLE).ok(), Some("openh264"));
        assert_eq!(opened("broken", TABLE).expect_err("it does not open").kind(), ErrorKind::NotFound);
        let error = opened("x264", ENCODERS).expect_err("there is no such backend");
        assert_eq!(error.kind(), ErrorKind::BadConfig);
        let why = "no such encoder in this build; known are \"auto\", \"openh264\"";
        assert_eq!(error.to_string(), format!("encoder.backend = \"x264\": {why}"));
        assert_eq!(check_backend("x264"), Err(why.into()));
        assert!(check_backend("auto").is_ok() && check_backend("openh264").is_ok());
    }
}
