//! A progress bar for long work, on standard error and only on a terminal.

use std::borrow::Cow;

use gdd_engine::progress::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const WITH_TOTAL: &str = concat!(
    "{msg:9} {wide_bar} {decimal_bytes:>10} of {decimal_total_bytes:10} ",
    "{decimal_bytes_per_sec:>13} {eta:>5} left"
);
const WITHOUT_TOTAL: &str = "{msg:9} {spinner} {decimal_bytes:>10} {decimal_bytes_per_sec:>13} {elapsed:>5}";
const STEPS: &str = "{spinner} {wide_msg}";

/// Redraws in a second.
const REDRAWS: u8 = 8;

/// See the module. Dropped, it takes itself off the screen.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    has_total: bool,
}

impl Bar {
    /// Counts bytes, of `total` where that is known.
    #[must_use]
    pub fn bytes(stage: &'static str, total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(REDRAWS));
        bar.set_style(style(if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL }));
        bar.set_message(stage);
        Self { bar, has_total: total.is_some() }
    }

    /// Names one step after another.
    #[must_use]
    pub fn steps() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWS));
        bar.set_style(style(STEPS));
        Self { bar, has_total: false }
    }

    /// So many bytes are done.
    pub fn set(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// What the engine reports.
    pub fn follow(&mut self, progress: Progress) {
        self.follow_named(progress.stage, progress.done, progress.total);
    }

    /// The same from elsewhere.
    pub fn follow_named(&mut self, stage: impl Into<Cow<'static, str>>, done: u64, total: Option<u64>) {
        if let Some(total) = total {
            if !self.has_total {
                self.bar.set_style(style(WITH_TOTAL));
                self.has_total = true;
            }
            self.bar.set_length(total);
        }
        self.bar.set_message(stage);
        self.bar.set_position(done);
    }

    /// The next step.
    pub fn step(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
        self.bar.tick();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &'static str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the templates above are well formed");
    style.progress_chars("=> ").tick_chars("-\\|/ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_well_formed() {
        drop(Bar::steps());
        let mut bar = Bar::bytes("store", None);
        bar.follow(Progress { stage: "check", done: 1, total: Some(2) });
        assert_eq!((bar.bar.length(), bar.bar.position()), (Some(2), 1));
    }
}
