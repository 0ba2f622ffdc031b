//! The README's tour runs as it stands: a document that is executed cannot drift from the program.

use std::fs;
use std::process::Command;

use gdd_tests::workspace::{gdd_binary, root, scratch};

/// The commands of the section `A tour`, one script.
fn tour() -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    let section = readme.split("\n## A tour\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let block = section
        .expect("README.md has a tour")
        .split("```sh\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    block.expect("the tour has commands").to_owned()
}

#[test]
fn the_tour_works() {
    let folder = scratch("tour");
    let binary = gdd_binary();
    let beside = binary.parent().expect("a program lies in a folder");
    let path = format!("{}:{}", beside.display(), std::env::var("PATH").unwrap_or_default());
    let script = tour();
    assert!(script.lines().filter(|line| line.contains("gdd ")).count() >= 9, "{script}");
    let mut shell = Command::new("bash");
    shell
        .args(["-e", "-u", "-x", "-o", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path);
    let output = shell.output().expect("bash starts");
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", output.status);
    let listing = fs::read_to_string(folder.path().join("listing")).expect("the tour writes a listing");
    assert!(listing.lines().any(|line| line.ends_with("stdlib.h")), "the headers came back: {listing}");
}
