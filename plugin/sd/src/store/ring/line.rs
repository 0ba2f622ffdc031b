//! One connection to the daemon: greeting, requests and answers, payload that is not durable yet.
//!
//! # Invariants
//! - The first thing that is wrong with a connection ends it; every later call answers the same error.
//! - All waits end: by progress, or [`SILENCE_MAX`] after the last sign of the daemon.
//! - What the daemon sends unasked is bounded: recalls are asked for in steps, and everything is taken in at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use gdd_link::answer::{Answer, DATA};
use gdd_link::limits::{HEARTBEAT, PART_SIZE_MAX, SILENCE_MAX};
use gdd_link::request::{APPEND, FILE_STARTS, Request};
use gdd_link::{HEAD_SIZE, Head, Hello, Welcome};
use gdd_ring::{Endpoint, Peer, PushError, WaitError, Wanted, Woken};

use super::errors;
use super::reading::Reading;
use crate::store::{StoreError, StoreId, StreamId, Unreleased};

/// A wait looks at the clock so often.
const NAP: Duration = Duration::from_secs(1);

/// A part of a stream in the ring.
#[derive(Debug)]
struct Part {
    seq: u64,
    stream: u64,
    offset: u64,
    len: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    peer: Peer,
    endpoint: Endpoint,
    store: StoreId,
    session: u64,
    /// Of the last request.
    number: u64,
    parts: VecDeque<Part>,
    /// Payload bytes of each stream that are durable.
    durable: HashMap<u64, u64>,
    /// Streams that failed at the daemon while nobody asked.
    failed: HashMap<u64, StoreError>,
    reading: Option<Reading>,
    /// Recalls of places that were left, which are still to come.
    dropped: HashSet<u64>,
    heard: Instant,
    heartbeat: Option<(u64, Instant)>,
    broken: Option<StoreError>,
}

impl Line {
    /// Connects to the daemon at `socket`, if it runs as one of `users`.
    pub(super) fn connect(socket: &Path, users: &[u32]) -> Result<Self, StoreError> {
        let peer = Peer::connect(socket, users).map_err(|why| errors::unreachable(socket, &why))?;
        let hello = Hello::storage(concat!("gdd-sd ", env!("CARGO_PKG_VERSION")));
        peer.send(&hello.to_bytes(), &[]).map_err(|why| errors::lost(&why))?;
        let packet = peer.receive(SILENCE_MAX).map_err(|why| errors::lost(&why))?;
        let packet = packet.ok_or_else(|| errors::silent(SILENCE_MAX.as_secs()))?;
        if let Some(found) = Welcome::other_version(&packet.bytes) {
            return Err(errors::version(found));
        }
        let welcome = Welcome::from_bytes(&packet.bytes).map_err(errors::malformed)?;
        let welcome = welcome.map_err(|trouble| StoreError { lost: true, ..errors::answered(trouble) })?;
        let endpoint =
            Endpoint::accept(&welcome.offer, packet.fds).map_err(|why| errors::no_channel(&why))?;
        Ok(Self {
            peer,
            endpoint,
            store: StoreId(welcome.store),
            session: welcome.tokens.session,
            number: 0,
            parts: VecDeque::new(),
            durable: HashMap::new(),
            failed: HashMap::new(),
            reading: None,
            dropped: HashSet::new(),
            heard: Instant::now(),
            heartbeat: None,
            broken: None,
        })
    }

    /// The store that the daemon has open.
    pub(super) fn store(&self) -> StoreId {
        self.store
    }

    /// Whether it can still be used.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Whether the daemon is still there: a look.
    pub(super) fn is_alive(&mut self) -> bool {
        self.whole(Self::look).is_ok()
    }

