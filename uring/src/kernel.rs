//! Kernels that must not or should not be trusted with direct I/O.
//!
//! The probe asks about the one that runs, and the advisor about that of a captured machine.

use std::fs;

/// What we think of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it.
    Good,
    /// Works, at a price.
    Old(String),
    /// Would damage data.
    Broken(String),
}

/// Judge the running kernel for a directory on ext4 or not.
pub(crate) fn judge(ext4: bool) -> Verdict {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    verdict(&read("/proc/sys/kernel/osrelease"), &read("/proc/sys/kernel/version"), ext4)
}

/// Version of a kernel from /proc/sys/kernel/osrelease and /proc/sys/kernel/version. Debian's release says 6.1.0
/// whatever the patch level; its build string has the truth.
#[must_use]
pub fn version(release: &str, build: &str) -> Option<[u32; 3]> {
    let debian = build.split_once("Debian ").and_then(|(_, version)| numbers(version));
    debian.or_else(|| numbers(release))
}

/// Judge a kernel by the same two for a directory on ext4 or not.
#[must_use]
pub fn verdict(release: &str, build: &str, ext4: bool) -> Verdict {
    let Some([major, minor, patch]) = version(release, build) else { return Verdict::Good };
    if ext4 && (major, minor) == (6, 1) && (64..=65).contains(&patch) {
        return Verdict::Broken(format!(
            "kernel {major}.{minor}.{patch} damages ext4 files written with direct I/O (Debian bug 1057843): use \
             6.1.66 or newer"
        ));
    }
    if (major, minor) < (5, 15) {
        return Verdict::Old(format!(
            "kernel {major}.{minor}.{patch} is older than 5.15, the oldest this was thought out for: use a newer one"
        ));
    }
    Verdict::Good
}

/// The first three numbers of a version; a missing third is 0.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.trim().split(['.', '-', '+', '~', ' ']);
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some([major, minor, parts.next().and_then(|patch| patch.parse().ok()).unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broken_kernels_are_known_by_either_name() {
        let broken = |release, build| matches!(verdict(release, build, true), Verdict::Broken(_));
        assert!(broken("6.1.64", ""));
        assert!(broken("6.1.65-generic", "#1 SMP"));
        assert!(broken("6.1.0-14-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.64-1 (2023-11-30)"));
        assert!(!broken("6.1.0-15-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.66-1 (2023-12-09)"));
        assert!(!broken("6.1.63", "") && !broken("6.1.66", "") && !broken("6.6.64", ""));
        assert_eq!(verdict("6.1.64", "", false), Verdict::Good, "only ext4 is affected");
    }

    #[test]
    fn old_kernels_are_named() {
        assert!(matches!(verdict("5.10.0-30-amd64", "", true), Verdict::Old(_)));
        assert!(matches!(verdict("4.18.0-553.el8.x86_64", "", true), Verdict::Old(_)));
        assert_eq!(verdict("5.15.0", "", true), Verdict::Good);
        assert_eq!(verdict("6.18-rc1", "", true), Verdict::Good);
        assert_eq!(verdict("something else", "", true), Verdict::Good);
    }
}
