//! The product at work: build gdd, its driver and its plugin, then let stock Bacula back real directories up
//! through them, in both modes.
//!
//! The program is tests/examples/demo.rs: it needs the rig, and this crate needs nothing. [`crate::tour`] shows the
//! command line alone.

use std::fs;
use std::path::Path;

use crate::shell::Run;
use crate::{Result, setup};

/// The chore `demo`.
pub fn run(arguments: &[String]) -> Result {
    let words = absolute(arguments)?;
    setup::for_build()?;
    println!(
        "demo: building gdd; the first time this compiles RocksDB, which takes 10 to 15 minutes on two cores"
    );
    Run::cargo().words("build --release --package gdd --package gdd-sd --package gdd-fd").run()?;
    let demo = Run::cargo().words("run --release --quiet --package gdd-tests --example demo --");
    words.iter().fold(demo, Run::arg).run()
}

/// Folders as seen from here: the program runs in the workspace root.
fn absolute(arguments: &[String]) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut names_folder = false;
    for word in arguments {
        if std::mem::replace(&mut names_folder, matches!(word.as_str(), "--source" | "--drivers")) {
            let folder = fs::canonicalize(Path::new(word)).map_err(|error| format!("{word}: {error}"))?;
            words.push(folder.to_string_lossy().into_owned());
        } else {
            words.push(word.clone());
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_absolute_and_nothing_else() {
        let words = ["--keep", "--source", "/usr/../usr", "--bacula", "15"].map(str::to_owned);
        assert_eq!(
            absolute(&words),
            Ok(["--keep", "--source", "/usr", "--bacula", "15"].map(str::to_owned).into())
        );
        assert!(absolute(&["--source".to_owned(), "/no/such/folder".to_owned()]).is_err());
    }
}
