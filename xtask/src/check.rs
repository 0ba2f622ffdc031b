//! The gate: every lint and every test, each a step with a time, all of them run even when one fails.
//!
//! Everything is built in the release profile, lints included: RocksDB takes ten minutes and more to compile, so there
//! is one build of it. Steps run one after another; cargo keeps both cores busy inside each.

use std::time::{Duration, Instant};

use crate::shell::{Run, has};
use crate::{Result, flags, setup};

struct Step {
    name: &'static str,
    took: Duration,
    outcome: Result,
}

/// The steps done so far.
struct Gate(Vec<Step>);

impl Gate {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result) {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = work();
        if let Err(error) = &outcome {
            eprintln!("xtask: {error}");
        }
        self.0.push(Step { name, took: start.elapsed(), outcome });
    }

    /// Print the table of steps; an error names those that failed.
    fn close(self) -> Result {
        println!("\n==> summary");
        for step in &self.0 {
            let verdict = if step.outcome.is_ok() { "ok" } else { "FAILED" };
            println!("{:<14} {:>8.1} s  {verdict}", step.name, step.took.as_secs_f64());
        }
        let total: Duration = self.0.iter().map(|step| step.took).sum();
        println!("{:<14} {:>8.1} s", "all", total.as_secs_f64());
        let failed: Vec<_> =
            self.0.iter().filter(|step| step.outcome.is_err()).map(|step| step.name).collect();
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
    }
}

/// The chore `lint`.
pub fn lint(arguments: &[String]) -> Result {
    let [deny] = flags(arguments, ["--deny"])?;
    let mut gate = Gate(Vec::new());
    gate.step("setup", setup::for_build);
    lints(&mut gate, deny);
    gate.close()
}

/// The chore `test`.
pub fn test(arguments: &[String]) -> Result {
    let [deny] = flags(arguments, ["--deny"])?;
    let mut gate = Gate(Vec::new());
    gate.step("setup", setup::for_build);
    println!(
        "\nThe next steps compile RocksDB once: 10 to 15 minutes on two cores, none when it is already built."
    );
    lints(&mut gate, deny);
    // What the tests run, built with them: cargo unites the features of all that it builds at once, so a build without
    // the tests would be another one.
    gate.step("build", || {
        Run::cargo().words("build --release --workspace --lib --bins --tests --examples").run()
    });
    gate.step("documents", || {
        Run::cargo().words("doc --release --workspace --no-deps").env("RUSTDOCFLAGS", "--deny warnings").run()
    });
    gate.step("doc tests", || Run::cargo().words("test --release --workspace --doc --quiet").run());
    gate.step("tests", tests);
    gate.close()
}

fn lints(gate: &mut Gate, deny: bool) {
    gate.step("format", || {
        setup::component("rustfmt")?;
        Run::cargo().words("fmt --all --check").run()
    });
    gate.step("clippy", || {
        setup::component("clippy")?;
        Run::cargo().words("clippy --release --workspace --all-targets --quiet -- --deny warnings").run()
    });
    if deny || has("cargo-deny") {
        gate.step("cargo-deny", cargo_deny);
    } else {
        println!(
            "\ncargo-deny is not installed: licences and sources are checked by tests/tests/licences.rs all the same;"
        );
        println!("advisories are not. `cargo xtask test --deny` installs it (some minutes) and checks all.");
    }
}

/// What needs no network is a must; the advisory database lives on the network, so its absence only warns.
fn cargo_deny() -> Result {
    if !has("cargo-deny") {
        Run::cargo().words("install cargo-deny --locked").run()?;
    }
    Run::cargo().words("deny --workspace check bans licenses sources").run()?;
    if Run::cargo().words("deny --workspace fetch db").succeeds() {
        return Run::cargo().words("deny --workspace check advisories --disable-fetch").run();
    }
    println!("the advisory database cannot be fetched from here: advisories are not checked");
    Ok(())
}

/// Every test but the doc tests. nextest runs each in a process of its own and stops one that hangs.
fn tests() -> Result {
    if has("cargo-nextest") {
        // Half as many again as cores: much of what they do is wait, for the disk or for Bacula.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = format!("--test-threads {}", cores + cores / 2);
        return Run::cargo().words("nextest run --release --workspace --no-fail-fast").words(&threads).run();
    }
    println!(
        "cargo-nextest is not installed; using cargo test, which does the same without a limit on hanging tests"
    );
    Run::cargo().words("test --release --workspace --all-targets --no-fail-fast").run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_gate_and_is_named() {
        let mut gate = Gate(Vec::new());
        gate.step("good", || Ok(()));
        gate.step("bad", || Err("broken".into()));
        assert_eq!(gate.close(), Err("failed: bad".into()));
        assert_eq!(Gate(Vec::new()).close(), Ok(()));
    }
}
