//! Lineages: which streams are later versions of each other, and what the latest one has left for the next.
//!
//! The store itself is the memory: the latest recipe of a lineage says how it was cut. So nothing has to be kept in
//! step, `gdd rebuild-index` loses nothing, and a lineage whose streams were all removed begins anew.

use std::cmp::Reverse;

use gdd_uring::io::Io;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::recipe::{lineage_mark, name_problem};
use crate::index::{RecipeRow, RecipeState};
use crate::recipe::RecipeReader;
use crate::tuner::Past;

/// Recipes that are tried before a lineage counts as unreadable. One is normal; each more is one that is damaged, or
/// of another lineage with the same mark.
const TRIES: usize = 3;

/// Places in a stream at which it waits and looks for a twin: nearly all streams change their sizes at the first
/// window.
const SWITCHES_MAX: usize = 4;

/// The lineage of a stream that nobody named one for: its name without the digits at its end, and without what
/// separates the parts of a date and a time. `disk-2024-05-01T03:00:00Z` and `disk-7` are of lineage `disk`; a name
/// that would leave nothing is its own lineage.
#[must_use]
pub fn lineage_of(name: &str) -> &str {
    let digit = |c: char| c.is_ascii_digit();
    let zone = name.strip_suffix('Z').filter(|rest| rest.ends_with(digit)).unwrap_or(name);
    if !zone.ends_with(digit) {
        return name;
    }
    let mut rest = zone;
    loop {
        let bare = rest.trim_end_matches(digit);
        // A T belongs to a time only between digits.
        let before = bare.strip_suffix('T').filter(|date| date.ends_with(digit) && bare.len() < rest.len());
        let shorter = before.unwrap_or(bare).trim_end_matches(['-', '_', '.', ':', '+', ' ']);
        if shorter.len() == rest.len() {
            break;
        }
        rest = shorter;
    }
    if rest.is_empty() { name } else { rest }
}

/// Check a lineage that somebody named.
///
/// # Errors
/// It is not usable.
pub fn check(lineage: &str) -> Result<()> {
    name_problem(lineage).map_or(Ok(()), |problem| Err(Error::Invalid(format!("the lineage: {problem}"))))
}

/// What a new stream finds in the store.
#[derive(Debug, Default)]
pub struct Found {
    /// What the latest stream of its lineage has left; nothing for the first.
    pub past: Option<Past>,
    /// The bytes at which streams of any lineage changed their chunk sizes, the latest first; not all of very many.
    pub switches: Vec<u64>,
}

/// Look for what matters to the next stream of `lineage`. A stream whose recipe cannot be read or used is passed over
/// with a warning: tuning never keeps data out of the store.
///
/// # Errors
/// The index failed.
pub fn find(core: &Core, io: &mut dyn Io, lineage: &str) -> Result<Found> {
    let mark = lineage_mark(lineage);
    let mut rows = core.index.recipes()?;
    rows.retain(|row| row.state == RecipeState::Live);
    rows.sort_by_key(|row| Reverse(row.recipe)); // Ids grow with time.
    let mut found = Found::default();
    for row in &rows {
        if row.switch_at > 0
            && !found.switches.contains(&row.switch_at)
            && found.switches.len() < SWITCHES_MAX
        {
            found.switches.push(row.switch_at);
        }
    }
    for row in rows.iter().filter(|row| row.lineage_mark == mark).take(TRIES) {
        match past(core, io, lineage, row) {
            Ok(Some(past)) => {
                found.past = Some(past);
                break;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("stream {:?} does not help to tune {lineage:?}: {error}", row.name),
        }
    }
    Ok(found)
}

/// What one stream has left, if it is of this lineage and was tuned.
fn past(core: &Core, io: &mut dyn Io, lineage: &str, row: &RecipeRow) -> Result<Option<Past>> {
    let reader = RecipeReader::open(io, &core.paths.recipes(), row.recipe, core.store)?;
    let (header, trailer) = (reader.header().clone(), reader.trailer().clone());
    reader.close(io);
    if header.lineage != lineage || trailer.tuning.generation == 0 {
        return Ok(None);
    }
    let ladder = core.ladder();
    let later = (trailer.tuning.switch_at > 0).then_some(trailer.tuning.later);
    for sizes in [Some(header.params), later].into_iter().flatten() {
        if !ladder.allows(sizes) {
            return Err(Error::Invalid(format!(
                "it has chunk sizes that this store does not take: {sizes:?}"
            )));
        }
    }
    Ok(Some(Past { start: header.params, tuning: trailer.tuning, bytes: trailer.logical_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_numbers_are_no_part_of_a_lineage() {
        for (name, lineage) in [
            ("disk-2024-05-01", "disk"),
            ("disk-2024-05-01T03:00:00Z", "disk"),
            ("disk_20240501T030000Z", "disk"),
            ("disk.2024.05.01_03.00", "disk"),
            ("disk 2024-05-01 03:00:00+02:00", "disk"),
            ("disk7", "disk"),
            ("disk", "disk"),
            ("home-monday", "home-monday"),
            ("Z", "Z"),
            ("QUIZ", "QUIZ"),
            ("T1", "T"),
            ("REPORT-3", "REPORT"),
            ("disk-", "disk-"),
            ("2024-05-01", "2024-05-01"),
            ("web1.example.org", "web1.example.org"),
            ("\u{e9}t\u{e9}-9", "\u{e9}t\u{e9}"),
            ("", ""),
        ] {
            assert_eq!(lineage_of(name), lineage, "{name:?}");
        }
    }
}
