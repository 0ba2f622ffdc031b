//! References in files become the files again, over TCP from the service, through the built program.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use gdd_client::reference::{Place, Reference, SIZE};
use gdd_client::{Backup, Limits as ClientLimits, Settings as ClientSettings, dial};
use gdd_daemon::net::{Limits, NetService};
use gdd_engine::format::superblock::Settings;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;
use gdd_wire::{Domain, Introduction, Key, KeyRing};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use support::{Ended, random};

/// A daemon with backed up files, a key file, and a folder for references.
struct Site {
    place: support::Place,
    store: Option<Arc<Store>>,
    service: Option<NetService>,
    server: String,
    /// Contents and what refers to them.
    files: Vec<(Vec<u8>, Reference)>,
}

impl Site {
    fn new() -> Self {
        let place = support::Place::empty();
        fs::create_dir(place.join("tree")).unwrap();
        let key = Key::create(&place.join("site.key")).unwrap();
        Key::create(&place.join("other.key")).unwrap();
        let options = Options { workers: Some(2), pin: false, ..Options::default() };
        Store::init(&place.store(), &Settings::default(), &options).unwrap();
        let store = Arc::new(Store::open(&place.store(), Access::ReadWrite, &options).unwrap());
        let ring =
            KeyRing::new(vec![Domain { name: "site".to_owned(), current: key.clone(), previous: None }]);
        let address = "127.0.0.1:0".parse().unwrap();
        let service =
            NetService::start(Arc::clone(&store), &[address], ring.unwrap(), Limits::default()).unwrap();
        let server = service.addresses()[0].to_string();
        let files = backed_up(&server, key);
        Self { place, store: Some(store), service: Some(service), server, files }
    }

    fn tree(&self, name: &str) -> PathBuf {
        self.place.join("tree").join(name)
    }

    /// A file as bextract leaves it.
    fn leave(&self, name: &str, index: usize) -> PathBuf {
        let path = self.tree(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, self.files[index].1.encode()).unwrap();
        path
    }

    fn run(&self, words: &[&str]) -> Ended {
        let key = self.place.join("site.key");
        let start = ["rehydrate", "--json", "--server", &self.server, "--key", key.to_str().unwrap()];
        self.place.run(&[&start[..], words].concat())
    }

    fn is_content(&self, path: &Path, index: usize) -> bool {
        fs::read(path).unwrap() == self.files[index].0
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.service.take().map(|service| service.stop(Duration::from_secs(20)));
        if let Some(store) = self.store.take().and_then(Arc::into_inner) {
            store.close().unwrap();
        }
    }
}

fn backed_up(server: &str, key: Key) -> Vec<(Vec<u8>, Reference)> {
    let mut holes = random(3, 3_000_000);
    holes[100_000..2_900_000].fill(0);
    let contents = [random(1, 600), random(2, 5_000_001), holes, vec![0; 1 << 20]];
    let name = || "zoe".to_owned();
    let settings = ClientSettings::new(key, Introduction { client: name(), job: name(), program: name() });
    let limits = ClientLimits::default();
    let line = dial(server, limits.connect, limits.silence).unwrap();
    let mut backup = Backup::begin(line, &settings, "nightly", "all").unwrap();
    let store = backup.store().0;
    let mut files = Vec::new();
    for content in contents {
        backup.file_start().unwrap();
        backup.write(&content).unwrap();
        let at = backup.file_end().unwrap();
        let (length, digest) = (content.len() as u64, *blake3::hash(&content).as_bytes());
        let place = Place { stream: at.stream, offset: at.offset };
        files.push((content, Reference { store, place, length, stat_length: length, digest }));
    }
    backup.commit(files.len() as u64, [9; 32]).unwrap();
    files
}

