//! A finding: one setting, what it is, what it should be, and why.

use serde::Serialize;

/// How much it matters. The order is that of the exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// May gain something on some machines, or costs something rarely: for those who tune.
    Hint,
    /// Costs speed or room as it is, on most machines: worth changing.
    Advice,
    /// What gdd has acknowledged may be lost, or damaged, as it is.
    Danger,
}

impl Severity {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Hint => "hint",
            Self::Advice => "advice",
            Self::Danger => "danger",
        }
    }
}

/// Where the advice comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sureness {
    /// Measured with gdd's own transfers: by `--measure` in this run, or as written in docs/tuning.md.
    Measured,
    /// The kernel's, the file system's or gdd's own documentation or source says so.
    Documented,
    /// What experience says; other machines may differ.
    RuleOfThumb,
}

impl Sureness {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Documented => "documented",
            Self::RuleOfThumb => "rule of thumb",
        }
    }
}

/// What a trial of a setting times. Each is a rate: more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Direct writes of 1 MiB into a file written before, 8 in flight, and a sync: an ingest of new data.
    Write,
    /// Direct reads of 1 MiB, 8 in flight: a restore.
    Read,
    /// Direct reads of 64 KiB at random places, one after another: chunks that are recalled cold.
    RandomRead,
    /// A file read through the page cache, which was dropped before: `gdd put FILE`, bacula-fd's reading.
    BufferedRead,
    /// First use of large buffers, as a restore's cache or a stream's window: how fast they are filled.
    FreshMemory,
    /// Direct writes of 1 MiB, each synced, beside a file that is written through the page cache: a commit beside
    /// Bacula's volumes.
    SyncBeside,
}

impl Workload {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "direct writes",
            Self::Read => "direct reads",
            Self::RandomRead => "random 64k reads",
            Self::BufferedRead => "buffered reads",
            Self::FreshMemory => "fresh buffers",
            Self::SyncBeside => "synced writes beside buffered ones",
        }
    }
}

/// One write to a file of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Write {
    /// Below /sys or /proc/sys.
    pub path: String,
    /// Without the newline.
    pub value: String,
}

/// Two states of a setting between which a measurement alternates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// Writes that bring back what was found.
    pub present: Vec<Write>,
    /// Writes that make the other state.
    pub other: Vec<Write>,
    /// What may differ.
    pub workloads: Vec<Workload>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule, such as `disk.scheduler`; never changes its meaning.
    pub id: &'static str,
    /// What it concerns, such as `vda`.
    pub subject: String,
    /// How much it matters.
    pub severity: Severity,
    /// Where the advice comes from.
    pub sure: Sureness,
    /// What was found.
    pub found: String,
    /// What would be better; the same where it is fine.
    pub wanted: String,
    /// Why.
    pub why: String,
    /// Shell lines that make it so, as root; none where no line can.
    pub apply: Vec<String>,
    /// Shell lines, or one sentence, that make it hold after a restart.
    pub keep: Vec<String>,
    /// How it can be tried here.
    pub trial: Option<Trial>,
}

impl Finding {
    /// A finding without words yet.
    #[must_use]
    pub(crate) fn new(id: &'static str, subject: &str, severity: Severity, sure: Sureness) -> Self {
        let (subject, empty) = (subject.to_owned(), String::new);
        let (apply, keep) = (Vec::new(), Vec::new());
        let (found, wanted, why) = (empty(), empty(), empty());
        Self { id, subject, severity, sure, found, wanted, why, apply, keep, trial: None }
    }

    /// What was found, what is wanted, and why.
    #[must_use]
    pub(crate) fn say(mut self, found: impl Into<String>, wanted: impl Into<String>, why: &str) -> Self {
        (self.found, self.wanted) = (found.into(), wanted.into());
        why.clone_into(&mut self.why);
        self
    }

    /// A line that makes it so.
    #[must_use]
    pub(crate) fn apply(mut self, line: String) -> Self {
        self.apply.push(line);
        self
    }

    /// A line that makes it hold.
    #[must_use]
    pub(crate) fn keep(mut self, line: impl Into<String>) -> Self {
        self.keep.push(line.into());
        self
    }

    /// A trial of one file's value.
    #[must_use]
    pub(crate) fn try_one(self, path: &str, present: &str, other: &str, workloads: &[Workload]) -> Self {
        let write = |value: &str| Write { path: path.to_owned(), value: value.to_owned() };
        let (present, other) = (vec![write(present)], vec![write(other)]);
        self.try_out(Trial { present, other, workloads: workloads.to_vec() })
    }

    /// A trial.
    #[must_use]
    pub(crate) fn try_out(mut self, trial: Trial) -> Self {
        self.trial = Some(trial);
        self
    }
}

impl Trial {
    /// Shell lines that make the other state.
    #[must_use]
    pub fn other_lines(&self) -> Vec<String> {
        self.other.iter().map(|write| crate::shell::write(&write.path, &write.value)).collect()
    }
}
