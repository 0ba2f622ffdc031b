//! How a store is opened: what may be tuned per process, as opposed to the settings that are part of the store.

use std::sync::OnceLock;

use gdd_uring::probe::Mode;

use crate::progress::Gauge;

const MIB: u64 = 1 << 20;

/// What the opener may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing is written, not even by recovery. Several processes may read at once.
    ReadOnly,
    /// Recovery runs; one process at a time.
    ReadWrite,
}

/// What is believed of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Its BLAKE3, computed from its bytes: what restores do that end here.
    #[default]
    Hash,
    /// Its record names it, and the record's CRC-32s hold: for a receiver that checks the bytes from end to end itself,
    /// a plugin that knows each chunk's BLAKE3 or a block's digest.
    Crc,
}

/// Per-process choices.
#[derive(Clone, Debug)]
pub struct Options {
    /// Engine threads; `None` means one per usable core.
    pub workers: Option<usize>,
    /// Bind each worker to a core. Useless, and harmful beside other load, when there are few cores.
    pub pin: bool,
    /// Bytes of memory that caches and buffers may take together; see [`Budget`].
    pub memory_budget: u64,
    /// Which door to the disk.
    pub io_mode: Mode,
    /// Refuse to run without direct I/O.
    pub require_direct: bool,
    /// How far restores and recalls check what they give out.
    pub trust: Trust,
    /// Whether known chunks are stored again, so that streams are restored with fewer seeks.
    pub rewriting: Rewriting,
    /// Shows how far an opening with recovery is.
    pub gauge: Gauge,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: None,
            pin: true,
            memory_budget: 1024 * MIB,
            io_mode: Mode::Auto,
            require_direct: false,
            trust: Trust::Hash,
            rewriting: Rewriting::OFF,
            gauge: Gauge::default(),
        }
    }
}

impl Options {
    /// Engine threads to run.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.unwrap_or_else(usable_cores).clamp(1, crate::limits::WORKERS_MAX)
    }

    /// How the memory budget is divided.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget::of(self.memory_budget)
    }
}

/// Cores that this process may use, asked for once: the system answers from a handful of files.
#[must_use]
pub fn usable_cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// How much is stored again, and for what disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewriting {
    /// Of a stream's bytes, so many hundredths at most; 0: nothing.
    pub percent: u8,
    /// Bytes of stream that are looked at together: what a restore plans at once.
    pub window: u64,
    /// Bytes that a disk reads in the time of a seek.
    pub seek: u64,
}

impl Rewriting {
    /// Nothing is stored again.
    pub const OFF: Self = Self { percent: 0, window: 32 << 20, seek: 1_280_000 };

    /// At most `percent` hundredths, for a disk that seeks in 8 ms and reads 160 MB/s.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        Self { percent, ..Self::OFF }
    }
}

/// Shares of the memory budget in bytes. What is left pays for stream windows, batch buffers and code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// RocksDB's block cache and tables.
    pub index: usize,
    /// Container directories, all workers together.
    pub locality: usize,
    /// Segments read for restores.
    pub segments: usize,
    /// The same for each service of the daemon that gives streams back.
    pub service_segments: usize,
    /// Batches being filled and written, all workers together.
    pub batches: usize,
}

/// Less than this, and a stream cannot be read ahead.
const SERVICE_SEGMENTS_MIN: usize = 8 << 20;

impl Budget {
    /// Divide `bytes`.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            index: bytes / 8,
            locality: bytes / 8,
            segments: bytes / 4,
            service_segments: (bytes / 16).max(SERVICE_SEGMENTS_MIN),
            batches: bytes / 10,
        }
    }
}
