//! What a backup amounted to, in numbers and in words.
//!
//! The plugin says it in Bacula's job log, and the daemon in `gdd status`. Both do so with this, so that an operator
//! finds the same line at both ends, and a test can demand it.

use std::fmt;

/// The numbers of a job's report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that were backed up.
    pub files: u64,
    /// Bytes of them.
    pub logical_bytes: u64,
    /// Bytes over the connection, both ways, from the first record to the receipt.
    pub wire_bytes: u64,
    /// Bytes of chunks that the store did not have, as the client was told.
    pub new_bytes: u64,
    /// Bytes that they take on its disk, as the client was told.
    pub stored_bytes: u64,
}

impl Report {
    /// Bytes that were backed up for each that was stored; none when nothing was.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        (self.stored_bytes > 0).then(|| self.logical_bytes as f64 / self.stored_bytes as f64)
    }

    /// Per cent of what was backed up that was not stored. Less than 0 where the store took more than came.
    #[must_use]
    pub fn savings_percent(&self) -> f64 {
        if self.logical_bytes == 0 {
            return 0.0;
        }
        100.0 - self.stored_bytes as f64 * 100.0 / self.logical_bytes as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, logical_bytes, wire_bytes, new_bytes, stored_bytes } = self;
        write!(
            f,
            "{files} files, logical {logical_bytes} B, wire {wire_bytes} B, new {new_bytes} B, \
             stored {stored_bytes} B, "
        )?;
        match self.ratio() {
            Some(ratio) => write!(f, "ratio {ratio:.2}:1")?,
            None => write!(f, "ratio all known")?,
        }
        write!(f, ", savings {:.2} %", self.savings_percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_has() {
        let report =
            Report { files: 3, logical_bytes: 1000, wire_bytes: 40, new_bytes: 300, stored_bytes: 250 };
        let line =
            "3 files, logical 1000 B, wire 40 B, new 300 B, stored 250 B, ratio 4.00:1, savings 75.00 %";
        assert_eq!(report.to_string(), line);
        let known = Report { new_bytes: 0, stored_bytes: 0, ..report };
        assert!(known.to_string().ends_with("ratio all known, savings 100.00 %"), "{known}");
        assert!(Report::default().to_string().ends_with("savings 0.00 %"), "nothing saves nothing");
    }
}
