//! What the rig's own tests share.
#![allow(dead_code, reason = "not every test uses every helper")]

use std::path::Path;

use gdd_rig::{Builder, Rig};
use tempfile::TempDir;

/// A builder whose folders lie beside the build and not in /tmp, which may be memory; `None`, with the reason printed,
/// when the environment switches these tests off.
pub fn builder() -> Option<Builder> {
    if let Some(reason) = gdd_rig::switched_off() {
        println!("{reason}");
        return None;
    }
    Some(Rig::builder().folder(Path::new(env!("CARGO_TARGET_TMPDIR"))))
}

/// A folder for a tree to back up.
pub fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder takes a folder")
}

/// Both trees are equal; otherwise the differences are the message.
#[track_caller]
pub fn assert_equal(original: &Path, restored: &Path) {
    let differences = gdd_rig::compare(original, restored).expect("both trees can be read");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
