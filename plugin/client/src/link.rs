//! A job's half of the connection: what it sends, and the answers that the listener brings.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gdd_wire::message::FromClient;
use gdd_wire::{Connected, Session};

use crate::error::ClientError;
use crate::line::Line;
use crate::listener::{Event, Listener, Shared};
use crate::settings::Settings;

/// How long a goodbye may take: all that matters was said before it.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);

/// One connection, with the thread that listens to it.
pub struct Link<L: Line> {
    shared: Arc<Shared<L>>,
    events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
    head: Vec<u8>,
    session: Session,
    over: bool,
}

impl<L: Line> Link<L> {
    /// Shakes hands over `line`, and starts to listen.
    ///
    /// # Errors
    /// As [`gdd_wire::connect`]; or there is no thread.
    pub fn new(line: L, settings: &Settings) -> Result<Self, ClientError> {
        let Settings { key, introduction, store, limits, .. } = settings;
        let Connected { channel, session } =
            gdd_wire::connect(line, key, introduction, *store, limits.connect)?;
        let shared = Arc::new(Shared::new(channel.writer, settings)?);
        let (sender, events) = mpsc::channel();
        let listener = Listener::new(channel.reader, Arc::clone(&shared), sender);
        let thread = std::thread::Builder::new().name("gdd-listener".to_owned());
        let thread = Some(thread.spawn(move || listener.run()).map_err(ClientError::Thread)?);
        Ok(Self { shared, events, thread, head: Vec::new(), session, over: false })
    }

    /// What both ends agreed on.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Bytes over the connection, both ways.
    pub fn bytes(&self) -> u64 {
        let sent = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).bytes();
        sent + self.shared.received.load(Ordering::Relaxed)
    }

    /// Sends a message; it may wait for [`flush`](Self::flush).
    pub fn send(&mut self, message: &FromClient<'_>) -> Result<(), ClientError> {
        let tail = message.encode(&mut self.head)?;
        if self.over {
            return Err(ClientError::Over);
        }
        let sent = self.shared.with_writer(|writer| writer.send(&self.head, tail));
        sent.map_err(|error| self.failed(error))
    }

    /// Everything leaves.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        if self.over {
            return Err(ClientError::Over);
        }
        self.shared.with_writer(gdd_wire::Writer::flush).map_err(|error| self.failed(error))
    }

    /// The next thing that the daemon says. It waits; the listener bounds that.
    pub fn next(&mut self) -> Result<Event, ClientError> {
        if self.over {
            return Err(ClientError::Over);
        }
        let event = self.events.recv().unwrap_or(Event::Over(ClientError::Over));
        self.opened(event)
    }

    /// The next thing that the daemon says, which may need its disk for it: [`Limits::long_silence`] bounds the wait.
    ///
    /// [`Limits::long_silence`]: crate::Limits::long_silence
    pub fn next_long(&mut self) -> Result<Event, ClientError> {
        self.shared.set_long(true);
        let event = self.next();
        self.shared.set_long(false);
        event
    }

    /// The next thing that it has said already.
    pub fn try_next(&mut self) -> Result<Option<Event>, ClientError> {
        if self.over {
            return Err(ClientError::Over);
        }
        match self.events.try_recv() {
            Ok(event) => self.opened(event).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => self.opened(Event::Over(ClientError::Over)).map(Some),
        }
    }

    /// Lets the daemon send so many bytes of pieces more.
    pub fn allow(&self, bytes: u64) {
        self.shared.allowed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It will not use so many of them.
    pub fn disallow(&self, bytes: u64) {
        let less = |allowed: u64| Some(allowed.saturating_sub(bytes));
        let _ = self.shared.allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Nothing more is believed, said or heard; `error` is the reason.
    pub fn end(&mut self, error: ClientError) -> ClientError {
        self.over = true;
        self.shared.hang_up();
        error
    }

    /// Both sides say that nothing follows. Whatever goes wrong with that changes nothing.
    pub fn goodbye(mut self) {
        if self.over || self.shared.with_writer(gdd_wire::Writer::end).is_err() {
            return;
        }
        self.over = true;
        while let Ok(event) = self.events.recv_timeout(GOODBYE_TIME_MAX) {
            if matches!(event, Event::Over(_)) {
                break;
            }
        }
    }

    fn opened(&mut self, event: Event) -> Result<Event, ClientError> {
        match event {
            Event::Over(error) => Err(self.end(error)),
            other => {
                self.shared.queued.fetch_sub(1, Ordering::Relaxed);
                Ok(other)
            }
        }
    }

    /// A write failed. The daemon may have said why before it closed, the listener may have heard the end first, or the
    /// job was cancelled: that is the reason.
    fn failed(&mut self, error: gdd_wire::WireError) -> ClientError {
        let ended = self.shared.has_ended();
        let mut error = self.end(error.into());
        loop {
            match self.events.recv_timeout(GOODBYE_TIME_MAX) {
                Ok(Event::Over(ClientError::Over)) => return error,
                Ok(Event::Over(ClientError::Wire(_))) if !ended => return error,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return error,
                Ok(Event::Over(why)) => return why,
                Ok(Event::Trouble { error: why, .. }) => error = why,
                Ok(_) => {}
            }
        }
    }
}

impl<L: Line> Drop for Link<L> {
    fn drop(&mut self) {
        self.shared.hang_up();
        if let Some(thread) = self.thread.take() {
            // It ends at the end of its line; had it panicked, the calls before this one said so.
            let _ = thread.join();
        }
    }
}