    /// Sends the bytes of `stream` from `offset` on.
    pub(super) fn append(
        &mut self,
        stream: u64,
        mut offset: u64,
        file_starts: bool,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.whole(|line| {
            line.look()?; // A system call: a daemon that is gone, or another, takes no byte.
            line.stream_is_good(stream)?;
            let most = line.endpoint.producer.payload_size_max();
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(PART_SIZE_MAX) - HEAD_SIZE;
            let mut flags = if file_starts { FILE_STARTS } else { 0 };
            for part in bytes.chunks(most) {
                let head = Head { session: line.session, number: offset, stream }.to_bytes();
                let seq = line.push(APPEND, flags, &[&head, part])?;
                let len = part.len() as u64;
                line.parts.push_back(Part { seq, stream, offset, len });
                (offset, flags) = (offset + len, 0);
            }
            Ok(())
        })
    }

    /// Payload bytes of `stream` that are durable, after a look at the daemon.
    pub(super) fn durable(&mut self, stream: u64) -> Result<u64, StoreError> {
        self.whole(|line| {
            line.look()?;
            line.stream_is_good(stream)?;
            line.beat()?;
            Ok(line.durable.get(&stream).copied().unwrap_or(0))
        })
    }

    /// What is still in the ring of `stream`, of which `appended` bytes were sent.
    pub(super) fn unreleased(&mut self, stream: u64, appended: u64) -> Unreleased {
        let mut left = Unreleased { offset: appended, bytes: Vec::new() };
        let mut parts = self.parts.iter().filter(|part| part.stream == stream).peekable();
        for message in self.endpoint.producer.unreleased() {
            while parts.next_if(|part| part.seq < message.seq()).is_some() {}
            let Some(part) = parts.next_if(|part| part.seq == message.seq()) else { continue };
            if left.bytes.is_empty() {
                left.offset = part.offset;
            }
            left.bytes.extend_from_slice(&message.payload()[HEAD_SIZE..]);
        }
        left
    }

    /// Asks, and waits for the answer: the stream that it names, and what it says. Trouble is an error.
    pub(super) fn ask(&mut self, stream: u64, request: &Request) -> Result<(u64, Answer), StoreError> {
        self.whole(|line| {
            line.stream_is_good(stream)?;
            let number = line.send(stream, request)?;
            let mut since = Instant::now();
            loop {
                if let Some((head, answer)) = line.receive()? {
                    match answer {
                        Answer::Trouble(trouble) if head.number == number => {
                            return Err(errors::answered(trouble));
                        }
                        answer if head.number == number => return Ok((head.stream, answer)),
                        answer => line.note(head, answer)?,
                    }
                } else {
                    line.nap(Wanted::MESSAGE, &mut since)?;
                }
            }
        })
    }

    /// Sends a request without waiting.
    pub(super) fn tell(&mut self, stream: u64, request: &Request) -> Result<(), StoreError> {
        self.whole(|line| line.send(stream, request).map(|_| ()))
    }

    /// Nothing more will be asked of `stream`.
    pub(super) fn forget(&mut self, stream: u64) {
        self.durable.remove(&stream);
        self.failed.remove(&stream);
    }

    /// Fills `buffer` from byte `offset` of `stream`.
    pub(super) fn recall(
        &mut self,
        stream: u64,
        mut offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), StoreError> {
        self.whole(|line| {
            let (mut filled, mut since) = (0, Instant::now());
            while filled < buffer.len() {
                line.read_from(stream, offset)?;
                let Some(reading) = &mut line.reading else { continue };
                let given = reading.give(offset, &mut buffer[filled..]);
                (offset, filled) = (offset + given as u64, filled + given);
                if given > 0 {
                    continue;
                }
                if reading.ended {
                    let error = line.failed.remove(&stream);
                    let end = line.reading.take().map_or(offset, |reading| reading.end());
                    return Err(error.unwrap_or_else(|| errors::short(StreamId(stream), end)));
                }
                match line.receive()? {
                    Some((head, answer)) => line.note(head, answer)?,
                    None => line.nap(Wanted::MESSAGE, &mut since)?,
                }
            }
            Ok(())
        })
    }

