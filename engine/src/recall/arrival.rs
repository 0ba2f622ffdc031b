//! One read under way: its pieces come in any order, are joined in theirs, and checked while the rest is still coming.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use gdd_uring::buffer::{IoBuf, Shared};

use crate::error::{Error, Result};
use crate::format::codec::Codec;
use crate::format::record::RecordHeader;
use crate::format::{Bytes, Place};
use crate::ids::ChunkHash;
use crate::options::Trust;

use super::cache::{Room, SegmentCache, Ticket};
use super::locate::lost;
use super::plan::{Located, Read};
use super::verify::{self, Check};

/// See the module.
#[derive(Debug)]
pub struct Arrival {
    read: Read,
    path: PathBuf,
    ticket: Option<Ticket>,
    /// Everything up to the first byte that is missing.
    prefix: Option<IoBuf>,
    /// Pieces that came before their turn, by number.
    early: Vec<Option<Piece>>,
    /// Number of the next piece to join.
    next: usize,
    pieces_out: usize,
    /// No more bytes than this are valid: the file ended, or a piece failed.
    valid: usize,
    failure: Option<io::Error>,
    trust: Trust,
    check: Check,
    /// Verdicts on the first records.
    verdicts: Vec<Result<()>>,
}

#[derive(Debug)]
struct Piece {
    buffer: IoBuf,
    result: io::Result<usize>,
}

impl Arrival {
    /// Begin: `room` holds the read's memory; what comes is checked up to `trust`. Returns the pieces to read, in
    /// order.
    #[must_use]
    pub fn begin(
        read: Read,
        path: PathBuf,
        room: Room,
        piece_size: usize,
        trust: Trust,
    ) -> (Self, Vec<IoBuf>) {
        let Room { buffer: mut rest, ticket } = room;
        rest.truncate(read.len);
        let mut pieces = Vec::with_capacity(read.len.div_ceil(piece_size));
        while rest.len() > piece_size {
            let tail = rest.split_off(piece_size);
            pieces.push(std::mem::replace(&mut rest, tail));
        }
        pieces.push(rest);
        let count = pieces.len();
        let arrival = Self {
            valid: read.len,
            read,
            path,
            ticket,
            prefix: None,
            early: (0..count).map(|_| None).collect(),
            next: 0,
            pieces_out: count,
            failure: None,
            trust,
            check: Check::new(trust),
            verdicts: Vec::new(),
        };
        (arrival, pieces)
    }

    /// What is being read.
    #[must_use]
    pub fn read(&self) -> &Read {
        &self.read
    }

