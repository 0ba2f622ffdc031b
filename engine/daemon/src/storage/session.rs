//! One connection: greeting, requests in the order in which they came, and what remains when it ends.
//!
//! # Invariants
//! - A message of another session is answered with `ERR_STALE`, and nothing of it is done; the connection ends.
//! - However it ends, streams that are open are saved as far as they came, unless the store failed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gdd_engine::format::recipe::{Owner, name_problem};
use gdd_engine::ingest::PutOptions;
use gdd_engine::observe::Since;
use gdd_link::answer::DATA;
use gdd_link::hello::{STORAGE, refusal};
use gdd_link::limits::{AHEAD_MAX, PART_SIZE_MAX, SILENCE_MAX, VERSION};
use gdd_link::request::{APPEND, About, FILE_STARTS, Request};
use gdd_link::{Answer, HEAD_SIZE, Head, Hello, Tokens, Trouble, Welcome};
use gdd_ring::{Endpoint, Offer, Peer, PushError, Wanted, Woken};

use super::catalog::{self, Found};
use super::recall::Reading;
use super::streams::Streams;
use super::timing::Timing;
use super::{SessionStatus, Shared, lock, trouble};
use crate::jobs::JobReport;

/// Messages that are taken before durability is looked at.
const ROUND: usize = 64;
/// While payload flows nobody waits for an answer, and the driver need not ring for every block: on a machine with few
/// cores each ring takes the core from the file daemon. It has room for 64 MiB meanwhile.
const NAP: Duration = Duration::from_millis(1);
/// A look at the order to stop.
const IDLE: Duration = Duration::from_millis(100);
/// How long what a silent driver has read last is kept for it: a device stays open for days, and a vacuum waits for who
/// may be reading.
const READING_KEPT: Duration = Duration::from_secs(5);

/// Why a session ends.
enum End {
    /// The driver left, died or lied.
    Gone(String),
    /// We end it, and say so.
    Told(Trouble),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Told(trouble)
    }
}

struct Session<'a> {
    shared: &'a Shared,
    peer: Peer,
    endpoint: Endpoint,
    id: u64,
    streams: Streams,
    timing: Timing,
    reading: Option<Reading>,
    status: Arc<Mutex<SessionStatus>>,
    since: Instant,
    /// When a message was taken last.
    active: Instant,
}

/// Serves `peer` until it leaves.
pub(super) fn serve(shared: &Shared, peer: Peer) {
    let status = SessionStatus { pid: peer.pid(), uid: peer.uid(), ..SessionStatus::default() };
    let status = Arc::new(Mutex::new(status));
    match greet(shared, peer, &status) {
        Ok(mut session) => {
            let why = match session.work() {
                End::Gone(why) => why,
                End::Told(trouble) => {
                    let why = trouble.to_string();
                    let _ = session.answer(Head { session: session.id, number: 0, stream: 0 }, trouble);
                    why
                }
            };
            let pid = session.peer.pid();
            session.leave();
            tracing::info!("session of process {pid} ended: {why}");
        }
        Err(why) => tracing::warn!("a driver was refused: {why}"),
    }
    lock(&shared.sessions).retain(|other| !Arc::ptr_eq(other, &status));
}

