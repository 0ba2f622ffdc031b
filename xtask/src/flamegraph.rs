//! Where the time goes: profile one `gdd bench` scenario with perf and draw it with inferno.
//!
//! Stacks are unwound from DWARF tables, because frame pointers would need a second build of RocksDB. The picture's
//! name carries the scenario and the commit, so that before and after lie side by side; flamegraphs/README.md says what
//! each one shows and which commit it led to.

use std::fs::{self, File};
use std::path::Path;

use crate::shell::{Run, root};
use crate::{Result, setup};

/// Scenario, what it shows, and the `gdd` arguments that run it.
const SCENARIOS: [(&str, &str, &str); 5] = [
    ("ingest-new", "data that the store has never seen", "bench ingest --only new"),
    ("ingest-known", "data that the store has already", "bench ingest --only known"),
    ("restore", "a whole stream read back, cold", "bench recall --only restore"),
    ("recall", "single chunks: cached, read ahead, cold", "bench recall"),
    ("stages", "cutting and hashing alone", "bench stages"),
];

const FOLDER: &str = "target/flamegraph";
const INFERNO_VERSION: &str = "0.12.8";
/// Samples per second and thread: not a divisor of the timer ticks, so that it does not beat with them.
const FREQUENCY: &str = "499";
/// Bytes of stack copied with each sample; deeper stacks are cut off.
const STACK_SIZE: u32 = 16_384;

/// The chore `flamegraph`.
pub fn run(arguments: &[String]) -> Result {
    let known = || SCENARIOS.map(|(name, shows, _)| format!("\n  {name:<14} {shows}")).concat();
    let [wanted] = arguments else { return Err(format!("name one scenario:{}", known())) };
    let Some((name, shows, line)) = SCENARIOS.iter().find(|scenario| scenario.0 == wanted) else {
        return Err(format!("no scenario is named {wanted:?}; there are:{}", known()));
    };
    setup::for_build()?;
    setup::for_profiles()?;
    let tools = inferno()?;
    Run::cargo().words("build --release").run()?;
    fs::create_dir_all(root().join(FOLDER)).map_err(|error| format!("cannot create {FOLDER}: {error}"))?;
    let data = format!("{FOLDER}/{name}.data");
    record(&data, line)?;
    let script = format!("{FOLDER}/{name}.script");
    save(Run::new("perf").words("script --no-inline --input").arg(&data), &script)?;
    let folded = format!("{FOLDER}/{name}.folded");
    save(Run::new(tools.join("inferno-collapse-perf")).arg(&script), &folded)?;
    let commit = Run::new("git").words("rev-parse --short=9 HEAD").answer();
    let commit = if commit.is_empty() { "unknown" } else { commit.trim() };
    let picture = format!("flamegraphs/{name}-{commit}.svg");
    let draw = Run::new(tools.join("inferno-flamegraph"))
        .arg("--title")
        .arg(format!("gdd {line} at {commit}: {shows}"))
        .arg(&folded);
    save(draw, &picture)?;
    println!("{picture} is ready; describe it in flamegraphs/README.md");
    Ok(())
}

fn record(data: &str, line: &str) -> Result {
    Run::new("perf")
        .words("record --freq")
        .arg(FREQUENCY)
        .arg("--call-graph")
        .arg(format!("dwarf,{STACK_SIZE}"))
        .arg("--output")
        .arg(data)
        .words("-- target/release/gdd")
        .words(line)
        .run()
        .map_err(|error| {
            format!("{error}; where perf is refused, run `sysctl kernel.perf_event_paranoid=1` as root and try again")
        })
}

/// The folder of inferno's programs, installed below target/ the first time.
fn inferno() -> Result<std::path::PathBuf> {
    let folder = root().join("target/tools");
    if !folder.join("bin/inferno-flamegraph").exists() {
        Run::cargo()
            .words("install inferno --locked --version")
            .arg(INFERNO_VERSION)
            .arg("--root")
            .arg(&folder)
            .run()?;
    }
    Ok(folder.join("bin"))
}

fn save(run: Run, path: &str) -> Result {
    let path = root().join(path);
    let problem = |error| format!("cannot write {}: {error}", path.display());
    run.into_file(File::create(&path).map_err(problem)?)?;
    let length = fs::metadata(&path).map_err(problem)?.len();
    if length == 0 { Err(format!("{} came out empty", shown(&path))) } else { Ok(()) }
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_must_be_named_and_known() {
        assert!(run(&[]).is_err_and(|error| error.contains("ingest-new")));
        assert!(run(&["nonsense".into()]).is_err_and(|error| error.contains("recall")));
    }
}
