//! Copies: of a store, for tests that ruin many of them, or of any tree.

use std::path::Path;
use std::process::Command;

/// Copy the tree in `source` to `target`, which must not exist. Reserved space becomes holes.
///
/// # Panics
/// When `cp` fails.
pub fn copy(source: &Path, target: &Path) {
    let mut cp = Command::new("cp");
    cp.args(["--archive", "--sparse=always", "--no-target-directory"]).arg(source).arg(target);
    let output = cp.output().expect("cp starts");
    assert!(output.status.success(), "{cp:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;

    #[test]
    fn a_copy_is_equal() {
        let folder = crate::workspace::scratch("copy");
        let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
        std::fs::create_dir_all(source.join("in")).unwrap();
        std::fs::write(source.join("in/file"), [0; 100_000]).unwrap();
        copy(&source, &target);
        let differences = Snapshot::of(&source).unwrap().differences(&Snapshot::of(&target).unwrap());
        assert_eq!(differences, Vec::<String>::new());
    }
}