fn greet<'a>(
    shared: &'a Shared,
    peer: Peer,
    status: &Arc<Mutex<SessionStatus>>,
) -> Result<Session<'a>, String> {
    let text = |why: &dyn std::fmt::Display| why.to_string();
    let packet = peer.receive(SILENCE_MAX / 6).map_err(|why| text(&why))?.ok_or("it said nothing")?;
    let refuse = |trouble: Trouble| {
        let _ = peer.send(&refusal(&trouble), &[]);
        trouble.to_string()
    };
    if !shared.limits.users.contains(&peer.uid()) {
        return Err(refuse(trouble::stranger(peer.uid())));
    }
    let hello = Hello::from_bytes(&packet.bytes).map_err(|why| refuse(trouble::malformed(&why)))?;
    if hello.version != VERSION {
        return Err(refuse(trouble::version(VERSION, hello.version)));
    }
    if hello.purpose != STORAGE {
        return Err(refuse(trouble::purpose(STORAGE, hello.purpose)));
    }
    {
        let mut sessions = lock(&shared.sessions);
        if sessions.len() >= shared.limits.sessions_max {
            return Err(refuse(trouble::crowded(shared.limits.sessions_max)));
        }
        let mut known = lock(status);
        (known.program, known.ring_capacity) = (hello.program, shared.limits.capacity_up);
        sessions.push(Arc::clone(status));
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|why| text(&why))?;
    let id = u64::from_le_bytes(random);
    let offer = Offer {
        capacity_up: shared.limits.capacity_up,
        capacity_down: shared.limits.capacity_down,
        generation: shared.generation.fetch_add(1, Ordering::Relaxed) + 1,
        token: id,
    };
    let (endpoint, handover) = Endpoint::create(offer).map_err(|why| refuse(trouble::no_channel(&why)))?;
    let tokens = Tokens { boot: shared.boot, epoch: shared.store.core().epoch.0, session: id };
    let store = shared.store.core().store.0;
    let welcome = Welcome { tokens, store, offer: handover.bytes().to_vec() };
    peer.send(&welcome.to_bytes(), &handover.fds()).map_err(|why| text(&why))?;
    drop(handover);
    Ok(Session {
        shared,
        peer,
        endpoint,
        id,
        streams: Streams::default(),
        timing: Timing::new(shared.store.histograms().recorder()),
        reading: None,
        status: Arc::clone(status),
        since: Instant::now(),
        active: Instant::now(),
    })
}

