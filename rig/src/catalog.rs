//! The SQLite catalog: made with the package's own SQL, and read beside the director by the sqlite3 program.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::execution::Execution;
use crate::{Error, Result};

/// Between columns and rows; control characters that no text of Bacula has.
const COLUMN: char = '\x1f';
const ROW: char = '\x1e';

/// How long sqlite3 waits for the director's lock.
const BUSY_MS: u32 = 20_000;

/// Make an empty catalog at `file`.
pub(crate) fn create(file: &Path, sql: &Path, limit: Duration) -> Result {
    let text = fs::read(sql).map_err(Error::io(format!("cannot read {}", sql.display())))?;
    let mut command = Command::new("sqlite3");
    // No sync for each of a hundred statements: a catalog that is not there yet need not survive power loss.
    command.args(["-bail", "-cmd", "PRAGMA synchronous=off"]).arg(file);
    Execution::new(command, limit).input(text).succeed().map(drop)
}

/// Every row of the answer to `sql`, as text; NULL is the empty text.
pub(crate) fn query(file: &Path, sql: &str, limit: Duration) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("sqlite3");
    command.args(["-readonly", "-bail", "-list", "-noheader"]);
    command.args(["-separator", &COLUMN.to_string(), "-newline", &ROW.to_string()]);
    command.args(["-cmd", &format!(".timeout {BUSY_MS}")]).arg(file).arg(sql);
    let printed = Execution::new(command, limit).succeed()?;
    let rows = printed.output.split_terminator(ROW);
    Ok(rows.map(|row| row.split(COLUMN).map(str::to_owned).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_newlines_and_bars_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (file, sql) = (folder.path().join("c.db"), folder.path().join("c.sql"));
        fs::write(&sql, "CREATE TABLE T (A, B); INSERT INTO T VALUES ('x|y', 'line\nline'), (NULL, 7);")
            .unwrap();
        let limit = Duration::from_secs(60);
        create(&file, &sql, limit).unwrap();
        let rows = query(&file, "SELECT A, B FROM T", limit).unwrap();
        assert_eq!(rows, [["x|y", "line\nline"], ["", "7"]]);
        assert!(query(&file, "SELECT nothing", limit).is_err());
    }
}
