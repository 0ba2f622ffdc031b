//! How long a session waits for its ring, and how long what is in the ring waits for the disk.

use std::time::{Duration, Instant};

use gdd_engine::observe::{Recorder, Since, Stage};

/// See the module.
pub(super) struct Timing {
    recorder: Recorder,
    started: Instant,
    /// The ring was found empty then, and a stream is open.
    empty: Option<Since>,
}

impl Timing {
    /// Recorded with `recorder`.
    pub(super) fn new(recorder: Recorder) -> Self {
        Self { recorder, started: Instant::now(), empty: None }
    }

    /// This moment, for [`Timing::given_back`].
    pub(super) fn now(&self) -> Since {
        self.recorder.begin(|| self.clock())
    }

    /// The ring is empty while a stream is open.
    pub(super) fn waits(&mut self) {
        if self.empty.is_none() {
            self.empty = Some(self.now());
        }
    }

    /// Something came.
    pub(super) fn came(&mut self) {
        if let Some(since) = self.empty.take() {
            self.recorder.end(Stage::RingWait, since, || self.clock());
        }
    }

    /// A message that was read at `since` is durable, and its place in the ring is given back.
    pub(super) fn given_back(&self, since: Since) {
        self.recorder.end(Stage::RingHeld, since, || self.clock());
    }

    fn clock(&self) -> Duration {
        self.started.elapsed()
    }
}
