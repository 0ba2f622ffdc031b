//! One connection: messages are answered one after the other.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use gdd_wire::message::{BitmapBuffer, Entry, FromClient, FromDaemon, Receipt, Totals, Trouble};
use gdd_wire::{Channel, Reader, Transport, Writer};

use crate::{Daemon, Fault};

/// How long a stalled daemon sleeps between two looks at whether it is released.
const STALL: Duration = Duration::from_millis(20);

/// Messages that fill the buffers of a socket: the kernel counts some hundred bytes for each.
const CHATTER: usize = 2000;

/// A segment of the stream, in its order.
struct Part {
    digest: [u8; 32],
    chunks: u16,
    length: u32,
    entries: Option<Vec<Entry>>,
}

/// Chunks that were asked for and whose bytes are still to come.
struct Coming {
    number: u64,
    part: usize,
    entries: Vec<Entry>,
    /// Rows that are wanted and have not come.
    rows: VecDeque<u16>,
}

pub(crate) struct Conversation<'a, T> {
    daemon: &'a Daemon,
    reader: Reader<T>,
    writer: Writer<T>,
    stream: [u8; 16],
    parts: Vec<Part>,
    /// Parts that were not known, and whose chunks were not asked for.
    unknown: VecDeque<usize>,
    coming: Vec<Coming>,
    number: u64,
    new_bytes: u64,
    pieces: usize,
    messages: usize,
    answer: Vec<u8>,
    /// The last ping that was sent, and the last that was answered: several may share one answer.
    pinged: u64,
    ponged: u64,
}

impl<'a, T: Transport> Conversation<'a, T> {
    pub fn new(daemon: &'a Daemon, channel: Channel<T>) -> Self {
        let Channel { reader, writer } = channel;
        Self {
            daemon,
            reader,
            writer,
            stream: [0; 16],
            parts: Vec::new(),
            unknown: VecDeque::new(),
            coming: Vec::new(),
            number: 0,
            new_bytes: 0,
            pieces: 0,
            messages: 0,
            answer: Vec::new(),
            pinged: 0,
            ponged: 0,
        }
    }

    /// To the client's end or its death: how many messages it said, but for pings and pongs.
    pub fn run(mut self) -> usize {
        while let Ok(Some(message)) = self.reader.receive() {
            let message = message.to_vec();
            let message = FromClient::decode(&message).expect("a client speaks the protocol");
            match message {
                FromClient::Ping { number } => {
                    self.say(&FromDaemon::Pong { number });
                    continue;
                }
                FromClient::Pong { number } => {
                    assert!((self.ponged + 1..=self.pinged).contains(&number), "a ping's number, rising");
                    self.ponged = number;
                    continue;
                }
                _ => {}
            }
            let index = self.messages;
            self.messages += 1;
            match self.daemon.fault {
                Fault::DieAt(at) if at == index => break,
                Fault::StallAt(at) if at == index => return self.stall(),
                Fault::GoodbyeAt(at) if at == index => {
                    let _ = self.writer.end();
                    break;
                }
                Fault::FatalAt(at) if at == index => {
                    let (id, text, remedy) = ("GDD-TEST-1", "no room", "buy some");
                    self.say(&FromDaemon::Trouble(Trouble { number: None, id, text, remedy, fatal: true }));
                    break;
                }
                Fault::SlowAt(at, time) if at == index => thread::sleep(time),
                Fault::Pings => self.ping(),
                _ => {}
            }
            let is_question = matches!(message, FromClient::Segments { .. } | FromClient::Chunks { .. });
            self.answer(message);
            if is_question && self.daemon.fault == Fault::Chatty {
                (0..CHATTER).for_each(|_| self.say(&FromDaemon::Durable { bytes: 0 }));
            }
        }
        let _ = self.writer.end();
        self.messages
    }

    /// Reads nothing and says nothing until it is released.
    fn stall(self) -> usize {
        while !self.daemon.released.load(Ordering::Relaxed) {
            thread::sleep(STALL);
        }
        self.messages
    }

    fn ping(&mut self) {
        self.pinged += 1;
        self.say(&FromDaemon::Ping { number: self.pinged });
    }

