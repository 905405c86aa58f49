//! Logo files: PNG and JPEG bytes to RGBA, 8 bits, alpha not multiplied in.
//!
//! Owns the limits on what a file may ask for. Must never panic or allocate past them, whatever the bytes are.
//! Input: files named in the config, and the embedded logo.

use crate::error::{Error, ErrorKind, Result};
use crate::units::Size;
use std::io::{Cursor, Read};
use std::path::Path;

pub const LARGEST_SIDE: u32 = 4096;
const LARGEST_FILE: u64 = 32 << 20;
const LARGEST_IMAGE: usize = LARGEST_SIDE as usize * LARGEST_SIDE as usize * 4;

#[derive(Debug)]
pub struct RgbaImage {
    pub size: Size,
    pub pixels: Vec<[u8; 4]>,
}

/// A regular file's bytes. Anything else (a pipe, a device) could block or never end.
pub fn read_file(path: &Path, largest: u64) -> Result<Vec<u8>> {
    let failed = |cause: std::io::Error| Error::new(ErrorKind::BadConfig, path.display().to_string()).because(cause);
    let refused = |cause: String| Error::new(ErrorKind::BadConfig, format!("{}: {cause}", path.display()));
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(refused("not a regular file".into()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(largest + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > largest {
        return Err(refused(format!("larger than {} MiB", largest >> 20)));
    }
    Ok(bytes)
}

pub fn load(path: &Path) -> Result<RgbaImage> {
    let bytes = read_file(path, LARGEST_FILE)?;
    decode(&bytes).map_err(|e| Error::new(ErrorKind::BadConfig, path.display().to_string()).because(e))
}

pub fn decode(bytes: &[u8]) -> Result<RgbaImage> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => decode_png(bytes),
        [0xff, 0xd8, 0xff, ..] => decode_jpeg(bytes),
        _ => Err(bad("neither a PNG nor a JPEG file")),
    }
}

fn bad(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadConfig, what)
}

fn checked_size(width: u32, height: u32) -> Result<Size> {
    let size = Size { width, height };
    if width == 0 || height == 0 || width > LARGEST_SIDE || height > LARGEST_SIDE {
        return Err(bad(format!("the picture is {size}; a logo is 1x1 to {LARGEST_SIDE}x{LARGEST_SIDE}")));
    }
    Ok(size)
}

