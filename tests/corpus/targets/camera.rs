//! What cameras, drivers, encoders and files of pictures give.

use rtcam::capture::v4l2_device::{FourCc, PlaneFormat, WireFormat};
use rtcam::capture::v4l2_format::{self, Access};
use rtcam::capture::{self, ConvertError, Converter, Grab, Want};
use rtcam::clock::Clock;
use rtcam::config::{CameraConfig, SourceChoice};
use rtcam::media::frame::{BufferPool, Frame};
use rtcam::media::h264;
use rtcam::media::packet::AccessUnit;
use rtcam::output::webrtc::{MAX_PAYLOAD, packetize};
use rtcam::units::{Micros, Size};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Of 64x48.
const SOUND: &[u8] = include_bytes!("../sound.jpg");
const BEHIND: [u8; 256] = [0xa5; 256];
const SIZES: [(u32, u32); 6] = [(64, 48), (66, 50), (71, 33), (18, 18), (17, 16), (160, 120)];

/// A picture as a camera sends it. The first byte chooses the size that was agreed on, the second one MJPEG (mostly), YUYV
/// or UYVY.
pub fn picture(bytes: &[u8]) {
    let &[size, format, ref data @ ..] = bytes else { return };
    let (width, height) = SIZES[usize::from(size) % SIZES.len()];
    let format = [b"MJPG", b"MJPG", b"JPEG", b"YUYV", b"UYVY"][usize::from(format) % 5];
    let converter = Converter::for_pixel_format(format, Size { width, height });
    let (mut converter, picture) = converter.expect("these are converted");
    let pool = BufferPool::new(1, picture.buffer_len() + BEHIND.len());
    let mut buffer = pool.take().expect("one is free");
    buffer.bytes_mut()[picture.buffer_len()..].copy_from_slice(&BEHIND);
    let mut frame = Frame::pooled(picture, Micros(0), 0, buffer);
    // a second time, as the decoder keeps what it learned from the first
    let _ = (converter.convert(data, &mut frame), converter.convert(data, &mut frame));
    if [b"MJPG", b"JPEG"].contains(&format) {
        let other = || Err(ConvertError::OtherSize { width: 64, height: 48 });
        let expected = if (width, height) == (64, 48) { Ok(()) } else { other() };
        assert_eq!(converter.convert(SOUND, &mut frame), expected, "a sound picture after this one");
    }
    drop(frame);
    let mut buffer = pool.take().expect("it is given back");
    assert_eq!(buffer.bytes_mut()[picture.buffer_len()..], BEHIND, "written past the picture");
}

/// What a driver answers to VIDIOC_S_FMT, as numbers: format, memory planes, size, bytes per line, colours.
pub fn driver(bytes: &[u8]) {
    let &[format, planes, ref rest @ ..] = bytes else { return };
    let mut numbers = rest.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four));
    let mut next = || numbers.next().unwrap_or(0);
    let known = v4l2_format::PIXEL_FORMATS;
    let fourcc = known.get(usize::from(format)).map_or(FourCc([format; 4]), |known| known.fourcc);
    let mut wire = WireFormat::wanted(fourcc, Size { width: next(), height: next() });
    wire.plane_count = usize::from(planes % 4);
    wire.planes = [0; 3].map(|_| PlaneFormat { bytes_per_line: next(), size_image: next() });
    (wire.colorspace, wire.ycbcr_enc, wire.quantization) = (next(), next(), next());
    let Ok((picture, access)) = v4l2_format::picture(&wire) else { return };
    let Size { width, height } = picture.size;
    assert!((16..=16384).contains(&width) && (16..=16384).contains(&height) && width % 2 == 0 && height % 2 == 0);
    assert!(u32::try_from(picture.buffer_len()).is_ok(), "no number of 32 bits: {picture:?}");
    if let Access::Lend(regions) = access {
        for (plane, region) in regions.iter().enumerate().filter_map(|(plane, region)| Some((plane, region.as_ref()?)))
        {
            assert!(region.memory_plane < wire.plane_count && region.len == picture.plane_len(plane));
            assert!(u32::try_from(region.start + region.len).is_ok(), "no number of 32 bits: {region:?}");
        }
    }
}

/// A Y4M file of any content: pictures, or a fault that names it.
pub fn y4m(bytes: &[u8]) {
    let file = rustix::fs::memfd_create("y4m", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = std::fs::File::from(file);
    file.write_all(bytes).expect("it is in memory");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let config = CameraConfig { source: SourceChoice::File, file: path.clone().into(), ..CameraConfig::default() };
    let (clock, _hand) = Clock::test();
    let mut source = match capture::open(&config, &clock) {
        Ok(source) => source,
        Err(fault) => return assert!(fault.detail.contains(&path) && fault.detail.len() < 2000, "{fault}"),
    };
    for _ in 0..6 {
        match source.grab(Want::Picture, Duration::from_secs(2)) {
            Ok(Grab::Frame(frame)) => assert_eq!(frame.format, source.info().picture),
            Ok(_) => {}
            Err(fault) => return assert!(fault.detail.contains(&path) && fault.detail.len() < 2000, "{fault}"),
        }
    }
}

/// An encoder's access unit to RTP: put together again it is what it was (RFC 6184).
pub fn packets(bytes: &[u8]) {
    let before: Vec<&[u8]> = h264::nal_units(bytes).collect();
    let packetized = packetize(&AccessUnit { bytes: bytes.to_vec(), ..AccessUnit::default() });
    // NAL units of types 24 and above are the packets' own
    if before.iter().any(|nal| h264::nal_type(nal) >= STAP_A) {
        return;
    }
    let (mut nals, mut open) = (Vec::new(), None::<Vec<u8>>);
    let mut fragments: Vec<usize> = Vec::new();
    for payload in &packetized.payloads {
        assert!((1..=MAX_PAYLOAD).contains(&payload.len()), "{} bytes", payload.len());
        if payload[0] & 31 != FU_A {
            assert!(open.is_none(), "a fragment has no end");
        }
        match payload[0] & 31 {
            STAP_A => nals.extend(aggregated(&payload[1..])),
            FU_A => {
                let (header, part) = (payload[1], &payload[2..]);
                assert!(header & 0xc0 != 0xc0, "start and end in one (section 5.8)");
                if header & 0x80 != 0 {
                    assert!(open.is_none(), "a fragment has no end");
                    open = Some(vec![payload[0] & 0xe0 | header & 31]);
                    fragments.clear();
                }
                fragments.push(payload.len());
                let nal = open.as_mut().expect("a fragment has a start");
                nal.extend(part);
                if header & 0x40 != 0 {
                    let same = fragments
                        .split_last()
                        .is_none_or(|(last, rest)| rest.iter().all(|len| len == &rest[0] && last <= len));
                    assert!(same, "unequal fragments: {fragments:?}");
                    nals.extend(open.take());
                }
            }
            _ => nals.push(payload.to_vec()),
        }
    }
    assert_eq!(nals, before);
}

const STAP_A: u8 = 24;
const FU_A: u8 = 28;

fn aggregated(mut units: &[u8]) -> Vec<Vec<u8>> {
    let mut nals = Vec::new();
    while let Some((length, rest)) = units.split_first_chunk::<2>() {
        let (nal, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        nals.push(nal.to_vec());
        units = rest;
    }
    assert!(nals.len() > 1 && units.is_empty());
    nals
}
