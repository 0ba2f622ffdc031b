//! Captured trees, what is asked about them, and a shell that checks without running.

#![allow(dead_code)] // Each test program uses its own part of this.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gdd_tuning::facts::Question;

/// A captured tree: its name, the store in it, and `memory` of its gdd.toml.
pub const TREES: [(&str, &str, u64); 7] = [
    ("virtio", "/srv/gdd", 1 << 30),
    ("sata-raid", "/srv/backup store/gdd", 20 << 30),
    ("nvme-numa", "/srv/gdd", 1 << 30),
    ("container", "/var/lib/gdd", 1 << 30),
    ("container", "/data/gdd", 1 << 30),
    ("old-kernel", "/backup/gdd", 4 << 30),
    ("tuned", "/var/lib/gdd", 1 << 30),
];

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

pub fn question(store: &str, memory: u64) -> Question {
    Question { store: store.into(), memory, workers: None }
}

/// What `sh -n` has against a script; nothing when it is one.
pub fn complaint(script: &str) -> String {
    let mut command = Command::new("sh");
    command.arg("-n").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut shell = command.spawn().expect("there is a shell");
    shell.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("the shell reads");
    let output = shell.wait_with_output().expect("the shell ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

/// Every file of a tree, relative to it.
pub fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a tree can be listed").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("a tree can be read");
                files.push((path.strip_prefix(root).expect("inside").to_owned(), bytes));
            }
        }
    }
    files.sort();
    files
}
