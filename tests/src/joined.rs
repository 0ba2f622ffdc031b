//! Streams one after another, as one stream that can be read twice.

use std::collections::VecDeque;
use std::io::{self, Read};

use crate::stream::{Stream, digest};

/// The parts that are left to read.
#[derive(Clone, Debug)]
pub struct Joined(VecDeque<Stream>);

impl Joined {
    /// `parts`, in this order.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = Stream>) -> Self {
        Self(parts.into_iter().collect())
    }

    /// BLAKE3 of what is left to read.
    #[must_use]
    pub fn digest(&self) -> blake3::Hash {
        digest(self.clone()).expect("a generated stream can always be read")
    }
}

impl Read for Joined {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(part) = self.0.front_mut() {
            let length = part.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            self.0.pop_front();
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Content;

    #[test]
    fn the_parts_follow_each_other() {
        let parts = [(Content::Random, 5), (Content::Zeros, 0), (Content::Text, 3_000_000)]
            .map(|(content, length)| Stream::new(content, 1, length));
        let mut expected = Vec::new();
        for part in parts.clone() {
            part.clone().read_to_end(&mut expected).unwrap();
        }
        let joined = Joined::new(parts);
        assert_eq!(joined.digest(), blake3::hash(&expected));
        assert_eq!(joined.digest(), blake3::hash(&expected), "and can be read again");
    }
}