    /// Waits until the client, which says nothing of its own now, has answered the last ping.
    fn pongs(&mut self) {
        while self.ponged < self.pinged {
            let message = self.reader.receive().expect("a client answers pings").expect("it has not ended");
            match FromClient::decode(message).expect("a client speaks the protocol") {
                FromClient::Pong { number } => self.ponged = number,
                FromClient::Ping { .. } => {}
                other => unreachable!("expected pongs before the receipt, found {other:?}"),
            }
        }
    }

    fn say(&mut self, message: &FromDaemon<'_>) {
        let mut head = std::mem::take(&mut self.answer);
        let tail = message.encode(&mut head).expect("the fake speaks the protocol");
        // A client that has gone is noticed when the next message is read.
        let _ = self.writer.send(&head, tail).and_then(|()| self.writer.flush());
        self.answer = head;
    }

    fn answer(&mut self, message: FromClient<'_>) {
        match message {
            FromClient::Begin { client, job_name, .. } => {
                assert!(!client.is_empty() && !job_name.is_empty(), "names are said");
                assert!(!job_name.contains(".20"), "the job's name has no date: {job_name}");
                self.begin();
            }
            FromClient::Segments { number, segments } => {
                self.rising(number);
                let mut known = BitmapBuffer::default();
                for query in segments.iter() {
                    let entries = self.daemon.store().segments.get(&query.digest).cloned();
                    known.push(entries.is_some()).expect("few rows");
                    if entries.is_none() {
                        self.unknown.push_back(self.parts.len());
                    }
                    let (digest, chunks, length) = (query.digest, query.chunk_count, query.length);
                    self.parts.push(Part { digest, chunks, length, entries });
                }
                let stray = 1000 * u64::from(self.daemon.fault == Fault::StrayAnswer);
                self.say(&FromDaemon::SegmentsKnown { number: number + stray, known: known.bitmap() });
            }
            FromClient::Chunks { number, entries } => {
                self.rising(number);
                self.chunks(number, entries.iter().collect());
            }
            FromClient::Chunk { number, index, bytes } => self.chunk(number, index, bytes),
            FromClient::Flush => {}
            FromClient::Commit(totals) => self.commit(totals),
            FromClient::Fetch { number, stream, offset, length } => {
                self.rising(number);
                self.fetch(number, stream, offset, length);
            }
            FromClient::Ping { .. } | FromClient::Pong { .. } => {}
        }
    }

    fn rising(&mut self, number: u64) {
        assert!(number > self.number, "expected a number above {}, found {number}", self.number);
        self.number = number;
    }

    fn begin(&mut self) {
        let mut store = self.daemon.store();
        store.begun += 1;
        self.stream = [store.begun; 16];
        drop(store);
        let (stream, cut, ahead_max) = (self.stream, self.daemon.cut, self.daemon.ahead_max);
        self.say(&FromDaemon::Begun { stream, cut, ahead_max });
    }

    fn chunks(&mut self, number: u64, entries: Vec<Entry>) {
        let part = self.unknown.pop_front().expect("chunks of a segment that was not known");
        let Part { chunks, length, .. } = self.parts[part];
        assert_eq!(entries.len(), usize::from(chunks), "all chunks of the segment, and no others");
        assert_eq!(entries.iter().map(|entry| entry.len).sum::<u32>(), length);
        let bits = self.daemon.store().wanted(&entries);
        let mut wanted = BitmapBuffer::default();
        bits.iter().for_each(|bit| wanted.push(*bit).expect("few rows"));
        let rows = wanted.bitmap().ones().collect();
        self.say(&FromDaemon::Wanted { number, wanted: wanted.bitmap() });
        self.coming.push(Coming { number, part, entries, rows });
        self.whole();
    }

