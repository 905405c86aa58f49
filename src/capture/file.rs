//! The `file` source: a Y4M (YUV4MPEG2) file, looped at its own rate, read picture by picture from disk.
//!
//! Owns the open file and its place in it. Must never hold more than the pictures it lent. Input: a file of any
//! content; whatever is wrong with it becomes a fault that names the file and the defect.

use crate::capture::pace::Paced;
use crate::capture::{Fault, FaultKind, Grab, Source, SourceInfo, Want};
use crate::clock::Clock;
use crate::config::CameraConfig;
use crate::media::frame::{Colour, Frame, Layout, Matrix, PictureFormat, Range};
use crate::units::{FrameRate, Size};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest stream or frame header line we read; real ones stay under 200 bytes.
const LONGEST_LINE: u64 = 1024;

pub fn open(config: &CameraConfig, clock: &Clock) -> Result<Box<dyn Source>, Fault> {
    Ok(Box::new(Y4mFile::open(&config.file, clock)?))
}

struct Y4mFile {
    info: SourceInfo,
    path: PathBuf,
    reader: BufReader<File>,
    header: Header,
    first_frame: u64,
    frames_since_rewind: u64,
    paced: Paced,
}

impl Y4mFile {
    fn open(path: &Path, clock: &Clock) -> Result<Y4mFile, Fault> {
        let file = File::open(path).map_err(|cause| {
            let kind = if cause.kind() == ErrorKind::NotFound { FaultKind::Missing } else { FaultKind::Failing };
            Fault { kind, detail: format!("open {}: {cause}", path.display()) }
        })?;
        let mut reader = BufReader::new(file);
        let line = read_line(&mut reader).map_err(|cause| defect(path, &cause))?;
        let header = Header::parse(&line).map_err(|cause| defect(path, &cause))?;
        let picture = header.picture();
        let info = SourceInfo {
            name: path.display().to_string(),
            wire_format: "Y4M".into(),
            picture,
            rate: Some(header.rate),
        };
        Ok(Y4mFile {
            info,
            path: path.to_owned(),
            reader,
            header,
            first_frame: line.len() as u64 + 1,
            frames_since_rewind: 0,
            paced: Paced::new(clock, header.rate, picture),
        })
    }

    /// Reads the next picture, from the start again after the last whole one.
    fn read_picture(&mut self, frame: &mut Frame) -> Result<(), String> {
        if self.try_read(frame)? {
            return Ok(());
        }
        if self.frames_since_rewind == 0 {
            return Err("holds no complete picture".into());
        }
        self.reader.seek(SeekFrom::Start(self.first_frame)).map_err(|cause| cause.to_string())?;
        self.frames_since_rewind = 0;
        if self.try_read(frame)? { Ok(()) } else { Err("shrank while it was read".into()) }
    }

    /// False at the end of the file, also when it ends inside a picture.
    fn try_read(&mut self, frame: &mut Frame) -> Result<bool, String> {
        if self.reader.fill_buf().map_err(|cause| cause.to_string())?.is_empty() {
            return Ok(false);
        }
        let line = read_line(&mut self.reader)?;
        if !line.starts_with("FRAME") {
            return Err(format!("no FRAME header before picture {}", self.frames_since_rewind + 1));
        }
        let strides = frame.format.strides;
        for (plane, bytes) in frame.planes_mut().into_iter().enumerate() {
            let rows_beyond = self.header.plane_rows(plane) - bytes.len() / strides[plane];
            if !self.read_or_end(bytes)? || !self.skip_or_end(rows_beyond * strides[plane])? {
                return Ok(false);
            }
        }
        self.frames_since_rewind += 1;
        Ok(true)
    }

    fn read_or_end(&mut self, bytes: &mut [u8]) -> Result<bool, String> {
        match self.reader.read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(cause) => Err(cause.to_string()),
        }
    }

    fn skip_or_end(&mut self, bytes: usize) -> Result<bool, String> {
        let skipped = std::io::copy(&mut (&mut self.reader).take(bytes as u64), &mut std::io::sink());
        skipped.map(|count| count == bytes as u64).map_err(|cause| cause.to_string())
    }
}

