//! How a chunk's payload is encoded, and which encoding a store asks for.

/// Encoding of one stored payload. The numbers are on disk and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Codec {
    /// The chunk's bytes as they are.
    None = 0,
    /// LZ4 block format.
    Lz4 = 1,
    /// One zstd frame.
    Zstd = 2,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 3] = [Self::None, Self::Lz4, Self::Zstd];

    /// The codec with this number, if there is one.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.id() == id)
    }

    /// Its number on disk.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }
}

/// Which encoding a store gives to new chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Never compress.
    #[default]
    None,
    /// LZ4 where it pays.
    Lz4,
    /// zstd where it pays.
    Zstd {
        /// zstd's compression level, 1 to 22.
        level: i8,
    },
    /// Probe each chunk, and choose.
    Auto,
}

impl Compression {
    /// Its number and level on disk. The numbers never change; the level is 0 where there is none.
    #[must_use]
    pub fn id(self) -> (u8, i8) {
        match self {
            Self::None => (0, 0),
            Self::Lz4 => (1, 0),
            Self::Zstd { level } => (2, level),
            Self::Auto => (3, 0),
        }
    }

    /// The choice with this number and level, if there is one.
    #[must_use]
    pub fn from_id(id: u8, level: i8) -> Option<Self> {
        match (id, level) {
            (0, 0) => Some(Self::None),
            (1, 0) => Some(Self::Lz4),
            (2, 1..=22) => Some(Self::Zstd { level }),
            (3, 0) => Some(Self::Auto),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        assert_eq!(Codec::ALL.map(Codec::id), [0, 1, 2]);
        assert_eq!(Codec::from_id(2), Some(Codec::Zstd));
        assert_eq!(Codec::from_id(3), None);
        for (id, level, choice) in [
            (0, 0, Compression::None),
            (1, 0, Compression::Lz4),
            (2, 22, Compression::Zstd { level: 22 }),
            (3, 0, Compression::Auto),
        ] {
            assert_eq!(choice.id(), (id, level));
            assert_eq!(Compression::from_id(id, level), Some(choice));
        }
        for (id, level) in [(0, 1), (2, 0), (2, 23), (2, -1), (4, 0)] {
            assert_eq!(Compression::from_id(id, level), None);
        }
    }
}
