//! What a check found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::ids::ChunkHash;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is lost, but something is not as it should be.
    Warning,
    /// Something that should be there is not, or is not what it was.
    Damage,
}

/// What something is wrong with; `gdd fsck --repair` goes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A copy of the superblock.
    Superblock,
    /// The epoch file.
    Epoch,
    /// The index: it disagrees with what the containers say.
    Index,
    /// A container: missing, truncated, or its own blocks are damaged.
    Container,
    /// A chunk that the index knows.
    Chunk,
    /// One copy of a recipe; the other one is good.
    RecipeCopy,
    /// A recipe, in both copies.
    Recipe,
    /// A recipe that the index does not know, in both copies.
    RecipeUnlisted,
    /// What a crash left; the next opening for writing settles it.
    Unsettled,
    /// A file that is none of this store's.
    Foreign,
}

/// One thing that is wrong.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is wrong with.
    pub part: Part,
    /// In which file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong, with what was expected and what was found.
    pub what: String,
}

/// A stream that cannot be restored whole.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AffectedStream {
    /// Its name.
    pub name: String,
    /// Bytes of it that are lost.
    pub bytes_lost: u64,
    /// Chunks of it that are lost.
    pub chunks_lost: u64,
    /// Its recipe is lost: nobody knows what it consisted of.
    pub recipe_lost: bool,
}

/// Findings that are listed; the rest is only counted, so that a ruined store gives a readable report.
const LISTED_MAX: usize = 1000;

/// See the module. Fields are only ever added.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// How deep the check went.
    pub level: u8,
    /// The store was at work meanwhile: what came since the check began is not in it.
    pub beside: bool,
    /// Whether nothing at all was found.
    pub clean: bool,
    /// What was found, at most a thousand of it.
    pub findings: Vec<Finding>,
    /// How much was found in all, by what it is wrong with.
    pub parts: BTreeMap<Part, u64>,
    /// How much was found in all, of severity `damage`.
    pub damage_count: u64,
    /// How much was found in all, of severity `warning`.
    pub warning_count: u64,
    /// Containers checked.
    pub containers: u64,
    /// Chunks checked.
    pub chunks: u64,
    /// Records in containers that the index does not know: nobody needs them, or the streams that do are named.
    pub records_unlisted: u64,
    /// Chunks that cannot be given back.
    pub chunks_bad: u64,
    /// Chunks that a stream needs and the index does not know; only found by level 3.
    pub chunks_unknown: u64,
    /// Streams checked.
    pub streams: u64,
    /// Streams that cannot be restored whole; only found by level 3.
    pub streams_affected: Vec<AffectedStream>,
    /// Bytes read.
    pub bytes_read: u64,
    /// Chunks that cannot be given back, with why.
    #[serde(skip)]
    pub bad: BTreeMap<ChunkHash, String>,
    #[serde(skip)]
    affected_names: BTreeSet<String>,
}

impl Report {
    /// Nothing found yet.
    pub(super) fn new(level: u8) -> Self {
        Self {
            level,
            beside: false,
            clean: true,
            findings: Vec::new(),
            parts: BTreeMap::new(),
            damage_count: 0,
            warning_count: 0,
            containers: 0,
            chunks: 0,
            records_unlisted: 0,
            chunks_bad: 0,
            chunks_unknown: 0,
            streams: 0,
            streams_affected: Vec::new(),
            bytes_read: 0,
            bad: BTreeMap::new(),
            affected_names: BTreeSet::new(),
        }
    }

    /// Something is lost or changed.
    pub(super) fn damage(&mut self, part: Part, file: &Path, offset: u64, what: String) {
        self.damage_count += 1;
        self.find((Severity::Damage, part), file, offset, what);
    }

    /// Something is odd.
    pub(super) fn warn(&mut self, part: Part, file: &Path, offset: u64, what: String) {
        self.warning_count += 1;
        self.find((Severity::Warning, part), file, offset, what);
    }

    fn find(&mut self, (severity, part): (Severity, Part), file: &Path, offset: u64, what: String) {
        self.clean = false;
        *self.parts.entry(part).or_default() += 1;
        if self.findings.len() < LISTED_MAX {
            self.findings.push(Finding { severity, part, file: file.to_owned(), offset, what });
        }
    }

    /// A chunk cannot be given back. Returns whether that is news.
    pub(super) fn bad_chunk(&mut self, hash: ChunkHash, why: String) -> bool {
        self.clean = false;
        let news = !self.bad.contains_key(&hash);
        if news {
            self.chunks_bad += 1;
            self.bad.insert(hash, why);
        }
        news
    }

    /// A stream cannot be restored whole.
    pub(super) fn affect(&mut self, stream: AffectedStream) {
        self.clean = false;
        if self.affected_names.insert(stream.name.clone()) {
            self.streams_affected.push(stream);
        }
    }

    /// Findings about `part`.
    #[must_use]
    pub fn about(&self, part: Part) -> u64 {
        self.parts.get(&part).copied().unwrap_or(0)
    }

    /// Whether something is lost.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damage_count > 0 || self.chunks_bad > 0 || !self.streams_affected.is_empty()
    }

    pub(super) fn finish(mut self) -> Self {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self
    }
}
