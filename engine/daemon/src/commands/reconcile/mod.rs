//! `gdd reconcile`: streams whose volume or job is gone, and volumes whose streams are.

mod judge;
mod lacking;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use gdd_engine::options::Options;
use serde::Serialize;

use super::{ls, rm};
use crate::args::{self, Common};
use crate::catalog::Catalog;
use crate::client::Client;
use crate::control::Request;
use crate::failure::{CODE_DAMAGE, Failure, Result};
use crate::output::Outcome;
use crate::size::{grouped, show};
use judge::{Judge, Stream, volumes_in};
use lacking::{Lacking, Referred};

/// A stream that nobody can ask for any more.
#[derive(Debug, Serialize)]
struct Orphan {
    name: String,
    bytes: u64,
    stored_unix: u64,
    why: &'static str,
}

/// What was found, and done.
#[derive(Debug, Default, Serialize)]
struct Reconciled {
    volumes: u64,
    volume_streams: u64,
    job_streams: u64,
    orphans: Vec<Orphan>,
    orphan_bytes: u64,
    removed: u64,
    /// Volumes that the catalog has and no folder.
    volumes_absent: Vec<String>,
    /// Streams that may be theirs, and so are no orphans.
    volume_streams_undecided: u64,
    #[serde(flatten)]
    referred: Referred,
}

/// Find the orphans, and remove them if asked; find what volumes lack.
///
/// # Errors
/// A volume or the catalog's list cannot be read, a folder has no volume, too many streams would go, or the store
/// failed.
pub fn run(arguments: &args::Reconcile, common: &Common, dir: &Path, options: &Options) -> Result<Outcome> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    // Streams first: a volume that is new by then has none among them.
    let list = || match Client::of_store(&common.socket(), dir) {
        Some(client) => client.ask(Request::Ls),
        None => ls::run(dir, options),
    };
    let listed = list()?;
    let streams: Vec<_> = streams_of(&listed, now);
    let volumes = volumes_in(&arguments.volumes)?;
    let catalog =
        arguments.catalog.as_deref().map(|path| read_fresh(path, arguments.keep_newer)).transpose()?;
    let mut found = Reconciled { volumes: volumes.len() as u64, ..Reconciled::default() };
    found.look(&streams, Judge::new(arguments, &volumes, catalog.as_ref(), &streams, now));
    found.referred = lacking::of(&volumes, &numbers(&streams), catalog.as_ref())?;
    if !found.referred.lacking.is_empty() {
        // A job may have ended, or a volume been truncated, since the streams were listed.
        let later = list()?;
        let again = lacking::of(&volumes, &numbers(&streams_of(&later, now)), None)?;
        found.referred.lacking.retain(|lacking| again.lacking.contains(lacking));
    }
    if arguments.apply {
        found.demand_whole(arguments)?;
        found.demand_sense(arguments.force)?;
        for at in 0..found.orphans.len() {
            remove(&found.orphans[at].name, common, dir, options)?;
            found.removed += 1;
        }
    }
    let mut outcome = Outcome::new(&found, text(&found, arguments.apply))?;
    let is_damaged = !found.referred.lacking.is_empty() || !found.referred.volumes_damaged.is_empty();
    outcome.code = if is_damaged { CODE_DAMAGE } else { 0 };
    Ok(outcome)
}

/// The catalog's list, unless streams that count as old enough to go may be younger than it.
fn read_fresh(path: &Path, keep_newer: u64) -> Result<Catalog> {
    if path != Path::new("-") {
        let made = std::fs::metadata(path).and_then(|meta| meta.modified());
        let age = made.map_err(Failure::file("look at", path))?.elapsed().map_or(0, |age| age.as_secs());
        if age > keep_newer {
            let why = "is older than the streams that --keep-newer keeps: volumes and jobs since would count as \
                       unknown; make it anew";
            return Err(Failure::Usage(format!("the catalog's list {} {why}", path.display())));
        }
    }
    Catalog::read(path)
}

