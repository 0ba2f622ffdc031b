//! What a connection is told, and its bounds.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gdd_wire::{Introduction, Key, StoreId};

/// Bounds of waiting and of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the connection and for the handshake, each.
    pub connect: Duration,
    /// From one sign of the daemon to the next: bytes that it sends, or that it takes.
    pub silence: Duration,
    /// The same for the answers to begin and commit: the daemon reads what it has of the backup before, or syncs its
    /// disk, and may say nothing meanwhile.
    pub long_silence: Duration,
    /// Bytes of a backup that wait for the daemon's answer, in blocks of some MiB; one segment, of 64 MiB at most,
    /// may be above it.
    pub memory: usize,
    /// Bytes of a restore that are asked for and have not been read.
    pub window: u64,
}

impl Default for Limits {
    /// 64 MiB are 50 ms of a connection with 10 Gbit/s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            long_silence: Duration::from_secs(300),
            memory: 64 << 20,
            window: 32 << 20,
        }
    }
}

/// What a connection is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which of the daemon's domains we are in.
    pub key: Key,
    /// Who we are.
    pub introduction: Introduction,
    /// The store that must be there, where it is known.
    pub store: Option<StoreId>,
    /// How long and how much.
    pub limits: Limits,
    /// Set by others when nothing more is wanted; looked at several times a second.
    pub cancelled: Arc<AtomicBool>,
}

impl Settings {
    /// With usual limits.
    #[must_use]
    pub fn new(key: Key, introduction: Introduction) -> Self {
        let (limits, cancelled) = (Limits::default(), Arc::default());
        Self { key, introduction, store: None, limits, cancelled }
    }
}
