//! How much memory a process has held at most: `VmHWM` of /proc/PID/status.

use std::fs;

/// Peak resident memory of process `pid` so far, in bytes; `None` once it has ended.
#[must_use]
pub fn peak(pid: u32) -> Option<u64> {
    peak_in(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn peak_in(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_from_the_line_and_grows_with_use() {
        assert_eq!(peak_in("Name:\tgdd\nVmHWM:\t    1024 kB\nVmRSS:\t 1 kB\n"), Some(1 << 20));
        assert_eq!(peak_in("Name:\tzombie\n"), None);
        let touched = std::hint::black_box(vec![1_u8; 256 << 20]);
        assert!(peak(std::process::id()).unwrap() >= 256 << 20);
        drop(touched);
        assert!(peak(std::process::id()).unwrap() >= 256 << 20, "a peak stays");
    }
}
