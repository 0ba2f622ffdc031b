//! Where benches write: a directory on a real disk that goes away.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Names the directory to write below, for a disk other than the one that holds the build.
const VARIABLE: &str = "GDD_BENCH_DIR";

/// A directory that is removed at the end.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Below `GDD_BENCH_DIR`, or else below the build's own directory: the system's temporary directory is often
    /// memory, and memory says nothing about a disk.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let build = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp");
        let below = std::env::var_os(VARIABLE).map_or_else(build, PathBuf::from);
        std::fs::create_dir_all(&below).expect("the directory for benches can be made");
        Self(
            tempfile::Builder::new().prefix("gdd-bench-").tempdir_in(below).expect("a directory can be made"),
        )
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
