//! Directories that are no store, not ours, not writable, or too new: a refusal that names the remedy, and no byte
//! written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use gdd_tests::damage::files;
use gdd_tests::gdd::{Gdd, Outcome};
use gdd_tests::stream::{Content, Stream};
use gdd_tests::untouched::Untouched;
use gdd_tests::workspace::scratch;

const EVERY_COMMAND: [&[&str]; 8] = [
    &["put", "name", "/etc/hostname"],
    &["get", "name"],
    &["ls"],
    &["rm", "name"],
    &["stats"],
    &["fsck"],
    &["fsck", "--level", "0"],
    &["rebuild-index"],
];

fn stream() -> Stream {
    Stream::new(Content::Random, 81, 300_000)
}

fn store(name: &str) -> (tempfile::TempDir, Gdd) {
    let folder = scratch(name);
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    gdd.put("name", stream());
    (folder, gdd)
}

#[test]
fn no_store_is_a_refusal_with_the_remedy() {
    let folder = scratch("missing");
    for command in EVERY_COMMAND {
        let missing = Gdd::at(&folder.path().join("missing"));
        let refused = missing.expect(1, command);
        refused.demand_said(&["not a gdd store", "gdd init"]);
        assert!(!missing.store().exists(), "{command:?} made a directory");
    }
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let folder = scratch("foreign");
    fs::create_dir(folder.path().join("containers")).unwrap();
    fs::write(folder.path().join("letter"), "dear").unwrap();
    let before = Untouched::of(folder.path()).unwrap();
    let gdd = Gdd::at(folder.path());
    for command in EVERY_COMMAND {
        gdd.expect(1, command).demand_said(&["not a gdd store"]);
        before.demand(folder.path(), &format!("{command:?}"));
    }
    let init = gdd.run(&["init".as_ref(), folder.path().as_os_str()]);
    init.demand(2);
    init.demand_said(&["not empty"]);
    before.demand(folder.path(), "init");
    let (_folder, gdd) = store("twice");
    let again = gdd.run(&["init".as_ref(), gdd.store().as_os_str()]);
    again.demand(2);
    again.demand_said(&["a gdd store already"]);
    assert_eq!(gdd.digest("name").0, stream().digest(), "a second init harms nothing");
}

/// As version 2 would write them: valid in itself.
fn make_newer(superblock: &Path) {
    let mut bytes = fs::read(superblock).expect("a store has both");
    assert_eq!(bytes[8..12], 1_u32.to_le_bytes(), "the version lies behind the magic");
    bytes[8..12].copy_from_slice(&3_u32.to_le_bytes());
    let body = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..body]);
    bytes[body..].copy_from_slice(&crc.to_le_bytes());
    fs::write(superblock, bytes).expect("it can be written");
}

#[test]
fn a_newer_format_is_refused_and_not_touched() {
    let (_folder, gdd) = store("newer");
    for name in ["gdd.store", "gdd.store.copy"] {
        make_newer(&gdd.store().join(name));
    }
    let before = Untouched::of(gdd.store()).unwrap().files_only();
    for command in EVERY_COMMAND {
        let refused = gdd.expect(5, command);
        refused.demand_said(&["version 3", "upgrade gdd"]);
        before.demand(gdd.store(), &format!("{command:?}"));
    }
}

#[test]
fn one_newer_copy_is_refused_too() {
    for name in ["gdd.store", "gdd.store.copy"] {
        let (_folder, gdd) = store("half-newer");
        make_newer(&gdd.store().join(name));
        gdd.expect(5, &["put", "other", "/etc/hostname"]);
    }
}

/// Root may write everywhere, so the capabilities that say so are given up first.
fn unprivileged(gdd: &Gdd, arguments: &[&str]) -> Outcome {
    let mut command = Command::new("setpriv");
    let capabilities = "-dac_override,-dac_read_search,-fowner";
    command.args([format!("--bounding-set={capabilities}"), format!("--inh-caps={capabilities}")]);
    let inner = gdd.command();
    command.arg(inner.get_program()).args(inner.get_args()).args(arguments).env("GDD_STORE", gdd.store());
    let output = command.output().expect("setpriv starts");
    Outcome::new(&command, output.status, &output.stdout, &output.stderr)
}

fn set_writable(root: &Path, writable: bool) {
    let (folder_mode, file_mode) = if writable { (0o755, 0o644) } else { (0o555, 0o444) };
    let set =
        |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
    for file in files(root).expect("a store can be listed") {
        set(&file, file_mode);
        file.ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(root))
            .for_each(|folder| set(folder, folder_mode));
    }
}

#[test]
fn a_read_only_store_can_be_read_and_says_why_it_cannot_be_written() {
    let (_folder, gdd) = store("read-only");
    set_writable(gdd.store(), false);
    let before = Untouched::of(gdd.store()).unwrap();
    for command in [&["put", "other", "/etc/hostname"][..], &["rm", "name"], &["rebuild-index"]] {
        let refused = unprivileged(&gdd, command);
        refused.demand(1);
        refused.demand_said(&["ermission denied"]);
        before.demand(gdd.store(), &format!("{command:?}"));
    }
    for command in [&["ls"][..], &["stats"], &["fsck"], &["get", "name"]] {
        unprivileged(&gdd, command).demand(0);
        before.demand(gdd.store(), &format!("{command:?}"));
    }
    set_writable(gdd.store(), true);
    assert_eq!(gdd.digest("name").0, stream().digest());
    gdd.expect(0, &["rm", "name"]);
}

#[test]
fn init_where_nothing_may_be_written_names_the_cause() {
    let folder = scratch("read-only-parent");
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let store = folder.path().join("store");
    let refused = unprivileged(&Gdd::at(&store), &["init", store.to_str().unwrap()]);
    refused.demand(1);
    refused.demand_said(&["ermission denied", store.to_str().unwrap()]);
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
}
