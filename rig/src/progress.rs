//! What the rig says while it works: one line at a time, to whoever wants it.

use std::fmt;
use std::sync::Arc;

/// Where progress lines go. Cheap to clone; safe to use from several threads.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(&str) + Send + Sync>);

impl Progress {
    /// Every line goes to `sink`, without its newline.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Lines go nowhere.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Lines go to standard output, where a test harness captures them.
    #[must_use]
    pub fn printed() -> Self {
        Self::new(|line| println!("rig: {line}"))
    }

    /// Say one line.
    pub fn say(&self, line: impl AsRef<str>) {
        (self.0)(line.as_ref());
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::printed()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Progress")
    }
}