impl Source for Y4mFile {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn grab(&mut self, want: Want, timeout: Duration) -> Result<Grab, Fault> {
        let mut frame = match self.paced.next(want, timeout) {
            Ok(frame) => frame,
            Err(why) => return Ok(why.into()),
        };
        self.read_picture(&mut frame).map_err(|cause| defect(&self.path, &cause))?;
        Ok(Grab::Frame(frame))
    }

    fn dropped(&self) -> u64 {
        self.paced.dropped()
    }
}

fn defect(path: &Path, cause: &str) -> Fault {
    Fault { kind: FaultKind::Failing, detail: format!("read {}: {cause}", path.display()) }
}

/// One line without its end.
fn read_line(reader: &mut BufReader<File>) -> Result<String, String> {
    let mut line = Vec::new();
    reader.take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(|cause| cause.to_string())?;
    if line.pop() != Some(b'\n') {
        return Err("not a Y4M file (a header line has no end)".into());
    }
    String::from_utf8(line).map_err(|_| "not a Y4M file (a header line is not text)".into())
}

/// The stream header: `YUV4MPEG2 W640 H480 F30:1 C420jpeg XCOLORRANGE=FULL`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Header {
    width: usize,
    height: usize,
    rate: FrameRate,
    range: Range,
}

impl Header {
    fn parse(line: &str) -> Result<Header, String> {
        let mut words = line.split(' ');
        if words.next() != Some("YUV4MPEG2") {
            return Err("not a Y4M file (it does not start with YUV4MPEG2)".into());
        }
        let (mut width, mut height) = (0, 0);
        let mut header = Header { width, height, rate: FrameRate::per_second(25), range: Range::Limited };
        for word in words.filter(|word| !word.is_empty()) {
            let (tag, value) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            match tag {
                "W" => width = value.parse().map_err(|_| format!("bad width {word:?}"))?,
                "H" => height = value.parse().map_err(|_| format!("bad height {word:?}"))?,
                "F" => {
                    header.rate = parse_rate(value)
                        .ok_or_else(|| format!("bad frame rate {word:?}: 1 to 1000 a second can be shown"))?
                }
                "C" => check_chroma(value)?,
                "X" if value == "COLORRANGE=FULL" => header.range = Range::Full,
                _ => {}
            }
        }
        if !(16..=4096).contains(&width) || !(16..=4096).contains(&height) {
            return Err(format!("a picture of {width}x{height}; 16x16 to 4096x4096 can be shown"));
        }
        Ok(Header { width, height, ..header })
    }

    /// Odd sizes lose their last column or row; the rows keep their length in the file.
    fn picture(&self) -> PictureFormat {
        let size = Size { width: self.width as u32 & !1, height: self.height as u32 & !1 };
        // the file does not say: the usual matrix of its size
        let matrix = if self.width >= 1280 || self.height >= 720 { Matrix::Bt709 } else { Matrix::Bt601 };
        let chroma = self.width.div_ceil(2);
        PictureFormat {
            layout: Layout::I420,
            size,
            strides: [self.width, chroma, chroma],
            colour: Colour { matrix, range: self.range },
        }
    }

    fn plane_rows(&self, plane: usize) -> usize {
        if plane == 0 { self.height } else { self.height.div_ceil(2) }
    }
}

fn parse_rate(value: &str) -> Option<FrameRate> {
    let (frames, seconds) = value.split_once(':')?;
    let rate = FrameRate { frames: frames.parse().ok()?, seconds: seconds.parse().ok()? };
    // slower than one a second a camera counts as silent
    let usable = rate.frames > 0 && rate.seconds > 0 && (1.0..=1000.0).contains(&rate.as_f64());
    usable.then_some(rate)
}

