//! One line of `sh`, timed: wall clock, processor time and peak memory, of all processes that it waited for.
//!
//! The standard library cannot ask the kernel what a child used, so GNU time does (Debian package `time`). Its memory
//! is that of the largest process, not the sum of those at work at the same moment. What the kernel's own threads do
//! for a program, such as writing its pages to the disk, counts for nobody.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;

/// User seconds, system seconds, peak resident KiB.
const FORMAT: &str = "%U %S %M";

/// What a line took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Wall clock, in seconds.
    pub seconds: f64,
    /// Processor time of user and kernel together, in seconds.
    pub cpu_seconds: f64,
    /// Largest resident memory of one process, in KiB.
    pub peak_kib: u64,
}

/// Run `line` with `environment`; `log` keeps what it printed, and `log`.usage what GNU time did.
pub fn run(line: &str, environment: &[(&str, &str)], log: &Path) -> Result<Usage> {
    let answer = log.with_extension("usage");
    let problem = |error: std::io::Error| format!("cannot write {}: {error}", log.display());
    let output = File::create(log).map_err(problem)?;
    let errors = output.try_clone().map_err(problem)?;
    let started = Instant::now();
    let status = Command::new("time")
        .args(["-f", FORMAT, "-o"])
        .arg(&answer)
        .args(["sh", "-c", line])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(|error| format!("cannot run GNU time: {error}"))?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        let said = fs::read_to_string(log).unwrap_or_default();
        return Err(format!("`{line}` failed ({status}): {}", last_lines(&said)));
    }
    let text = fs::read_to_string(&answer).map_err(|error| format!("{}: {error}", answer.display()))?;
    let (cpu_seconds, peak_kib) = parse(&text).ok_or_else(|| format!("GNU time said {text:?}"))?;
    Ok(Usage { seconds, cpu_seconds, peak_kib })
}

/// Processor seconds and peak memory from the last line of GNU time's answer; complaints may come before it.
fn parse(text: &str) -> Option<(f64, u64)> {
    let mut words = text.lines().last()?.split_whitespace();
    let (user, system): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let peak = words.next()?.parse().ok()?;
    words.next().is_none().then_some((user + system, peak))
}

/// The end of what a program said, on one line.
fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_gnu_time_is_read() {
        assert_eq!(parse("1.25 0.50 13840\n"), Some((1.75, 13840)));
        assert_eq!(parse("Command exited with non-zero status 1\n0.00 0.01 900\n"), Some((0.01, 900)));
        for odd in ["", "\n", "1.0 2.0\n", "a b c\n", "1 2 3 4\n", "Command terminated by signal 9\n"] {
            assert_eq!(parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn the_end_of_a_log_fits_a_line() {
        assert_eq!(last_lines("1\n2\n\n3\n4\n5\n"), "2 | 3 | 4 | 5");
        assert_eq!(last_lines(""), "");
    }
}
