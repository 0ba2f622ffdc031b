//! The control protocol: what a command line and the daemon say to each other over a Unix socket.
//!
//! ```text
//! daemon:  {"gdd":"control","protocol":1,"version":..,"store":..,"ready":..}
//! client:  {"protocol":1,"request":"ls"}
//! daemon:  {"progress":{..}} ...            then, for put and get, data in frames
//! daemon:  {"result":{..}} or {"error":{"code":..,"message":..,"remedy":..}}
//! ```
//!
//! One request a connection. A frame is its length, 4 bytes little-endian, and so many bytes; length 0 ends the data,
//! and all ones says that the sender failed and a last line follows.
//!
//! # Invariants
//! - No line is longer than [`LINE_MAX`] and no frame longer than [`FRAME_MAX`]; a longer one is refused unread.

pub mod order;

use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::output::Outcome;
use order::Order;

/// Version of the protocol. Another one is refused by both sides.
pub const PROTOCOL: u32 = 1;
/// Bytes of a line, its end included. A listing of a million streams fits.
pub const LINE_MAX: u64 = 1 << 30;
/// Bytes of a request.
pub const REQUEST_MAX: u64 = 1 << 16;
/// Bytes of a frame.
pub const FRAME_MAX: usize = 1 << 20;
/// In place of a length: the sender failed.
const FRAME_FAILED: u32 = u32::MAX;

/// What the daemon says first.
#[derive(Debug, Deserialize, Serialize)]
pub struct Hello {
    /// Always `control`.
    pub gdd: String,
    /// See [`PROTOCOL`].
    pub protocol: u32,
    /// Of the daemon's program.
    pub version: String,
    /// The store's directory, without links.
    pub store: PathBuf,
    /// Recovery is over.
    pub ready: bool,
}

/// A request with the version its sender speaks.
#[derive(Debug, Deserialize, Serialize)]
pub struct Asked {
    /// See [`PROTOCOL`].
    pub protocol: u32,
    /// What to do.
    #[serde(flatten)]
    pub request: Request,
}

/// What the daemon can be asked for.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// How the daemon is.
    Status {
        /// With the histograms whole, as [`gdd_engine::observe::encode`] writes them.
        #[serde(default)]
        histograms: bool,
    },
    /// The same as a page for monitoring.
    Metrics,
    /// The streams.
    Ls,
    /// What the store holds.
    Stats,
    /// Forget a stream.
    Rm {
        /// Its name.
        name: String,
    },
    /// Store a stream: after the first progress line the client sends frames.
    Put {
        /// Its name.
        name: String,
        /// What it is a version of.
        lineage: Option<String>,
    },
    /// Give a stream back: after the first progress line the daemon sends frames.
    Get {
        /// Its name.
        name: String,
    },
    /// Check the store.
    Fsck {
        /// How deep.
        level: u8,
    },
    /// Free what no stream needs; progress lines come until it is done.
    Vacuum {
        /// Change nothing.
        dry_run: bool,
        /// Which containers are emptied, in per cent.
        dead_percent: u8,
        /// Bytes a second; the configuration's when absent.
        rate: Option<u64>,
    },
    /// Check the containers, or say whom damage concerns; progress lines come until it is done.
    Scrub {
        /// Read nothing.
        report: bool,
        /// Bytes a second; the configuration's when absent.
        rate: Option<u64>,
        /// Seconds within which what was checked is left out.
        older_than: u64,
    },
    /// Copy streams between the daemon's store and another; progress lines come until it is done.
    Copy(Order),
    /// End the daemon.
    Shutdown,
}

/// A line from the daemon.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It goes on.
    Progress {
        /// What is being done.
        stage: String,
        /// Bytes done, of long work.
        #[serde(default)]
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// It is done: the last line.
    Result(Outcome),
    /// It failed: the last line.
    Error {
        /// The exit code that the failure deserves.
        code: u8,
        /// What happened, on one line.
        message: String,
        /// What to do about it, where the message does not say.
        remedy: Option<String>,
    },
}

