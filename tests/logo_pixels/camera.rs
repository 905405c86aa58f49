//! A camera that shows the test's background, in rows with padding as drivers make them.

use crate::expected::Planes;
use rtcam::capture::{Fault, Grab, Source, SourceInfo, Want};
use rtcam::clock::Clock;
use rtcam::media::frame::{BufferPool, Colour, Frame, Layout, PictureFormat};
use rtcam::stream::pipeline::OpenSource;
use rtcam::units::{FrameRate, Size};
use std::sync::Arc;
use std::time::Duration;

/// What the padding holds: nothing that could pass for a picture.
const PADDING: u8 = 255;

pub fn padded(layout: Layout, size: Size, colour: Colour) -> PictureFormat {
    let mut format = PictureFormat::packed(layout, size, colour);
    format.strides.iter_mut().filter(|stride| **stride > 0).for_each(|stride| *stride += 32);
    format
}

pub fn opener(format: PictureFormat, clock: Clock) -> OpenSource {
    Arc::new(move || Ok(Box::new(Still::new(format, clock.clone())) as Box<dyn Source>))
}

struct Still {
    info: SourceInfo,
    clock: Clock,
    pool: Arc<BufferPool>,
    background: Planes,
    sequence: u64,
}

impl Still {
    fn new(format: PictureFormat, clock: Clock) -> Still {
        let info = SourceInfo {
            name: "background".into(),
            wire_format: "test".into(),
            picture: format,
            rate: Some(FrameRate::per_second(30)),
        };
        let pool = BufferPool::new(4, format.buffer_len());
        Still { info, clock, pool, background: Planes::background(format.size), sequence: 0 }
    }

    fn paint(&self, frame: &mut Frame) {
        let format = frame.format;
        let level = |plane: usize, at: usize| self.background.planes[plane][at] as u8;
        for (plane, bytes) in frame.planes_mut().into_iter().enumerate().take(format.layout.planes()) {
            bytes.fill(PADDING);
            let (width, rows) = format.plane_shape(plane);
            for (row, line) in bytes.chunks_mut(format.strides[plane]).enumerate().take(rows) {
                for (column, byte) in line[..width].iter_mut().enumerate() {
                    *byte = match (format.layout, plane) {
                        // U and V take turns
                        (Layout::Nv12, 1) => level(1 + column % 2, row * (width / 2) + column / 2),
                        _ => level(plane, row * width + column),
                    };
                }
            }
        }
    }
}

impl Source for Still {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn grab(&mut self, want: Want, _: Duration) -> Result<Grab, Fault> {
        self.clock.sleep(Duration::from_millis(33));
        let (Want::Picture, Some(buffer)) = (want, self.pool.take()) else { return Ok(Grab::Passed) };
        let mut frame = Frame::pooled(self.info.picture, self.clock.now(), self.sequence, buffer);
        self.sequence += 1;
        self.paint(&mut frame);
        Ok(Grab::Frame(frame))
    }

    fn dropped(&self) -> u64 {
        0
    }
}
