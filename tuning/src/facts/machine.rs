//! Kernel, memory and processors.

use gdd_uring::kernel;

use crate::tree::Tree;

/// The machine as its kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Such as `6.1.0-28-amd64`.
    pub release: String,
    /// The build's name, in which Debian's kernels have their version.
    pub build: String,
    /// The version behind both.
    pub version: Option<[u32; 3]>,
    /// Bytes of memory; `None` where that cannot be seen.
    pub memory: Option<u64>,
    /// Processors that are online, 1 at least.
    pub cpus: usize,
    /// Memory nodes that have processors: their numbers.
    pub nodes: Vec<u32>,
    /// Whether it runs below a hypervisor.
    pub is_virtual: bool,
}

impl Machine {
    /// This machine, or a captured one.
    #[must_use]
    pub fn of(tree: &Tree) -> Self {
        let text = |path: &str| tree.text(path).unwrap_or_default();
        let (release, build) = (text("/proc/sys/kernel/osrelease"), text("/proc/sys/kernel/version"));
        let version = kernel::version(&release, &build);
        let memory =
            field(&text("/proc/meminfo"), "MemTotal:").and_then(|kilobytes| kilobytes.checked_mul(1024));
        let cpus = tree.text("/sys/devices/system/cpu/online").map_or(1, |list| numbers(&list).len().max(1));
        let nodes = tree.text("/sys/devices/system/node/has_cpu").map_or(Vec::new(), |list| numbers(&list));
        let is_virtual = text("/proc/cpuinfo").lines().any(|line| {
            line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor")
        });
        Self { release, build, version, memory, cpus, nodes, is_virtual }
    }
}

/// The number behind a name in a table such as /proc/meminfo.
#[must_use]
pub fn field(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The most numbers that a list may have.
const LIST_MAX: usize = 1 << 16;

/// The numbers of a list such as `0-3,8`.
#[must_use]
pub fn numbers(list: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) else {
            continue;
        };
        numbers.extend((first..=last).take(LIST_MAX.saturating_sub(numbers.len())));
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_tables_are_read() {
        assert_eq!(numbers("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(numbers(""), [0_u32; 0]);
        assert_eq!(numbers("3-1,x,-,7-"), [0_u32; 0]);
        assert_eq!(numbers("0-4294967295,0-4294967295").len(), LIST_MAX);
        let table = "MemTotal:       24684084 kB\nMemFree: 3 kB\nOdd:\n";
        assert_eq!((field(table, "MemTotal:"), field(table, "Odd:")), (Some(24_684_084), None));
        assert_eq!(field(table, "Mem"), None);
    }
}
