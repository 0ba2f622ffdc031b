//! The thread that listens: it takes what the daemon says at any time, answers pings, and ends a connection that is
//! silent or no longer wanted.
//!
//! # Invariants
//! - The last event is [`Event::Over`], and it always comes. Whoever waits for an event needs no clock.
//! - It never waits for the job's thread: what cannot be answered now is answered by whoever has the writer.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use gdd_wire::message::{Bitmap, Cut, FromClient, FromDaemon, Receipt, Trouble};
use gdd_wire::{Reader, WireError, Writer};

use crate::error::ClientError;
use crate::line::Line;
use crate::settings::Settings;

/// Between two looks at `cancelled` and at the clock.
const TICK: Duration = Duration::from_millis(100);
/// Events that may wait. An honest daemon has said far less: questions are bounded, and pieces by the window.
const QUEUED_MAX: usize = 1 << 18;

/// What a daemon said.
#[derive(Debug)]
pub enum Event {
    /// The backup may come.
    Begun { stream: [u8; 16], cut: Cut, ahead_max: u32 },
    /// The answer to a question about segments.
    Known { number: u64, known: Vec<bool> },
    /// The answer to a question about chunks.
    Wanted { number: u64, wanted: Vec<bool> },
    /// So much of the stream is durable.
    Durable { bytes: u64 },
    /// The backup is.
    Receipt(Receipt),
    /// A chunk for a restore.
    Piece { number: u64, offset: u64, hash: [u8; 32], bytes: Vec<u8> },
    /// All of a request was sent.
    Fetched { number: u64, length: u64 },
    /// One request failed.
    Trouble { number: Option<u64>, error: ClientError },
    /// Nothing follows.
    Over(ClientError),
}

/// What the job's thread and the listener share.
pub struct Shared<L> {
    /// Held for one message, or for a flush.
    pub writer: Mutex<Writer<L>>,
    /// Bytes that came. Written by the listener.
    pub received: AtomicU64,
    /// Events that were sent and not taken. Counted up by the listener, down by the job.
    pub queued: AtomicUsize,
    /// Bytes of pieces that may come. Counted up and down by the job, down by the listener.
    pub allowed: AtomicU64,
    line: L,
    /// A ping that nobody has answered yet.
    pong_due: Mutex<Option<u64>>,
    start: Instant,
    /// When the daemon last took bytes, in milliseconds since `start`. Written by the job.
    taken_ms: AtomicU64,
    silence: Duration,
    long_silence: Duration,
    /// The listener has found the end of the connection, before it hung up.
    ended: AtomicBool,
    /// The job waits for an answer that takes time. Written by the job.
    is_long: AtomicBool,
    cancelled: Arc<AtomicBool>,
}

impl<L: Line> Shared<L> {
    /// For a connection whose handshake is done.
    pub fn new(writer: Writer<L>, settings: &Settings) -> Result<Self, ClientError> {
        let silence = settings.limits.silence;
        let prepared = |source| WireError::Io { doing: "preparing the connection", source };
        let line = writer.transport().second().map_err(prepared)?;
        line.set_waits(TICK.min(silence / 4), silence).map_err(prepared)?;
        Ok(Self {
            writer: Mutex::new(writer),
            received: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            allowed: AtomicU64::new(0),
            line,
            pong_due: Mutex::new(None),
            start: Instant::now(),
            taken_ms: AtomicU64::new(0),
            silence,
            long_silence: settings.limits.long_silence,
            ended: AtomicBool::new(false),
            is_long: AtomicBool::new(false),
            cancelled: Arc::clone(&settings.cancelled),
        })
    }

