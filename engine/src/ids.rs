//! Newtypes for everything the store names, so that one kind of number is never taken for another.

use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// BLAKE3-256 of a chunk's uncompressed bytes: its identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkHash(pub [u8; 32]);

impl ChunkHash {
    /// Hash `bytes` (portable path; the ingest pipeline hashes many chunks side by side).
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The hash that is written as `hex`, as [`fmt::Display`] does it.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
        }
        Some(Self(hash))
    }

    /// The first eight bytes as a number: uniformly distributed, used for routing and filters.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        self.word(0)
    }

    /// Word `n` (0..4) of the hash, little-endian.
    ///
    /// # Panics
    /// When `n` is 4 or more.
    #[must_use]
    pub fn word(&self, n: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.0[n * 8..n * 8 + 8]);
        u64::from_le_bytes(word)
    }
}

/// A domain of clients, whose members may know of each other's chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DomainTag(pub [u8; 8]);

impl DomainTag {
    /// Of the domain called `name`: the first bytes of the name's BLAKE3.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let mut tag = [0; 8];
        tag.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..8]);
        Self(tag)
    }
}

/// For maps keyed by [`ChunkHash`]: a chunk's hash is uniformly distributed already, so one word of it will do.
pub type WordHashed = BuildHasherDefault<WordHasher>;

/// See [`WordHashed`].
#[derive(Clone, Copy, Debug, Default)]
pub struct WordHasher(u64);

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            self.0 ^= u64::from_le_bytes(padded);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Hash for ChunkHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.word(2));
    }
}

impl fmt::Display for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.prefix().swap_bytes())
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl $name {
            /// The id number `count` of store epoch `epoch`. Epochs are durable and never repeat, so ids never do.
            #[must_use]
            pub fn of(epoch: Epoch, count: u32) -> Self {
                Self(u64::from(epoch.0) << 32 | u64::from(count))
            }

            /// The epoch it was made in.
            #[must_use]
            pub fn epoch(self) -> Epoch {
                Epoch(u32::try_from(self.0 >> 32).unwrap_or(u32::MAX))
            }

            /// The id in a file name: sixteen hex digits.
            ///
            /// # Errors
            /// Nothing else is accepted.
            pub fn parse(text: &str) -> Option<Self> {
                let exact = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
                exact.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

id! {
    /// A container file: `containers/<id>.gdc`. Never reused, also when the file is recycled under a new id.
    ContainerId
}
id! {
    /// A recipe: `recipes/{a,b}/<id>.gdr`.
    RecipeId
}

/// Counts the read-write openings of a store; durable before it is used. 0 is "never opened".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_through_file_names() {
        let id = ContainerId::of(Epoch(7), 9);
        assert_eq!(id.to_string(), "0000000700000009");
        assert_eq!(ContainerId::parse(&id.to_string()), Some(id));
        for wrong in ["", "7", "000000070000000G", "00000007000000090", "0000000A00000009"] {
            assert_eq!(ContainerId::parse(wrong), None, "{wrong}");
        }
    }
}
