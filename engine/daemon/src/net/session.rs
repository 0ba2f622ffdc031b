//! One client's session after its handshake: messages in, answers out, until one side ends it.
//!
//! One thread reads, lets the store work and writes. While the store owes an answer it reads what is there and does not
//! wait for more; otherwise it waits for the client.
//!
//! # Invariants
//! - A trouble that is about no single request ends the session, and what was not committed with it.
//! - What other domains have is answered as what does not exist.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gdd_wire::message::{FromClient, FromDaemon, Totals};
use gdd_wire::{Reader, Report, WireError, Writer};

use super::backup::{About, Answer, Backup, hex, name_of};
use super::domain::Domain;
use super::line::Line;
use super::report::JobReport;
use super::restore::{self, Reading};
use super::trouble::{self, Trouble};
use super::{SessionStatus, Shared, backup, lock};

/// How often a session that waits for its client looks at its orders.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// How long what a client has read last is kept for it: it may wait for hours until its storage daemon has a tape,
/// and a vacuum waits for who may be reading.
const READING_KEPT: Duration = Duration::from_secs(5);

/// Why a session ends.
pub(super) enum End {
    /// The client said that it is done.
    Done,
    /// It left, or lied.
    Gone(String),
    /// We end it, and say so.
    Told(Trouble),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Told(trouble)
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Malformed(why) => Self::Told(trouble::malformed(&why)),
            other => Self::Gone(other.to_string()),
        }
    }
}

/// What a session has besides the direction that it reads.
pub(super) struct Talk<'a> {
    shared: &'a Shared,
    writer: Writer<Line>,
    domain: &'a Domain,
    status: Arc<Mutex<SessionStatus>>,
    backup: Option<([u8; 16], Backup)>,
    /// A backup was begun: a connection has one.
    began: bool,
    /// What it amounted to, once it has its receipt.
    report: Option<Report>,
    reading: Option<Reading>,
    /// When it was read from.
    read: Instant,
    head: Vec<u8>,
    /// When the client was heard last, and whether it was pinged since.
    heard: Instant,
    pinged: bool,
    since: Instant,
    received: u64,
}

/// Serves a client until it leaves. Returns why it ended.
pub(super) fn serve(
    shared: &Shared,
    mut reader: Reader<Line>,
    writer: Writer<Line>,
    domain: &Domain,
    status: &Arc<Mutex<SessionStatus>>,
) -> End {
    let hurried = reader.transport().hurried();
    let mut talk = Talk {
        shared,
        writer,
        domain,
        status: Arc::clone(status),
        backup: None,
        began: false,
        report: None,
        reading: None,
        read: Instant::now(),
        head: Vec::new(),
        heard: Instant::now(),
        pinged: false,
        since: Instant::now(),
        received: 0,
    };
    let end = loop {
        if let Err(end) = talk.round(&mut reader, &hurried) {
            break end;
        }
    };
    // The stream's name is free again before the client hears of it.
    let left = talk.backup.take().map(|(stream, backup)| (stream, backup.so_far().bytes));
    if let Some((stream, bytes)) = left {
        let stream = hex(stream);
        tracing::warn!("stream {stream} was left after {bytes} bytes; nothing of its name remains");
    }
    talk.show(reader.bytes());
    talk.close(&end);
    if let End::Told(trouble) = &end {
        let _ = talk.tell(trouble, true); // It may have gone.
    }
    let _ = talk.writer.end();
    end
}

