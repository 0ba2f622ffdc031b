//! A small store with something of everything, to be ruined; and the judgement of a ruined one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::copy::copy;
use crate::damage::files;
use crate::gdd::{Gdd, Outcome};
use crate::joined::Joined;
use crate::json::{list, number, text};
use crate::stream::{Content, Stream};
use crate::untouched::Untouched;
use crate::workspace::scratch;

const MIB: u64 = 1 << 20;
/// Bytes of a container in front of its first batch.
pub const HEADER_SIZE: usize = 4096;

/// The streams of every such store. They share chunks, so that one damaged chunk may cost several of them.
#[must_use]
pub fn streams() -> [(&'static str, Joined); 5] {
    let random = |seed, length| Stream::new(Content::Random, seed, length);
    let shared = || random(101, MIB + 17);
    [
        ("random", Joined::new([random(102, MIB)])),
        ("shares", Joined::new([shared(), random(103, 500_000)])),
        ("shares too", Joined::new([random(104, 300_000), shared()])),
        ("text", Joined::new([Stream::new(Content::Text, 105, MIB)])),
        ("tiny", Joined::new([random(106, 10)])),
    ]
}

/// Make one at `gdd`'s store. Some containers are sealed, some open; it was opened several times.
///
/// # Panics
/// When it cannot be made.
pub fn make(gdd: &Gdd) {
    gdd.init_with(&["--container-size", "1m", "--compression", "auto"]);
    for (name, stream) in streams() {
        gdd.put(name, stream);
    }
    let stats = gdd.json(&["stats"]);
    let [all, sealed] = ["containers", "containers_sealed"].map(|field| number(&stats, field));
    assert!(sealed >= 2 && all > sealed, "some containers are sealed, some open: {stats:#}");
}

/// A whole store, and a place for its copies.
#[derive(Debug)]
pub struct Model {
    folder: tempfile::TempDir,
    /// The store.
    pub whole: Gdd,
}

impl Model {
    /// A new one, in a folder called like `name`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let folder = scratch(name);
        let whole = Gdd::at(&folder.path().join("whole"));
        make(&whole);
        Self { folder, whole }
    }

    /// Run `test` on a copy.
    ///
    /// # Panics
    /// When the store cannot be copied.
    pub fn with_copy(&self, test: impl FnOnce(&Gdd)) {
        let copied = Gdd::at(&self.folder.path().join("copy"));
        copy(self.whole.store(), copied.store());
        test(&copied);
        fs::remove_dir_all(copied.store()).expect("a copy can be removed");
    }

    /// The containers with something in them. Others are made ahead of need, and are no loss.
    ///
    /// # Panics
    /// When the store cannot be read.
    #[must_use]
    pub fn containers(&self) -> Vec<PathBuf> {
        let mut all = files(&self.whole.store().join("containers")).expect("a store can be listed");
        all.retain(|path| {
            fs::read(path).expect("it is there").iter().skip(HEADER_SIZE).any(|&byte| byte != 0)
        });
        let relative = |path: &PathBuf| path.strip_prefix(self.whole.store()).map(Path::to_owned);
        all.iter().map(relative).collect::<Result<_, _>>().expect("containers lie in the store")
    }
}

/// What `gdd fsck` said of a store, after it was shown to have written nothing.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// Its report; nothing when the store could not be opened.
    pub report: Option<Value>,
}

impl Verdict {
    /// Check the store, deeply.
    ///
    /// # Panics
    /// When the check panics, writes, or ends in a way that it must not. `story` says what was done to the store.
    #[must_use]
    pub fn of(gdd: &Gdd, story: &str) -> Self {
        let before = Untouched::of(gdd.store()).expect("a store that was made can be read");
        let outcome = gdd.run(&["fsck", "--level", "3", "--json"]);
        before.demand(gdd.store(), &format!("fsck of {story}"));
        assert!(!outcome.stderr.contains("panicked"), "{story}: {outcome:?}");
        let json = outcome.json();
        let report = match outcome.code {
            Some(0) => {
                assert_eq!(number(&json, "damage_count"), 0, "{story}: {json:#}");
                Some(json)
            }
            Some(3) if json.get("findings").is_some() => {
                assert!(number(&json, "damage_count") > 0, "{story}: {json:#}");
                assert!(!list(&json, "findings").is_empty(), "{story}: {json:#}");
                Some(json)
            }
            Some(1 | 3 | 5) => {
                let named = text(&json, "error").contains(gdd.store().to_str().expect("a plain path"));
                assert!(named, "the message names what is damaged: {story}: {json}");
                None
            }
            _ => unreachable!("{story}: {outcome:?}"),
        };
        Self { outcome, report }
    }

    /// Whether nothing at all was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report["clean"] == true)
    }

    /// The files that are named, by severity `damage` or worse than none: any.
    #[must_use]
    pub fn names(&self, file: &Path) -> bool {
        let said = self.report.as_ref().unwrap_or(&Value::Null).to_string() + &self.outcome.stderr;
        said.contains(file.to_str().expect("a plain path"))
    }

    /// The streams that it says are affected.
    #[must_use]
    pub fn affected(&self) -> BTreeSet<String> {
        let report = self.report.as_ref();
        let streams = report.map_or(&[][..], |report| list(report, "streams_affected"));
        streams.iter().map(|stream| text(stream, "name").to_owned()).collect()
    }
}

/// Restore every stream. Whatever was done to the store: what comes out is a beginning of the truth, and an exit code
/// of 0 means all of it. Returns the streams that did not come back whole.
///
/// # Panics
/// When a wrong byte comes out, or a short stream is called whole.
pub fn restore_all(gdd: &Gdd, story: &str) -> BTreeSet<String> {
    let mut lost = BTreeSet::new();
    for (name, mut stream) in streams() {
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        std::io::Read::read_to_end(&mut stream, &mut expected).expect("a generated stream can be read");
        let (outcome, _) = gdd.try_get(name, &mut found);
        assert!(!outcome.stderr.contains("panicked"), "{story}: {outcome:?}");
        assert!(expected.starts_with(&found), "WRONG BYTES of {name:?} came out: {story}: {outcome:?}");
        match outcome.code {
            Some(0) => assert_eq!(found.len(), expected.len(), "{name:?} is short: {story}"),
            Some(1 | 3 | 5) => {
                assert!(!outcome.stderr.is_empty(), "{story}: {name:?} failed without a word");
                lost.insert(name.to_owned());
            }
            _ => unreachable!("{story}: {outcome:?}"),
        }
    }
    lost
}
