//! What Bacula's catalog knows, as a list that its own database program writes: gdd needs neither the database's
//! password nor its schema.
//!
//! ```text
//! V|VolumeName
//! J|JobId|job|client|file set|VolSessionId|VolSessionTime|start in seconds since 1970
//! ```
//!
//! # Invariants
//! - A line of another shape ends it: of a list that was cut or made otherwise, all that is missing would be orphans.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use gdd_engine::format::recipe::lineage_mark;

use crate::failure::{Failure, Result};

/// A job that the catalog has.
#[derive(Debug)]
struct Job {
    /// `client/job/file set`, as lineages end.
    lineage: String,
    session: (u32, u32),
    start_unix: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Catalog {
    /// How many of each name: of several directors' catalogs, each may have one.
    volumes: BTreeMap<String, usize>,
    jobs: Vec<Job>,
}

impl Catalog {
    /// The list in `path`, or on standard input where that is `-`.
    ///
    /// # Errors
    /// It cannot be read, is no such list, or has no volume or no job.
    pub fn read(path: &Path) -> Result<Self> {
        let mut text = String::new();
        if path == Path::new("-") {
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(Failure::file("read", Path::new("standard input")))?;
        } else {
            text = fs::read_to_string(path).map_err(Failure::file("read", path))?;
        }
        Self::parse(&text).map_err(|why| {
            let remedy = "see `gdd reconcile --help` for the command that makes it";
            Failure::Usage(format!("the catalog's list {}: {why}; {remedy}", path.display()))
        })
    }

    /// Of a list in memory.
    #[cfg(test)]
    pub fn of_text(text: &str) -> Self {
        Self::parse(text).expect("a list")
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut catalog = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let fields: Vec<&str> = line.split('|').collect();
            match fields.as_slice() {
                ["V", name] if !name.is_empty() => {
                    *catalog.volumes.entry((*name).to_owned()).or_default() += 1
                }
                ["J", _, job, client, file_set, id, time, start] => {
                    let job = parsed_job([job, client, file_set], [id, time, start]);
                    catalog.jobs.push(job.ok_or_else(|| unexpected(number, line))?);
                }
                _ => return Err(unexpected(number, line)),
            }
        }
        if catalog.volumes.is_empty() || catalog.jobs.is_empty() {
            return Err("expected volumes and jobs, found none of the one or the other".to_owned());
        }
        Ok(catalog)
    }

    /// Whether it has a volume of this name.
    #[must_use]
    pub fn has_volume(&self, name: &str) -> bool {
        self.volumes.contains_key(name)
    }

    /// Names of which it has more volumes than `found` says were found.
    pub fn volumes_beside(&self, found: &BTreeMap<String, usize>) -> Vec<String> {
        let is_beside = |name: &str, count: usize| found.get(name).is_none_or(|found| *found < count);
        self.volumes
            .iter()
            .filter(|(name, count)| is_beside(name, **count))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether it has the job of this `VolSessionId` and `VolSessionTime`.
    #[must_use]
    pub fn has_session(&self, session: (u32, u32)) -> bool {
        self.jobs.iter().any(|job| job.session == session)
    }

    /// When the oldest job was started that it has of each lineage in `domain`, by the mark of the lineage.
    #[must_use]
    pub fn oldest_of(&self, domain: &str) -> BTreeMap<u64, u64> {
        let mut oldest = BTreeMap::new();
        for job in &self.jobs {
            let mark = lineage_mark(&format!("net/{domain}/{}", job.lineage));
            let start = oldest.entry(mark).or_insert(job.start_unix);
            *start = job.start_unix.min(*start);
        }
        oldest
    }
}

fn parsed_job([job, client, file_set]: [&str; 3], [id, time, start]: [&str; 3]) -> Option<Job> {
    let session = (id.parse().ok()?, time.parse().ok()?);
    let lineage = format!("{client}/{job}/{file_set}");
    // A job that waits has not started.
    let start_unix = if start.is_empty() { 0 } else { start.parse().ok()? };
    Some(Job { lineage, session, start_unix })
}

fn unexpected(number: usize, line: &str) -> String {
    format!("line {}: expected V|NAME or J and seven fields, found {line:?}", number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "V|Daily-1\nV|Daily-2\nJ|7|tree|client|files|3|1700000000|1700000100\n\
                        J|9|tree|client|files|4|1700000000|1700086500\n";

    #[test]
    fn a_list_is_read() {
        let catalog = Catalog::parse(GOOD).unwrap();
        assert!(catalog.has_volume("Daily-2") && !catalog.has_volume("Daily-3"));
        let found = ["Daily-1", "Other"].map(|name| (name.to_owned(), 1)).into();
        assert_eq!(catalog.volumes_beside(&found), ["Daily-2"]);
        let both = Catalog::parse(&format!("{GOOD}V|Daily-1\nV|Daily-2\n")).unwrap();
        let found = [("Daily-1", 1), ("Daily-2", 2)].map(|(name, count)| (name.to_owned(), count)).into();
        assert_eq!(both.volumes_beside(&found), ["Daily-1"], "two directors may have one each");
        assert!(catalog.has_session((4, 1_700_000_000)) && !catalog.has_session((5, 1_700_000_000)));
        let mark = lineage_mark("net/default/client/tree/files");
        assert_eq!(catalog.oldest_of("default"), BTreeMap::from([(mark, 1_700_000_100)]));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "",
            "V|one\n",
            "J|7|t|c|f|3|4|5\n",
            &GOOD[..GOOD.len() - 20],
            "V|a\nJ|1|t|c|f|x|4|5\n",
            "Daily-1\n",
        ] {
            assert!(Catalog::parse(text).is_err(), "{text:?}");
        }
    }
}
