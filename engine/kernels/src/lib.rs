//! Bytes to cut points to chunk hashes: FastCDC and BLAKE3, several lanes at once where the CPU allows it.
//!
//! Every backup byte passes here, known or new, so this stage bounds the speed of the whole engine. A kernel that cut
//! at other places than yesterday's would silently store everything twice; one that hashed wrongly would lose data.
//!
//! # Invariants
//! - Cut points equal those of `fastcdc::v2020::FastCDC::new` for the same sizes, on every CPU level.
//! - Hashes equal `blake3::hash`, on every CPU level.
//! - Neither depends on how a stream was split into extents or on how many cores worked on it.
//!
//! There is no I/O here and no thread. The only global state is which of two equal kernels was faster at the first try.

mod chunker;
mod copy;
mod hash;
mod level;
mod params;
mod portable;
#[cfg(target_arch = "x86_64")]
mod scan_avx512;
mod stitch;
mod zero;

pub use chunker::{Chunker, Cut};
pub use copy::copy_with_crc;
pub use hash::{hash_cuts, hash_many};
pub use level::Level;
pub use params::{Params, ParamsError};
pub use stitch::{Piece, Place, Stitched, Stitcher};
