//! Optional compression of single chunks, between hash and container.
//!
//! A chunk is stored as it is unless compression saves more than a sixteenth; backup data is full of media
//! and archives, so `auto` tries a sample first and leaves what does not shrink alone.

use std::borrow::Cow;

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

/// The raw bytes of a stored payload.
///
/// `raw_len` comes from a checked header and bounds the output: a payload that would give more, or less, is refused.
///
/// # Errors
/// What is wrong with the payload, in words.
pub fn decompress(codec: Codec, stored: &[u8], raw_len: usize) -> Result<Cow<'_, [u8]>, String> {
    let mut raw = match codec {
        Codec::None => {
            let fits = stored.len() == raw_len;
            return if fits {
                Ok(Cow::Borrowed(stored))
            } else {
                Err(format!("{} bytes stored", stored.len()))
            };
        }
        Codec::Lz4 | Codec::Zstd => vec![0; raw_len],
    };
    let len = match codec {
        Codec::Lz4 => {
            lz4_flex::block::decompress_into(stored, &mut raw).map_err(|error| error.to_string())?
        }
        _ => zstd::bulk::decompress_to_buffer(stored, &mut raw[..]).map_err(|error| error.to_string())?,
    };
    if len == raw_len { Ok(Cow::Owned(raw)) } else { Err(format!("it gives {len} bytes, not {raw_len}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|n| (n / 7).to_string().into_bytes()).collect();
        for mode in [Compression::None, Compression::Lz4, Compression::Zstd { level: 3 }, Compression::Auto] {
            let mut compressor = Compressor::new(mode).unwrap();
            for raw in [&text[..], &text[..1], &[0; 5000]] {
                let (codec, stored) = compressor.compress(raw);
                assert!(stored.len() <= raw.len());
                assert_eq!(decompress(codec, stored, raw.len()).unwrap(), raw, "{mode:?}");
                assert_eq!(codec == Codec::None, stored == raw);
            }
        }
        assert_ne!(Compressor::new(Compression::Lz4).unwrap().compress(&text).0, Codec::None);
        assert_ne!(Compressor::new(Compression::Auto).unwrap().compress(&text).0, Codec::None);
    }

    #[test]
    fn a_payload_of_another_length_is_refused() {
        let mut compressor = Compressor::new(Compression::Zstd { level: 1 }).unwrap();
        let raw = [7; 4000];
        let (codec, stored) = compressor.compress(&raw);
        assert!(decompress(codec, stored, 3999).is_err());
        assert!(decompress(codec, stored, 4001).is_err());
        assert!(decompress(Codec::Lz4, stored, 4000).is_err());
        assert!(decompress(Codec::None, stored, 4000).is_err());
    }
}
