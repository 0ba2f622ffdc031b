//! The three sizes that decide where a stream is cut.
//!
//! They are part of what a store means: the same data cut with other sizes has other chunks. So they are recorded
//! in the store and checked here whenever they are read back.

use fastcdc::v2020::{AVERAGE_MAX, AVERAGE_MIN, MAXIMUM_MIN, MINIMUM_MAX, MINIMUM_MIN, Normalization};

const KIB: u32 = 1024;

/// Largest chunk the engine handles, in bytes; the `fastcdc` crate itself would allow 16 MiB.
const CHUNK_SIZE_MAX: u32 = 4 * 1024 * KIB;

/// FastCDC's normalisation: one mask bit more before the average, one less behind it. `FastCDC::new` uses the same.
pub(crate) const NORMALIZATION: Normalization = Normalization::Level1;

/// Chunk sizes in bytes. All even, `min <= avg <= max`, each within the bounds of the `fastcdc` crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    /// No chunk is shorter, except the last of a stream. 64 bytes to 1 MiB.
    pub min: u32,
    /// The mask gets looser from here on; the mean chunk of random data is about `avg + min`. 256 bytes to 4 MiB.
    pub avg: u32,
    /// No chunk is longer. 1 KiB to 4 MiB.
    pub max: u32,
}

/// Why three sizes cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The cut loop takes two bytes at a time and would shift an odd bound by one.
    #[error("chunk size {found} is odd; expected an even number of bytes")]
    Odd {
        /// The offending size.
        found: u32,
    },
    /// One size lies outside its bounds.
    #[error("{name} chunk size is {found} bytes; expected {least} to {most}")]
    Range {
        /// `minimum`, `average` or `maximum`.
        name: &'static str,
        /// The offending size.
        found: u32,
        /// Least size allowed.
        least: u32,
        /// Greatest size allowed.
        most: u32,
    },
    /// The sizes contradict each other.
    #[error("chunk sizes {min}/{avg}/{max} are out of order; expected minimum <= average <= maximum")]
    Order {
        /// Minimum found.
        min: u32,
        /// Average found.
        avg: u32,
        /// Maximum found.
        max: u32,
    },
}

impl Params {
    /// Check and keep the sizes.
    ///
    /// # Errors
    /// A size is odd, out of its bounds, or the three are out of order.
    pub fn new(min: u32, avg: u32, max: u32) -> Result<Self, ParamsError> {
        let params = Self { min, avg, max };
        params.check().map(|()| params)
    }

    /// Check sizes that were assembled field by field, or read from disk.
    ///
    /// # Errors
    /// As [`Params::new`].
    pub fn check(&self) -> Result<(), ParamsError> {
        let Self { min, avg, max } = *self;
        if let Some(found) = [min, avg, max].into_iter().find(|size| size % 2 != 0) {
            return Err(ParamsError::Odd { found });
        }
        in_range("minimum", min, MINIMUM_MIN, MINIMUM_MAX)?;
        in_range("average", avg, AVERAGE_MIN, AVERAGE_MAX)?;
        in_range("maximum", max, MAXIMUM_MIN, CHUNK_SIZE_MAX as usize)?;
        if min <= avg && avg <= max { Ok(()) } else { Err(ParamsError::Order { min, avg, max }) }
    }
}

impl Default for Params {
    /// 4/16/64 KiB: scattered writes into images decide; larger chunks store several times more of them.
    fn default() -> Self {
        Self { min: 4 * KIB, avg: 16 * KIB, max: 64 * KIB }
    }
}

fn in_range(name: &'static str, found: u32, least: usize, most: usize) -> Result<(), ParamsError> {
    let bound = |size| u32::try_from(size).expect("chunk size bounds fit 32 bits");
    let (least, most) = (bound(least), bound(most));
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(ParamsError::Range { name, found, least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        let Params { min, avg, max } = Params::default();
        assert_eq!(Params::new(min, avg, max), Ok(Params::default()));
    }

    #[test]
    fn bounds_are_inclusive() {
        assert!(Params::new(64, 256, 1024).is_ok());
        assert!(Params::new(1 << 20, 1 << 22, 1 << 22).is_ok());
        assert!(matches!(Params::new(62, 256, 1024), Err(ParamsError::Range { name: "minimum", .. })));
        assert!(matches!(Params::new(64, 254, 1024), Err(ParamsError::Range { name: "average", .. })));
        assert!(matches!(Params::new(64, 256, 1022), Err(ParamsError::Range { name: "maximum", .. })));
        assert!(matches!(
            Params::new(64, 256, (1 << 22) + 2),
            Err(ParamsError::Range { name: "maximum", .. })
        ));
    }

    #[test]
    fn odd_and_unordered_sizes_are_refused() {
        assert_eq!(Params::new(65, 256, 1024), Err(ParamsError::Odd { found: 65 }));
        assert_eq!(Params::new(64, 256, 1025), Err(ParamsError::Odd { found: 1025 }));
        assert_eq!(
            Params::new(2048, 1024, 4096),
            Err(ParamsError::Order { min: 2048, avg: 1024, max: 4096 })
        );
        assert_eq!(Params::new(64, 2048, 1024), Err(ParamsError::Order { min: 64, avg: 2048, max: 1024 }));
    }
}
