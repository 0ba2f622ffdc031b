//! The cut scan of the `fastcdc` crate: the slow twin that defines what every other scan must find.

use fastcdc::v2020::{cut, select_masks};

use crate::params::{NORMALIZATION, Params};

/// The masks FastCDC tests the rolling hash against; a byte at which `hash & mask == 0` starts a new chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Masks {
    /// Before the average size.
    pub(crate) strict: u64,
    /// From the average size on.
    pub(crate) loose: u64,
}

impl Masks {
    pub(crate) fn of(params: Params) -> Self {
        let (strict, loose) = select_masks(params.avg as usize, NORMALIZATION);
        Self { strict, loose }
    }
}

/// Length of the first chunk of `data`; the end of `data` is a cut.
pub(crate) fn first_cut(params: Params, masks: Masks, data: &[u8]) -> usize {
    let Params { min, avg, max } = params;
    let Masks { strict, loose } = masks;
    cut(data, min as usize, avg as usize, max as usize, strict, loose, strict << 1, loose << 1).1
}