/// Everything below a folder: names, and what they hold.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| match fs::symlink_metadata(&path).unwrap() {
            meta if meta.is_dir() => everything(&path),
            meta if meta.is_symlink() => vec![(path.clone(), b"link".to_vec())],
            _ => vec![(path.clone(), fs::read(&path).unwrap())],
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_tree_of_references_becomes_the_files() {
    let site = Site::new();
    let names = ["a", "b/big", "b/c/holes", "zeros"];
    let paths: Vec<_> = names.iter().enumerate().map(|(index, name)| site.leave(name, index)).collect();
    fs::write(site.tree("b/120"), [7; SIZE]).unwrap();
    fs::write(site.tree("b/more"), [&site.files[0].1.encode()[..], b"\n"].concat()).unwrap();
    fs::write(site.tree("empty"), b"").unwrap();
    let elsewhere = site.place.join("elsewhere");
    fs::write(&elsewhere, site.files[0].1.encode()).unwrap();
    symlink(&elsewhere, site.tree("link")).unwrap();
    let ended = site.run(&["tree"]);
    let object = ended.object();
    let bytes: usize = site.files.iter().map(|file| file.0.len()).sum();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((object["files"].as_u64(), object["bytes"].as_u64()), (Some(4), Some(bytes as u64)));
    assert_eq!((object["untouched"].as_u64(), object["failed"].as_array().map(Vec::len)), (Some(4), Some(0)));
    for (index, path) in paths.iter().enumerate() {
        assert!(site.is_content(path, index), "{path:?}");
    }
    for sparse in &paths[2..] {
        assert!(fs::metadata(sparse).unwrap().blocks() * 512 < 1_000_000, "{sparse:?} has holes");
    }
    assert_eq!(fs::read(site.tree("b/120")).unwrap(), [7; SIZE]);
    assert_eq!(fs::read(site.tree("b/more")).unwrap().len(), SIZE + 1);
    assert_eq!(fs::read(&elsewhere).unwrap(), site.files[0].1.encode(), "a link is not followed");
    assert_eq!(everything(&site.place.join("tree")).len(), 8, "no temporary file is left");
    let again = site.run(&["tree"]).object();
    assert_eq!((again["files"].as_u64(), again["untouched"].as_u64()), (Some(0), Some(8)));
}

