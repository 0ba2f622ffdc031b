//! An order to copy between the daemon's store and another one, which the daemon opens itself.
//!
//! The daemon may see other directories than who asks: its unit gives it a temporary directory of its own. So an order
//! says which directory was meant, by device and inode; a set that nobody finds again is worse than a refusal.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::args::Which;
use crate::failure::{Failure, Result};

/// See the module.
#[derive(Debug, Deserialize, Serialize)]
pub struct Order {
    /// From the daemon's store, or into it.
    pub way: Way,
    /// The other store.
    pub other: Seen,
    /// Which streams.
    pub which: Which,
    /// What is made.
    pub kind: Kind,
}

/// Which of two stores is the daemon's.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The one that gives.
    Out,
    /// The one that takes.
    In,
}

/// What is made of the streams.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Streams of a store that is there; with `check` those that are there already are looked at chunk by chunk.
    Copy {
        /// See `gdd copy --check`.
        check: bool,
    },
    /// A sealed set.
    Set,
}

/// A directory as one process sees it; it need not exist yet.
#[derive(Debug, Deserialize, Serialize)]
pub struct Seen {
    /// Its path, absolute.
    pub path: PathBuf,
    /// Device and inode of it, or of the folder in which it is to be made.
    place: (u64, u64),
}

impl Seen {
    /// What `path` is for this process.
    ///
    /// # Errors
    /// Neither it nor the folder above exists.
    pub fn from_here(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(Failure::file("find", path))?;
        let place = place_of(&path)?;
        Ok(Self { path, place })
    }

    /// Fail when this process sees another one.
    ///
    /// # Errors
    /// It does, or sees none.
    pub fn demand_same(&self) -> Result<()> {
        if place_of(&self.path).is_ok_and(|place| place == self.place) {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "the daemon does not see {} as you do: name a directory that is there for its user, and not below /tmp, \
             /var/tmp or /home, which its unit may hide from it (PrivateTmp, ProtectHome)",
            self.path.display()
        )))
    }
}

fn place_of(path: &Path) -> Result<(u64, u64)> {
    let found = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::metadata(path.parent().unwrap_or(path))
        }
        found => found,
    };
    found.map(|found| (found.dev(), found.ino())).map_err(Failure::file("look at", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_directory_of_the_same_name_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set");
        let absent = Seen::from_here(&path).unwrap();
        assert!(absent.demand_same().is_ok(), "the folder above is the same");
        std::fs::create_dir(&path).unwrap();
        let there = Seen::from_here(&path).unwrap();
        assert!(there.demand_same().is_ok());
        assert!(absent.demand_same().is_err(), "somebody made it meanwhile");
        std::fs::rename(&path, folder.path().join("kept")).unwrap();
        std::fs::create_dir(&path).unwrap();
        let told = there.demand_same().unwrap_err().line();
        assert!(told.contains("PrivateTmp"), "{told}");
        assert!(Seen::from_here(&folder.path().join("no/where")).is_err());
    }
}
