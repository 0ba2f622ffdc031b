//! What a client says.

use super::{Entry, PING, PONG, Rows, SegmentQuery, Totals, chunk, chunk_len};
use crate::codec::{Take, put_counted};
use crate::error::Malformed;
use crate::limits::{CHUNKS_PER_QUERY_MAX, NAME_SIZE_MAX};

/// A message to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromClient<'a> {
    /// A backup begins; each text has at most [`NAME_SIZE_MAX`] bytes.
    Begin {
        /// Bacula's name of the client.
        client: &'a str,
        /// Bacula's name of the job.
        job_name: &'a str,
        /// Bacula's name of the file set.
        file_set: &'a str,
    },
    /// Are these whole segments known?
    Segments {
        /// Names the question in its answer.
        number: u64,
        /// In the order of the stream.
        segments: Rows<'a, SegmentQuery>,
    },
    /// Which of these chunks are wanted?
    Chunks {
        /// Names the question in its answer and in the chunks that follow it.
        number: u64,
        /// In the order of the stream.
        entries: Rows<'a, Entry>,
    },
    /// A wanted chunk; those of one question come in rising order.
    Chunk {
        /// The question.
        number: u64,
        /// Its row there.
        index: u16,
        /// All of it.
        bytes: &'a [u8],
    },
    /// Make durable what has come, and say so.
    Flush,
    /// The backup is complete.
    Commit(Totals),
    /// Part of a stream, for a restore. Several may be outstanding.
    Fetch {
        /// Names the request in its answers.
        number: u64,
        /// The stream.
        stream: [u8; 16],
        /// First byte.
        offset: u64,
        /// Bytes, at least 1; their end fits 64 bits.
        length: u64,
    },
    /// Are you there?
    Ping {
        /// Comes back.
        number: u64,
    },
    /// I am.
    Pong {
        /// The ping's.
        number: u64,
    },
}

impl<'a> FromClient<'a> {
    /// Writes the head over `out` and returns the tail, for [`Writer::send`](crate::Writer::send).
    ///
    /// # Errors
    /// A field is out of its bounds.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
        out.clear();
        match *self {
            Self::Begin { client, job_name, file_set } => {
                out.push(1);
                put_counted(out, "name of the client", client.as_bytes(), NAME_SIZE_MAX)?;
                put_counted(out, "name of the job", job_name.as_bytes(), NAME_SIZE_MAX)?;
                put_counted(out, "name of the file set", file_set.as_bytes(), NAME_SIZE_MAX)?;
            }
            Self::Segments { number, segments } => {
                numbered(out, 2, number);
                return Ok(segments.put(out));
            }
            Self::Chunks { number, entries } => {
                numbered(out, 3, number);
                return Ok(entries.put(out));
            }
            Self::Chunk { number, index, bytes } => {
                row(index)?;
                chunk_len(bytes.len())?;
                numbered(out, 4, number);
                out.extend(index.to_le_bytes());
                return Ok(bytes);
            }
            Self::Flush => out.push(5),
            Self::Commit(totals) => {
                out.push(6);
                totals.put(out);
            }
            Self::Fetch { number, stream, offset, length } => {
                range(offset, length)?;
                numbered(out, 7, number);
                out.extend(stream);
                out.extend(offset.to_le_bytes());
                out.extend(length.to_le_bytes());
            }
            Self::Ping { number } => numbered(out, PING, number),
            Self::Pong { number } => numbered(out, PONG, number),
        }
        Ok(&[])
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It is no message of a client, or a part is missing, too much or out of its bounds.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut take = Take(message);
        let take = &mut take;
        let decoded = match take.u8("kind of a message")? {
            1 => Self::Begin {
                client: take.text("name of the client", NAME_SIZE_MAX)?,
                job_name: take.text("name of the job", NAME_SIZE_MAX)?,
                file_set: take.text("name of the file set", NAME_SIZE_MAX)?,
            },
            2 => Self::Segments { number: take.u64("number")?, segments: Rows::take(take)? },
            3 => Self::Chunks { number: take.u64("number")?, entries: Rows::take(take)? },
            4 => Self::Chunk {
                number: take.u64("number")?,
                index: row(take.u16("row of a chunk")?)?,
                bytes: chunk(take)?,
            },
            5 => Self::Flush,
            6 => Self::Commit(Totals::take(take)?),
            7 => {
                let (number, stream) = (take.u64("number")?, take.array("stream")?);
                let (offset, length) = (take.u64("offset")?, take.u64("length")?);
                range(offset, length)?;
                Self::Fetch { number, stream, offset, length }
            }
            PING => Self::Ping { number: take.u64("number")? },
            PONG => Self::Pong { number: take.u64("number")? },
            kind => return Err(Malformed::new("kind of a client's message", "1 to 7, 112 or 113", kind)),
        };
        take.end("message of a client")?;
        Ok(decoded)
    }
}

pub(super) fn numbered(out: &mut Vec<u8>, kind: u8, number: u64) {
    out.push(kind);
    out.extend(number.to_le_bytes());
}

fn row(index: u16) -> Result<u16, Malformed> {
    if usize::from(index) < CHUNKS_PER_QUERY_MAX {
        return Ok(index);
    }
    Err(Malformed::new("row of a chunk", format!("less than {CHUNKS_PER_QUERY_MAX}"), index))
}

fn range(offset: u64, length: u64) -> Result<(), Malformed> {
    if length > 0 && offset.checked_add(length).is_some() {
        return Ok(());
    }
    Err(Malformed::new(
        "range of a stream",
        "a byte or more within 64 bits",
        format!("{length} from {offset}"),
    ))
}
