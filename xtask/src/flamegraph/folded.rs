//! Folded stacks, as inferno makes and takes them: `thread;caller;callee 12`, one line for each stack.

use std::collections::{BTreeSet, HashMap};

/// `folded` without the stacks of the threads in `without`.
pub fn leave_out(folded: &str, without: &[&str]) -> String {
    let thread = |line: &str| line.split([';', ' ']).next().unwrap_or_default().to_owned();
    folded
        .lines()
        .filter(|line| !without.contains(&thread(line).as_str()))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// How the time is shared.
#[derive(Debug, PartialEq)]
pub struct Shares {
    /// All of it, in perf's unit: nanoseconds, or cycles where the machine counts them.
    pub weight: u64,
    /// Functions by the share that was spent in themselves, in per cent, the largest first.
    pub own: Vec<(String, f64)>,
    /// Functions by the share that was spent in them or below, in per cent, the largest first.
    pub below: Vec<(String, f64)>,
}

/// Count.
pub fn shares(folded: &str) -> Shares {
    let (mut weight, mut own, mut below) = (0, HashMap::new(), HashMap::new());
    for line in folded.lines() {
        let Some((stack, count)) = line.rsplit_once(' ') else { continue };
        let Ok(count) = count.parse::<u64>() else { continue };
        weight += count;
        // A function that calls itself is counted once.
        let frames: Vec<&str> = stack.split(';').map(plain).collect();
        for frame in frames.iter().collect::<BTreeSet<_>>() {
            *below.entry((*frame).to_owned()).or_default() += count;
        }
        *own.entry(frames.last().copied().unwrap_or_default().to_owned()).or_default() += count;
    }
    Shares { weight, own: sorted(own, weight), below: sorted(below, weight) }
}

/// Largest first, as shares.
fn sorted(counts: HashMap<String, u64>, weight: u64) -> Vec<(String, f64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let share = |count| 100.0 * count as f64 / weight.max(1) as f64;
    counts.into_iter().map(|(name, count)| (name, share(count))).collect()
}

/// A function's name without the hash that the compiler gives it.
fn plain(frame: &str) -> &str {
    match frame.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDED: &str = "\
gdd;main;cut::h0123456789abcdef 6
gdd;main;cut::h0123456789abcdef;memcpy 1
gdd;main;main;write 1
sh;main;wait 2
nonsense
";

    #[test]
    fn threads_are_left_out_by_their_whole_name() {
        let left = leave_out("sh;a 1\nshell;a 2\nsh 3\n", &["sh"]);
        assert_eq!(left, "shell;a 2\n");
    }

    #[test]
    fn time_is_shared_between_functions() {
        let shares = shares(FOLDED);
        assert_eq!(shares.weight, 10);
        assert_eq!(shares.own[0], ("cut".to_owned(), 60.0));
        assert_eq!(shares.below[0], ("main".to_owned(), 100.0), "main within main counts once");
        assert!(shares.below.contains(&("cut".to_owned(), 70.0)));
        let own: f64 = shares.own.iter().map(|(_, share)| share).sum();
        assert!((own - 100.0).abs() < 1e-9);
    }
}
