//! What the daemon may use: limits of its process, its unit's, and its control group's memory.

use super::Facts;
use crate::tree::Tree;

/// Where a unit's settings stand, later ones first: the operator's file hides the package's.
const UNITS: [&str; 4] = [
    "/etc/systemd/system/gdd.service",
    "/run/systemd/system/gdd.service",
    "/usr/lib/systemd/system/gdd.service",
    "/lib/systemd/system/gdd.service",
];
/// Bit of the capability in /proc/PID/status.
const CAP_IPC_LOCK: u64 = 1 << 14;
/// Where drop-ins stand.
const DROP_INS: &str = "/etc/systemd/system/gdd.service.d";

/// A limit, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// `u64::MAX` is no limit.
    pub value: u64,
    /// For people.
    pub place: String,
}

/// `/proc/PID` of a daemon that runs.
#[must_use]
pub fn daemon(tree: &Tree) -> Option<String> {
    let is_daemon = |number: &str| {
        number.bytes().all(|byte| byte.is_ascii_digit())
            && tree.text(&format!("/proc/{number}/comm")).as_deref() == Some("gdd")
            && tree
                .text(&format!("/proc/{number}/cmdline"))
                .is_some_and(|line| line.split('\0').any(|word| word == "serve"))
    };
    tree.names_like("/proc", is_daemon).first().map(|number| format!("/proc/{number}"))
}

/// A limit of the daemon: of its process, else of its unit, else of this process. `row` is the name in
/// /proc/PID/limits, `directive` that of systemd.
#[must_use]
pub fn limit(facts: &Facts<'_>, row: &str, directive: &str) -> Option<Limit> {
    let table = || facts.tree.text(&format!("{}/limits", facts.process));
    if facts.daemon_runs {
        return Some(Limit { value: soft(&table()?, row)?, place: "of the daemon that runs".to_owned() });
    }
    let unit = unit_setting(facts.tree, directive).and_then(|(value, place)| Some((systemd(&value)?, place)));
    if let Some((value, path)) = unit {
        return Some(Limit { value, place: format!("in {path}") });
    }
    let place = "of this process; no daemon runs, and no unit says otherwise".to_owned();
    Some(Limit { value: soft(&table()?, row)?, place })
}

/// The soft limit in a row of /proc/PID/limits.
fn soft(table: &str, row: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(row))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// The last value of a directive of the unit gdd.service, and the file that has it.
fn unit_setting(tree: &Tree, directive: &str) -> Option<(String, String)> {
    let unit = UNITS.into_iter().find(|path| tree.exists(path)).map(str::to_owned);
    let drop_ins = tree.names(DROP_INS).into_iter().filter(|name| name.ends_with(".conf"));
    let files: Vec<String> =
        unit.into_iter().chain(drop_ins.map(|name| format!("{DROP_INS}/{name}"))).collect();
    files.into_iter().rev().find_map(|path| {
        let text = tree.text(&path)?;
        let value =
            text.lines().rev().find_map(|line| line.trim().strip_prefix(directive)?.strip_prefix('='))?;
        Some((value.trim().to_owned(), path))
    })
}

/// A limit as systemd writes it: `infinity`, `65536`, `64M`, or `SOFT:HARD`.
fn systemd(value: &str) -> Option<u64> {
    let value = value.split(':').next()?.trim();
    if value == "infinity" {
        return Some(u64::MAX);
    }
    let digits = value.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match value.strip_prefix(digits)? {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The least memory limit, in bytes, of the control group of a process and of those around it.
#[must_use]
pub fn group_memory(tree: &Tree, process: &str) -> Option<u64> {
    let groups = tree.text(&format!("{process}/cgroup"))?;
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (folder, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        if path.split('/').any(|part| part == "..") {
            continue; // Outside of what this namespace shows.
        }
        let mut group = path.trim_end_matches('/');
        loop {
            let limit = tree.number(&format!("{folder}{group}/{file}")).filter(|limit| *limit < 1 << 60);
            least = least.into_iter().chain(limit).min();
            let Some((outer, _)) = group.rsplit_once('/') else { break };
            group = outer;
        }
    }
    least
}

/// Whether the process may lock memory without limit (`CAP_IPC_LOCK`, capabilities(7)). Root may, but not in
/// containers.
#[must_use]
pub fn may_lock(tree: &Tree, process: &str) -> bool {
    let status = tree.text(&format!("{process}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & CAP_IPC_LOCK != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                         Max locked memory         8388608              unlimited            bytes     \n\
                         Max open files            unlimited            1048576              files     \n";

    #[test]
    fn limits_are_read() {
        assert_eq!(soft(TABLE, "Max locked memory"), Some(8_388_608));
        assert_eq!(soft(TABLE, "Max open files"), Some(u64::MAX));
        assert_eq!(soft("Max open files", "Max open files"), None);
        let all = ["infinity", "65536", "64M", "1G:2G", "", "M", "64X", "99999999999T"].map(systemd);
        let sizes = [Some(u64::MAX), Some(65_536), Some(64 << 20), Some(1 << 30)];
        assert_eq!(all, [&sizes[..], &[None; 4]].concat()[..]);
    }

    #[test]
    fn the_tightest_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("proc/7/cgroup", "0::/system.slice/gdd.service\n3:cpu,memory:/a/b\n4:memory:/../c\n");
        write("proc/7/comm", "gdd\n");
        write("proc/7/cmdline", "/usr/bin/gdd\0serve\0");
        write("proc/8/comm", "gdd\n");
        write("proc/8/cmdline", "gdd\0tune\0");
        write("sys/fs/cgroup/system.slice/memory.max", "4294967296\n");
        write("sys/fs/cgroup/system.slice/gdd.service/memory.max", "max\n");
        write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
        write("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "5368709120\n");
        let tree = Tree::at(root.path());
        assert_eq!(daemon(&tree).as_deref(), Some("/proc/7"));
        assert_eq!(group_memory(&tree, "/proc/7"), Some(4 << 30));
        assert_eq!(group_memory(&tree, "/proc/8"), None);
        write("proc/7/status", "CapInh:\t0\nCapEff:\t000001ffffffffff\n");
        write("proc/8/status", "CapEff:\t00000000a80425fb\n"); // Docker's default.
        let may = ["/proc/7", "/proc/8", "/proc/9"].map(|process| may_lock(&tree, process));
        assert_eq!(may, [true, false, false]);
    }

    #[test]
    fn a_drop_in_wins_over_the_unit() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("lib/systemd/system/gdd.service", "[Service]\nLimitNOFILE=65536\nLimitMEMLOCK=infinity\n");
        write(
            "etc/systemd/system/gdd.service.d/local.conf",
            "[Service]\nLimitNOFILE=1024\nLimitNOFILE=2048\n",
        );
        let tree = Tree::at(root.path());
        let found = |directive: &str| unit_setting(&tree, directive).map(|(value, _)| value);
        assert_eq!(found("LimitNOFILE").as_deref(), Some("2048"));
        assert_eq!(found("LimitMEMLOCK").as_deref(), Some("infinity"));
        assert_eq!(found("LimitCORE"), None);
    }
}