fn streams_of(listed: &Outcome, now: u64) -> Vec<Stream<'_>> {
    let streams = listed.json["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    streams.iter().map(|stream| Stream::of(stream, now)).collect()
}

/// The lengths of volumes' streams.
fn numbers(streams: &[Stream<'_>]) -> BTreeMap<u64, u64> {
    streams.iter().filter_map(|stream| Some((stream.of_volume()?.1, stream.bytes))).collect()
}

fn remove(name: &str, common: &Common, dir: &Path, options: &Options) -> Result<()> {
    match Client::of_store(&common.socket(), dir) {
        Some(client) => client.ask(Request::Rm { name: name.to_owned() }).map(drop),
        None => rm::run(name, dir, options).map(drop),
    }
}

impl Reconciled {
    fn look(&mut self, streams: &[Stream<'_>], mut judge: Judge<'_>) {
        for stream in streams {
            self.volume_streams += u64::from(stream.name.starts_with("sd/"));
            self.job_streams += u64::from(stream.name.starts_with("net/"));
            if let Some(why) = judge.why(stream) {
                let Stream { name, bytes, stored_unix, .. } = *stream;
                self.orphans.push(Orphan { name: name.to_owned(), bytes, stored_unix, why });
            }
        }
        self.orphan_bytes = self.orphans.iter().map(|orphan| orphan.bytes).sum();
        (self.volumes_absent, self.volume_streams_undecided) = judge.undecided();
    }

    /// Nothing goes because its volume is in no folder unless the folders are known to be all: by the catalog, or by
    /// somebody who says so.
    fn demand_whole(&self, arguments: &args::Reconcile) -> Result<()> {
        if self.volume_streams_undecided > 0 {
            let why = format!("{}; nothing was removed", undecided(self));
            return Err(Failure::Usage(why));
        }
        let gone = self.orphans.iter().filter(|orphan| orphan.why == judge::GONE).count();
        if gone > 0 && arguments.catalog.is_none() && !arguments.force {
            let why = format!(
                "{gone} streams would go because their volume is in no folder that was named: give --catalog LIST, \
                 which shows whether a folder is missing, or --force if none is; nothing was removed"
            );
            return Err(Failure::Usage(why));
        }
        Ok(())
    }

    /// More than half is more likely a mistake than what was meant.
    fn demand_sense(&self, force: bool) -> Result<()> {
        for (prefix, all) in [("sd/", self.volume_streams), ("net/", self.job_streams)] {
            let gone = self.orphans.iter().filter(|orphan| orphan.name.starts_with(prefix)).count() as u64;
            if gone * 2 > all && !force {
                let why = format!(
                    "{gone} of {all} streams {prefix}... would go: were all Archive Devices named, and all mounted, \
                     and is the list of this catalog? --force removes them; nothing was removed"
                );
                return Err(Failure::Usage(why));
            }
        }
        Ok(())
    }
}

/// Which volumes stand in the way of saying that a volume is gone, and what to do.
fn undecided(found: &Reconciled) -> String {
    const NAMED: usize = 5;
    let absent = &found.volumes_absent;
    let more = absent.len().saturating_sub(NAMED);
    let mut names = absent[..absent.len() - more].join(", ");
    if more > 0 {
        let _ = write!(names, " and {} more", grouped(more as u64));
    }
    format!(
        "{} streams are of no volume in the folders, and the catalog's list has volumes that are in none: {names}. \
         Name their Archive Devices, too; `delete volume` in the console what is lost; leave out of the list the \
         Media Types of devices that are not gdd's",
        grouped(found.volume_streams_undecided)
    )
}

fn text(found: &Reconciled, applied: bool) -> String {
    let mut text = String::new();
    for Orphan { name, bytes, why, .. } in &found.orphans {
        let _ = writeln!(text, "{name}: {}, {why}", show(*bytes));
    }
    for Lacking { volume, stream, bytes, found } in &found.referred.lacking {
        let has = found.map_or("nothing".to_owned(), show);
        let needs = show(*bytes);
        let _ = writeln!(
            text,
            "volume {volume}: refers to {needs} of stream {stream}; the store has {has} of it"
        );
    }
    for lacking::Damaged { volume, offset } in &found.referred.volumes_damaged {
        let _ = writeln!(
            text,
            "volume {volume}: damaged at byte {offset} of its file; what it refers to there is not known"
        );
    }
    let _ = writeln!(
        text,
        "{} volumes, {} streams of volumes, {} of jobs: {} orphans with {}",
        grouped(found.volumes),
        grouped(found.volume_streams),
        grouped(found.job_streams),
        grouped(found.orphans.len() as u64),
        show(found.orphan_bytes)
    );
    if found.volume_streams_undecided > 0 {
        let _ = writeln!(text, "{}; they stay", undecided(found));
    }
    let pruned = found.referred.volume_streams_pruned;
    if pruned > 0 {
        let _ = writeln!(
            text,
            "{} streams of pruned jobs stay until their volumes are truncated",
            grouped(pruned)
        );
    }
    let _ = match (applied, found.orphans.is_empty()) {
        (_, true) => Ok(()),
        (true, _) => writeln!(text, "removed {}; gdd vacuum frees their space", grouped(found.removed)),
        (false, _) => writeln!(text, "nothing was removed; --apply does it"),
    };
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn more_than_half_needs_force() {
        let orphan = |name: &str| Orphan { name: name.to_owned(), bytes: 1, stored_unix: 0, why: "" };
        let found = |orphans: &[&str]| Reconciled {
            volume_streams: 2,
            job_streams: 1,
            orphans: orphans.iter().map(|name| orphan(name)).collect(),
            ..Reconciled::default()
        };
        assert!(found(&["sd/a/1"]).demand_sense(false).is_ok(), "one of two");
        let two = found(&["sd/a/1", "sd/a/2"]);
        assert!(two.demand_sense(false).is_err() && two.demand_sense(true).is_ok());
        assert!(found(&["net/x/4"]).demand_sense(false).is_err(), "one of one");
    }

    /// The refusal of `--apply` with `words`, for a store with these orphans.
    fn refused(words: &str, why: &'static str, absent: &[&str], undecided: u64) -> Option<String> {
        let orphan = Orphan { name: "sd/a/1".to_owned(), bytes: 1, stored_unix: 0, why };
        let found = Reconciled {
            orphans: vec![orphan],
            volumes_absent: absent.iter().map(|&name| name.to_owned()).collect(),
            volume_streams_undecided: undecided,
            ..Reconciled::default()
        };
        let words = format!("gdd reconcile --volumes /x --apply {words}");
        let arguments = match Cli::try_parse_from(words.split_whitespace()).map(|cli| cli.command) {
            Ok(args::Command::Reconcile(arguments)) => arguments,
            other => unreachable!("{other:?}"),
        };
        found.demand_whole(&arguments).err().map(|refused| refused.to_string())
    }

    #[test]
    fn that_a_volume_is_gone_needs_the_catalog_or_force() {
        let why = refused("", judge::GONE, &[], 0).expect("the folders may not be all");
        assert!(why.contains("--catalog") && why.contains("--force"), "{why}");
        assert_eq!(refused("--force", judge::GONE, &[], 0), None);
        assert_eq!(refused("--catalog list", judge::GONE, &[], 0), None);
        assert_eq!(refused("", "its job is past its retention", &[], 0), None);
    }

    #[test]
    fn a_volume_that_no_folder_has_stands_in_the_way() {
        let absent = ["A", "B", "C", "D", "E", "F", "G"];
        for words in ["--catalog list", "--catalog list --force"] {
            let why = refused(words, "", &absent, 3).expect("a folder is missing");
            assert!(why.contains("3 streams") && why.contains("A, B, C, D, E and 2 more"), "{why}");
            assert!(why.contains("Archive Devices") && why.contains("nothing was removed"), "{why}");
        }
        assert_eq!(refused("--catalog list", "", &absent, 0), None, "no stream may be theirs");
    }
}
