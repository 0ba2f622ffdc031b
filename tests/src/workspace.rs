//! Where things are: the workspace root, the built `gdd`, scratch space on a real disk.

use std::path::{Path, PathBuf};

/// The workspace root.
///
/// # Panics
/// Never: this crate lies one folder below it.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace").to_owned()
}

/// The `gdd` under test: `GDD_BIN` when set, else the one that `cargo build --release` made beside this test.
///
/// # Panics
/// When there is none, with the command that makes it.
#[must_use]
pub fn gdd_binary() -> PathBuf {
    let path = std::env::var_os("GDD_BIN").map_or_else(|| target().join("gdd"), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is not there: run `cargo build --release` first, or set GDD_BIN",
        path.display()
    );
    path
}

/// The driver for bacula-sd, as `cargo build --release` made it beside this test.
#[must_use]
pub fn driver() -> PathBuf {
    target().join("libgdd_sd.so")
}

/// What a program under test is made to suffer with, as `cargo build --release --workspace` made it.
#[must_use]
pub fn shim() -> PathBuf {
    target().join("libgdd_shim.so")
}

/// A new folder, removed on drop. It lies beside the build and not in /tmp, which may be memory and not a disk.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn scratch(name: &str) -> tempfile::TempDir {
    let folder = target().join("scratch");
    std::fs::create_dir_all(&folder).expect("the target folder takes a folder");
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(folder)
        .expect("the scratch folder takes a folder")
}

/// target/release, from target/release/deps/this-test.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.ancestors().nth(2).expect("a test lies two folders deep in target").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn scratch_folders_are_fresh_and_go_away() {
        let (one, two) = (scratch("same"), scratch("same"));
        assert_ne!(one.path(), two.path());
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && two.path().exists());
    }
}
