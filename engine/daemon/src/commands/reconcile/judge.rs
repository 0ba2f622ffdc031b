//! Which streams nobody can ask for any more.
//!
//! # Invariants
//! - What was not asked about is never an orphan: streams of volumes without `--volumes`, streams of jobs without a
//!   rule for them, streams that were stored by hand.
//! - That a volume is gone, or not in the catalog, is said only of streams whose volume cannot be one that the catalog
//!   has and no folder: a catalog knows names, and streams have ids.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::args;
use crate::catalog::Catalog;
use crate::failure::{Failure, Result};
use crate::volumes::{self, Volume};

/// Clocks differ, and a catalog has times without zones.
const DAY: u64 = 86_400;

/// Why a stream is an orphan whose volume is in no folder.
pub const GONE: &str = "its volume is gone";

/// Why a stream is one whose volume is there.
pub const UNKNOWN: &str = "the catalog does not know its volume";

/// A stream as `gdd ls` lists it.
#[derive(Debug)]
pub struct Stream<'a> {
    pub name: &'a str,
    pub bytes: u64,
    pub stored_unix: u64,
    lineage_mark: u64,
}

/// See the module.
pub struct Judge<'a> {
    arguments: &'a args::Reconcile,
    /// Volumes that were found, and whether the catalog has them; all of them without one.
    volumes: BTreeMap<String, bool>,
    catalog: Option<&'a Catalog>,
    /// Volumes that the catalog has and no folder.
    absent: Vec<String>,
    /// Streams whose volume is one of those, or gone.
    undecided: u64,
    /// By domain.
    oldest: BTreeMap<String, BTreeMap<u64, u64>>,
    now: u64,
}

impl<'a> Stream<'a> {
    pub fn of(listed: &'a Value, now: u64) -> Self {
        let number = |field: &str| listed[field].as_u64();
        let mark = listed["lineage_mark"].as_str().and_then(|mark| u64::from_str_radix(mark, 16).ok());
        Self {
            name: listed["name"].as_str().unwrap_or_default(),
            bytes: number("bytes").unwrap_or(0),
            stored_unix: number("created_unix").unwrap_or(now),
            lineage_mark: mark.unwrap_or(0),
        }
    }

    /// Its volume's id, and its number, of a volume's stream.
    pub fn of_volume(&self) -> Option<(&'a str, u64)> {
        let (volume, stream) = self.name.strip_prefix("sd/")?.split_once('/')?;
        Some((volume, u64::from_str_radix(stream, 16).ok()?))
    }
}

