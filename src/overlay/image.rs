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
