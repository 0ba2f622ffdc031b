//! Bytes of messages: little-endian integers, lengths before what they measure, nothing else.
//!
//! Reading takes slices of what is there; a length that was announced allocates nothing.

use crate::error::Malformed;

/// What is left of a message.
pub(crate) struct Take<'a>(pub &'a [u8]);

impl<'a> Take<'a> {
    pub fn bytes(&mut self, what: &'static str, len: usize) -> Result<&'a [u8], Malformed> {
        let found = self.0.len();
        let split = self.0.split_at_checked(len);
        let (taken, rest) = split.ok_or_else(|| Malformed::new(what, format!("{len} bytes"), found))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(what, N)?);
        Ok(array)
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array(what).map(u8::from_le_bytes)
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Bytes behind their u16 length.
    pub fn counted(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], Malformed> {
        let len = usize::from(self.u16(what)?);
        if len > max {
            return Err(Malformed::new(what, format!("at most {max} bytes"), len));
        }
        self.bytes(what, len)
    }

    pub fn text(&mut self, what: &'static str, max: usize) -> Result<&'a str, Malformed> {
        let bytes = self.counted(what, max)?;
        std::str::from_utf8(bytes).map_err(|error| Malformed::new(what, "UTF-8", error))
    }

    pub fn end(&self, what: &'static str) -> Result<(), Malformed> {
        let left = self.0.len();
        if left == 0 { Ok(()) } else { Err(Malformed::new(what, "its end", format!("{left} bytes more"))) }
    }
}

/// Adds bytes behind their u16 length.
pub(crate) fn put_counted(
    out: &mut Vec<u8>,
    what: &'static str,
    bytes: &[u8],
    max: usize,
) -> Result<(), Malformed> {
    let len = u16::try_from(bytes.len()).ok().filter(|len| usize::from(*len) <= max);
    let len = len.ok_or_else(|| Malformed::new(what, format!("at most {max} bytes"), bytes.len()))?;
    out.extend(len.to_le_bytes());
    out.extend(bytes);
    Ok(())
}
