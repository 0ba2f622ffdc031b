#![expect(unsafe_code, reason = "the daemon's table of names is read through pointers")]
//! Which number means "fatal" to this daemon.
//!
//! 9.6 counts M_FATAL as 3; 15.0 has put M_EVENTS before it, so that 3 is an event, 4 is fatal and what was fatal
//! vanishes without a trace: the job would go to the next volume and end with "Backup OK". The daemon's own table of
//! keywords for its Messages resource (`msg_types` in libbaccfg, `{ const char *name; uint32_t token; }`) has the
//! numbers in every version.

use std::ffi::{CStr, c_char};

use crate::error::Refused;
use crate::host::Grave;
use crate::symbols;

/// The numbers of this daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageTypes {
    /// The job ends in error.
    pub fatal: i32,
    /// The job goes on, and its log counts an error.
    pub error: i32,
    /// Worth reading.
    pub warning: i32,
    /// Nothing to do.
    pub info: i32,
}

/// One row of the daemon's table.
#[repr(C)]
#[derive(Clone, Copy)]
struct Keyword {
    name: *const c_char,
    token: u32,
}

const TABLE: &str = "msg_types";
/// Rows that a believable table has; 19 in 15.0.3.
const ROWS_MAX: usize = 64;
/// Numbers that a believable type has; they are bits of a set.
const TOKEN_MAX: u32 = 64;

impl MessageTypes {
    /// Reads the running daemon's table.
    ///
    /// # Errors
    /// When it is not exported, or does not name each of the four exactly once.
    pub fn find() -> Result<Self, Refused> {
        let start = symbols::address(TABLE)?;
        let size = symbols::declared_size(start.addr()).unwrap_or(0);
        let count = size / size_of::<Keyword>();
        let refuse = |expected: &str| {
            let (table, expected) = (TABLE.to_owned(), expected.to_owned());
            Refused::Table { table, found: size, expected }
        };
        if !size.is_multiple_of(size_of::<Keyword>()) || !(5..=ROWS_MAX).contains(&count) {
            return Err(refuse("rows of a name and a number"));
        }
        let mut rows = Vec::new();
        for row in 0..count {
            // SAFETY: the symbol's object has `count` rows of this size; the names are constants of the library or
            // null.
            let Keyword { name, token } = unsafe { *start.cast::<Keyword>().add(row) };
            if name.is_null() {
                break;
            }
            // SAFETY: not null, and a C string as every keyword of the daemon's configuration is.
            let name = unsafe { CStr::from_ptr(name) };
            rows.push((name.to_string_lossy().to_ascii_lowercase(), token));
        }
        Self::of(&rows).ok_or_else(|| refuse("a table that names fatal, error, warning and info once each"))
    }

    /// The number for a message: its own, or where that goes nowhere the gravest milder one that `is_heard`. Somebody
    /// must be able to read why a job failed.
    pub fn heard(&self, grave: Grave, is_heard: impl Fn(i32) -> bool) -> i32 {
        let all = [self.fatal, self.error, self.warning, self.info];
        let from = match grave {
            Grave::Fatal => 0,
            Grave::Error => 1,
            Grave::Warning => 2,
            Grave::Info => 3,
        };
        all[from..].iter().copied().find(|kind| is_heard(*kind)).unwrap_or(all[from])
    }

    fn of(rows: &[(String, u32)]) -> Option<Self> {
        let number = |wanted: &str| {
            let mut found =
                rows.iter().filter(|(name, token)| name == wanted && (1..TOKEN_MAX).contains(token));
            let (_, token) = found.next()?;
            found.next().is_none().then(|| token.cast_signed())
        };
        let (fatal, error, warning, info) =
            (number("fatal")?, number("error")?, number("warning")?, number("info")?);
        // The order is the same in all versions; another one means that this is not the table that we think it is.
        (fatal < error && error < warning && warning < info).then_some(Self { fatal, error, warning, info })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, u32)]) -> Vec<(String, u32)> {
        rows.iter().map(|(name, token)| ((*name).to_owned(), *token)).collect()
    }

    #[test]
    fn both_versions_are_understood() {
        let old =
            rows(&[("debug", 2), ("abort", 1), ("fatal", 3), ("error", 4), ("warning", 5), ("info", 6)]);
        assert_eq!(MessageTypes::of(&old), Some(MessageTypes { fatal: 3, error: 4, warning: 5, info: 6 }));
        let new =
            rows(&[("debug", 2), ("events", 3), ("fatal", 4), ("error", 5), ("warning", 6), ("info", 7)]);
        assert_eq!(MessageTypes::of(&new), Some(MessageTypes { fatal: 4, error: 5, warning: 6, info: 7 }));
    }

    #[test]
    fn what_goes_nowhere_is_said_as_something_milder() {
        let types = MessageTypes { fatal: 3, error: 4, warning: 5, info: 6 };
        for (grave, heard, number) in [
            (Grave::Fatal, &[3, 4, 5, 6][..], 3),
            (Grave::Fatal, &[4, 5, 6], 4),
            (Grave::Fatal, &[6], 6),
            (Grave::Fatal, &[], 3),
            (Grave::Warning, &[3, 4], 5),
            (Grave::Warning, &[3, 6], 6),
            (Grave::Info, &[3, 4, 5], 6),
        ] {
            assert_eq!(types.heard(grave, |kind| heard.contains(&kind)), number, "{grave:?} of {heard:?}");
        }
    }

    #[test]
    fn a_strange_table_is_none() {
        let good = [("fatal", 3), ("error", 4), ("warning", 5), ("info", 6)];
        for missing in 0..4 {
            let mut bad = good.to_vec();
            bad.remove(missing);
            assert_eq!(MessageTypes::of(&rows(&bad)), None);
            let mut twice = good.to_vec();
            twice.push(good[missing]);
            assert_eq!(MessageTypes::of(&rows(&twice)), None);
        }
        assert_eq!(MessageTypes::of(&rows(&[("fatal", 4), ("error", 3), ("warning", 5), ("info", 6)])), None);
        assert_eq!(MessageTypes::of(&rows(&[("fatal", 0), ("error", 4), ("warning", 5), ("info", 6)])), None);
    }
}
