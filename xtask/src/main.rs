//! Project chores, in the project's own language: set-up, demo, the one gate, what an operator installs.
//!
//! A newcomer builds this crate first, so it depends on nothing but the standard library. Every command that it runs
//! is printed first, as it could be typed; nothing is done behind the reader's back.

mod bench;
mod check;
mod corpora;
mod demo;
mod dist;
mod flamegraph;
mod rivals;
mod setup;
mod shell;
mod soak;
mod tour;
mod tree;

use std::process::ExitCode;

/// A chore's outcome; the error is one sentence with the remedy in it.
type Result<T = ()> = std::result::Result<T, String>;

type Chore = fn(&[String]) -> Result;

/// Name, what it takes, what it does, and the function that does it.
const CHORES: [(&str, &str, &str, Chore); 11] = [
    (
        "demo",
        "[--source DIR].. [--bacula 9|15]",
        "build gdd, back directories up with stock Bacula, restore, compare every file (also: --keep, --drivers DIR)",
        demo::run,
    ),
    (
        "tour",
        "[--keep] [--source DIR]",
        "the command line without Bacula: store a directory twice, restore it, compare every file",
        tour::run,
    ),
    ("test", "[--deny]", "run every lint and every test; this is the gate that .ci/run calls", check::test),
    ("lint", "[--deny]", "run the lints only: format, clippy, dependencies", check::lint),
    (
        "setup",
        "",
        "install the Debian packages that a build needs (demo and test do this by themselves)",
        setup::run,
    ),
    ("dist", "", "collect what an operator installs under target/dist", dist::run),
    ("bench", "[ARGUMENTS]", "build gdd and run `gdd bench` and the benchmark suite", bench::run),
    (
        "soak",
        "[CYCLES [FOLDER]]",
        "a week of a backup server in 168 cycles, with kills, trends and a verdict",
        soak::run,
    ),
    ("corpora", "DIR [--seed N]", "make the data that our figures refer to (17 GB)", corpora::run),
    (
        "flamegraph",
        "SCENARIO",
        "profile one scenario, such as ingest-new, into flamegraphs/",
        flamegraph::run,
    ),
    (
        "rivals",
        "[OPTION]..",
        "gdd beside borg, restic and others at the same data, with what we lose (--help)",
        rivals::run,
    ),
];

/// Chores that answer `--help` with more than their line above.
const EXPLAIN_THEMSELVES: [&str; 2] = ["bench", "rivals"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("help", &[] as &[String]),
    };
    if matches!(name, "help" | "--help" | "-h") {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some((_, takes, does, chore)) = CHORES.iter().find(|chore| chore.0 == name) else {
        eprintln!("xtask: there is no chore named {name:?}\n{}", usage());
        return ExitCode::from(2);
    };
    if !EXPLAIN_THEMSELVES.contains(&name) && rest.iter().any(|word| word == "--help" || word == "-h") {
        println!("usage: cargo xtask {name} {takes}\n\n  {does}");
        return ExitCode::SUCCESS;
    }
    match chore(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask CHORE\n");
    for (name, takes, does, _) in CHORES {
        text.push_str(&format!("\n  {:<38} {does}", format!("{name} {takes}")));
    }
    text
}

/// Refuse arguments that are not in `known`; the answer says for each of `known` whether it was given.
fn flags<const N: usize>(arguments: &[String], known: [&str; N]) -> Result<[bool; N]> {
    let mut given = [false; N];
    for argument in arguments {
        let Some(index) = known.iter().position(|flag| flag == argument) else {
            return Err(format!("unknown argument {argument:?}; known here: {}", known.join(" ")));
        };
        given[index] = true;
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_flags_are_refused_and_known_ones_counted() {
        let given = flags(&["--b".to_owned()], ["--a", "--b"]);
        assert_eq!(given, Ok([false, true]));
        assert!(flags(&["--c".to_owned()], ["--a"]).is_err());
    }

    #[test]
    fn usage_names_every_chore() {
        assert!(CHORES.iter().all(|chore| usage().contains(chore.2)));
    }
}
