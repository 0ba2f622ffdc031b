//! Bytes of messages: little-endian integers, texts behind their length, nothing else.

use crate::limits::TEXT_SIZE_MAX;

/// Why a message was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected}, found {found}")]
pub struct Malformed {
    /// Which part.
    pub what: &'static str,
    /// What a good one has.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Malformed {
    pub(crate) fn new(what: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        Self { what, expected: expected.to_string(), found: found.to_string() }
    }
}

/// Bytes of a [`Head`].
pub const HEAD_SIZE: usize = 24;

/// What every message in a ring starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of [`Tokens`](crate::Tokens): whose message this is.
    pub session: u64,
    /// Number of the request, which its answer repeats. Of an append: byte of the stream where its payload starts.
    pub number: u64,
    /// The stream, where there is one.
    pub stream: u64,
}

impl Head {
    /// As it stands in a message.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEAD_SIZE] {
        let mut bytes = [0; HEAD_SIZE];
        for (place, word) in bytes.chunks_exact_mut(8).zip([self.session, self.number, self.stream]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The head of a message, and what follows.
    ///
    /// # Errors
    /// It is shorter.
    pub fn split(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut reader = Reader(bytes);
        let head = Self { session: reader.u64()?, number: reader.u64()?, stream: reader.u64()? };
        Ok((head, reader.0))
    }
}

/// What is left of a message.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let found = self.0.len();
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or_else(|| Malformed::new("length", len, found))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, Malformed> {
        self.array().map(u128::from_le_bytes)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Malformed::new("flag", "0 or 1", other)),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let len = usize::from(self.u16()?);
        if len > TEXT_SIZE_MAX {
            return Err(Malformed::new("length of a text", format!("at most {TEXT_SIZE_MAX}"), len));
        }
        let text = std::str::from_utf8(self.take(len)?);
        text.map(str::to_owned).map_err(|error| Malformed::new("text", "UTF-8", error))
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::new("bytes after the end", 0, self.0.len())) }
    }
}

/// Adds a text; what is too long is cut, at a character.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut len = text.len().min(TEXT_SIZE_MAX);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    out.extend(u16::try_from(len).expect("a text is short").to_le_bytes());
    out.extend(&text.as_bytes()[..len]);
}