    /// Has bytes from `offset` on asked for.
    fn read_from(&mut self, stream: u64, offset: u64) -> Result<(), StoreError> {
        if !self.reading.as_ref().is_some_and(|reading| reading.covers(stream, offset)) {
            // What was asked for of another place comes first; so at most one place that was left is owed.
            let mut since = Instant::now();
            while !self.dropped.is_empty() {
                match self.receive()? {
                    Some((head, answer)) => self.note(head, answer)?,
                    None => self.nap(Wanted::MESSAGE, &mut since)?,
                }
            }
            let left = self.reading.replace(Reading::new(stream, offset));
            self.dropped.extend(left.iter().flat_map(Reading::owed));
        }
        while let Some((offset, length)) = self.reading.as_ref().and_then(Reading::wanted) {
            let number = self.send(stream, &Request::Recall { offset, length })?;
            if let Some(reading) = &mut self.reading {
                reading.asked(number);
            }
        }
        Ok(())
    }

    /// Remembers the first error that ends the connection.
    fn whole<T>(&mut self, call: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let done = call(self);
        if let Err(error) = &done
            && error.lost
        {
            self.broken = Some(error.clone());
        }
        done
    }

    fn stream_is_good(&self, stream: u64) -> Result<(), StoreError> {
        self.failed.get(&stream).map_or(Ok(()), |error| Err(error.clone()))
    }

    fn send(&mut self, stream: u64, request: &Request) -> Result<u64, StoreError> {
        self.number += 1;
        let head = Head { session: self.session, number: self.number, stream }.to_bytes();
        let (kind, bytes) = request.encode();
        self.push(kind, 0, &[&head, &bytes])?;
        Ok(self.number)
    }

    /// Puts a message into the ring; waits for room as long as the daemon makes any.
    fn push(&mut self, kind: u16, flags: u16, parts: &[&[u8]]) -> Result<u64, StoreError> {
        let mut since = Instant::now();
        loop {
            match self.endpoint.producer.try_push(kind, flags, parts) {
                Ok(seq) => return Ok(seq),
                Err(PushError::Violation(why)) => return Err(errors::lost(&why.into())),
                Err(error @ PushError::TooLarge { .. }) => return Err(errors::nonsense(&error.to_string())),
                Err(PushError::Full { .. }) => {
                    let length = parts.iter().map(|part| part.len()).sum::<usize>();
                    let length = u32::try_from(length).unwrap_or(u32::MAX);
                    self.nap(Wanted::message_or_room(length), &mut since)?;
                    while let Some((head, answer)) = self.receive()? {
                        self.note(head, answer)?;
                    }
                    self.settle();
                }
            }
        }
    }

    /// Waits a while; `since` is when the daemon was last seen to do something for us.
    fn nap(&mut self, wanted: Wanted, since: &mut Instant) -> Result<(), StoreError> {
        let released = self.endpoint.producer.released();
        let woken = self.endpoint.wait(wanted, &self.peer, NAP).map_err(|why| self.last_words(&why))?;
        if woken == Woken::Packet {
            return Err(errors::nonsense("a packet that nobody asked for"));
        }
        self.endpoint.producer.look().map_err(|why| errors::lost(&why.into()))?;
        if woken == Woken::Ready || self.endpoint.producer.released() != released {
            *since = Instant::now();
        }
        if since.elapsed() >= SILENCE_MAX {
            return Err(errors::silent(since.elapsed().as_secs()));
        }
        Ok(())
    }

    /// Whether the daemon lives, what it has released, and what it has said.
    fn look(&mut self) -> Result<(), StoreError> {
        while let Some((head, answer)) = self.receive()? {
            self.note(head, answer)?;
        }
        self.peer.check().map_err(|why| self.last_words(&why))?;
        self.endpoint.producer.look().map_err(|why| errors::lost(&why.into()))?;
        self.settle();
        Ok(())
    }

