//! Tells the program which commit it was built from, for `gdd --version` and for the tables of `gdd bench`.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    // The reflog changes with every commit; without one (a release archive) the commit stays unknown.
    let reflog = git(&["rev-parse", "--git-path", "logs/HEAD"]).map(PathBuf::from);
    if let Some(reflog) = reflog.filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", reflog.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=GDD_COMMIT={commit}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !answer.is_empty()).then_some(answer)
}
