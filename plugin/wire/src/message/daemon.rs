//! What a daemon says.

use super::client::numbered;
use super::{Bitmap, PING, PONG, Totals, chunk, chunk_len};
use crate::codec::{Take, put_counted};
use crate::error::Malformed;
use crate::limits::{
    CHUNK_SIZE_MAX, CHUNKS_PER_QUERY_MAX, ERROR_TEXT_SIZE_MAX, SEGMENTS_PER_QUERY_MAX, TROUBLE_ID_SIZE_MAX,
};

/// How the client is to cut, in bytes: 0 < least <= target <= most <= [`CHUNK_SIZE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// A chunk's least bytes, but where a file ends.
    pub min: u32,
    /// Its bytes on average.
    pub target: u32,
    /// Its most bytes.
    pub max: u32,
}

impl Cut {
    fn check(self) -> Result<Self, Malformed> {
        let Self { min, target, max } = self;
        if 0 < min && min <= target && target <= max && max as usize <= CHUNK_SIZE_MAX {
            return Ok(self);
        }
        let expected = format!("0 < least <= target <= most <= {CHUNK_SIZE_MAX}");
        Err(Malformed::new("sizes of chunks", expected, format!("{min}, {target}, {max}")))
    }
}

/// The end of a backup: what the daemon has, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// To be compared with what was sent.
    pub totals: Totals,
    /// Bytes of chunks that the store did not have.
    pub new_bytes: u64,
    /// Bytes that they take on the disk.
    pub stored_bytes: u64,
    /// Bytes that came over the connection.
    pub wire_bytes: u64,
}

/// Something went wrong at the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble<'a> {
    /// The question or request, if it is about one.
    pub number: Option<u64>,
    /// The stable id, such as `GDD-FD-0040`.
    pub id: &'a str,
    /// What happened.
    pub text: &'a str,
    /// What to do about it.
    pub remedy: &'a str,
    /// Nothing more will come of this job.
    pub fatal: bool,
}

