//! What a scrub did and found.

/// Chunks that are listed; the rest is only counted, so that a ruined store gives a readable report.
const LISTED_MAX: usize = 1000;

/// A chunk that cannot be given back.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BadChunk {
    /// Which, in hex.
    pub chunk: String,
    /// In which container, in hex.
    pub container: String,
    /// What is wrong, with what was expected and what was found.
    pub why: String,
}

/// See the module. Fields are only ever added.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct ScrubReport {
    /// It was told to stop; the next run goes on.
    pub cancelled: bool,
    /// Containers checked.
    pub containers: u64,
    /// Of those, containers in which something is wrong.
    pub containers_damaged: u64,
    /// Containers left out because they were checked lately.
    pub containers_recent: u64,
    /// Containers left out because they are known to be damaged, and nobody relies on them.
    pub containers_quarantined: u64,
    /// Records checked.
    pub chunks: u64,
    /// Chunks that cannot be given back: the only copy that is used is damaged or gone.
    pub chunks_bad: u64,
    /// Damaged records of which another copy is used, or none is known.
    pub records_unused_bad: u64,
    /// The chunks that cannot be given back, at most a thousand of them.
    pub bad: Vec<BadChunk>,
    /// Streams whose recipes were checked.
    pub streams: u64,
    /// Copies of recipes that were damaged or missing, and are written anew from the other one.
    pub copies_repaired: u64,
    /// Streams of whose recipe no copy can be read.
    pub streams_unreadable: u64,
    /// What is wrong with recipes, or with containers as a whole: headers, footers, missing files.
    pub findings: Vec<String>,
    /// Chunks that count as unknown after this run, those of earlier runs included.
    pub chunks_suspect: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Time in all.
    pub seconds: f64,
}

impl ScrubReport {
    /// Whether something is wrong.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.containers_damaged + self.copies_repaired + self.streams_unreadable > 0
    }

    /// A chunk cannot be given back.
    pub(super) fn bad(&mut self, chunk: BadChunk) {
        self.chunks_bad += 1;
        if self.bad.len() < LISTED_MAX {
            self.bad.push(chunk);
        }
    }

    /// Something is wrong with a container as a whole.
    pub(super) fn find(&mut self, what: String) {
        tracing::warn!("{what}");
        if self.findings.len() < LISTED_MAX {
            self.findings.push(what);
        }
    }
}
