//! An encoded picture (access unit) shared by every output, and the pool its memory comes from.
//!
//! Must never be changed once shared. Input: the encoders.

use crate::units::{Micros, Pts90k, Size};
use std::sync::Arc;

/// One encoded picture, H.264 Annex B byte stream (start codes 00 00 00 01; Rec. ITU-T H.264 Annex B).
#[derive(Clone, Debug, Default)]
pub struct AccessUnit {
    /// The NAL units. A key frame starts with SPS and PPS.
    pub bytes: Vec<u8>,
    /// An IDR picture: decoding can start here.
    pub key: bool,
    pub pts: Pts90k,
    /// Capture instant; the two stamps after it are when overlay and encoder were done.
    pub captured_at: Micros,
    pub overlaid_at: Micros,
    pub encoded_at: Micros,
    /// Counts encoded pictures; no gaps.
    pub sequence: u64,
    pub size: Option<Size>,
}

/// Reuses access units that no output holds any more, so that a running stream allocates nothing per frame.
#[derive(Default)]
pub struct AccessUnitPool {
    units: Vec<Arc<AccessUnit>>,
}

/// More than the bound of any output's queue; past it units are simply allocated and freed.
const POOLED_UNITS: usize = 64;

impl AccessUnitPool {
    /// An access unit to fill, its `bytes` empty with whatever capacity it grew before.
    pub fn fill(&mut self, write: impl FnOnce(&mut AccessUnit)) -> Arc<AccessUnit> {
        let mut unit = self.free_unit();
        let inner = Arc::get_mut(&mut unit).expect("free_unit returns a unit nobody else holds");
        inner.bytes.clear();
        write(inner);
        if self.units.len() < POOLED_UNITS {
            self.units.push(unit.clone());
        }
        unit
    }

    fn free_unit(&mut self) -> Arc<AccessUnit> {
        match self.units.iter_mut().position(|unit| Arc::get_mut(unit).is_some()) {
            Some(at) => self.units.swap_remove(at),
            None => Arc::new(AccessUnit::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_reused_only_when_nobody_holds_it() {
        let mut pool = AccessUnitPool::default();
        let first = pool.fill(|unit| unit.bytes.extend_from_slice(&[1; 100]));
        let second = pool.fill(|unit| unit.bytes.extend_from_slice(&[2; 10]));
        assert_eq!((first.bytes.len(), second.bytes.len()), (100, 10));
        let address = Arc::as_ptr(&first);
        drop(first);
        let third = pool.fill(|unit| unit.bytes.push(3));
        assert_eq!((Arc::as_ptr(&third), third.bytes.len()), (address, 1));
    }
}
