//! The patience of a stream's thread, with its time recorded: what the workers, and the device behind them, hold up.

use std::time::Instant;

use crate::driver::{Patience, Signal, Sleep};
use crate::observe::{Recorder, Stage};

/// See the module.
pub(super) struct Timed {
    recorder: Recorder,
    started: Instant,
}

impl Timed {
    /// Recorded with `recorder`.
    pub(super) fn new(recorder: Recorder) -> Self {
        Self { recorder, started: Instant::now() }
    }
}

impl Patience for Timed {
    fn pause(&mut self, signal: &Signal) {
        let begun = self.recorder.begin(|| self.started.elapsed());
        Sleep.pause(signal);
        self.recorder.end(Stage::StreamWait, begun, || self.started.elapsed());
    }
}
