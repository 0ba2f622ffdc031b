//! What happened, for a seed that failed: the last lines only, and nothing at all unless asked for.

use std::collections::VecDeque;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: VecDeque<String>,
    line_count_max: usize,
}

impl Log {
    /// Keep the last `count` lines from now on; 0 keeps none.
    pub(super) fn keep(&mut self, count: usize) {
        self.line_count_max = count;
        self.trim();
    }

    /// Add a line, which is made only if somebody wants it.
    pub(super) fn push(&mut self, line: impl FnOnce() -> String) {
        if self.line_count_max > 0 {
            self.lines.push_back(line());
            self.trim();
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    fn trim(&mut self) {
        let surplus = self.lines.len().saturating_sub(self.line_count_max);
        self.lines.drain(..surplus);
    }
}