/// Send `value` as a line.
///
/// # Errors
/// As `out`.
pub fn send(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value).map_err(io::Error::other)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Read a line of at most `max` bytes.
///
/// # Errors
/// The peer has gone (`UnexpectedEof`), the line is too long, or is not what was expected (`InvalidData`).
pub fn receive<T: DeserializeOwned>(from: &mut impl BufRead, max: u64) -> io::Result<T> {
    let mut line = Vec::new();
    from.take(max).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(if line.len() as u64 == max {
            invalid(format!("a line is longer than {max} bytes"))
        } else {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed the connection")
        });
    }
    serde_json::from_slice(&line).map_err(|error| invalid(format!("not a line of this protocol: {error}")))
}

/// Send bytes in frames.
///
/// # Errors
/// As `out`.
pub fn send_data(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    for part in bytes.chunks(FRAME_MAX) {
        out.write_all(&u32::try_from(part.len()).map_err(io::Error::other)?.to_le_bytes())?;
        out.write_all(part)?;
    }
    Ok(())
}

/// End the data, `whole` or not.
///
/// # Errors
/// As `out`.
pub fn end_data(out: &mut impl Write, whole: bool) -> io::Result<()> {
    let mark = if whole { 0 } else { FRAME_FAILED };
    out.write_all(&mark.to_le_bytes())?;
    out.flush()
}

/// Reads the data of frames. Fails at a frame that is too long, and when the data ends without its end mark.
pub struct Frames<'a, R> {
    from: &'a mut R,
    left: usize,
    /// The end mark came.
    ended: bool,
}

impl<'a, R: Read> Frames<'a, R> {
    /// Frames from here on.
    pub fn new(from: &'a mut R) -> Self {
        Self { from, left: 0, ended: false }
    }
}

impl<R: Read> Read for Frames<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut length = [0; 4];
            self.from.read_exact(&mut length)?;
            let length = u32::from_le_bytes(length);
            if length == FRAME_FAILED {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the sender failed"));
            }
            self.left = usize::try_from(length).map_err(io::Error::other)?;
            if self.left > FRAME_MAX {
                return Err(invalid(format!("a frame of {length} bytes; at most {FRAME_MAX} are taken")));
            }
            self.ended = self.left == 0;
        }
        let len = buffer.len().min(self.left);
        if len == 0 {
            return Ok(0); // A buffered reader that is asked for nothing would wait for more all the same.
        }
        let count = self.from.read(&mut buffer[..len])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the data ended within a frame"));
        }
        self.left -= count;
        Ok(count)
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_bring_bytes_back_and_must_end() {
        let bytes: Vec<u8> = (0..FRAME_MAX + 5).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut wire = Vec::new();
        send_data(&mut wire, &bytes).unwrap();
        let mut back = Vec::new();
        assert!(Frames::new(&mut wire.as_slice()).read_to_end(&mut back).is_err(), "no end mark");
        let mut failed = wire.clone();
        end_data(&mut failed, false).unwrap();
        assert!(Frames::new(&mut failed.as_slice()).read_to_end(&mut Vec::new()).is_err());
        end_data(&mut wire, true).unwrap();
        back.clear();
        Frames::new(&mut wire.as_slice()).read_to_end(&mut back).unwrap();
        assert!(back == bytes);
        let long = [0xff, 0xff, 0xff, 0x7f];
        assert!(Frames::new(&mut long.as_slice()).read_to_end(&mut back).is_err());
    }

    #[test]
    fn a_line_has_a_bound() {
        let asked: Asked = receive(&mut &b"{\"protocol\":1,\"request\":\"ls\"}\n"[..], 100).unwrap();
        assert!(matches!(asked.request, Request::Ls));
        let long = receive::<Asked>(&mut &[b' '; 200][..], 100).unwrap_err();
        assert!(long.to_string().contains("longer than 100"), "{long}");
        assert!(receive::<Asked>(&mut &b"{\"protocol\":1"[..], 100).is_err());
    }
}