    /// The daemon is gone. If it ended the connection itself, it has said why before, and that names the remedy.
    fn last_words(&mut self, why: &WaitError) -> StoreError {
        loop {
            match self.receive() {
                Ok(Some(_)) => {} // An answer that comes with its daemon's end is as good as none.
                Ok(None) => return errors::lost(why),
                Err(said) => return said,
            }
        }
    }

    /// What was released is durable.
    fn settle(&mut self) {
        let released = self.endpoint.producer.released();
        while let Some(part) = self.parts.pop_front_if(|part| part.seq < released) {
            self.durable.insert(part.stream, part.offset + part.len);
        }
    }

    /// Asks for a sign of life now and then, and misses it.
    fn beat(&mut self) -> Result<(), StoreError> {
        match self.heartbeat {
            Some((_, sent)) if sent.elapsed() >= SILENCE_MAX => Err(errors::silent(sent.elapsed().as_secs())),
            Some(_) => Ok(()),
            None if self.heard.elapsed() < HEARTBEAT => Ok(()),
            None => {
                let number = self.send(0, &Request::Reachable)?;
                self.heartbeat = Some((number, Instant::now()));
                Ok(())
            }
        }
    }

    /// The next answer; recalled bytes are taken in on the way.
    fn receive(&mut self) -> Result<Option<(Head, Answer)>, StoreError> {
        loop {
            let lost = |why: gdd_ring::Violation| errors::lost(&why.into());
            if self.endpoint.consumer.peek().map_err(lost)?.is_none() {
                return Ok(None);
            }
            let Some(mut incoming) = self.endpoint.consumer.take().map_err(lost)? else { return Ok(None) };
            let kind = incoming.message().kind;
            let mut head = [0; HEAD_SIZE];
            incoming.copy(&mut head);
            let (head, _) = Head::split(&head).map_err(errors::malformed)?;
            if head.session != self.session {
                return Err(errors::nonsense("it is for another session"));
            }
            self.heard = Instant::now();
            if kind != DATA {
                let mut bytes = Vec::new();
                incoming.append_to(&mut bytes);
                drop(incoming);
                self.endpoint.consumer.release_all();
                return match Answer::decode(kind, &bytes).map_err(errors::malformed)? {
                    Answer::Trouble(trouble) if trouble.fatal => {
                        Err(StoreError { lost: true, ..errors::answered(trouble) })
                    }
                    answer => Ok(Some((head, answer))),
                };
            }
            if !self.dropped.contains(&head.number) {
                let reading = self.reading.as_mut();
                let room = reading.and_then(|reading| reading.take(head.number, incoming.left().into()));
                let room = room.ok_or_else(|| errors::nonsense("bytes that nobody asked for"))?;
                incoming.append_to(room);
            }
            drop(incoming);
            self.endpoint.consumer.release_all();
        }
    }

    /// Takes in an answer that is not the one waited for.
    fn note(&mut self, head: Head, answer: Answer) -> Result<(), StoreError> {
        if self.heartbeat.is_some_and(|(number, _)| number == head.number) {
            self.heartbeat = None;
            return Ok(());
        }
        if self.dropped.remove(&head.number) {
            return Ok(());
        }
        let recalled =
            self.reading.as_mut().filter(|reading| reading.owed().any(|number| number == head.number));
        match (recalled, answer) {
            (Some(reading), answer) => {
                reading.done(head.number);
                if let Answer::Trouble(trouble) = answer {
                    reading.ended = true;
                    self.failed.insert(head.stream, errors::answered(trouble));
                }
                if reading.ended {
                    // What was asked for behind the end is not what follows the bytes that are here.
                    self.dropped.extend(reading.give_up());
                }
            }
            (None, Answer::Trouble(trouble)) => {
                self.failed.insert(head.stream, errors::answered(trouble));
            }
            (None, _) => return Err(errors::nonsense("an answer to what was not asked")),
        }
        Ok(())
    }
}
