//! What we link may be linked: every crate's licence is on the list in deny.toml, and every crate comes from crates.io.
//!
//! cargo-deny checks the same and more (advisories), where it is installed. This needs no network and no tool, so that
//! the gate on a fresh machine has it too.

use std::fs;
use std::process::Command;

use gdd_tests::workspace::root;
use serde_json::Value;

/// Whether `expression` (SPDX, or the older form with `/`) can be met with licences from `allowed`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any_of(&words, &mut at, allowed);
    met && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(words, at, allowed);
    }
    met
}

fn all_of(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

/// A licence, with its exception if it has one, or a group in parentheses.
fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = any_of(words, at, allowed);
        *at += 1; // The closing parenthesis.
        return met;
    }
    let mut licence = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        licence = format!("{licence} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&licence)
}

/// `[licenses]` of deny.toml.
fn licenses() -> toml::Table {
    let text = fs::read_to_string(root().join("deny.toml")).expect("there is a deny.toml");
    let deny: toml::Table = text.parse().expect("deny.toml is TOML");
    deny["licenses"].as_table().expect("deny.toml has [licenses]").clone()
}

/// The strings of a list.
fn strings(list: &toml::Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|item| item.as_str().expect("a list of strings").to_owned()).collect()
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version=1", "--offline", "--locked"]);
    command.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(root());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("metadata lists packages").clone()
}

#[test]
fn every_licence_is_on_the_list() {
    let licenses = licenses();
    let allowed = strings(&licenses["allow"]);
    assert!(allowed.len() > 3, "{allowed:?}");
    let exceptions = licenses["exceptions"].as_array().expect("a list of exceptions");
    let packages = packages();
    assert!(packages.len() > 50, "{} packages", packages.len());
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        let name = package["name"].as_str().expect("a package has a name");
        let excepted = exceptions.iter().any(|exception| {
            exception["crate"].as_str() == Some(name) && is_met(licence, &strings(&exception["allow"]))
        });
        assert!(excepted || is_met(licence, &allowed), "{name}: {licence}");
    }
}

#[test]
fn every_crate_comes_from_the_registry_or_from_here() {
    let here = root();
    for package in packages() {
        let ours = package["manifest_path"]
            .as_str()
            .is_some_and(|path| path.starts_with(here.to_str().expect("plain")));
        let registry = package["source"]
            .as_str()
            .is_some_and(|from| from.starts_with("registry+") && from.contains("crates.io"));
        assert!(ours != registry, "{} comes from {}", package["name"], package["source"]);
    }
}

#[test]
fn expressions_are_understood() {
    let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_met(good, &allowed), "{good}");
    }
    for bad in [
        "",
        "none",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "Apache-2.0",
        "(GPL-3.0 OR Apache-2.0) AND MIT",
        "MIT WITH x",
        "MIT )",
    ] {
        assert!(!is_met(bad, &allowed), "{bad}");
    }
}
