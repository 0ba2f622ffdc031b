//! `gdd reconcile`: streams whose volume or job is gone.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use gdd_engine::options::Options;
use serde::Serialize;
use serde_json::Value;

use super::{ls, rm};
use crate::args::{self, Common};
use crate::client::Client;
use crate::control::Request;
use crate::failure::{Failure, Result};
use crate::output::Outcome;
use crate::size::{grouped, show};
use crate::volumes;

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
}

/// Find the orphans, and remove them if asked.
///
/// # Errors
/// A volume cannot be read, there is none, too many streams would go, or the store failed.
pub fn run(arguments: &args::Reconcile, common: &Common, dir: &Path, options: &Options) -> Result<Outcome> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    // Streams first: a volume that is new by then has none among them.
    let listed = match Client::of_store(&common.socket(), dir) {
        Some(client) => client.ask(Request::Ls)?,
        None => ls::run(dir, options)?,
    };
    let volumes = volumes_of(arguments)?;
    let mut found = Reconciled { volumes: volumes.len() as u64, ..Reconciled::default() };
    let streams = listed.json["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    for stream in streams {
        found.look_at(stream, arguments, &volumes, now);
    }
    found.orphan_bytes = found.orphans.iter().map(|orphan| orphan.bytes).sum();
    if arguments.apply {
        found.demand_sense(arguments.force)?;
        for at in 0..found.orphans.len() {
            remove(&found.orphans[at].name, common, dir, options)?;
            found.removed += 1;
        }
    }
    Outcome::new(&found, text(&found, arguments.apply))
}

fn volumes_of(arguments: &args::Reconcile) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for folder in &arguments.volumes {
        all.extend(volumes::in_folder(folder)?);
    }
    if all.is_empty() && !arguments.volumes.is_empty() {
        let why =
            "there is no volume of storage mode in there: is the Archive Device mounted, and the right one?";
        return Err(Failure::Usage(why.to_owned()));
    }
    Ok(all)
}

fn remove(name: &str, common: &Common, dir: &Path, options: &Options) -> Result<()> {
    match Client::of_store(&common.socket(), dir) {
        Some(client) => client.ask(Request::Rm { name: name.to_owned() }).map(drop),
        None => rm::run(name, dir, options).map(drop),
    }
}

impl Reconciled {
    fn look_at(&mut self, stream: &Value, arguments: &args::Reconcile, volumes: &BTreeSet<String>, now: u64) {
        let number = |field: &str| stream[field].as_u64().unwrap_or(0);
        let name = stream["name"].as_str().unwrap_or_default();
        let (bytes, stored_unix) = (number("bytes"), stream["created_unix"].as_u64().unwrap_or(now));
        let age = now.saturating_sub(stored_unix);
        let why = if let Some((volume, _)) = name.strip_prefix("sd/").and_then(|name| name.split_once('/')) {
            self.volume_streams += 1;
            let is_orphan = !arguments.volumes.is_empty() && !volumes.contains(volume);
            is_orphan.then_some("its volume is gone")
        } else if name.starts_with("net/") {
            self.job_streams += 1;
            arguments
                .jobs_older_than
                .is_some_and(|limit| age > limit)
                .then_some("its job is past its retention")
        } else {
            None // Stored by hand.
        };
        if let Some(why) = why.filter(|_| age > arguments.keep_newer) {
            self.orphans.push(Orphan { name: name.to_owned(), bytes, stored_unix, why });
        }
    }

    /// More than half is more likely a mistake than what was meant.
    fn demand_sense(&self, force: bool) -> Result<()> {
        for (prefix, all) in [("sd/", self.volume_streams), ("net/", self.job_streams)] {
            let gone = self.orphans.iter().filter(|orphan| orphan.name.starts_with(prefix)).count() as u64;
            if gone * 2 > all && !force {
                let why = format!(
                    "{gone} of {all} streams {prefix}... would go: were all Archive Devices named, and all mounted? \
                     --force removes them; nothing was removed"
                );
                return Err(Failure::Usage(why));
            }
        }
        Ok(())
    }
}

fn text(found: &Reconciled, applied: bool) -> String {
    let mut text = String::new();
    for Orphan { name, bytes, why, .. } in &found.orphans {
        let _ = writeln!(text, "{name}: {}, {why}", show(*bytes));
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
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Command};

    const NOW: u64 = 1_000_000_000;

    fn arguments(words: &str) -> args::Reconcile {
        match Cli::try_parse_from(words.split_whitespace()).map(|cli| cli.command) {
            Ok(Command::Reconcile(arguments)) => arguments,
            other => unreachable!("{other:?}"),
        }
    }

    fn found(words: &str, streams: &[(&str, u64)]) -> Reconciled {
        let (arguments, volumes) = (arguments(words), BTreeSet::from(["aa".to_owned()]));
        let mut found = Reconciled::default();
        for (name, age) in streams {
            let stream = json!({ "name": name, "bytes": 10, "created_unix": NOW - age });
            found.look_at(&stream, &arguments, &volumes, NOW);
        }
        found
    }

    fn names(found: &Reconciled) -> Vec<&str> {
        found.orphans.iter().map(|orphan| orphan.name.as_str()).collect()
    }

    #[test]
    fn only_what_was_asked_about_and_is_old_enough_goes() {
        let day = 86_400;
        let streams = [
            ("sd/aa/1", 9 * day),
            ("sd/bb/2", 9 * day),
            ("sd/bb/3", 100),
            ("net/x/4", 9 * day),
            ("mine", 9 * day),
        ];
        let volumes = found("gdd reconcile --volumes /x", &streams);
        assert_eq!(names(&volumes), ["sd/bb/2"]);
        let jobs = found("gdd reconcile --jobs-older-than 8d", &streams);
        assert_eq!(names(&jobs), ["net/x/4"]);
        assert_eq!(names(&found("gdd reconcile --jobs-older-than 10d", &streams)), Vec::<&str>::new());
        assert!(volumes.demand_sense(false).is_ok(), "one of three");
        assert!(jobs.demand_sense(false).is_err() && jobs.demand_sense(true).is_ok(), "one of one");
    }
}
