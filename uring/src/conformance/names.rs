//! Cases about names, folders and open files.

use super::*;

pub(super) fn create(io: &mut dyn Io, dir: &Path) {
    let path = dir.join("file");
    for how in [Open::Read, Open::Write] {
        assert_eq!(io.open(&path, how).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    }
    let file = new_file(io, &path);
    write_at(io, file, 0, paint(1, ALIGN)).expect("a write works");
    assert_eq!(io.open(&path, Open::Create).map_err(|e| e.kind()), Err(ErrorKind::AlreadyExists));
    let again = io.open(&path, Open::Write).expect("the file exists");
    assert_eq!(
        &*read_at(io, again, 0, ALIGN).expect("a read works"),
        &*paint(1, ALIGN),
        "opening does not empty it"
    );
    assert_eq!(io.open(&dir.join("no/file"), Open::Create).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    io.create_dir(dir).expect("a folder that exists is fine");
}

pub(super) fn names(io: &mut dyn Io, dir: &Path) {
    let (old, new) = (dir.join("old"), dir.join("new"));
    let first = new_file(io, &old);
    let second = new_file(io, &new);
    write_at(io, first, 0, paint(1, ALIGN)).expect("a write works");
    write_at(io, second, 0, paint(2, 2 * ALIGN)).expect("a write works");
    io.close(second);
    io.rename(&old, &new).expect("a rename replaces");
    assert_eq!(io.open(&old, Open::Read).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    write_at(io, first, ALIGN as u64, paint(3, ALIGN)).expect("an open file follows its name");
    let file = io.open(&new, Open::Read).expect("the new name exists");
    let back = read_at(io, file, 0, 4 * ALIGN).expect("a read works");
    assert_eq!(back.len(), 2 * ALIGN);
    assert_eq!((&back[..ALIGN], &back[ALIGN..]), (&*paint(1, ALIGN), &*paint(3, ALIGN)));
    io.close(file);
    io.close(first);
    io.unlink(&new).expect("a name can be removed");
    assert_eq!(io.unlink(&new).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    assert_eq!(io.rename(&old, &new).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    io.sync_dir(dir).expect("a folder can be synced");
    assert!(io.sync_dir(&dir.join("none")).is_err());
}

pub(super) fn list(io: &mut dyn Io, dir: &Path) {
    assert!(io.list(dir).expect("a folder can be listed").is_empty());
    for (name, blocks) in [("b", 2), ("a", 0), ("c10", 1), ("c9", 3)] {
        let file = new_file(io, &dir.join(name));
        write_at(io, file, 0, paint(0, blocks * ALIGN)).expect("a write works");
        io.close(file);
    }
    io.create_dir(&dir.join("bb")).expect("a folder can be made");
    let entries = io.list(dir).expect("a folder can be listed");
    let found: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.size, e.is_dir)).collect();
    let block = ALIGN as u64;
    let expected = [
        ("a", 0, false),
        ("b", 2 * block, false),
        ("bb", 0, true),
        ("c10", block, false),
        ("c9", 3 * block, false),
    ];
    assert_eq!(found, expected, "sorted by name");
    assert_eq!(io.list(&dir.join("none")).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
}

pub(super) fn file_ids(io: &mut dyn Io, dir: &Path) {
    let stale = new_file(io, &dir.join("first"));
    write_at(io, stale, 0, paint(1, ALIGN)).expect("a write works");
    io.close(stale);
    io.close(stale);
    io.close(FileId(u32::MAX - 1));
    let second = new_file(io, &dir.join("second"));
    assert_ne!(stale, second, "a name of a closed file is not given out again");
    assert!(complete(io, Op::Write { file: stale, offset: 0, buffer: paint(2, ALIGN) }).result.is_err());
    assert!(complete(io, Op::Datasync { file: stale }).result.is_err());
    assert!(io.sync_all(stale).is_err());
    assert!(io.size(stale).is_err());
    assert_eq!(io.size(second).expect("an open file has a size"), 0, "the other file is untouched");
    let mut open = Vec::new();
    for number in 0..200_u64 {
        let file = new_file(io, &dir.join(format!("many-{number}")));
        write_at(io, file, 0, paint(number, ALIGN)).expect("a write works");
        open.push((number, file));
    }
    for (number, file) in open {
        assert_eq!(
            &*read_at(io, file, 0, ALIGN).expect("a read works"),
            &*paint(number, ALIGN),
            "file {number}"
        );
        io.close(file);
    }
}

pub(super) fn space(io: &mut dyn Io, dir: &Path) {
    assert!(io.free_bytes(dir).expect("the folder exists") > 0);
    assert!(io.free_bytes(&dir.join("none")).is_err());
}