impl Session<'_> {
    fn work(&mut self) -> End {
        loop {
            match self.round() {
                Ok(()) => {}
                Err(end) => return end,
            }
            if self.shared.stop.load(Ordering::Acquire) {
                return trouble::stopping().into();
            }
        }
    }

    fn round(&mut self) -> Result<(), End> {
        let mut taken = 0;
        let read = self.timing.now();
        while taken < ROUND && self.take(read)? {
            taken += 1;
        }
        let (consumer, capacity) = (&mut self.endpoint.consumer, self.shared.limits.capacity_up);
        if taken > 0 {
            self.active = Instant::now();
            self.timing.came();
        } else if self.streams.count() > 0 {
            self.timing.waits();
        }
        let idle = self.active.elapsed() >= IDLE;
        self.streams
            .settle(consumer, capacity, idle, &self.timing)
            .map_err(|error| trouble::store(&error))?;
        let mut status = lock(&self.status);
        status.streams = self.streams.open().len();
        status.ring_held = self.endpoint.consumer.held();
        status.seconds = self.since.elapsed().as_secs_f64();
        drop(status);
        if taken > 0 {
            return Ok(());
        }
        if self.active.elapsed() >= READING_KEPT {
            self.reading = None;
        }
        if self.streams.is_waiting() && !idle {
            std::thread::sleep(NAP);
            return Ok(());
        }
        match self.endpoint.wait(Wanted::MESSAGE, &self.peer, IDLE) {
            Ok(Woken::Packet) => Err(trouble::nonsense("a packet that nobody asked for").into()),
            Ok(_) => Ok(()),
            Err(why) => Err(End::Gone(why.to_string())),
        }
    }

    /// Does what the next message says; `false` when there is none.
    fn take(&mut self, read: Since) -> Result<bool, End> {
        let gone = |why: gdd_ring::Violation| End::Gone(why.to_string());
        let Some(mut incoming) = self.endpoint.consumer.take().map_err(gone)? else { return Ok(false) };
        let message = incoming.message();
        let mut head = [0; HEAD_SIZE];
        let len = incoming.copy(&mut head);
        let (head, _) = Head::split(&head[..len]).map_err(|why| trouble::malformed(&why))?;
        if head.session != self.id {
            return Err(trouble::stale(self.id, head.session).into());
        }
        if message.kind == APPEND {
            let starts = message.flags & FILE_STARTS != 0;
            let len = self.streams.append(head.stream, (head.number, starts), read, &mut incoming)?;
            lock(&self.status).bytes_in += len;
            return Ok(true);
        }
        let mut bytes = Vec::new();
        incoming.append_to(&mut bytes);
        drop(incoming);
        self.streams.pass(message.end, read);
        let request = Request::decode(message.kind, &bytes).map_err(|why| trouble::malformed(&why))?;
        match self.act(head, request) {
            Ok(()) => Ok(true),
            Err(End::Told(trouble)) if !trouble.fatal => self.answer(head, trouble).map(|()| true),
            Err(end) => Err(end),
        }
    }

    fn act(&mut self, head: Head, request: Request) -> Result<(), End> {
        let stream = head.stream;
        let answer = match request {
            Request::Begin { volume, about } => return self.begin(head, volume, &about),
            Request::Flush => self.streams.flush(stream)?,
            Request::Finish { bytes, digest } => {
                let ours = self.streams.has(stream);
                let done = self.streams.finish(stream, bytes, digest);
                if ours {
                    // Without a receipt it is named as well, unless the store failed.
                    self.shared.catalog.end(stream, done.as_ref().map_or_else(|why| !why.fatal, |_| true));
                }
                let (answer, report) = done?;
                let ended = self.shared.store.core().unix_seconds();
                self.shared.jobs.note(JobReport { ended, ..report });
                lock(&self.status).finished += 1;
                answer
            }
            Request::Abandon => return Ok(self.abandon(stream)?),
            Request::Recall { offset, length } => return self.recall(head, offset, length.min(AHEAD_MAX)),
            Request::Length => Answer::Length(self.length(stream)?),
            Request::Retire { volume } => {
                self.retire(volume)?;
                Answer::Done
            }
            Request::Reachable => Answer::Done,
        };
        self.push(head, &answer)
    }

    fn begin(&mut self, head: Head, volume: [u8; 16], about: &About) -> Result<(), End> {
        let (store, most) = (&self.shared.store, self.shared.limits.streams_max);
        if self.streams.count() >= most {
            return Err(trouble::too_many_streams(most).into());
        }
        let (stream, name) = self.shared.catalog.begin(store, volume, self.id);
        let lineage = format!("bacula/{}/{}/{}", about.client, about.job_name, about.file_set);
        let lineage = (!about.job_name.is_empty() && name_problem(&lineage).is_none()).then_some(lineage);
        let options = PutOptions { lineage, owner: Owner::Volume, kept: true, ..PutOptions::default() };
        let put = store.put_with(&name, options).map_err(|error| {
            self.shared.catalog.end(stream, false);
            trouble::store(&error)
        })?;
        let chunk_max = store.core().ladder().largest().max;
        let owner = (about.client.clone(), about.job.clone());
        self.streams.begin(stream, put, chunk_max.into(), owner);
        lock(&self.status).job.clone_from(&about.job);
        self.push(Head { stream, ..head }, &Answer::Done)
    }

    /// Sends what was asked for, then that it is done; fewer bytes when the stream ends.
    fn recall(&mut self, head: Head, offset: u64, length: u64) -> Result<(), End> {
        let stream = head.stream;
        if !self.reading.as_ref().is_some_and(|reading| reading.goes_on(stream, offset)) {
            self.reading = None;
            let name = self.named(stream)?.ok_or_else(|| trouble::unknown(stream))?;
            let bytes =
                catalog::length(&self.shared.store, &name).map_err(|error| trouble::recall(&error))?;
            if offset >= bytes.ok_or_else(|| trouble::unknown(stream))? {
                return self.push(head, &Answer::Done);
            }
            let reading = Reading::begin(self.shared, stream, &name, offset);
            self.reading = Some(reading.map_err(|error| trouble::recall(&error))?);
        }
        let mut left = length;
        while left > 0 {
            let Some(reading) = &mut self.reading else { break };
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(PART_SIZE_MAX);
            let piece = reading.next(most).map_err(|error| {
                self.reading = None;
                trouble::recall(&error)
            })?;
            let Some(piece) = piece else { break };
            left -= piece.len() as u64;
            self.send(DATA, &[&head.to_bytes(), &piece])?;
        }
        lock(&self.status).bytes_out += length - left;
        self.shared.jobs.gave_back(length - left);
        self.push(head, &Answer::Done)
    }

    fn length(&self, stream: u64) -> Result<Option<u64>, Trouble> {
        let Some(name) = self.named(stream)? else { return Ok(None) };
        catalog::length(&self.shared.store, &name).map_err(|error| trouble::store(&error))
    }

    fn named(&self, stream: u64) -> Result<Option<String>, Trouble> {
        match self.shared.catalog.find(stream, self.id) {
            Found::Named(name) => Ok(Some(name)),
            Found::Busy => Err(trouble::busy(stream)),
            Found::Absent => Ok(None),
        }
    }

    fn retire(&mut self, volume: [u8; 16]) -> Result<(), Trouble> {
        self.reading = None;
        for stream in self.shared.catalog.of_volume(volume) {
            let Some(name) = self.named(stream)? else { continue };
            match self.shared.store.remove(&name) {
                Ok(_) | Err(gdd_engine::error::Error::NoSuchStream(_)) => {}
                Err(error) => return Err(trouble::store(&error)),
            }
            self.shared.catalog.end(stream, false);
        }
        Ok(())
    }

    fn abandon(&mut self, stream: u64) -> Result<(), Trouble> {
        let left = self.streams.abandon(stream);
        if !matches!(left, Ok(false)) {
            self.shared.catalog.end(stream, left.is_ok());
        }
        if left.map_err(|error| trouble::store(&error))? {
            lock(&self.status).abandoned += 1;
            self.shared.abandoned.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Saves what is open.
    fn leave(mut self) {
        // What the driver published before it died is part of its streams.
        while matches!(self.endpoint.consumer.peek(), Ok(Some(message)) if message.kind == APPEND) {
            if !matches!(self.take(Since::default()), Ok(true)) {
                break;
            }
        }
        for stream in self.streams.open() {
            if let Err(trouble) = self.abandon(stream) {
                tracing::error!("stream {stream:016x} was left and could not be kept: {trouble}");
            }
        }
    }

    fn answer(&mut self, head: Head, trouble: Trouble) -> Result<(), End> {
        self.push(head, &Answer::Trouble(trouble))
    }

    fn push(&mut self, head: Head, answer: &Answer) -> Result<(), End> {
        let head = Head { session: self.id, ..head };
        let (kind, bytes) = answer.encode();
        self.send(kind, &[&head.to_bytes(), &bytes])
    }

    /// Puts a message into the ring. An honest driver leaves room for it.
    fn send(&mut self, kind: u16, parts: &[&[u8]]) -> Result<(), End> {
        let start = Instant::now();
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        loop {
            match self.endpoint.producer.try_push(kind, 0, parts) {
                Ok(_) => return Ok(()),
                Err(PushError::Full { .. }) if start.elapsed() < SILENCE_MAX => {}
                Err(why) => return Err(End::Gone(why.to_string())),
            }
            let wanted = Wanted::room(u32::try_from(length).unwrap_or(u32::MAX));
            let woken = self.endpoint.wait(wanted, &self.peer, IDLE);
            woken.map_err(|why| End::Gone(why.to_string()))?;
            if self.shared.stop.load(Ordering::Acquire) {
                return Err(End::Gone("the daemon stops".to_owned()));
            }
        }
    }
}
