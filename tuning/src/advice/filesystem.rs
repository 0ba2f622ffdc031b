//! The file system below the store, and how it is mounted.

use crate::facts::Facts;
use crate::facts::mounts::Mount;
use crate::finding::{Finding, Severity, Sureness};
use crate::shell;

/// File systems of other machines, or of programs.
const FAR: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs"];

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(mount) = &facts.mount else { return };
    findings.push(kind(mount));
    findings.extend(barriers(mount));
    findings.extend(OPTIONS.iter().filter(|one| one.holds(mount)).map(|one| one.finding(mount)));
}

fn subject(mount: &Mount) -> String {
    mount.point.to_string_lossy().into_owned()
}

fn remount(mount: &Mount, option: &str) -> String {
    format!("mount -o remount,{option} {}", shell::word(&subject(mount)))
}

fn kind(mount: &Mount) -> Finding {
    let name = &*mount.file_system;
    let finding = |severity, sure, why: &str| {
        let wanted = if severity == Severity::Fine { name } else { "ext4 or xfs on a local disk" };
        Finding::new("fs.type", &subject(mount), severity, sure).say(name, wanted, why)
    };
    match name {
        "ext4" | "xfs" => finding(Severity::Fine, Sureness::Measured, "direct I/O is real and fast here"),
        "tmpfs" | "ramfs" => finding(
            Severity::Danger,
            Sureness::Documented,
            "it is memory: everything in the store is gone after a restart",
        ),
        "overlay" => finding(
            Severity::Danger,
            Sureness::Documented,
            "it is a container's own layer: the store goes when the container is removed, and every direct write \
             takes a detour; put the store on a volume",
        ),
        "btrfs" => finding(
            Severity::Advice,
            Sureness::Measured,
            "direct writes are not direct where data have checksums: 0.2 to 0.3 GB/s where ext4 had 1.5 on one disk",
        ),
        "zfs" => finding(
            Severity::Advice,
            Sureness::Documented,
            "direct I/O is missing or emulated, and its cache competes with gdd's",
        ),
        _ if FAR.contains(&name) || name.starts_with("fuse") => finding(
            Severity::Advice,
            Sureness::Documented,
            "locks and syncs of a file system that is elsewhere may mean less than gdd's promise needs",
        ),
        _ => finding(
            Severity::Hint,
            Sureness::RuleOfThumb,
            "nobody has tried gdd on it; ext4 and xfs are known",
        ),
    }
}

/// Both names of the switch that keeps flushes from the disk.
fn barriers(mount: &Mount) -> Option<Finding> {
    let set = ["nobarrier", "barrier=0"].into_iter().find(|option| mount.has(option))?;
    let finding = Finding::new("fs.barrier", &subject(mount), Severity::Danger, Sureness::Documented).say(
        set,
        "barrier",
        "a sync does not reach the disk's cache: a power cut takes acknowledged backups, and may tear the file system",
    );
    let keep = format!("remove {set} from the options of {} in /etc/fstab", shell::clean(&subject(mount)));
    Some(finding.apply(remount(mount, "barrier")).keep(keep))
}

/// An option that costs something.
struct Costly {
    option: &'static str,
    file_systems: &'static [&'static str],
    id: &'static str,
    severity: Severity,
    sure: Sureness,
    wanted: &'static str,
    why: &'static str,
    /// The option of a remount that turns it off, where a remount can.
    remount: Option<&'static str>,
}

const OPTIONS: [Costly; 6] = [
    Costly {
        option: "data=journal",
        file_systems: &["ext4", "ext3"],
        id: "fs.journal",
        severity: Severity::Advice,
        sure: Sureness::Documented,
        wanted: "data=ordered",
        why: "all data are written twice, and direct I/O is switched off",
        remount: None,
    },
    Costly {
        option: "discard",
        file_systems: &["ext4", "xfs", "btrfs"],
        id: "fs.discard",
        severity: Severity::Hint,
        sure: Sureness::RuleOfThumb,
        wanted: "nodiscard, and fstrim once a week",
        why: "each removed file is trimmed at once, which may hold writes up and makes the disk allocate anew; gdd \
              reuses its container files for that reason, so only a vacuum that frees much pays for it",
        remount: Some("nodiscard"),
    },
    Costly {
        option: "sync",
        file_systems: &[],
        id: "fs.sync",
        severity: Severity::Advice,
        sure: Sureness::Documented,
        wanted: "async",
        why: "every write waits for the disk; gdd syncs where its promise needs it",
        remount: Some("async"),
    },
    Costly {
        option: "strictatime",
        file_systems: &[],
        id: "fs.atime",
        severity: Severity::Hint,
        sure: Sureness::Documented,
        wanted: "noatime",
        why: "each read of the store writes a time that nobody asks for",
        remount: Some("noatime"),
    },
    Costly {
        option: "errors=continue",
        file_systems: &["ext4", "ext3"],
        id: "fs.errors",
        severity: Severity::Advice,
        sure: Sureness::Documented,
        wanted: "errors=remount-ro",
        why: "after damage to its own structures the file system goes on writing, and spreads it",
        remount: Some("errors=remount-ro"),
    },
    Costly {
        option: "ro",
        file_systems: &[],
        id: "fs.read_only",
        severity: Severity::Advice,
        sure: Sureness::Documented,
        wanted: "rw",
        why: "nothing can be backed up; if nobody mounted it so, the kernel did after an error: see dmesg first",
        remount: None,
    },
];

impl Costly {
    fn holds(&self, mount: &Mount) -> bool {
        let concerns = self.file_systems.is_empty() || self.file_systems.contains(&&*mount.file_system);
        concerns && mount.has(self.option)
    }

    fn finding(&self, mount: &Mount) -> Finding {
        let finding = Finding::new(self.id, &subject(mount), self.severity, self.sure);
        let finding = finding.say(self.option, self.wanted, self.why);
        let keep = format!("change {} in /etc/fstab to {}", self.option, self.wanted);
        match self.remount {
            Some(option) => finding.apply(remount(mount, option)).keep(keep),
            None => finding.keep(keep),
        }
    }
}