fn check_chroma(value: &str) -> Result<(), String> {
    match value {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(()),
        other => Err(format!("chroma format C{other}; only 8 bit 4:2:0 can be shown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LONG: Duration = Duration::from_secs(1);

    /// A file of pictures whose bytes count upwards from the picture's number.
    fn y4m(header: &str, width: usize, height: usize, frames: u8) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{header}").unwrap();
        let bytes = width * height + 2 * width.div_ceil(2) * height.div_ceil(2);
        for frame in 0..frames {
            writeln!(file, "FRAME").unwrap();
            let picture: Vec<u8> = (0..bytes).map(|i| (i as u8).wrapping_add(frame)).collect();
            file.write_all(&picture).unwrap();
        }
        file
    }

    fn open_path(path: &Path, clock: &Clock) -> Result<Box<dyn Source>, Fault> {
        open(&CameraConfig { file: path.to_owned(), ..CameraConfig::default() }, clock)
    }

    fn picture(source: &mut dyn Source) -> Frame {
        match source.grab(Want::Picture, LONG) {
            Ok(Grab::Frame(frame)) => frame,
            Ok(_) => panic!("no picture"),
            Err(fault) => panic!("{fault}"),
        }
    }

    #[test]
    fn a_file_loops_at_its_own_rate() {
        let (clock, _) = Clock::test();
        let file = y4m("YUV4MPEG2 W32 H16 F10:1 Ip A1:1 C420jpeg XCOLORRANGE=FULL", 32, 16, 3);
        let mut source = open_path(file.path(), &clock).unwrap();
        assert_eq!(source.info().picture.colour.range, Range::Full);
        let start = clock.now();
        let firsts: Vec<u8> = (0..7).map(|_| picture(source.as_mut()).planes()[0][0]).collect();
        assert_eq!(firsts, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(clock.now().since(start), Duration::from_millis(600));
    }

    #[test]
    fn an_odd_size_is_cropped_without_shifting_a_plane() {
        let (clock, _) = Clock::test();
        let file = y4m("YUV4MPEG2 W33 H17 F30:1", 33, 17, 2);
        let mut source = open_path(file.path(), &clock).unwrap();
        drop(picture(source.as_mut()));
        let frame = picture(source.as_mut());
        assert_eq!(frame.format.size, Size { width: 32, height: 16 });
        let luma = 33 * 17;
        assert_eq!(frame.planes()[0][33], 34);
        assert_eq!(frame.planes()[1][0], (luma as u8).wrapping_add(1));
        assert_eq!(frame.planes()[2][0], ((luma + 17 * 9) as u8).wrapping_add(1));
    }

    #[test]
    fn a_cut_off_last_picture_is_left_out() {
        let (clock, _) = Clock::test();
        let mut file = y4m("YUV4MPEG2 W32 H16 F30:1", 32, 16, 2);
        file.write_all(b"FRAME\n1234").unwrap();
        let mut source = open_path(file.path(), &clock).unwrap();
        let firsts: Vec<u8> = (0..4).map(|_| picture(source.as_mut()).planes()[0][0]).collect();
        assert_eq!(firsts, [0, 1, 0, 1]);
    }

    #[test]
    fn defects_are_named_with_the_file() {
        let (clock, _) = Clock::test();
        let cases = [
            ("RIFF....AVI \n", "it does not start with YUV4MPEG2"),
            ("YUV4MPEG2 W32", "a header line has no end"),
            ("YUV4MPEG2 W32 Hx F30:1\n", "bad height \"Hx\""),
            ("YUV4MPEG2 W32 H16 F0:0\n", "bad frame rate \"F0:0\""),
            ("YUV4MPEG2 W32 H16 F1:2\n", "bad frame rate \"F1:2\": 1 to 1000 a second can be shown"),
            ("YUV4MPEG2 W32 H16 F30:1 C422\n", "chroma format C422"),
            ("YUV4MPEG2 W99999 H16\n", "a picture of 99999x16"),
            ("YUV4MPEG2 W32 H16 F30:1\n", "holds no complete picture"),
            ("YUV4MPEG2 W32 H16 F30:1\nGARBAGE\n", "no FRAME header before picture 1"),
        ];
        for (content, expected) in cases {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            let fault = match open_path(file.path(), &clock) {
                Err(fault) => fault,
                Ok(mut source) => source.grab(Want::Picture, LONG).err().expect(expected),
            };
            assert_eq!(fault.kind, FaultKind::Failing, "{expected}");
            assert!(fault.detail.contains(expected), "{fault}");
            assert!(fault.detail.contains(&file.path().display().to_string()), "{fault}");
        }
        let fault = open_path(Path::new("/nonexistent/x.y4m"), &clock).err().unwrap();
        assert_eq!(fault.kind, FaultKind::Missing);
    }
}
