//! Where the time goes: profile one scenario with perf and draw it with inferno.
//!
//! Stacks are unwound from DWARF tables, because frame pointers would need a second build of RocksDB. The picture's
//! name carries the scenario and the commit, so that before and after lie side by side; flamegraphs/README.md says what
//! each one shows and which commit it led to.

mod folded;
mod scenario;

use std::fs::{self, File};
use std::path::Path;

use crate::shell::{Run, TOOLS, root, search_path};
use crate::{Result, setup};
use scenario::{SCENARIOS, Scenario};

const FOLDER: &str = "target/flamegraph";
const INFERNO_VERSION: &str = "0.12.8";
/// Samples per second and thread: not a divisor of the timer ticks, so that it does not beat with them.
const FREQUENCY: &str = "997";
/// Bytes of stack copied with each sample; deeper stacks are cut off.
const STACK_SIZE: u32 = 16_384;
/// Frames narrower than this are not drawn, in per cent of the picture.
const WIDTH_MIN: &str = "0.1";
/// A picture that is kept in the repository has so many bytes at most.
const PICTURE_SIZE_MAX: u64 = 1 << 20;
/// Functions listed beside the picture.
const LISTED: usize = 25;

/// The chore `flamegraph`.
pub fn run(arguments: &[String]) -> Result {
    let one = |scenario: &Scenario| format!("\n  {:<14} {}", scenario.name, scenario.shows);
    let known: String = SCENARIOS.iter().map(one).collect();
    let [wanted] = arguments else { return Err(format!("name one scenario:{known}")) };
    let Some(scenario) = SCENARIOS.iter().find(|scenario| scenario.name == wanted) else {
        return Err(format!("no scenario is named {wanted:?}; there are:{known}"));
    };
    setup::for_build()?;
    setup::for_profiles()?;
    let tools = inferno()?;
    Run::cargo().words(scenario.build).run()?;
    let work = root().join(FOLDER).join("work");
    clear(&work)?;
    fs::create_dir_all(&work).map_err(|error| format!("cannot create {}: {error}", work.display()))?;
    let data = format!("{FOLDER}/{}.data", scenario.name);
    let recorded = sh(Run::new("sh").arg("-c").arg(scenario.before), &work)
        .run()
        .and_then(|()| record(&data, scenario, &work));
    clear(&work)?;
    recorded?;
    draw(&tools, scenario, &data)
}

/// `run` as a scenario's lines expect it.
fn sh(run: Run, work: &Path) -> Run {
    run.env("WORK", work).env("GDD_STORE", work.join("store")).env("PATH", search_path())
}

fn clear(work: &Path) -> Result {
    match fs::remove_dir_all(work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", work.display()))
        }
        _ => Ok(()),
    }
}

fn record(data: &str, scenario: &Scenario, work: &Path) -> Result {
    let perf = Run::new("perf")
        .words("record --freq")
        .arg(FREQUENCY)
        .arg("--call-graph")
        .arg(format!("dwarf,{STACK_SIZE}"))
        .arg("--output")
        .arg(data)
        .words("-- sh -c")
        .arg(scenario.line);
    sh(perf, work).run().map_err(|error| {
        format!(
            "{error}; where perf is refused, run `sysctl kernel.perf_event_paranoid=1` as root and try again"
        )
    })
}

/// From samples to a picture, and a list of the functions that took most.
fn draw(tools: &Path, scenario: &Scenario, data: &str) -> Result {
    let name = scenario.name;
    let script = format!("{FOLDER}/{name}.script");
    save(Run::new("perf").words("script --no-inline --input").arg(data), &script)?;
    let folded = format!("{FOLDER}/{name}.folded");
    save(Run::new(tools.join("inferno-collapse-perf")).arg(&script), &folded)?;
    let problem = |error| format!("{folded}: {error}");
    let all = fs::read_to_string(root().join(&folded)).map_err(problem)?;
    let kept = folded::leave_out(&all, scenario.without);
    fs::write(root().join(&folded), &kept).map_err(problem)?;
    let commit = Run::new("git").words("rev-parse --short=9 HEAD").answer();
    let commit = if commit.is_empty() { "unknown" } else { commit.trim() };
    let picture = format!("flamegraphs/{name}-{commit}.svg");
    let draw = Run::new(tools.join("inferno-flamegraph"))
        .arg("--minwidth")
        .arg(WIDTH_MIN)
        .arg("--title")
        .arg(format!("{name} at {commit}: {}", scenario.shows))
        .arg(&folded);
    let length = save(draw, &picture)?;
    let shares = folded::shares(&kept);
    println!(
        "{} ns or cycles; functions by their own share, and by that with what they call:",
        shares.weight
    );
    for ((own, part), (below, whole)) in shares.own.iter().zip(&shares.below).take(LISTED) {
        println!("{part:5.1} % {own:<70.70} {whole:5.1} % {below:.70}");
    }
    if length > PICTURE_SIZE_MAX {
        return Err(format!(
            "{picture} has {length} bytes, too many to keep: profile less, or raise WIDTH_MIN"
        ));
    }
    println!("{picture} is ready; describe it in flamegraphs/README.md");
    Ok(())
}

/// The folder of inferno's programs, installed below target/ the first time.
fn inferno() -> Result<std::path::PathBuf> {
    let folder = root().join(TOOLS);
    if !folder.join("bin/inferno-flamegraph").exists() {
        Run::cargo()
            .words("install inferno --locked --bin inferno-collapse-perf --bin inferno-flamegraph --version")
            .arg(INFERNO_VERSION)
            .arg("--root")
            .arg(&folder)
            .run()?;
    }
    Ok(folder.join("bin"))
}

/// Run into a file; returns its length, which is not 0.
fn save(run: Run, path: &str) -> Result<u64> {
    let path = root().join(path);
    let problem = |error| format!("cannot write {}: {error}", path.display());
    run.into_file(File::create(&path).map_err(problem)?)?;
    let length = fs::metadata(&path).map_err(problem)?.len();
    if length == 0 { Err(format!("{} came out empty", shown(&path))) } else { Ok(length) }
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
        assert!(run(&["vacuum".into(), "recall".into()]).is_err());
        assert!(run(&["nonsense".into()]).is_err_and(|error| error.contains("recall")));
    }
}
