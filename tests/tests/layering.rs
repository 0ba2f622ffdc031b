//! The crate arrows of docs/architecture.md: who may depend on whom, and who alone may use the heavy crates.
//!
//! Every kind of dependency counts, those of tests too: an arrow that exists only in tests still ties two crates.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use gdd_tests::workspace::root;
use serde_json::Value;

/// Each crate of the workspace and the crates of ours that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("gdd-uring", &[]),
    ("gdd-ring", &[]),
    ("gdd-kernels", &[]),
    ("gdd-engine", &["gdd-uring", "gdd-kernels"]),
    ("gdd-link", &[]),
    ("gdd-wire", &[]),
    // The driver itself only for tests: it is loaded into another daemon, under another licence.
    (
        "gdd",
        &[
            "gdd-client",
            "gdd-engine",
            "gdd-kernels",
            "gdd-link",
            "gdd-plugin-abi",
            "gdd-ring",
            "gdd-sd",
            "gdd-tuning",
            "gdd-uring",
            "gdd-wire",
        ],
    ),
    ("gdd-benches", &["gdd-engine", "gdd-uring", "gdd-kernels"]),
    ("gdd-rig", &[]),
    ("gdd-shim", &[]),
    ("gdd-tests", &["gdd-client", "gdd-engine", "gdd-kernels", "gdd-rig", "gdd-uring", "gdd-wire"]),
    // It judges kernels as the probe does.
    ("gdd-tuning", &["gdd-uring"]),
    ("gdd-plugin-abi", &[]),
    ("gdd-client", &["gdd-fake-daemon", "gdd-kernels", "gdd-wire"]),
    ("gdd-fake-daemon", &["gdd-wire"]),
    ("gdd-fd", &["gdd-client", "gdd-fake-daemon", "gdd-plugin-abi", "gdd-wire"]),
    ("gdd-sd", &["gdd-plugin-abi", "gdd-link", "gdd-ring"]),
    ("xtask", &[]),
];

/// Crates of others that only these may use: one place knows RocksDB, one the ring, one the command line.
const OWNERS: [(&str, &[&str]); 3] =
    [("rocksdb", &["gdd-engine"]), ("io-uring", &["gdd-uring"]), ("clap", &["gdd"])];

/// Crate name to the names of all that it depends on.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let name = |value: &Value| value["name"].as_str().expect("a package has a name").to_owned();
    let packages = metadata()["packages"].as_array().expect("metadata lists packages").clone();
    let of = |package: &Value| package["dependencies"].as_array().expect("a list").iter().map(name).collect();
    packages.iter().map(|package| (name(package), of(package))).collect()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version=1", "--no-deps", "--offline"]).current_dir(root());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

#[test]
fn the_arrows_point_one_way() {
    let dependencies = dependencies();
    let members: Vec<_> = dependencies.keys().map(String::as_str).collect();
    let mut known: Vec<_> = ARROWS.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(members, known, "a new crate gets its row in ARROWS and in docs/architecture.md");
    for (name, allowed) in ARROWS.iter().copied() {
        let ours = dependencies[name].iter().filter(|target| dependencies.contains_key(*target));
        let wrong: Vec<_> = ours.filter(|target| !allowed.contains(&target.as_str())).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn xtask_builds_with_nothing_but_the_standard_library() {
    assert_eq!(dependencies()["xtask"], Vec::<String>::new(), "it is what a newcomer builds first");
}

#[test]
fn heavy_crates_have_one_owner() {
    for (name, targets) in dependencies() {
        for (target, owners) in OWNERS {
            let uses = targets.iter().any(|used| used == target);
            assert!(
                !uses || owners.contains(&name.as_str()),
                "{name} uses {target}, which belongs to {owners:?}"
            );
        }
    }
}

/// What is loaded into bacula-fd must be small and start nothing of its own: no async runtime, no database, nothing of
/// the engine. `cargo tree` lists what the library links, as cargo has resolved it, others' dependencies included.
#[test]
fn the_plugin_has_no_runtime_and_no_database_in_it() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["tree", "--offline", "--package=gdd-fd", "--edges=normal,build", "--prefix=none"]);
    let output = command.current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let linked: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    for wanted in ["gdd-fd", "gdd-client", "gdd-wire", "aws-lc-sys"] {
        assert!(linked.contains(&wanted), "{wanted} is not even listed: {listed}");
    }
    let banned = [
        "tokio",
        "async-std",
        "smol",
        "async-executor",
        "futures-executor",
        "mio",
        "hyper",
        "rocksdb",
        "sled",
        "gdd-engine",
        "gdd-uring",
        "gdd-ring",
        "gdd-fake-daemon",
        "serde_json",
        "clap",
    ];
    let found: Vec<_> = linked
        .iter()
        .filter(|name| banned.contains(name) || name.starts_with("tokio-") || name.contains("rocksdb"))
        .collect();
    assert!(found.is_empty(), "gdd-fd.so would link {found:?}");
}

#[test]
fn versions_and_lints_stand_once() {
    let packages = metadata()["packages"].as_array().expect("metadata lists packages").clone();
    for package in &packages {
        let path = package["manifest_path"].as_str().expect("a package has a manifest");
        let text = fs::read_to_string(Path::new(path)).expect("a manifest can be read");
        assert!(text.contains("[lints]\nworkspace = true\n"), "{path}: [lints] workspace = true");
        let mut in_dependencies = false;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies
                && !line.contains("workspace = true")
                && !line.starts_with([' ', ']', '"'])
            {
                assert!(line.is_empty(), "{path}: {line}: the version belongs in the root Cargo.toml");
            }
        }
    }
}

#[test]
fn the_picture_names_every_crate() {
    let picture =
        fs::read_to_string(root().join("docs/architecture.md")).expect("there is a docs/architecture.md");
    let missing: Vec<_> = ARROWS.iter().map(|arrow| arrow.0).filter(|name| !picture.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