    fn chunk(&mut self, number: u64, index: u16, bytes: &[u8]) {
        let coming = self.coming.iter_mut().find(|coming| coming.number == number);
        let coming = coming.expect("a chunk of a question that waits for chunks");
        assert_eq!(coming.rows.pop_front(), Some(index), "wanted, in rising order");
        let entry = coming.entries[usize::from(index)];
        let found =
            Entry { hash: *blake3::hash(bytes).as_bytes(), len: u32::try_from(bytes.len()).unwrap_or(0) };
        assert_eq!(entry, found, "the chunk that was announced");
        self.new_bytes += bytes.len() as u64;
        self.daemon.store().chunks.insert(entry.hash, bytes.to_vec());
        self.whole();
    }

    /// Questions all of whose chunks are here become segments.
    fn whole(&mut self) {
        let (whole, coming) =
            std::mem::take(&mut self.coming).into_iter().partition::<Vec<_>, _>(|it| it.rows.is_empty());
        self.coming = coming;
        for Coming { part, entries, .. } in whole {
            let part = &mut self.parts[part];
            self.daemon.store().learn(part.digest, entries.clone());
            part.entries = Some(entries);
        }
    }

    fn commit(&mut self, said: Totals) {
        self.pongs();
        assert!(self.coming.is_empty() && self.unknown.is_empty(), "everything was sent before the commit");
        let mut stream = Vec::new();
        let mut recipe = blake3::Hasher::new();
        let mut bytes = u64::from(self.daemon.fault == Fault::WrongReceipt);
        for entry in self.parts.iter().flat_map(|part| part.entries.as_ref().expect("every part is whole")) {
            recipe.update(&entry.hash).update(&entry.len.to_le_bytes());
            bytes += u64::from(entry.len);
            stream.push(*entry);
        }
        if self.daemon.fault == Fault::WrongRecipe {
            recipe.update(b"x");
        }
        let recipe_digest = *recipe.finalize().as_bytes();
        let totals = Totals { bytes, chunks: stream.len() as u64, recipe_digest, ..said };
        self.daemon.store().streams.insert(self.stream, stream);
        let (new_bytes, stored_bytes, wire_bytes) = (self.new_bytes, self.new_bytes, self.reader.bytes());
        if self.daemon.fault == Fault::None {
            self.say(&FromDaemon::Durable { bytes: said.bytes });
        }
        self.say(&FromDaemon::Receipt(Receipt { totals, new_bytes, stored_bytes, wire_bytes }));
    }

    fn fetch(&mut self, number: u64, stream: [u8; 16], offset: u64, length: u64) {
        let Some(entries) = self.daemon.store().streams.get(&stream).cloned() else {
            let (id, text, remedy) = ("GDD-TEST-2", "no such stream", "look for it");
            self.say(&FromDaemon::Trouble(Trouble { number: Some(number), id, text, remedy, fatal: false }));
            return;
        };
        let has: u64 = entries.iter().map(|entry| u64::from(entry.len)).sum();
        if offset + length > has {
            let (id, text, remedy) = ("GDD-TEST-3", "the stream is shorter", "ask for what there is");
            self.say(&FromDaemon::Trouble(Trouble { number: Some(number), id, text, remedy, fatal: false }));
            return;
        }
        let mut start = 0;
        for Entry { hash, len } in entries {
            let end = start + u64::from(len);
            if end > offset && start < offset + length {
                let mut bytes = self.daemon.store().chunks[&hash].clone();
                let index = self.pieces;
                self.pieces += 1;
                match self.daemon.fault {
                    Fault::WrongPiece(from) if index >= from => bytes[0] ^= 1,
                    _ => {}
                }
                if matches!(self.daemon.fault, Fault::LostAt(at) if (start..end).contains(&at)) {
                    let (id, text, remedy) = ("GDD-TEST-4", "a chunk is lost", "look for another copy");
                    let number = Some(number);
                    self.say(&FromDaemon::Trouble(Trouble { number, id, text, remedy, fatal: false }));
                    return;
                }
                let number = number + u64::from(self.daemon.fault == Fault::StrayPiece) * 1000;
                if self.daemon.fault != Fault::MissingPiece(index) {
                    self.say(&FromDaemon::Piece { number, offset: start, hash, bytes: &bytes });
                }
            }
            start = end;
        }
        self.say(&FromDaemon::Fetched { number, length });
    }
}
