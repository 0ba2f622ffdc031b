//! Which kernels a CPU gets. All other code asks here and never for CPU features.

use std::fmt;

use crate::hash::Hasher;
use crate::params::Params;
use crate::portable::{self, Masks};
#[cfg(target_arch = "x86_64")]
use crate::scan_avx512::Scanner;

/// The kernels in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The `fastcdc` and `blake3` crates.
    Portable,
    /// Eight scan lanes and sixteen hash lanes; needs AVX-512 F, BW, DQ, VL and VBMI.
    Avx512Vbmi,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx512Vbmi => "avx512-vbmi",
        })
    }
}

/// The kernels of one level.
#[derive(Debug)]
pub(crate) enum Kernels {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx512Vbmi(&'static Scanner),
}

impl Kernels {
    /// The kernels of `level`, or nothing where the CPU lacks them.
    pub(crate) fn of(level: Level) -> Option<Self> {
        match level {
            Level::Portable => Some(Self::Portable),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vbmi => Scanner::detect().map(Self::Avx512Vbmi),
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx512Vbmi => None,
        }
    }

    pub(crate) fn best() -> Self {
        Self::of(Level::Avx512Vbmi).unwrap_or(Self::Portable)
    }

    pub(crate) fn level(&self) -> Level {
        match self {
            Self::Portable => Level::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vbmi(_) => Level::Avx512Vbmi,
        }
    }

    /// Length of the first chunk of `data`; the end of `data` is a cut.
    pub(crate) fn first_cut(&self, params: Params, masks: Masks, data: &[u8]) -> usize {
        match self {
            Self::Portable => portable::first_cut(params, masks, data),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vbmi(scanner) => scanner.first_cut(params, masks, data),
        }
    }

    pub(crate) fn hasher(&self) -> Hasher {
        match self {
            Self::Portable => Hasher::portable(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vbmi(_) => Hasher::best(),
        }
    }
}