impl Talk<'_> {
    fn round(&mut self, reader: &mut Reader<Line>, hurried: &AtomicBool) -> Result<(), End> {
        self.settle()?;
        if self.read.elapsed() >= READING_KEPT {
            self.reading = None; // The next fetch begins another one.
        }
        let waiting = self.backup.as_ref().is_some_and(|(_, backup)| backup.is_waiting());
        hurried.store(waiting, Ordering::Relaxed);
        let received = reader.receive();
        let silent = matches!(received, Err(WireError::Timeout { limit: None, .. }));
        if silent {
            if let Some((_, backup)) = self.backup.as_mut().filter(|_| waiting) {
                backup.wait()?;
            }
            return self.look();
        }
        let Some(bytes) = received? else { return Err(self.ended()) };
        let size = bytes.len();
        let message = FromClient::decode(bytes).map_err(|why| trouble::malformed(&why))?;
        (self.heard, self.pinged) = (Instant::now(), false);
        self.received += size as u64;
        self.pay(size)?;
        match self.act(&message) {
            Err(End::Told(trouble)) if trouble.number.is_some() => self.tell(&trouble, false)?,
            other => other?,
        }
        let committed = if let FromClient::Commit(totals) = message { Some(totals) } else { None };
        self.backup.as_ref().map_or(Ok(()), |(_, backup)| backup.fits())?;
        let wire = reader.bytes();
        if let Some(totals) = committed {
            self.commit(&totals, wire)?;
        }
        self.show(wire);
        self.check_stop()
    }

    /// The client's end came.
    fn ended(&self) -> End {
        match &self.backup {
            None => End::Done,
            Some(_) => End::Gone("the client ended its backup without a commit".to_owned()),
        }
    }

    fn act(&mut self, message: &FromClient<'_>) -> Result<(), End> {
        match *message {
            FromClient::Begin { client, job_name, file_set } => self.begin(client, job_name, file_set),
            FromClient::Fetch { number, stream, offset, length } => {
                if self.backup.is_some() {
                    return Err(trouble::turn("the rest of the backup", "a fetch").into());
                }
                self.fetch(number, stream, (offset, length))
            }
            FromClient::Ping { number } => self.send(&FromDaemon::Pong { number }),
            FromClient::Pong { .. } => Ok(()),
            _ => {
                let Some((_, backup)) = &mut self.backup else {
                    return Err(trouble::turn("a begin", "another message of a backup").into());
                };
                match *message {
                    FromClient::Segments { number, segments } => backup.segments(number, segments)?,
                    FromClient::Chunks { number, entries } => backup.chunks(number, entries)?,
                    FromClient::Chunk { bytes, .. } => backup.chunk(bytes)?,
                    FromClient::Flush => backup.flush(),
                    _ => {} // A commit, which the caller does.
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, client: &str, job_name: &str, file_set: &str) -> Result<(), End> {
        if self.began {
            return Err(trouble::turn("one backup in a connection", "another begin").into());
        }
        self.began = true;
        let mut stream = [0; 16];
        getrandom::fill(&mut stream).map_err(|error| End::Gone(error.to_string()))?;
        let window_chunks = self.shared.limits.window_chunks;
        let about = About { domain: self.domain, client, job_name, file_set, window_chunks };
        let store = &self.shared.store;
        self.backup = Some((stream, Backup::begin(store, stream, &about)?));
        let mut status = lock(&self.status);
        client.clone_into(&mut status.client);
        job_name.clone_into(&mut status.job);
        status.stream = hex(stream);
        drop(status);
        let cut = Backup::cut(store);
        self.send(&FromDaemon::Begun { stream, cut, ahead_max: backup::AHEAD_MAX })
    }

    /// Send what the store has answered.
    fn settle(&mut self) -> Result<(), End> {
        if let Some((stream, mut backup)) = self.backup.take() {
            let settled = backup.settle(&mut |answer| match answer {
                Answer::SegmentsKnown(number, bits) => {
                    self.send(&FromDaemon::SegmentsKnown { number, known: bits.bitmap() })
                }
                Answer::Wanted(number, bits) => {
                    self.send(&FromDaemon::Wanted { number, wanted: bits.bitmap() })
                }
                Answer::Durable(bytes) => self.send(&FromDaemon::Durable { bytes }),
            });
            self.backup = Some((stream, backup));
            settled?;
        }
        Ok(self.writer.flush()?)
    }

    fn commit(&mut self, sent: &Totals, wire: u64) -> Result<(), End> {
        while self.backup.as_ref().is_some_and(|(_, backup)| backup.is_waiting()) {
            self.settle()?;
            if let Some((_, backup)) = self.backup.as_mut().filter(|(_, backup)| backup.is_waiting()) {
                backup.wait()?;
            }
        }
        let Some((stream, backup)) = self.backup.take() else {
            return Err(trouble::turn("a begin", "a commit").into());
        };
        let finished = backup.check(sent).and_then(|()| backup.finish(sent, wire));
        let (receipt, done) = finished.inspect_err(|_| {
            tracing::warn!("stream {} has no receipt; nothing of its name remains", hex(stream));
        })?;
        tracing::info!(
            "stream {} is stored: {} bytes, {} new, {} on disk, {wire} over the network",
            hex(stream),
            done.bytes,
            done.new_bytes,
            done.stored_bytes
        );
        let sent = self.send(&FromDaemon::Receipt(receipt));
        let sent = sent.and_then(|()| Ok(self.writer.flush()?));
        // It is a backup now, whether the client hears of it or not.
        let report = Report {
            files: receipt.totals.files,
            logical_bytes: done.bytes,
            wire_bytes: wire + self.writer.bytes(),
            new_bytes: receipt.new_bytes,
            stored_bytes: receipt.stored_bytes,
        };
        lock(&self.shared.book).receipt(&report, &done);
        self.report = Some(report);
        sent
    }

    /// The session is over: it is counted, and what became of its job is remembered.
    fn close(&self, end: &End) {
        let trouble = match end {
            End::Done => None,
            End::Gone(why) => Some(why.clone()),
            End::Told(trouble) => Some(trouble.to_string()),
        };
        let broken = trouble.is_some();
        let report = JobReport::new(lock(&self.status).clone(), self.began, self.report, trouble);
        lock(&self.shared.book).close(report, broken);
    }

    fn fetch(&mut self, number: u64, stream: [u8; 16], range: (u64, u64)) -> Result<(), End> {
        let (store, name) = (&self.shared.store, name_of(self.domain, stream));
        let bytes = restore::length(store, &name).map_err(|error| trouble::store(&error))?;
        let Some(bytes) = bytes else { return Err(trouble::unknown(number, &hex(stream)).into()) };
        let (mut offset, until) = (range.0, range.0 + range.1); // It fits: a message is checked.
        if until > bytes {
            return Err(trouble::range(number, bytes, range).into());
        }
        let failed = |error| End::from(trouble::recall(number, &error));
        let mut reading = match self.reading.take().filter(|reading| reading.goes_on(&name, offset)) {
            Some(reading) => reading,
            None => Reading::begin(store, &self.shared.shelf, &name, offset).map_err(failed)?,
        };
        while offset < until {
            let chunk = reading.next(offset).map_err(failed)?;
            let (offset_of, hash) = (chunk.offset, chunk.hash.0);
            self.send(&FromDaemon::Piece { number, offset: offset_of, hash, bytes: &chunk.bytes })?;
            offset = restore::end(&chunk);
            lock(&self.status).bytes_back += chunk.bytes.len() as u64;
            self.pay(chunk.bytes.len())?;
            self.check_stop()?;
        }
        (self.reading, self.read) = (Some(reading), Instant::now());
        self.send(&FromDaemon::Fetched { number, length: range.1 })
    }

    /// Wait as long as the domain's rate asks for `bytes` more. What the client sends meanwhile stays in the sockets.
    fn pay(&mut self, bytes: usize) -> Result<(), End> {
        let start = Instant::now();
        let wait = self.domain.pay(bytes, start);
        if wait.is_zero() {
            return Ok(());
        }
        self.writer.flush()?;
        while let Some(left) = wait.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            self.check_stop()?;
            std::thread::sleep(left.min(LOOK));
        }
        lock(&self.status).held_up_seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    fn check_stop(&self) -> Result<(), End> {
        if self.shared.stop.load(Ordering::Acquire) { Err(trouble::stopping().into()) } else { Ok(()) }
    }

    /// Nothing came: should this go on?
    fn look(&mut self) -> Result<(), End> {
        self.check_stop()?;
        let (silent, limit) = (self.heard.elapsed(), self.shared.limits.silence_max);
        if silent >= limit {
            return Err(trouble::silent(limit).into());
        }
        if silent >= limit / 2 && !self.pinged {
            self.pinged = true;
            self.send(&FromDaemon::Ping { number: self.received })?;
        }
        Ok(())
    }

    fn show(&mut self, wire: u64) {
        let mut status = lock(&self.status);
        (status.received_bytes, status.sent_bytes) = (wire, self.writer.bytes());
        status.wire_bytes = status.received_bytes + status.sent_bytes;
        status.seconds = self.since.elapsed().as_secs_f64();
        if let Some((_, backup)) = &self.backup {
            let done = backup.so_far();
            status.logical_bytes = done.bytes;
            (status.new_bytes, status.stored_bytes) = (done.new_bytes, done.stored_bytes);
        }
    }

    fn tell(&mut self, trouble: &Trouble, fatal: bool) -> Result<(), End> {
        let Trouble { id, text, remedy, number } = trouble;
        let told = gdd_wire::message::Trouble { number: *number, id, text, remedy, fatal };
        self.send(&FromDaemon::Trouble(told))?;
        Ok(self.writer.flush()?)
    }

    fn send(&mut self, message: &FromDaemon<'_>) -> Result<(), End> {
        let mut head = std::mem::take(&mut self.head);
        let tail = message.encode(&mut head).map_err(WireError::from)?;
        let sent = self.writer.send(&head, tail);
        self.head = head;
        Ok(sent?)
    }
}