    /// Writes for the job, and pays what the listener owes. Bytes that the daemon takes are a sign of it: a frozen one
    /// takes no more than its kernel's buffer.
    pub fn with_writer(
        &self,
        write: impl FnOnce(&mut Writer<L>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let mut writer = lock(&self.writer);
        let before = writer.bytes();
        write(&mut writer)?;
        if writer.bytes() != before {
            let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.taken_ms.store(ms, Ordering::Relaxed);
        }
        drop(writer);
        self.pay()
    }

    /// From now on the daemon may say nothing for a long time, or no longer.
    pub fn set_long(&self, is_long: bool) {
        self.is_long.store(is_long, Ordering::Relaxed);
    }

    /// Whether the listener has found the end: a write that failed after that failed because of it.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The end of the connection, for all threads.
    pub fn hang_up(&self) {
        // A connection that is down already cannot be shut down; that is what was wanted.
        let _ = self.line.hang_up();
    }

    /// Answer the daemon's ping, unless another thread has the writer: it will do so after it gave the writer back,
    /// which is why the debt is written down before the writer is asked for.
    fn pay(&self) -> Result<(), WireError> {
        while lock(&self.pong_due).is_some() {
            let Some(mut writer) = try_lock(&self.writer) else { return Ok(()) };
            let Some(number) = lock(&self.pong_due).take() else { return Ok(()) };
            say(&mut writer, &FromClient::Pong { number })?;
        }
        Ok(())
    }

    fn owe(&self, number: u64) -> Result<(), WireError> {
        *lock(&self.pong_due) = Some(number);
        self.pay()
    }

    /// Ask for a sign of life. Nobody needs one while the other thread is writing.
    fn ping(&self, number: u64) -> Result<(), WireError> {
        let Some(mut writer) = try_lock(&self.writer) else { return Ok(()) };
        say(&mut writer, &FromClient::Ping { number })?;
        drop(writer);
        self.pay()
    }

    fn taken(&self) -> Instant {
        self.start + Duration::from_millis(self.taken_ms.load(Ordering::Relaxed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A short message, at once.
fn say<L: Line>(writer: &mut Writer<L>, message: &FromClient<'_>) -> Result<(), WireError> {
    let mut head = Vec::new();
    let tail = message.encode(&mut head)?;
    writer.send(&head, tail)?;
    writer.flush()
}

/// The thread.
pub struct Listener<L> {
    reader: Reader<L>,
    shared: Arc<Shared<L>>,
    events: Sender<Event>,
    /// The last byte that came.
    heard: Instant,
    pings: u64,
    pinged: Instant,
}

impl<L: Line> Listener<L> {
    /// It has not begun yet.
    pub fn new(mut reader: Reader<L>, shared: Arc<Shared<L>>, events: Sender<Event>) -> Self {
        reader.set_record_time_max(shared.silence);
        let now = Instant::now();
        Self { reader, shared, events, heard: now, pings: 0, pinged: now }
    }

    /// Listens until there is nothing more to hear.
    pub fn run(mut self) {
        let error = loop {
            if let Err(error) = self.step() {
                break error;
            }
        };
        self.shared.ended.store(true, Ordering::Release);
        self.shared.hang_up();
        // A job that has gone wants no reason.
        let _ = self.events.send(Event::Over(error));
    }

    fn step(&mut self) -> Result<(), ClientError> {
        let before = self.reader.bytes();
        let event = match self.reader.receive() {
            Ok(Some(message)) => heard(message, &self.shared),
            Ok(None) => Err(ClientError::Ended),
            Err(WireError::Timeout { limit: None, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        };
        if self.shared.cancelled.load(Ordering::Relaxed) {
            return Err(ClientError::Cancelled);
        }
        let event = event?;
        let bytes = self.reader.bytes();
        self.shared.received.store(bytes, Ordering::Relaxed);
        if bytes != before {
            self.heard = Instant::now();
        }
        match event {
            Some(event) => self.hand_over(event),
            None => self.tick(),
        }
    }

    fn hand_over(&mut self, event: Event) -> Result<(), ClientError> {
        if let Event::Trouble { error: error @ ClientError::Trouble { fatal: true, .. }, .. } = event {
            return Err(error);
        }
        let queued = self.shared.queued.fetch_add(1, Ordering::Relaxed);
        if queued >= QUEUED_MAX {
            return Err(ClientError::unexpected("unread messages", format!("at most {QUEUED_MAX}"), queued));
        }
        self.events.send(event).map_err(|_| ClientError::Over)
    }

    fn tick(&mut self) -> Result<(), ClientError> {
        let is_long = self.shared.is_long.load(Ordering::Relaxed);
        let limit = if is_long { self.shared.long_silence } else { self.shared.silence };
        let sign = self.heard.max(self.shared.taken());
        if sign.elapsed() >= limit {
            return Err(ClientError::Silent(limit));
        }
        if sign.max(self.pinged).elapsed() >= self.shared.silence / 3 {
            self.pings += 1;
            self.pinged = Instant::now();
            self.shared.ping(self.pings)?;
        }
        Ok(())
    }
}

/// What there is in a message for the job.
fn heard<L: Line>(message: &[u8], shared: &Shared<L>) -> Result<Option<Event>, ClientError> {
    Ok(Some(match FromDaemon::decode(message)? {
        FromDaemon::Begun { stream, cut, ahead_max } => Event::Begun { stream, cut, ahead_max },
        FromDaemon::SegmentsKnown { number, known } => Event::Known { number, known: bits(&known) },
        FromDaemon::Wanted { number, wanted } => Event::Wanted { number, wanted: bits(&wanted) },
        FromDaemon::Durable { bytes } => Event::Durable { bytes },
        FromDaemon::Receipt(receipt) => Event::Receipt(receipt),
        FromDaemon::Piece { number, offset, hash, bytes } => {
            let len = bytes.len() as u64;
            let less = |allowed: u64| allowed.checked_sub(len);
            let taken = shared.allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            taken.map_err(|allowed| {
                ClientError::unexpected("piece of a restore", format!("at most {allowed} bytes"), len)
            })?;
            Event::Piece { number, offset, hash, bytes: bytes.to_vec() }
        }
        FromDaemon::Fetched { number, length } => Event::Fetched { number, length },
        FromDaemon::Trouble(trouble) => {
            let Trouble { number, id, text, remedy, fatal } = trouble;
            let (id, text, remedy) = (id.to_owned(), text.to_owned(), remedy.to_owned());
            Event::Trouble { number, error: ClientError::Trouble { id, text, remedy, fatal } }
        }
        FromDaemon::Ping { number } => {
            shared.owe(number)?;
            return Ok(None);
        }
        FromDaemon::Pong { .. } => return Ok(None),
    }))
}

fn bits(bitmap: &Bitmap<'_>) -> Vec<bool> {
    (0..bitmap.count()).map(|index| bitmap.get(index)).collect()
}
