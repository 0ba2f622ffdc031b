//! Optional compression of single chunks, between hash and container.
//!
//! A chunk is stored as it is unless compression saves more than a sixteenth; backup data is full of media
//! and archives, so `auto` tries a sample first and leaves what does not shrink alone.

use crate::error::{Error, Result};
use crate::format::codec::{Codec, Compression};

/// Bytes of a chunk that `auto` tries first.
const SAMPLE_SIZE: usize = 4096;

/// The zstd level of `auto`: the fastest that still beats LZ4's ratio clearly.
const AUTO_LEVEL: i32 = 1;

/// A compressor with its scratch memory; one per worker.
pub struct Compressor {
    mode: Compression,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    output: Vec<u8>,
}

impl Compressor {
    /// A compressor for the store's setting.
    ///
    /// # Errors
    /// The zstd level is unknown to the library.
    pub fn new(mode: Compression) -> Result<Self> {
        let level = match mode {
            Compression::Zstd { level } => Some(i32::from(level)),
            Compression::Auto => Some(AUTO_LEVEL),
            Compression::None | Compression::Lz4 => None,
        };
        let zstd = level
            .map(zstd::bulk::Compressor::new)
            .transpose()
            .map_err(|error| Error::Invalid(format!("zstd level: {error}")))?;
        Ok(Self { mode, zstd, output: Vec::new() })
    }

    /// The bytes to store for `raw`, and how they were made.
    pub fn compress<'a>(&'a mut self, raw: &'a [u8]) -> (Codec, &'a [u8]) {
        let codec = match self.mode {
            Compression::None => return (Codec::None, raw),
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd { .. } => Codec::Zstd,
            Compression::Auto => {
                if !self.sample_shrinks(raw) {
                    return (Codec::None, raw);
                }
                Codec::Zstd
            }
        };
        let len = match codec {
            Codec::Lz4 => self.lz4(raw),
            _ => self.zstd(raw),
        };
        match len {
            Some(len) if len + raw.len() / 16 < raw.len() => (codec, &self.output[..len]),
            _ => (Codec::None, raw),
        }
    }

    fn sample_shrinks(&mut self, raw: &[u8]) -> bool {
        let middle = raw.len() / 2;
        let sample = &raw[middle.saturating_sub(SAMPLE_SIZE / 2)..(middle + SAMPLE_SIZE / 2).min(raw.len())];
        self.lz4(sample).is_some_and(|len| len + sample.len() / 10 < sample.len())
    }

    fn lz4(&mut self, raw: &[u8]) -> Option<usize> {
        self.output.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
        lz4_flex::block::compress_into(raw, &mut self.output).ok()
    }

    fn zstd(&mut self, raw: &[u8]) -> Option<usize> {
        self.output.resize(zstd::zstd_safe::compress_bound(raw.len()), 0);
        self.zstd.as_mut()?.compress_to_buffer(raw, &mut self.output[..]).ok()
    }
}
