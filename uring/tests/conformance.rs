//! The suite of `gdd_uring::conformance` on the real backends, and what only they have: levels and probes.

use std::path::Path;
use std::sync::Arc;

use gdd_uring::buffer::{ALIGN, IoBuf};
use gdd_uring::conformance::check;
use gdd_uring::io::{IoSource, Open, read_at, write_at};
use gdd_uring::probe::{Mode, probe, probe_read_only};

/// A folder on the disk that also holds the build, since `/tmp` is often in memory.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder is writable")
}

fn names_in(dir: &Path) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(dir).expect("the folder exists");
    entries.map(|entry| entry.expect("it can be read").file_name()).collect()
}

/// The level `mode` asks for, or nothing on a machine that does not have it.
fn level(dir: &Path, mode: Mode, name: &str) -> Option<Arc<dyn IoSource>> {
    match probe(dir, mode, false) {
        Ok(source) if source.mode() == name => Some(source),
        Ok(source) => {
            eprintln!("skipped: {name} is not to be had here: {:?}", source.notes());
            None
        }
        Err(e) => {
            eprintln!("skipped: {name} is not to be had here: {e}");
            None
        }
    }
}

#[test]
fn the_ring_conforms() {
    let dir = folder();
    if let Some(source) = level(dir.path(), Mode::Uring, "uring+direct") {
        check(&*source, dir.path());
        assert_eq!(source.notes(), Vec::<String>::new());
    }
}

#[test]
fn blocking_direct_conforms() {
    let dir = folder();
    if let Some(source) = level(dir.path(), Mode::Pwrite, "pwrite+direct") {
        check(&*source, dir.path());
    }
}

#[test]
fn blocking_buffered_conforms() {
    let dir = folder();
    let source = probe(dir.path(), Mode::Buffered, false).unwrap();
    assert_eq!(source.mode(), "pwrite+buffered");
    check(&*source, dir.path());
}

#[test]
fn a_probe_leaves_nothing_behind() {
    let dir = folder();
    for mode in [Mode::Auto, Mode::Pwrite, Mode::Buffered] {
        probe(dir.path(), mode, false).unwrap();
        assert_eq!(names_in(dir.path()), Vec::<std::ffi::OsString>::new(), "{mode:?}");
    }
}

#[test]
fn memory_file_systems_are_not_called_direct() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return eprintln!("skipped: no /dev/shm") };
    let source = probe(dir.path(), Mode::Auto, false).unwrap();
    assert_eq!(source.mode(), "pwrite+buffered");
    let notes = source.notes();
    assert!(notes.len() == 1 && notes[0].contains("direct I/O"), "{notes:?}");
    check(&*source, dir.path());
    for refused in [probe(dir.path(), Mode::Auto, true), probe(dir.path(), Mode::Uring, false)] {
        let message = refused.err().expect("direct I/O was demanded").to_string();
        assert!(message.contains("ext4 or xfs"), "{message}");
    }
}

#[test]
fn a_missing_directory_is_named() {
    let dir = folder();
    let message = probe(&dir.path().join("none"), Mode::Auto, false).err().unwrap().to_string();
    assert!(message.contains("/none: ") && message.contains("create it"), "{message}");
}

#[test]
fn a_read_only_source_reads_and_refuses_to_write() {
    let dir = folder();
    let path = dir.path().join("file");
    let writer = probe(dir.path(), Mode::Auto, false).unwrap();
    let mut io = writer.open().unwrap();
    let file = io.open(&path, Open::Create).unwrap();
    write_at(io.as_mut(), file, 0, IoBuf::zeroed(ALIGN)).unwrap();
    drop(io);
    let before = names_in(dir.path());
    for mode in [Mode::Auto, Mode::Pwrite, Mode::Buffered] {
        let source = probe_read_only(dir.path(), mode).unwrap();
        if mode == Mode::Auto {
            assert_eq!(source.mode(), writer.mode(), "reading finds the same level as writing");
        }
        let mut io = source.open().unwrap();
        let file = io.open(&path, Open::Read).unwrap();
        assert_eq!(read_at(io.as_mut(), file, 0, ALIGN).unwrap().len(), ALIGN);
        assert!(write_at(io.as_mut(), file, 0, IoBuf::zeroed(ALIGN)).is_err());
        assert!(io.open(&path, Open::Write).is_err());
        assert!(io.unlink(&path).is_err());
        assert!(io.truncate(file, 0).is_err());
    }
    assert_eq!(names_in(dir.path()), before);
}