#[test]
fn metadata_and_hard_links_are_kept() {
    let site = Site::new();
    let path = site.leave("one", 1);
    fs::hard_link(&path, site.tree("two")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();
    // An access list (acl_ea_header version 2): user::rwx user:77:r-- group::r-x mask::r-x other::--x
    let mut list = vec![2, 0, 0, 0];
    for (tag, mode, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 4, 77), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 1, u32::MAX)]
    {
        list.extend([tag.to_le_bytes(), mode.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    let mut kept = Vec::new();
    for (name, value) in [("user.gdd", &b"value"[..]), ("system.posix_acl_access", &list)] {
        match setxattr(&path, name, value, XattrFlags::empty()) {
            Ok(()) => kept.push((name, value.to_vec())),
            Err(error) => println!("{name} is not tested here: {error}"),
        }
    }
    let user = fs::metadata(&path).unwrap().uid();
    if user == 0 {
        std::os::unix::fs::chown(&path, Some(1234), Some(4321)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();
    }
    let at = |seconds, part| UNIX_EPOCH + Duration::new(seconds, part);
    let times = FileTimes::new().set_accessed(at(1_000_000, 5)).set_modified(at(900_000_000, 123_456_789));
    File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    let before = fs::metadata(&path).unwrap();
    let ended = site.run(&["tree/one", "tree/two"]);
    assert_eq!((ended.code, ended.object()["files"].as_u64()), (Some(0), Some(2)), "{ended:?}");
    let after = fs::metadata(&path).unwrap();
    assert!(site.is_content(&path, 1));
    let facts = |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
    assert_eq!(facts(&after), facts(&before));
    assert_eq!(after.mode() & 0o7777, 0o4751);
    assert_eq!(after.ino(), fs::metadata(site.tree("two")).unwrap().ino(), "two names of one file");
    for (name, value) in kept {
        let mut found = [0; 100];
        let count = getxattr(&path, name, &mut found[..]).unwrap();
        assert_eq!(found[..count], value[..], "{name}");
    }
    assert_eq!(everything(&site.place.join("tree")).len(), 2, "no temporary file is left");
}

#[test]
fn what_fails_is_named_and_the_others_go_on() {
    let site = Site::new();
    site.leave("good", 1);
    site.leave("last", 2);
    let of = |change: fn(&mut Reference)| {
        let mut reference = site.files[0].1;
        change(&mut reference);
        reference.encode()
    };
    let mut damaged = site.files[0].1.encode();
    damaged[60] ^= 1;
    let bad = [
        ("damaged", damaged, "a damaged reference: expected checksum"),
        ("range", of(|reference| reference.place.offset = 1 << 40), "GDD-NET-0009"),
        ("store", of(|reference| reference.store[0] ^= 1), "name that store's daemon"),
        ("stream", of(|reference| reference.place.stream = [5; 16]), "GDD-NET-0008"),
    ];
    for (name, bytes, _) in &bad {
        fs::write(site.tree(name), bytes).unwrap();
    }
    let ended = site.run(&["tree", "nothing"]);
    let object = ended.object();
    assert_eq!((ended.code, object["files"].as_u64()), (Some(1), Some(2)), "{ended:?}");
    let failed = object["failed"].as_array().unwrap();
    assert_eq!(failed.len(), bad.len() + 1, "{object}");
    for (name, bytes, hint) in &bad {
        let path = format!("tree/{name}");
        let why = failed.iter().find(|one| one["path"] == path.as_str()).map(|one| one["why"].to_string());
        assert!(why.is_some_and(|why| why.contains(hint)), "{name}: {object}");
        assert!(ended.err.contains(&path), "{}", ended.err);
        assert_eq!(fs::read(site.tree(name)).unwrap(), bytes, "{name} stays");
    }
    assert!(site.is_content(&site.tree("good"), 1) && site.is_content(&site.tree("last"), 2));
    assert_eq!(everything(&site.place.join("tree")).len(), 6, "no temporary file is left");
}

#[test]
fn other_bytes_than_the_reference_says_are_damage() {
    let site = Site::new();
    let mut reference = site.files[1].1;
    reference.digest[0] ^= 1;
    fs::write(site.tree("wrong"), reference.encode()).unwrap();
    site.leave("xgood", 1);
    let ended = site.run(&["tree"]);
    assert_eq!((ended.code, ended.object()["files"].as_u64()), (Some(3), Some(1)), "{ended:?}");
    assert!(ended.err.contains("damaged data: expected BLAKE3"), "{}", ended.err);
    let all = everything(&site.place.join("tree"));
    assert_eq!((all.len(), &all[0].1[..]), (2, &reference.encode()[..]), "it stays as it was");
}

#[test]
fn a_wrong_key_or_no_daemon_changes_nothing() {
    let site = Site::new();
    site.leave("a", 0);
    let before = everything(&site.place.join("tree"));
    let run = |words: &[&str]| site.place.run(&[&["rehydrate", "--json", "tree"], words].concat());
    let refused = run(&["--server", &site.server, "--key", "other.key"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("does not have this key"), "{refused:?}");
    let missing = run(&["--server", &site.server, "--key", "no.key"]);
    assert!(missing.code == Some(1) && missing.err.contains("no.key"), "{missing:?}");
    let nobody = run(&["--server", "127.0.0.1:1", "--key", "site.key"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("cannot connect"), "{nobody:?}");
    assert_eq!(everything(&site.place.join("tree")), before);
}

#[test]
fn the_settings_of_the_plugin_are_the_defaults() {
    let site = Site::new();
    let path = site.leave("a", 0);
    let settings = site.place.join("plugin.toml");
    let run = || {
        let mut command = site.place.command(&["rehydrate", "tree"]);
        Ended::of(command.env("GDD_PLUGIN_CONFIG", &settings).output().unwrap())
    };
    let unreadable = run();
    assert!(unreadable.code == Some(1) && unreadable.err.contains("plugin.toml"), "{unreadable:?}");
    fs::write(&settings, "user = \"gdd\"\n").unwrap();
    let unnamed = run();
    assert!(unnamed.code == Some(2) && unnamed.err.contains("--server"), "{unnamed:?}");
    let key = site.place.join("site.key");
    let text = format!("server = \"{}\"\nkey_file = \"{}\"\npatience = \"20\"\n", site.server, key.display());
    fs::write(&settings, text).unwrap();
    let ended = run();
    assert!(ended.code == Some(0) && ended.text().contains("rehydrated 1 files"), "{ended:?}");
    assert!(site.is_content(&path, 0));
}

#[test]
fn a_dry_run_lists_and_asks_nobody() {
    let site = Site::new();
    site.leave("a", 0);
    site.leave("b", 1);
    fs::write(site.tree("other"), b"text").unwrap();
    let before = everything(&site.place.join("tree"));
    let ended = site.place.run(&["rehydrate", "--dry-run", "--json", "tree"]);
    let object = ended.object();
    assert_eq!((ended.code, &object["dry_run"]), (Some(0), &true.into()), "{ended:?}");
    assert_eq!((object["files"].as_u64(), object["untouched"].as_u64()), (Some(2), Some(1)));
    assert_eq!(
        (object["references"][1]["path"].as_str(), object["references"][1]["bytes"].as_u64()),
        (Some("tree/b"), Some(5_000_001))
    );
    assert_eq!(everything(&site.place.join("tree")), before);
}