    /// Whether every piece came back.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pieces_out == 0
    }

    /// A piece came back.
    pub fn piece(&mut self, number: usize, buffer: IoBuf, result: io::Result<usize>) {
        self.early[number] = Some(Piece { buffer, result });
        self.pieces_out -= 1;
        while let Some(piece) = self.early.get_mut(self.next).and_then(Option::take) {
            self.join(piece);
            self.next += 1;
        }
    }

    fn join(&mut self, piece: Piece) {
        let start = self.prefix.as_ref().map_or(0, |prefix| prefix.len());
        let len = piece.buffer.len();
        match piece.result {
            Ok(count) if count >= len => {}
            Ok(count) => self.valid = self.valid.min(start + count),
            Err(error) => {
                self.valid = self.valid.min(start);
                self.failure.get_or_insert(error);
            }
        }
        match &mut self.prefix {
            Some(prefix) => prefix.unsplit(piece.buffer).expect("pieces are joined in their order"),
            None => self.prefix = Some(piece.buffer),
        }
    }

    /// Check what can be checked by now.
    pub fn advance(&mut self) {
        let Some(prefix) = &self.prefix else { return };
        let bytes = &prefix[..prefix.len().min(self.valid)];
        while let Some(wanted) = self.read.records.get(self.verdicts.len()) {
            if verify::is_small(wanted, self.trust) {
                let rest = &self.read.records[self.verdicts.len()..];
                let is_there = |wanted: &&Located| {
                    verify::is_small(wanted, self.trust) && payload_of(&self.read, wanted).end <= bytes.len()
                };
                let run = rest.iter().take_while(is_there).count();
                if run == 0 {
                    return;
                }
                verify::together(bytes, self.read.start, &self.path, &rest[..run], &mut self.verdicts);
                continue;
            }
            let place = Place::new(&self.path, u64::from(wanted.entry.offset));
            let so_far = bytes.get(verify::offset_in(self.read.start, wanted)..).unwrap_or(&[]);
            match self.check.take(so_far, wanted, place) {
                Ok(false) => return,
                Ok(true) => self.verdicts.push(Ok(())),
                Err(error) => {
                    self.check = Check::new(self.trust);
                    self.verdicts.push(Err(error));
                }
            }
        }
    }

    /// All pieces came: decode what is encoded, put what is good into the cache, and give out each record's chunk.
    #[must_use]
    pub fn finish(mut self, cache: &std::sync::Arc<SegmentCache>) -> Vec<Result<Shared>> {
        self.advance();
        let truncated = self.verdicts.len();
        for wanted in &self.read.records[truncated..] {
            self.verdicts.push(Err(missing(
                &self.failure,
                wanted,
                &self.path,
                self.read.start + self.valid as u64,
            )));
        }
        let whole = self.prefix.take().expect("a read has a piece").freeze();
        let mut decoded = self.decode(&whole, cache);
        let mut plain: Vec<(ChunkHash, Range<usize>)> = Vec::new();
        let mut out = Vec::with_capacity(self.verdicts.len());
        for ((wanted, verdict), decoded) in self.read.records.iter().zip(self.verdicts).zip(&mut decoded) {
            let range = payload_of(&self.read, wanted);
            out.push(
                match (verdict, decoded.take()) {
                    (Ok(()), Some(chunk)) => chunk,
                    (Ok(()), None) => {
                        plain.push((wanted.hash, range.clone()));
                        Ok(whole.slice(range))
                    }
                    (Err(error), _) => Err(error),
                }
                .map_err(|error| named(wanted, error)),
            );
        }
        if let Some(ticket) = self.ticket.as_ref().filter(|_| !plain.is_empty()) {
            cache.insert(ticket, &whole, &plain);
        }
        out
    }

    /// The encoded records' chunks, each in its place; nothing for a plain or bad record.
    fn decode(&self, whole: &Shared, cache: &std::sync::Arc<SegmentCache>) -> Vec<Option<Result<Shared>>> {
        let mut out: Vec<Option<Result<Shared>>> = self.verdicts.iter().map(|_| None).collect();
        let len = self.read.encoded_raw_len();
        if len == 0 {
            return out;
        }
        let Room { mut buffer, ticket } = cache.room(len).unwrap_or_else(|| Room::private(len));
        let (mut end, mut good) = (0, Vec::new());
        for (number, wanted) in self.read.records.iter().enumerate() {
            if wanted.entry.codec == Codec::None || self.verdicts[number].is_err() {
                continue;
            }
            let range = end..end + wanted.entry.raw_len as usize;
            let place = Place::new(&self.path, u64::from(wanted.entry.offset));
            let payload = &whole[payload_of(&self.read, wanted)];
            match verify::decode(payload, &mut buffer[range.clone()], wanted, self.trust, place) {
                Ok(()) => good.push((number, range.clone())),
                Err(error) => out[number] = Some(Err(error)),
            }
            end = range.end;
        }
        let part = buffer.freeze();
        for (number, range) in &good {
            out[*number] = Some(Ok(part.slice(range.clone())));
        }
        if let Some(ticket) = ticket.as_ref().filter(|_| !good.is_empty()) {
            let chunks: Vec<_> =
                good.into_iter().map(|(number, range)| (self.read.records[number].hash, range)).collect();
            cache.insert(ticket, &part, &chunks);
        }
        out
    }
}

fn payload_of(read: &Read, wanted: &Located) -> Range<usize> {
    let start = verify::offset_in(read.start, wanted) + RecordHeader::SIZE;
    start..start + wanted.entry.stored_len as usize
}

fn missing(failure: &Option<io::Error>, wanted: &Located, path: &std::path::Path, valid_end: u64) -> Error {
    let place = Place::new(path, u64::from(wanted.entry.offset));
    let record_len = RecordHeader::SIZE + wanted.entry.stored_len as usize;
    match failure {
        Some(error) => place.refuse("record", "to read it", error),
        None => {
            let there = usize::try_from(valid_end.saturating_sub(place.offset)).unwrap_or(usize::MAX);
            place.refuse("record", Bytes(record_len), Bytes(there.min(record_len)))
        }
    }
}

/// A refusal of one record, as the loss of a chunk.
pub(super) fn named(wanted: &Located, error: impl std::fmt::Display) -> Error {
    lost(&wanted.hash, format!("container {}: {error}", wanted.entry.container))
}
