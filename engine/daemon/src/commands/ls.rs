//! `gdd ls`.

use std::path::Path;

use gdd_engine::index::RecipeRow;
use gdd_engine::options::Options;
use gdd_engine::store::Store;
use serde::Serialize;
use serde_json::json;

use crate::failure::Result;
use crate::output::{Outcome, Table};
use crate::size::{grouped, show};

/// A stream, as `--json` shows it.
#[derive(Serialize)]
pub(super) struct Listed {
    /// As `put` calls it; `logical_bytes` says the same.
    bytes: u64,
    /// The mark of its lineage, in hex; zeros for none.
    lineage_mark: String,
    #[serde(flatten)]
    row: RecipeRow,
}

impl From<RecipeRow> for Listed {
    fn from(row: RecipeRow) -> Self {
        Self { bytes: row.logical_bytes, lineage_mark: format!("{:016x}", row.lineage_mark), row }
    }
}

/// List the streams, by name.
///
/// # Errors
/// The store cannot be read.
pub fn run(dir: &Path, options: &Options) -> Result<Outcome> {
    super::reading(dir, options, outcome)
}

/// The same of an open store.
///
/// # Errors
/// The store cannot be read.
pub fn outcome(store: &Store) -> Result<Outcome> {
    let streams = store.list()?;
    let mut table = Table::new(["NAME", "BYTES", "NEW", "CHUNKS", "STORED (UTC)"]);
    for row in &streams {
        table.row([
            row.name.clone(),
            grouped(row.logical_bytes),
            show(row.new_bytes),
            grouped(row.chunk_count),
            utc(row.created_unix),
        ]);
    }
    let text = if streams.is_empty() { "no streams\n".to_owned() } else { table.to_string() };
    let streams: Vec<Listed> = streams.into_iter().map(Listed::from).collect();
    Outcome::new(&json!({ "streams": streams }), text)
}

/// Seconds since 1970 as a date and time.
#[must_use]
pub fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut left) = (1970, days);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(utc(1_735_689_599), "2024-12-31 23:59:59");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00");
    }
}
