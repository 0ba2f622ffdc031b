//! What a driver asks for, up the ring.
//!
//! Payload ([`APPEND`]) is no [`Request`]: it is written to and read from the ring without a copy in between. Its
//! message is a [`Head`](crate::Head) and bytes, and is not answered.

use crate::wire::{Malformed, Reader, put_text};

/// Kind of a message: payload of a stream. Its flags may have [`FILE_STARTS`].
pub const APPEND: u16 = 1;
/// Flag of an append: its first byte is the first of another file.
pub const FILE_STARTS: u16 = 1;

const BEGIN: u16 = 2;
const FLUSH: u16 = 3;
const FINISH: u16 = 4;
const ABANDON: u16 = 5;
const RECALL: u16 = 6;
const LENGTH: u16 = 7;
const RETIRE: u16 = 8;
const REACHABLE: u16 = 9;

/// Who writes a stream: for people, and to find earlier versions of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// VolSessionId and VolSessionTime.
    pub session: (u32, u32),
    /// JobId in the catalog; 0 when unknown.
    pub job_id: u32,
    /// Unique name of this run.
    pub job: String,
    /// Name of the job's resource.
    pub job_name: String,
    /// Name of the client.
    pub client: String,
    /// Name of the file set.
    pub file_set: String,
}

/// A request that is answered. The stream it is about stands in the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A new stream; its name is in the head of the answer.
    Begin {
        /// Whose stream it will be.
        volume: [u8; 16],
        /// Who writes it.
        about: About,
    },
    /// Make durable what was appended.
    Flush,
    /// End the stream, if this is what was received.
    Finish {
        /// Payload bytes.
        bytes: u64,
        /// XXH3-128 of them.
        digest: u128,
    },
    /// Nobody will go on with the stream: keep what is there. Not answered.
    Abandon,
    /// Give back a part of a stream.
    Recall {
        /// Its first byte.
        offset: u64,
        /// Bytes; fewer come when the stream ends.
        length: u64,
    },
    /// How long is the stream?
    Length,
    /// Give up all streams of a volume.
    Retire {
        /// Which.
        volume: [u8; 16],
    },
    /// A sign of life.
    Reachable,
}

impl Request {
    /// Its kind, and its bytes behind the head.
    #[must_use]
    pub fn encode(&self) -> (u16, Vec<u8>) {
        let mut out = Vec::new();
        let kind = match self {
            Self::Begin { volume, about } => {
                out.extend(volume);
                for word in [about.session.0, about.session.1, about.job_id] {
                    out.extend(word.to_le_bytes());
                }
                for text in [&about.job, &about.job_name, &about.client, &about.file_set] {
                    put_text(&mut out, text);
                }
                BEGIN
            }
            Self::Flush => FLUSH,
            Self::Finish { bytes, digest } => {
                out.extend(bytes.to_le_bytes());
                out.extend(digest.to_le_bytes());
                FINISH
            }
            Self::Abandon => ABANDON,
            Self::Recall { offset, length } => {
                out.extend(offset.to_le_bytes());
                out.extend(length.to_le_bytes());
                RECALL
            }
            Self::Length => LENGTH,
            Self::Retire { volume } => {
                out.extend(volume);
                RETIRE
            }
            Self::Reachable => REACHABLE,
        };
        (kind, out)
    }

    /// From what follows the head.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(kind: u16, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let request = match kind {
            BEGIN => Self::Begin {
                volume: reader.array()?,
                about: About {
                    session: (reader.u32()?, reader.u32()?),
                    job_id: reader.u32()?,
                    job: reader.text()?,
                    job_name: reader.text()?,
                    client: reader.text()?,
                    file_set: reader.text()?,
                },
            },
            FLUSH => Self::Flush,
            FINISH => Self::Finish { bytes: reader.u64()?, digest: reader.u128()? },
            ABANDON => Self::Abandon,
            RECALL => Self::Recall { offset: reader.u64()?, length: reader.u64()? },
            LENGTH => Self::Length,
            RETIRE => Self::Retire { volume: reader.array()? },
            REACHABLE => Self::Reachable,
            other => return Err(Malformed::new("kind of a request", "2..=9", other)),
        };
        reader.end().map(|()| request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requests_come_back_and_cut_ones_do_not(
            volume: [u8; 16], session: (u32, u32), text in "\\PC{0,40}", a: u64, b: u64, digest: u128,
        ) {
            let about = About { session, job_id: 7, job: text.clone(), client: text, ..About::default() };
            for request in [
                Request::Begin { volume, about }, Request::Flush, Request::Finish { bytes: a, digest },
                Request::Abandon, Request::Recall { offset: a, length: b }, Request::Length,
                Request::Retire { volume }, Request::Reachable,
            ] {
                let (kind, mut bytes) = request.encode();
                prop_assert_eq!(Request::decode(kind, &bytes), Ok(request));
                for len in 0..bytes.len() {
                    prop_assert!(Request::decode(kind, &bytes[..len]).is_err());
                }
                bytes.push(0);
                prop_assert!(Request::decode(kind, &bytes).is_err());
            }
        }

        #[test]
        fn garbage_never_panics(kind: u16, bytes: Vec<u8>) {
            if let Ok(request) = Request::decode(kind, &bytes) {
                prop_assert_eq!(request.encode(), (kind, bytes));
            }
        }
    }
}
