//! H.264 encoders behind one trait, and the table of backends.
//!
//! A new backend is one new file and one row in `ENCODERS`. Input: frames with their overlay already on.

mod chroma_sys;
mod m2m_device;
#[cfg(test)]
mod m2m_fake;
mod m2m_layout;
mod m2m_setup;
mod m2m_sys;
mod mpp;
mod mpp_sys;
mod openh264;
mod openh264_sys;
mod v4l2_m2m;
#[cfg(test)]
mod v4l2_m2m_tests;

use crate::config::EncoderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Frame, PictureFormat};
use crate::media::packet::AccessUnit;
use crate::units::{FrameRate, KbitPerSec};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

    /// Something else will be shown: begins anew with an IDR and lets go of all buffers of the camera. False: it must
    /// be opened anew for that. Hardware takes its time to open and has a rate control that forgets soon; openh264
    /// opens in no time and remembers for long.
    fn renew(&mut self) -> bool {
        false
    }

    /// Pictures that had to be copied before they were encoded, since the last call.
    fn take_copied(&mut self) -> u64 {
        0
    }
}

/// One row per backend, in the order of preference where no board's profile has another.
pub struct EncoderKind {
    pub name: &'static str,
    pub open: fn(&EncoderConfig, &PictureFormat, FrameRate) -> Result<Box<dyn Encoder>>,
}

pub const ENCODERS: &[EncoderKind] = &[
    EncoderKind { name: mpp::NAME, open: mpp::open },
    EncoderKind { name: v4l2_m2m::NAME, open: v4l2_m2m::open },
    EncoderKind { name: openh264::NAME, open: openh264::open },
];

/// Opens the backend the config names; `auto` takes the first that opens, in the order of the board's profile.
pub fn open(config: &EncoderConfig, format: &PictureFormat, rate: FrameRate) -> Result<Box<dyn Encoder>> {
    Opener::new(config.clone()).open(format, rate, &[])
}

/// Opens encoders again and again, and says once why it passed over those before.
pub struct Opener {
    table: &'static [EncoderKind],
    config: EncoderConfig,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The last line about backends passed over.
    told: String,
    /// Backends that this machine does not have: looked for once, since looking opens every camera there is.
    absent: Vec<&'static str>,
}

impl Opener {
    pub fn new(config: EncoderConfig) -> Opener {
        Opener { table: ENCODERS, config, memory: Mutex::default() }
    }

    /// As `open`, but for the backends in `without`, which failed too often. Where one of them is the backend that the
    /// config names, the others take its place: a picture from another encoder is better than none.
    pub fn open(&self, format: &PictureFormat, rate: FrameRate, without: &[&str]) -> Result<Box<dyn Encoder>> {
        let named = self.config.backend.as_str();
        let any = named == "auto" || without.contains(&named);
        let kinds = if any { self.in_order() } else { self.table.iter().filter(|kind| kind.name == named).collect() };
        if kinds.is_empty() {
            return Err(unknown(self.table, named));
        }
        let mut passed: Vec<(&str, Error)> = Vec::new();
        let absent = if any { self.memory().absent.clone() } else { Vec::new() };
        for kind in kinds.into_iter().filter(|kind| !without.contains(&kind.name) && !absent.contains(&kind.name)) {
            match (kind.open)(&self.config, format, rate) {
                Ok(encoder) => {
                    self.tell(kind.name, &passed);
                    return Ok(encoder);
                }
                Err(cause) if !any => return Err(cause),
                Err(cause) => {
                    if cause.kind() == ErrorKind::NotFound {
                        self.memory().absent.push(kind.name);
                    }
                    passed.push((kind.name, cause));
                }
            }
        }
        let causes = if passed.is_empty() { "there is no other".into() } else { listed(&passed) };
        Err(Error::new(ErrorKind::Unsupported, format!("no encoder opens for {}: {causes}", format.size)))
    }