/// A message to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromDaemon<'a> {
    /// The backup may come.
    Begun {
        /// Of the job's only stream.
        stream: [u8; 16],
        /// How to cut it.
        cut: Cut,
        /// Chunks that may be unanswered, at least 1.
        ahead_max: u32,
    },
    /// A set bit: the segment is known, and is in the stream now.
    SegmentsKnown {
        /// The question.
        number: u64,
        /// A bit for each of its rows.
        known: Bitmap<'a>,
    },
    /// A set bit: the chunk is unknown and is to be sent.
    Wanted {
        /// The question.
        number: u64,
        /// A bit for each of its rows.
        wanted: Bitmap<'a>,
    },
    /// So much of the stream outlives a crash. Comes unasked, too.
    Durable {
        /// Of the stream, from its start.
        bytes: u64,
    },
    /// The backup is in the store.
    Receipt(Receipt),
    /// One whole chunk for a restore.
    Piece {
        /// The request.
        number: u64,
        /// Where in the stream it begins.
        offset: u64,
        /// What it must hash to.
        hash: [u8; 32],
        /// All of it.
        bytes: &'a [u8],
    },
    /// All pieces of a request were sent.
    Fetched {
        /// The request.
        number: u64,
        /// Bytes of it.
        length: u64,
    },
    /// Something went wrong.
    Trouble(Trouble<'a>),
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

impl<'a> FromDaemon<'a> {
    /// Writes the head over `out` and returns the tail, for [`Writer::send`](crate::Writer::send).
    ///
    /// # Errors
    /// A field is out of its bounds.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
        out.clear();
        match *self {
            Self::Begun { stream, cut, ahead_max } => {
                let Cut { min, target, max } = cut.check()?;
                out.push(0x81);
                out.extend(stream);
                for number in [min, target, max, ahead(ahead_max)?] {
                    out.extend(number.to_le_bytes());
                }
            }
            Self::SegmentsKnown { number, known } => {
                Bitmap::check(known.count(), SEGMENTS_PER_QUERY_MAX)?;
                numbered(out, 0x82, number);
                return Ok(known.put(out));
            }
            Self::Wanted { number, wanted } => {
                Bitmap::check(wanted.count(), CHUNKS_PER_QUERY_MAX)?;
                numbered(out, 0x83, number);
                return Ok(wanted.put(out));
            }
            Self::Durable { bytes } => numbered(out, 0x84, bytes),
            Self::Receipt(Receipt { totals, new_bytes, stored_bytes, wire_bytes }) => {
                out.push(0x85);
                totals.put(out);
                for number in [new_bytes, stored_bytes, wire_bytes] {
                    out.extend(number.to_le_bytes());
                }
            }
            Self::Piece { number, offset, hash, bytes } => {
                chunk_len(bytes.len())?;
                numbered(out, 0x86, number);
                out.extend(offset.to_le_bytes());
                out.extend(hash);
                return Ok(bytes);
            }
            Self::Fetched { number, length } => {
                numbered(out, 0x87, number);
                out.extend(length.to_le_bytes());
            }
            Self::Trouble(trouble) => trouble.put(out)?,
            Self::Ping { number } => numbered(out, PING, number),
            Self::Pong { number } => numbered(out, PONG, number),
        }
        Ok(&[])
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It is no message of a daemon, or a part is missing, too much or out of its bounds.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut take = Take(message);
        let take = &mut take;
        let decoded = match take.u8("kind of a message")? {
            0x81 => {
                let stream = take.array("stream")?;
                let (min, target) = (take.u32("least of a chunk")?, take.u32("target of a chunk")?);
                let cut = Cut { min, target, max: take.u32("most of a chunk")? }.check()?;
                Self::Begun { stream, cut, ahead_max: ahead(take.u32("chunks ahead")?)? }
            }
            0x82 => Self::SegmentsKnown {
                number: take.u64("number")?,
                known: Bitmap::take(take, SEGMENTS_PER_QUERY_MAX)?,
            },
            0x83 => {
                let number = take.u64("number")?;
                Self::Wanted { number, wanted: Bitmap::take(take, CHUNKS_PER_QUERY_MAX)? }
            }
            0x84 => Self::Durable { bytes: take.u64("durable bytes")? },
            0x85 => Self::Receipt(Receipt {
                totals: Totals::take(take)?,
                new_bytes: take.u64("new bytes")?,
                stored_bytes: take.u64("stored bytes")?,
                wire_bytes: take.u64("bytes of the wire")?,
            }),
            0x86 => Self::Piece {
                number: take.u64("number")?,
                offset: take.u64("offset")?,
                hash: take.array("hash of a chunk")?,
                bytes: chunk(take)?,
            },
            0x87 => Self::Fetched { number: take.u64("number")?, length: take.u64("length")? },
            0x88 => Self::Trouble(Trouble::take(take)?),
            PING => Self::Ping { number: take.u64("number")? },
            PONG => Self::Pong { number: take.u64("number")? },
            kind => return Err(Malformed::new("kind of a daemon's message", "129 to 136, 112 or 113", kind)),
        };
        take.end("message of a daemon")?;
        Ok(decoded)
    }
}

impl<'a> Trouble<'a> {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        out.push(0x88);
        out.push(u8::from(self.fatal) | u8::from(self.number.is_some()) << 1);
        out.extend(self.number.unwrap_or(0).to_le_bytes());
        put_counted(out, "id of a trouble", self.id.as_bytes(), TROUBLE_ID_SIZE_MAX)?;
        put_counted(out, "text of a trouble", self.text.as_bytes(), ERROR_TEXT_SIZE_MAX)?;
        put_counted(out, "remedy of a trouble", self.remedy.as_bytes(), ERROR_TEXT_SIZE_MAX)
    }

    fn take(take: &mut Take<'a>) -> Result<Self, Malformed> {
        let flags = take.u8("flags of a trouble")?;
        let number = take.u64("number")?;
        if flags > 3 || (flags & 2 == 0 && number != 0) {
            let found = format!("flags {flags}, number {number}");
            return Err(Malformed::new("flags of a trouble", "0 to 3, and no number without 2", found));
        }
        Ok(Self {
            number: (flags & 2 != 0).then_some(number),
            id: take.text("id of a trouble", TROUBLE_ID_SIZE_MAX)?,
            text: take.text("text of a trouble", ERROR_TEXT_SIZE_MAX)?,
            remedy: take.text("remedy of a trouble", ERROR_TEXT_SIZE_MAX)?,
            fatal: flags & 1 != 0,
        })
    }
}

fn ahead(chunks: u32) -> Result<u32, Malformed> {
    if chunks > 0 { Ok(chunks) } else { Err(Malformed::new("chunks ahead", "1 or more", chunks)) }
}