impl<'a> Judge<'a> {
    pub fn new(
        arguments: &'a args::Reconcile,
        found: &[Volume],
        catalog: Option<&'a Catalog>,
        streams: &[Stream<'_>],
        now: u64,
    ) -> Self {
        let mut volumes = BTreeMap::new();
        for volume in found {
            let known = catalog.is_none_or(|catalog| catalog.has_volume(&volume.name()));
            *volumes.entry(volume.hex()).or_insert(false) |= known;
        }
        // A copy of a volume is no volume more. Of several with one name only those that streams are of may be those
        // that the catalog means.
        let mine: BTreeSet<_> = streams.iter().filter_map(|stream| Some(stream.of_volume()?.0)).collect();
        let distinct: BTreeSet<_> = found.iter().map(|volume| (volume.name(), volume.hex())).collect();
        let mut names = BTreeMap::<String, usize>::new();
        for (name, hex) in distinct {
            let count = names.entry(name).or_default();
            *count = (*count + usize::from(mine.contains(hex.as_str()))).max(1);
        }
        let asked = catalog.filter(|_| !arguments.volumes.is_empty());
        let absent = asked.map_or_else(Vec::new, |catalog| catalog.volumes_beside(&names));
        Self { arguments, volumes, catalog, absent, undecided: 0, oldest: BTreeMap::new(), now }
    }

    /// Volumes that the catalog has and no folder, and how many old streams may be theirs: those stay.
    pub fn undecided(self) -> (Vec<String>, u64) {
        (self.absent, self.undecided)
    }

    /// Why `stream` is an orphan, if it is one.
    pub fn why(&mut self, stream: &Stream<'_>) -> Option<&'static str> {
        let age = self.now.saturating_sub(stream.stored_unix);
        let why = if let Some(of) = stream.name.strip_prefix("sd/") {
            self.of_volume(of.split('/').next()?)
        } else if let Some(of) = stream.name.strip_prefix("net/") {
            self.of_job(of.split('/').next()?, stream, age)
        } else {
            None // Stored by hand.
        };
        let why = why.filter(|_| age > self.arguments.keep_newer);
        // The file of a volume that is in no folder may have a copy here, under another name.
        if matches!(why, Some(GONE | UNKNOWN)) && !self.absent.is_empty() {
            self.undecided += 1;
            return None;
        }
        why
    }

    fn of_volume(&self, volume: &str) -> Option<&'static str> {
        if self.arguments.volumes.is_empty() {
            return None;
        }
        match self.volumes.get(volume) {
            None => Some(GONE),
            Some(false) => Some(UNKNOWN),
            Some(true) => None,
        }
    }

    fn of_job(&mut self, domain: &str, stream: &Stream<'_>, age: u64) -> Option<&'static str> {
        if self.arguments.jobs_older_than.is_some_and(|limit| age > limit) {
            return Some("its job is past its retention");
        }
        let catalog = self.catalog?;
        let oldest = self.oldest.entry(domain.to_owned()).or_insert_with(|| catalog.oldest_of(domain));
        // A client may call itself, its job or its file set otherwise than the catalog does: what that does not know at
        // all says nothing.
        let oldest = oldest.get(&stream.lineage_mark)?;
        (stream.stored_unix.saturating_add(DAY) < *oldest)
            .then_some("the catalog has only younger jobs of its client, job and file set")
    }
}

/// The volumes in all folders.
///
/// # Errors
/// One cannot be read, or has none.
pub fn volumes_in(folders: &[PathBuf]) -> Result<Vec<Volume>> {
    let mut all = BTreeSet::new();
    for folder in folders {
        let found = volumes::in_folder(folder)?;
        if found.is_empty() {
            let why = format!(
                "there is no volume of storage mode in {}: is the Archive Device mounted, and the right one? One \
                 that has none yet is left out",
                folder.display()
            );
            return Err(Failure::Usage(why));
        }
        all.extend(found);
    }
    Ok(all.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use gdd_engine::format::recipe::lineage_mark;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Command};

    const NOW: u64 = 1_700_000_000;

    fn orphans(words: &str, catalog: Option<&Catalog>) -> Vec<String> {
        judged(words, catalog).0
    }

    /// The orphans' last parts, and what is undecided.
    fn judged(words: &str, catalog: Option<&Catalog>) -> (Vec<String>, (Vec<String>, u64)) {
        let arguments = match Cli::try_parse_from(words.split_whitespace()).map(|cli| cli.command) {
            Ok(Command::Reconcile(arguments)) => arguments,
            other => unreachable!("{other:?}"),
        };
        let volume = |byte: u8, name: &str| Volume { path: name.into(), id: [byte; 16] };
        let volumes = [volume(0xaa, "Daily-1"), volume(0xcc, "Daily-9")];
        let mark = |lineage: &str| format!("{:016x}", lineage_mark(lineage));
        let (known, other) = (mark("net/x/client/tree/files"), mark("net/x/client/else/files"));
        let streams = [
            (format!("sd/{}/1", "aa".repeat(16)), 9 * DAY, &other),
            (format!("sd/{}/2", "bb".repeat(16)), 9 * DAY, &other),
            (format!("sd/{}/3", "bb".repeat(16)), 100, &other),
            (format!("sd/{}/7", "cc".repeat(16)), 9 * DAY, &other),
            ("net/x/4".to_owned(), 9 * DAY, &known),
            ("net/x/5".to_owned(), 4 * DAY, &known),
            ("net/x/6".to_owned(), 4 * DAY, &other),
            ("net/x/8".to_owned(), 100, &other),
            ("mine".to_owned(), 9 * DAY, &other),
        ];
        let listed = streams.iter().map(
            |(name, age, mark)| json!({ "name": name, "bytes": 10, "created_unix": NOW - age, "lineage_mark": mark }),
        );
        let listed: Vec<_> = listed.collect();
        let streams: Vec<_> = listed.iter().map(|listed| Stream::of(listed, NOW)).collect();
        let mut judge = Judge::new(&arguments, &volumes, catalog, &streams, NOW);
        let orphans = streams.iter().filter(|stream| judge.why(stream).is_some());
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let orphans = orphans.map(|stream| last(stream.name)).collect();
        (orphans, judge.undecided())
    }

    #[test]
    fn a_volume_of_the_catalog_in_no_folder_may_have_the_streams_of_no_volume() {
        let list = |volumes: &str| Catalog::of_text(&format!("{volumes}J|1|tree|client|files|1|2|{NOW}\n"));
        let words = "gdd reconcile --volumes /x --catalog list";
        let whole = list("V|Daily-1\nV|Daily-9\n");
        assert_eq!(judged(words, Some(&whole)), (vec!["2".into(), "4".into(), "5".into()], (vec![], 0)));
        // 2 and 7 may be of Third-1, which would be in a device that was not named; 3 is young.
        let third = list("V|Daily-1\nV|Third-1\n");
        let undecided = (vec!["Third-1".to_owned()], 2);
        assert_eq!(judged(words, Some(&third)), (vec!["4".into(), "5".into()], undecided));
        // Two directors have a Daily-1 each, and one is found.
        let both = list("V|Daily-1\nV|Daily-9\nV|Daily-1\n");
        let undecided = (vec!["Daily-1".to_owned()], 1);
        assert_eq!(judged(words, Some(&both)), (vec!["4".into(), "5".into()], undecided));
        // Nobody asked about volumes.
        let words = "gdd reconcile --catalog list";
        assert_eq!(judged(words, Some(&third)), (vec!["4".into(), "5".into()], (vec![], 0)));
    }

    #[test]
    fn only_what_was_asked_about_and_is_old_enough_goes() {
        assert_eq!(orphans("gdd reconcile --volumes /x", None), ["2"]);
        assert_eq!(orphans("gdd reconcile --jobs-older-than 8d", None), ["4"]);
        assert_eq!(orphans("gdd reconcile --jobs-older-than 10d", None), Vec::<String>::new());
        let start = NOW - 7 * DAY;
        let catalog = Catalog::of_text(&format!("V|Daily-1\nJ|1|tree|client|files|1|2|{start}\n"));
        assert_eq!(orphans("gdd reconcile --catalog list", Some(&catalog)), ["4"]);
        assert_eq!(orphans("gdd reconcile --volumes /x --catalog list", Some(&catalog)), ["2", "7", "4"]);
        let late =
            Catalog::of_text(&format!("V|Daily-1\nJ|1|tree|client|files|1|2|{}\n", NOW - 9 * DAY + DAY));
        assert_eq!(
            orphans("gdd reconcile --catalog list", Some(&late)),
            Vec::<String>::new(),
            "a day is no difference"
        );
    }

    #[test]
    fn each_folder_must_have_a_volume() {
        let place = tempfile::tempdir().unwrap();
        let [full, empty] = ["full", "empty"].map(|name| place.path().join(name));
        [&full, &empty].into_iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        let header = gdd_sd::skeleton::frame::header(gdd_sd::store::VolumeId([3; 16]), None);
        std::fs::write(full.join("V"), header).unwrap();
        assert_eq!(volumes_in(std::slice::from_ref(&full)).unwrap().len(), 1);
        let error = volumes_in(&[full, empty]).unwrap_err().to_string();
        assert!(error.contains("empty: is the Archive Device mounted"), "{error}");
    }
}
