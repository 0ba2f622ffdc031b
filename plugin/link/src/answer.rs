//! What a daemon answers, down the ring.

use crate::wire::{Malformed, Reader, put_text};

/// Id of the answer to a session that this daemon does not know. Final.
pub const ERR_STALE: &str = "GDD-SD-0020";

const TROUBLE: u16 = 1;
const DONE: u16 = 2;
const RECEIPT: u16 = 3;
const LENGTH: u16 = 4;
/// Kind of a message: bytes of a stream that were recalled. A head, then they. Not an [`Answer`], as they are copied
/// from the ring to where they belong.
pub const DATA: u16 = 5;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[{id}] {text}; {remedy}")]
pub struct Trouble {
    /// Stable name of the message.
    pub id: String,
    /// What happened, in one line.
    pub text: String,
    /// What an operator can do.
    pub remedy: String,
    /// The connection is over.
    pub fatal: bool,
}

/// An answer. The stream and the number of its request stand in the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was not done.
    Trouble(Trouble),
    /// It was done; of a recall: everything that there is was sent.
    Done,
    /// The stream is whole, durable and named.
    Receipt {
        /// Bytes as the daemon counted them.
        bytes: u64,
        /// XXH3-128 as the daemon computed it.
        digest: u128,
    },
    /// Length of a stream, if there is one.
    Length(Option<u64>),
}

impl Trouble {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.fatal));
        for text in [&self.id, &self.text, &self.remedy] {
            put_text(out, text);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let fatal = reader.flag()?;
        let trouble = Self { id: reader.text()?, text: reader.text()?, remedy: reader.text()?, fatal };
        reader.end().map(|()| trouble)
    }
}

impl Answer {
    /// Its kind, and its bytes behind the head.
    #[must_use]
    pub fn encode(&self) -> (u16, Vec<u8>) {
        let mut out = Vec::new();
        let kind = match self {
            Self::Trouble(trouble) => {
                trouble.encode(&mut out);
                TROUBLE
            }
            Self::Done => DONE,
            Self::Receipt { bytes, digest } => {
                out.extend(bytes.to_le_bytes());
                out.extend(digest.to_le_bytes());
                RECEIPT
            }
            Self::Length(length) => {
                out.push(u8::from(length.is_some()));
                out.extend(length.iter().flat_map(|length| length.to_le_bytes()));
                LENGTH
            }
        };
        (kind, out)
    }

    /// From what follows the head.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(kind: u16, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let answer = match kind {
            TROUBLE => return Trouble::decode(bytes).map(Self::Trouble),
            DONE => Self::Done,
            RECEIPT => Self::Receipt { bytes: reader.u64()?, digest: reader.u128()? },
            LENGTH if reader.flag()? => Self::Length(Some(reader.u64()?)),
            LENGTH => Self::Length(None),
            other => return Err(Malformed::new("kind of an answer", "1..=4", other)),
        };
        reader.end().map(|()| answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn answers_come_back_and_cut_ones_do_not(text in "\\PC{0,40}", fatal: bool, bytes: u64, digest: u128) {
            let trouble = Trouble { id: ERR_STALE.into(), text, remedy: "r".into(), fatal };
            for answer in [
                Answer::Trouble(trouble), Answer::Done, Answer::Receipt { bytes, digest },
                Answer::Length(None), Answer::Length(Some(bytes)),
            ] {
                let (kind, encoded) = answer.encode();
                prop_assert_eq!(Answer::decode(kind, &encoded), Ok(answer));
                for len in 0..encoded.len() {
                    prop_assert!(Answer::decode(kind, &encoded[..len]).is_err());
                }
            }
        }

        #[test]
        fn garbage_never_panics(kind: u16, bytes: Vec<u8>) {
            if let Ok(answer) = Answer::decode(kind, &bytes) {
                prop_assert_eq!(answer.encode(), (kind, bytes));
            }
        }
    }
}
