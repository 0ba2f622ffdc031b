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

/// Which encoding a store gives to new chunks. The numbers are on disk and never change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum CodecChoice {
    /// Never compress.
    #[default]
    None = 0,
    /// LZ4 where it pays.
    Lz4 = 1,
    /// zstd where it pays.
    Zstd = 2,
    /// Probe each chunk, and choose.
    Auto = 3,
}

impl CodecChoice {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::None, Self::Lz4, Self::Zstd, Self::Auto];

    /// The choice with this number, if there is one.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.id() == id)
    }

    /// Its number on disk.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        assert_eq!(Codec::ALL.map(Codec::id), [0, 1, 2]);
        assert_eq!(CodecChoice::ALL.map(CodecChoice::id), [0, 1, 2, 3]);
        assert_eq!(Codec::from_id(2), Some(Codec::Zstd));
        assert_eq!(Codec::from_id(3), None);
        assert_eq!(CodecChoice::from_id(3), Some(CodecChoice::Auto));
        assert_eq!(CodecChoice::from_id(4), None);
    }
}
