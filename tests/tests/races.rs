//! RACES.md keeps its word: each row names its proof, and each test, planted bug, weather and seed that it names is
//! there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gdd_engine::planted::Bug;
use gdd_tests::simulation::Weather;
use gdd_tests::source::code_only;
use gdd_tests::workspace::root;

/// The names of all tests of the workspace: functions under `#[test]`, and those of `proptest!`.
fn tests() -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![root().to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let skipped = [".git", "target"].iter().any(|name| path.ends_with(name));
            if path.is_dir() && !skipped {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.extend(tests_in(&path));
            }
        }
    }
    found
}

fn tests_in(path: &Path) -> Vec<String> {
    let code = code_only(&fs::read_to_string(path).unwrap());
    let mut found = Vec::new();
    for part in code.split("#[test]").skip(1) {
        let name = part.split("fn ").nth(1).unwrap_or_default();
        found.push(name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
    }
    found
}

/// Weather and seed of each regression.
fn seeds() -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(root().join("tests/seeds/regression.txt")).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(weather, seed)| (weather.to_owned(), seed.to_owned())).collect()
}

/// What is wrong with the proofs in a cell.
fn breaches(cell: &str, tests: &BTreeSet<String>, seeds: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut proofs, mut what) = (0, "test");
    let parts: Vec<&str> = cell.split('`').collect();
    for (at, part) in parts.iter().enumerate() {
        if at % 2 == 0 {
            let says = |word| part.split([' ', ',', ';']).any(|found| found == word);
            what = match () {
                () if says("bug") || says("bugs") => "bug",
                () if says("weather") => "weather",
                () if part.contains(';') => "test",
                () => what,
            };
            continue;
        }
        let seed = parts.get(at + 1).and_then(|next| next.strip_prefix(", seed "));
        let is_there = match (what, seed) {
            ("bug", _) => Bug::ALL.iter().any(|bug| format!("{bug:?}") == *part),
            ("weather", Some(seed)) => {
                let seed = seed.split([' ', ';', ',']).next().unwrap_or_default();
                seeds.contains(&((*part).to_owned(), seed.to_owned()))
            }
            // Twenty thousand seeds prove no single row.
            ("weather", None) => false,
            _ => tests.contains(*part),
        };
        proofs += 1;
        if !is_there {
            wrong.push(format!("no {what} `{part}`"));
        }
    }
    if proofs == 0 {
        wrong.push("names nothing that proves it".to_owned());
    }
    wrong
}

#[test]
fn each_row_names_a_proof_that_is_there() {
    let (tests, seeds) = (tests(), seeds());
    assert!(tests.len() > 500 && seeds.len() > 3 && Weather::ALL.len() == 6, "the walk has found them");
    let text = fs::read_to_string(root().join("RACES.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what meets what"));
    let (mut count, mut wrong) = (0, Vec::new());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let found = match cells.as_slice() {
            [_, _, _, proof] => breaches(proof, &tests, &seeds),
            _ => vec![format!("{} cells", cells.len())],
        };
        wrong.extend(found.into_iter().map(|what| format!("{}: {what}", cells[0])));
        count += 1;
    }
    println!("{count} rows");
    assert!(count > 30 && wrong.is_empty(), "{count} rows:\n  {}", wrong.join("\n  "));
}

#[test]
fn a_name_that_is_not_there_is_a_breach() {
    let tests = BTreeSet::from(["it_holds".to_owned()]);
    let seeds = BTreeSet::from([("Vacuum".to_owned(), "7".to_owned())]);
    for (cell, count) in [
        ("`it_holds`", 0),
        ("`it_holds`; bug `NoGrace`; weather `Vacuum`, seed 7", 0),
        ("bugs `NoGrace`, `HitInLeaving`", 0),
        ("", 1),
        ("weather `Vacuum`", 1),
        ("weather `Vacuum`, seed 8", 1),
        ("`it_broke`, `it_holds`", 1),
        ("bug `NoSuchBug`; `it_holds`", 1),
    ] {
        assert_eq!(breaches(cell, &tests, &seeds).len(), count, "{cell}");
    }
}