    /// As the board's profile orders them; without one, all there are.
    fn in_order(&self) -> Vec<&'static EncoderKind> {
        match self.config.preferred.as_slice() {
            [] => self.table.iter().collect(),
            order => order.iter().filter_map(|name| self.table.iter().find(|kind| kind.name == name)).collect(),
        }
    }

    fn tell(&self, taken: &str, passed: &[(&str, Error)]) {
        if passed.is_empty() {
            return;
        }
        let line = format!("encoder: {taken} is taken; passed over: {}", listed(passed));
        let mut memory = self.memory();
        if memory.told == line {
            return;
        }
        // what a machine does not have is worth knowing; what it has and cannot use is worth mending
        match passed.iter().all(|(_, cause)| cause.kind() == ErrorKind::NotFound) {
            true => tracing::info!("{line}"),
            false => tracing::warn!("{line}"),
        }
        memory.told = line;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listed(passed: &[(&str, Error)]) -> String {
    let said = |(name, cause): &(&str, Error)| {
        let cause = cause.to_string();
        if cause.starts_with(&format!("{name}: ")) { cause } else { format!("{name}: {cause}") }
    };
    passed.iter().map(said).collect::<Vec<_>>().join("; ")
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
    use std::sync::atomic::{AtomicU32, Ordering};

    fn format() -> PictureFormat {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
        PictureFormat::packed(Layout::I420, Size { width: 64, height: 64 }, colour)
    }

    fn refuses(_: &EncoderConfig, _: &PictureFormat, _: FrameRate) -> Result<Box<dyn Encoder>> {
        Err(Error::new(ErrorKind::NotFound, "open /dev/video9"))
    }

    const TABLE: &[EncoderKind] =
        &[EncoderKind { name: "broken", open: refuses }, EncoderKind { name: openh264::NAME, open: openh264::open }];

    fn opened(backend: &str, table: &'static [EncoderKind]) -> Result<&'static str> {
        opened_without(backend, table, &[])
    }

    fn opened_without(backend: &str, table: &'static [EncoderKind], without: &[&str]) -> Result<&'static str> {
        let config = EncoderConfig { backend: backend.into(), ..EncoderConfig::default() };
        let opener = Opener { table, ..Opener::new(config) };
        opener.open(&format(), FrameRate::per_second(30), without).map(|encoder| encoder.name())
    }

    #[test]
    fn auto_takes_the_first_backend_that_opens() {
        assert_eq!(opened("auto", TABLE).ok(), Some("openh264"));
        let error = opened("auto", &TABLE[..1]).expect_err("none opens");
        assert_eq!(error.to_string(), "no encoder opens for 64x64: broken: open /dev/video9");
    }

    #[test]
    fn the_boards_order_decides_what_auto_tries() {
        let opened = |preferred: &[&str], without: &[&str]| {
            let preferred = preferred.iter().map(|name| name.to_string()).collect();
            let opener =
                Opener { table: TABLE, ..Opener::new(EncoderConfig { preferred, ..EncoderConfig::default() }) };
            opener.open(&format(), FrameRate::per_second(30), without).map(|encoder| encoder.name())
        };
        assert_eq!(opened(&["broken", "openh264"], &[]).ok(), Some("openh264"));
        assert_eq!(opened(&["openh264", "broken"], &[]).ok(), Some("openh264"));
        let only = opened(&["broken"], &[]).expect_err("the board has nothing else");
        assert_eq!(only.to_string(), "no encoder opens for 64x64: broken: open /dev/video9");
        let after = opened(&["openh264", "broken"], &["openh264"]).expect_err("the other one does not open");
        assert!(after.to_string().ends_with("broken: open /dev/video9"), "{after}");
    }

    #[test]
    fn a_backend_that_failed_too_often_makes_room_for_the_others_even_when_it_is_named() {
        assert_eq!(opened_without("auto", TABLE, &["broken"]).ok(), Some("openh264"));
        assert_eq!(opened_without("broken", TABLE, &["broken"]).ok(), Some("openh264"));
        let error = opened_without("openh264", &TABLE[1..], &["openh264"]).expect_err("there is no other");
        assert_eq!(error.to_string(), "no encoder opens for 64x64: there is no other");
    }

    #[test]
    fn a_backend_that_is_not_on_this_machine_is_looked_for_once() {
        static LOOKED: AtomicU32 = AtomicU32::new(0);
        fn look(_: &EncoderConfig, _: &PictureFormat, _: FrameRate) -> Result<Box<dyn Encoder>> {
            LOOKED.fetch_add(1, Ordering::Relaxed);
            Err(Error::new(ErrorKind::NotFound, "there is none"))
        }
        static ABSENT: &[EncoderKind] =
            &[EncoderKind { name: "absent", open: look }, EncoderKind { name: openh264::NAME, open: openh264::open }];
        let opener = Opener { table: ABSENT, ..Opener::new(EncoderConfig::default()) };
        for _ in 0..3 {
            opener.open(&format(), FrameRate::per_second(30), &[]).expect("openh264 opens");
        }
        assert_eq!(LOOKED.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_named_backend_is_taken_or_its_own_error_told() {
        assert_eq!(opened("openh264", TABLE).ok(), Some("openh264"));
        assert_eq!(opened("broken", TABLE).expect_err("it does not open").kind(), ErrorKind::NotFound);
        let error = opened("x264", ENCODERS).expect_err("there is no such backend");
        assert_eq!(error.kind(), ErrorKind::BadConfig);
        let why = "no such encoder in this build; known are \"auto\", \"mpp\", \"v4l2_m2m\", \"openh264\"";
        assert_eq!(error.to_string(), format!("encoder.backend = \"x264\": {why}"));
        assert_eq!(check_backend("x264"), Err(why.into()));
        assert!(check_backend("auto").is_ok() && check_backend("openh264").is_ok());
    }
}