fn decode_png(bytes: &[u8]) -> Result<RgbaImage> {
    let failed = |e: png::DecodingError| bad("PNG").because(e);
    // room for the picture, the decoder's rows and its text chunks
    let limits = png::Limits { bytes: LARGEST_IMAGE + (16 << 20) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    // palettes, 1 to 4 bits, tRNS and 16 bits all become 8 bits per channel
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let header = decoder.read_header_info().map_err(failed)?;
    let size = checked_size(header.width, header.height)?;
    let mut reader = decoder.read_info().map_err(failed)?;
    let len = reader.output_buffer_size().ok_or_else(|| bad("PNG: too large"))?;
    let mut samples = vec![0; len];
    let info = reader.next_frame(&mut samples).map_err(failed)?;
    let samples = &samples[..info.buffer_size()];
    let pixels: Vec<[u8; 4]> = match info.color_type {
        png::ColorType::Grayscale => samples.iter().map(|&y| [y, y, y, 255]).collect(),
        png::ColorType::GrayscaleAlpha => samples.as_chunks().0.iter().map(|&[y, a]| [y, y, y, a]).collect(),
        png::ColorType::Rgb => samples.as_chunks().0.iter().map(|&[r, g, b]| [r, g, b, 255]).collect(),
        png::ColorType::Rgba => samples.as_chunks().0.to_vec(),
        png::ColorType::Indexed => return Err(bad("PNG: its palette could not be resolved")),
    };
    complete(size, pixels, "PNG")
}

fn decode_jpeg(bytes: &[u8]) -> Result<RgbaImage> {
    let failed = |e: turbojpeg::Error| bad("JPEG").because(e);
    let mut decompressor = turbojpeg::Decompressor::new().map_err(failed)?;
    // a progressive file of many empty scans would decode for hours
    decompressor.set_scan_limit(100).map_err(failed)?;
    let header = decompressor.read_header(bytes).map_err(failed)?;
    let size = checked_size(header.width as u32, header.height as u32)?;
    let mut samples = vec![0; header.width * header.height * 4];
    let image = turbojpeg::Image {
        pixels: samples.as_mut_slice(),
        width: header.width,
        pitch: header.width * 4,
        height: header.height,
        format: turbojpeg::PixelFormat::RGBA,
    };
    decompressor.decompress(bytes, image).map_err(failed)?;
    complete(size, samples.as_chunks().0.to_vec(), "JPEG")
}

fn complete(size: Size, pixels: Vec<[u8; 4]>, kind: &str) -> Result<RgbaImage> {
    if pixels.len() != size.width as usize * size.height as usize {
        return Err(bad(format!("{kind}: the decoder gave {} pixels for {size}", pixels.len())));
    }
    Ok(RgbaImage { size, pixels })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use png::{BitDepth, ColorType};

    fn png_file(width: u32, height: u32, colour: ColorType, depth: BitDepth, rows: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if colour == ColorType::Indexed {
            encoder.set_palette(vec![1, 2, 3, 250, 251, 252]);
            encoder.set_trns(vec![40, 200]);
        }
        encoder.write_header().expect("header").write_image_data(rows).expect("pixels");
        file
    }

    /// Writes width and height over those of a PNG file, and its header's new checksum.
    fn with_png_size(mut file: Vec<u8>, width: u32, height: u32) -> Vec<u8> {
        file[16..20].copy_from_slice(&width.to_be_bytes());
        file[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = file[12..29].iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        });
        file[29..33].copy_from_slice(&(!crc).to_be_bytes());
        file
    }

    fn jpeg_file() -> Vec<u8> {
        let pixels: Vec<u8> = (0..32 * 24).flat_map(|at: usize| [200, (at % 32) as u8 * 4, 30]).collect();
        let format = turbojpeg::PixelFormat::RGB;
        let image = turbojpeg::Image { pixels: pixels.as_slice(), width: 32, pitch: 96, height: 24, format };
        turbojpeg::compress(image, 95, turbojpeg::Subsamp::None).expect("encoded").to_vec()
    }

    /// Writes height and width over those in the frame header (SOF0).
    fn with_jpeg_size(mut file: Vec<u8>, width: u16, height: u16) -> Vec<u8> {
        let sof = file.windows(2).position(|w| w == [0xff, 0xc0]).expect("a baseline file");
        file[sof + 5..sof + 7].copy_from_slice(&height.to_be_bytes());
        file[sof + 7..sof + 9].copy_from_slice(&width.to_be_bytes());
        file
    }

    #[test]
    fn every_png_colour_type_and_depth_becomes_rgba() {
        use BitDepth::{Eight, Four, One, Sixteen, Two};
        use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        let cases: &[(ColorType, BitDepth, &[u8], [u8; 4])] = &[
            (Grayscale, One, &[0x80], [255, 255, 255, 255]),
            (Grayscale, Two, &[0x40], [85, 85, 85, 255]),
            (Grayscale, Four, &[0x30], [51, 51, 51, 255]),
            (Grayscale, Eight, &[77], [77, 77, 77, 255]),
            (Grayscale, Sixteen, &[77, 0], [77, 77, 77, 255]),
            (GrayscaleAlpha, Eight, &[77, 9], [77, 77, 77, 9]),
            (GrayscaleAlpha, Sixteen, &[77, 0, 9, 0], [77, 77, 77, 9]),
            (Rgb, Eight, &[1, 2, 3], [1, 2, 3, 255]),
            (Rgb, Sixteen, &[1, 0, 2, 0, 3, 0], [1, 2, 3, 255]),
            (Rgba, Eight, &[1, 2, 3, 4], [1, 2, 3, 4]),
            (Rgba, Sixteen, &[1, 0, 2, 0, 3, 0, 4, 0], [1, 2, 3, 4]),
            (Indexed, One, &[0x80], [250, 251, 252, 200]),
            (Indexed, Two, &[0x40], [250, 251, 252, 200]),
            (Indexed, Four, &[0x10], [250, 251, 252, 200]),
            (Indexed, Eight, &[0], [1, 2, 3, 40]),
        ];
        for &(colour, depth, row, wanted) in cases {
            let image = decode(&png_file(1, 1, colour, depth, row)).expect("decodes");
            assert_eq!(image.pixels, [wanted], "{colour:?} {depth:?}");
        }
    }

    #[test]
    fn a_jpeg_becomes_opaque_rgba() {
        let image = decode(&jpeg_file()).expect("decodes");
        assert_eq!(image.size, Size { width: 32, height: 24 });
        for (at, &[r, g, b, a]) in image.pixels.iter().enumerate() {
            let near = |found: u8, wanted: usize| (found as usize).abs_diff(wanted) < 12;
            assert!(near(r, 200) && near(g, at % 32 * 4) && near(b, 30) && a == 255, "{at}: {r} {g} {b} {a}");
        }
    }

    #[test]
    fn files_cut_short_are_refused_wherever_the_cut_is() {
        let rows: Vec<u8> = (0..40 * 30 * 4).map(|at: usize| ((at * at) >> 3) as u8).collect();
        let png = png_file(40, 30, ColorType::Rgba, BitDepth::Eight, &rows);
        // a PNG without its last chunk (IEND, 12 bytes) is still a whole picture
        (0..png.len() - 16).for_each(|len| assert!(decode(&png[..len]).is_err(), "PNG of {len} bytes"));
        let jpeg = jpeg_file();
        (0..jpeg.len() - 2).for_each(|len| assert!(decode(&jpeg[..len]).is_err(), "JPEG of {len} bytes"));
    }

    #[test]
    fn sizes_of_nothing_and_beyond_the_limit_are_refused_before_any_memory_is_taken() {
        let png = png_file(1, 1, ColorType::Rgba, BitDepth::Eight, &[0; 4]);
        let limit = LARGEST_SIDE;
        for (width, height) in [(limit + 1, 1), (1, limit + 1), (0x7fff_ffff, 0x7fff_ffff)] {
            let error = decode(&with_png_size(png.clone(), width, height)).expect_err("too large").to_string();
            assert!(error.contains(&format!("{width}x{height}")) && error.contains("4096x4096"), "{error}");
        }
        for (width, height) in [(0, 1), (1, 0), (u32::MAX, u32::MAX)] {
            assert!(decode(&with_png_size(png.clone(), width, height)).is_err(), "{width}x{height}");
        }
        for (width, height) in [(65500, 65500), (4097, 1), (0, 24), (32, 0)] {
            assert!(decode(&with_jpeg_size(jpeg_file(), width, height)).is_err(), "{width}x{height}");
        }
        let edge = png_file(limit, 1, ColorType::Grayscale, BitDepth::Eight, &vec![5; limit as usize]);
        assert_eq!(decode(&edge).expect("just within").size.width, limit);
    }

    #[test]
    fn damaged_bytes_give_an_answer_never_a_panic() {
        let rows = [9; 16 * 16 * 3];
        for file in [png_file(16, 16, ColorType::Rgb, BitDepth::Eight, &rows), jpeg_file()] {
            let mut dice = Dice::new(5);
            for _ in 0..500 {
                let mut damaged = file.clone();
                dice.damage(&mut damaged, 3);
                if let Ok(image) = decode(&damaged) {
                    assert_eq!(image.pixels.len(), (image.size.width * image.size.height) as usize);
                }
            }
        }
        assert!(decode(b"GIF89a").is_err() && decode(b"").is_err());
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert!(load(dir.path()).expect_err("a folder").to_string().contains("not a regular file"));
        assert!(load(Path::new("/dev/zero")).expect_err("a device").to_string().contains("/dev/zero: not a regular"));
        let path = dir.path().join("large");
        std::fs::write(&path, [0; 9]).expect("written");
        assert!(read_file(&path, 9).is_ok() && read_file(&path, 8).is_err());
    }
}
