//! Key files: what is written is read back, and whatever is not such a file is refused with a reason.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use gdd_wire::{Key, KeyError};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("it works here"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("site.key")
    }

    /// A good key file whose text was changed by `change`.
    fn changed(&self, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let path = self.path();
        Key::create(&path).expect("it works here");
        let mut text = fs::read(&path).expect("it works here");
        change(&mut text);
        fs::write(&path, text).expect("it works here");
        path
    }
}

fn refused(path: &Path, part: &str) {
    match Key::load(path) {
        Err(KeyError::File { what, expected, found, .. }) => {
            assert_eq!(what, part, "expected {expected}, found {found}");
        }
        other => unreachable!("{part}: {other:?}"),
    }
}

#[test]
fn a_created_key_is_loaded() {
    let folder = Folder::new();
    let key = Key::create(&folder.path()).unwrap();
    assert_eq!(Key::load(&folder.path()).unwrap().id(), key.id());
    let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let text = fs::read_to_string(folder.path()).unwrap();
    assert_eq!((text.len(), text.lines().count()), (92, 2));
    assert_eq!(text.lines().next().unwrap(), format!("gdd-key 1 {}", key.id()));
}

#[test]
fn a_key_is_never_overwritten() {
    let folder = Folder::new();
    let key = Key::create(&folder.path()).unwrap();
    assert!(matches!(Key::create(&folder.path()), Err(KeyError::Io { verb: "create", .. })));
    assert_eq!(Key::load(&folder.path()).unwrap().id(), key.id());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = Folder::new();
    Key::create(&folder.path()).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o660, 0o666] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        refused(&folder.path(), "mode");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o400)).unwrap();
    Key::load(&folder.path()).unwrap();
}

#[test]
fn only_a_plain_file_is_a_key_file() {
    let folder = Folder::new();
    Key::create(&folder.path()).unwrap();
    let link = folder.0.path().join("link");
    symlink(folder.path(), &link).unwrap();
    assert!(matches!(Key::load(&link), Err(KeyError::Io { verb: "open", .. })));
    assert!(matches!(Key::create(&link), Err(KeyError::Io { verb: "create", .. })));
    let dangling = folder.0.path().join("dangling");
    symlink(folder.0.path().join("nowhere"), &dangling).unwrap();
    assert!(matches!(Key::create(&dangling), Err(KeyError::Io { verb: "create", .. })));
    assert!(!folder.0.path().join("nowhere").exists());
    refused(folder.0.path(), "kind");
    let pipe = folder.0.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    refused(&pipe, "kind");
    assert!(matches!(Key::load(&folder.0.path().join("none")), Err(KeyError::Io { verb: "open", .. })));
}

#[test]
fn another_length_is_refused() {
    for len in [0, 1, 31, 32, 33, 91, 93, 4096] {
        let folder = Folder::new();
        refused(&folder.changed(|text| text.resize(len, b'0')), "size");
    }
}

#[test]
fn every_changed_character_is_refused() {
    let folder = Folder::new();
    let path = folder.path();
    Key::create(&path).unwrap();
    let text = fs::read(&path).unwrap();
    let mut refusals = 0;
    for index in 0..text.len() {
        for other in [text[index] ^ 1, b'g', b'A', b'\n', 0, 0xff].into_iter().filter(|c| *c != text[index]) {
            let mut changed = text.clone();
            changed[index] = other;
            fs::write(&path, changed).unwrap();
            assert!(matches!(Key::load(&path), Err(KeyError::File { .. })), "byte {index} as {other}");
            refusals += 1;
        }
    }
    assert!(refusals > 92 * 4, "{refusals}");
}

#[test]
fn zeros_are_refused() {
    let folder = Folder::new();
    let path = folder.changed(|text| text[27..91].fill(b'0'));
    assert!(matches!(Key::load(&path), Err(KeyError::Zero)));
}
