use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

type Case = (&'static str, fn(&Path));
type Act = Box<dyn FnMut(&Path)>;

/// Keeps the stream in memory, and may do something before the n-th file is read.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    before_read: Option<Act>,
}

impl Sink for Memory {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn read_from(&mut self, source: &mut dyn Read, place: &Path) -> Result<u64> {
        if let Some(act) = &mut self.before_read {
            act(place);
        }
        let count = source.read_to_end(&mut self.bytes).map_err(Failure::file("read", place))?;
        Ok(count as u64)
    }
}

fn stream(root: &Path) -> (Vec<u8>, Totals) {
    let mut memory = Memory::default();
    let totals = write(root, None, &mut memory).unwrap();
    assert!(memory.bytes.len().is_multiple_of(BLOCK));
    (memory.bytes, totals)
}

/// A tree with everything odd that an ordinary user can make.
fn odd_tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::write(at("empty"), b"").unwrap();
    fs::write(at("one"), b"1").unwrap();
    fs::write(at("block"), [7; 512]).unwrap();
    fs::write(at("long").with_file_name("n".repeat(99)), b"fits").unwrap();
    fs::write(at("long").with_file_name("n".repeat(100)), b"does not fit").unwrap();
    fs::write(at("long").with_file_name("n".repeat(255)), b"longest").unwrap();
    fs::write(root.path().join(OsStr::from_bytes(b"not-utf8-\xff\xfe")), b"x").unwrap();
    let odd = [&b"long-\xff-"[..], &[b'o'; 200]].concat();
    fs::write(root.path().join(OsStr::from_bytes(&odd)), b"y").unwrap();
    fs::write(at("line\nfeed"), b"z").unwrap();
    fs::create_dir_all(at("deep").join("d".repeat(120)).join("e".repeat(120))).unwrap();
    fs::write(at("deep").join("d".repeat(120)).join("e".repeat(120)).join("leaf"), b"leaf").unwrap();
    fs::create_dir(at("empty-directory")).unwrap();
    fs::hard_link(at("one"), at("second-name")).unwrap();
    symlink("one", at("link")).unwrap();
    symlink("/nowhere/".repeat(20), at("dangling")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    fs::set_permissions(at("empty"), PermissionsExt::from_mode(0o4755)).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    let old = SystemTime::UNIX_EPOCH - Duration::from_millis(1_500);
    fs::File::open(at("block")).unwrap().set_modified(old).unwrap();
    root
}

/// Path below the root to what an `lstat` says, without what an extraction cannot bring back.
fn snapshot(root: &Path) -> Vec<(PathBuf, u32, u64, i64, i64, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap().map(|entry| entry.unwrap()) {
            let path = folder.join(entry.file_name());
            let meta = fs::symlink_metadata(root.join(&path)).unwrap();
            let content = if meta.is_file() {
                fs::read(root.join(&path)).unwrap()
            } else if meta.is_symlink() {
                fs::read_link(root.join(&path)).unwrap().into_os_string().into_encoded_bytes()
            } else {
                Vec::new()
            };
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            found.push((path.clone(), meta.mode(), links, meta.mtime(), meta.mtime_nsec(), content));
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What GNU tar makes of a stream.
fn extracted(bytes: &[u8], options: &[&str]) -> tempfile::TempDir {
    let target = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar")
        .args(["--extract", "--preserve-permissions"])
        .args(options)
        .arg("--directory")
        .arg(target.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut tar.stdin.take().unwrap(), bytes).unwrap();
    assert!(tar.wait().unwrap().success());
    target
}

#[test]
fn gnu_tar_gives_the_same_tree_back() {
    let source = odd_tree();
    let (bytes, totals) = stream(source.path());
    let target = extracted(&bytes, &[]);
    assert_eq!(snapshot(target.path()), snapshot(source.path()));
    assert_eq!((totals.hard_links, totals.directories, totals.others), (1, 5, 3));
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let source = odd_tree();
    assert!(stream(source.path()).0 == stream(source.path()).0);
}

#[test]
fn names_are_sorted() {
    let source = tempfile::tempdir().unwrap();
    for name in ["b", "a-b", "c"] {
        fs::write(source.path().join(name), name).unwrap();
    }
    fs::create_dir(source.path().join("a")).unwrap();
    fs::write(source.path().join("a/x"), b"").unwrap();
    let (bytes, _) = stream(source.path());
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries = archive.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned());
    assert_eq!(entries.collect::<Vec<_>>(), [&b"./"[..], b"a/", b"a/x", b"a-b", b"b", b"c"]);
}

#[test]
fn extended_attributes_come_back() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    let (source, value) = (tempfile::tempdir().unwrap(), b"\0any\nbytes\xff");
    let names = ["file", "directory", "one more"];
    fs::write(source.path().join(names[0]), b"content").unwrap();
    fs::create_dir(source.path().join(names[1])).unwrap();
    fs::write(source.path().join(names[2]), b"").unwrap();
    for name in &names[..2] {
        match setxattr(source.path().join(name), "user.gdd", value, XattrFlags::empty()) {
            Err(rustix::io::Errno::OPNOTSUPP) => {
                return println!("skipped: no attributes on this file system");
            }
            other => other.unwrap(),
        }
    }
    let target = extracted(&stream(source.path()).0, &["--xattrs", "--xattrs-include=*"]);
    let mut found = [0; 100];
    for name in &names[..2] {
        let count = getxattr(target.path().join(name), "user.gdd", &mut found[..]).unwrap();
        assert_eq!(&found[..count], value, "{name}");
    }
    let none = getxattr(target.path().join(names[2]), "user.gdd", &mut found[..]);
    assert_eq!(none, Err(rustix::io::Errno::NODATA));
}

#[test]
fn what_changes_while_it_is_read_is_an_error() {
    let acts: [Case; 3] = [
        ("grows", |path| drop(fs::write(path, [0; 2000]))),
        ("shrinks", |path| drop(fs::write(path, [0; 10]))),
        ("is rewritten", |path| {
            drop(fs::write(path, [9; 1000]));
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }),
    ];
    for (what, act) in acts {
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("file"), [0; 1000]).unwrap();
        let mut memory = Memory { before_read: Some(Box::new(act)), ..Memory::default() };
        let error = write(source.path(), None, &mut memory).expect_err(what);
        assert!(error.to_string().contains("file changed while it was read"), "{what}: {error}");
    }
}

#[test]
fn what_vanishes_is_an_error() {
    let source = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(source.path().join(name), name).unwrap();
    }
    let doomed = source.path().join("b");
    let act = move |_: &Path| drop(fs::remove_file(&doomed));
    let mut memory = Memory { before_read: Some(Box::new(act)), ..Memory::default() };
    let error = write(source.path(), None, &mut memory).expect_err("b is listed and gone").to_string();
    assert!(error.starts_with("cannot look at") && error.contains("/b: "), "{error}");
}

#[test]
fn sockets_and_the_store_are_left_out() {
    let source = tempfile::tempdir().unwrap();
    let store = source.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("inside"), b"").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(source.path().join("socket")).unwrap();
    let meta = fs::metadata(&store).unwrap();
    let mut memory = Memory::default();
    let totals = write(source.path(), Some((meta.dev(), meta.ino())), &mut memory).unwrap();
    let expected = Totals { directories: 1, sockets_left_out: 1, store_left_out: true, ..Totals::default() };
    assert_eq!(totals, expected);
}
