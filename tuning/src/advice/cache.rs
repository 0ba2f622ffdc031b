//! The disk's own write cache, the writeback throttle, and read-ahead.

use crate::facts::Facts;
use crate::facts::disks::{Disk, Kind};
use crate::finding::{Finding, Severity, Sureness, Workload};

use super::queue::setting;

/// Buffered reads gain little from more than this, and pay for it when they jump.
const AHEAD_KB_MAX: u64 = 4096;
/// What a disk whose heads move should read at once.
const AHEAD_KB_SEEKS: u64 = 1024;
/// The kernel's own default.
const AHEAD_KB_MIN: u64 = 128;

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for disk in facts.stack.disks.iter().filter(|disk| disk.kind != Kind::Other) {
        findings.extend(write_cache(facts, disk));
        findings.extend(throttle(facts, disk));
    }
    findings.extend(ahead(facts));
}

/// What the kernel believes of the disk's cache, beside what the disk says where it does.
fn write_cache(facts: &Facts<'_>, disk: &Disk) -> Option<Finding> {
    let believed = facts.tree.text(&disk.queue("write_cache"))?;
    let device = format!("/sys/block/{}/device", disk.name);
    let addresses = facts.tree.names(&format!("{device}/scsi_disk"));
    let scsi = addresses.first().map(|address| format!("{device}/scsi_disk/{address}/cache_type"));
    let virtio = format!("/sys/block/{}/cache_type", disk.name);
    let said = scsi.and_then(|path| facts.tree.text(&path)).or_else(|| facts.tree.text(&virtio));
    let hidden =
        believed == "write through" && said.as_deref().is_some_and(|said| said.starts_with("write back"));
    let finding = |severity| Finding::new("disk.write_cache", &disk.name, severity, Sureness::Documented);
    if hidden {
        let found = "the kernel takes the disk for one without a cache, and the disk says that it has one";
        let why = "no flush is sent to the disk: a power cut takes what gdd has acknowledged";
        let finding = finding(Severity::Danger).say(found, "write back", why);
        return Some(setting(finding, &disk.name, "write_cache", "write back"));
    }
    let why = match &*believed {
        "write back" => "the disk has a cache, and syncs flush it",
        "write through" => "the disk has no cache that could be lost, so syncs cost no flush",
        _ => return None,
    };
    Some(finding(Severity::Fine).say(&*believed, &*believed, why))
}

fn throttle(facts: &Facts<'_>, disk: &Disk) -> Option<Finding> {
    let found = facts.tree.text(&disk.queue("wbt_lat_usec"))?;
    let found = format!("{} us", found.parse::<i64>().ok()?);
    let why = "it holds back writes through the page cache only, such as Bacula's volumes and the index's tables; \
               gdd's containers are written past it";
    let finding = Finding::new("disk.wbt", &disk.name, Severity::Fine, Sureness::Documented);
    Some(finding.say(&*found, &*found, why))
}

fn ahead(facts: &Facts<'_>) -> Option<Finding> {
    let top = facts.stack.top.as_deref()?;
    if facts.stack.disks.iter().all(|disk| disk.kind == Kind::Other) {
        return None;
    }
    let path = format!("/sys/block/{top}/queue/read_ahead_kb");
    let found = facts.tree.number(&path)?;
    let seeks = facts.stack.disks.iter().any(Disk::seeks);
    let (severity, wanted, why) = match found {
        _ if found > AHEAD_KB_MAX => (
            Severity::Hint,
            AHEAD_KB_SEEKS,
            "a page of the filter's file that is not in memory brings as much with it as is set here; gdd reads \
             containers past the page cache",
        ),
        _ if seeks && found < AHEAD_KB_SEEKS => (
            Severity::Hint,
            AHEAD_KB_SEEKS,
            "files read through the page cache (gdd put FILE, bacula-fd, volumes) wait for the heads once for each \
             piece; gdd reads containers past it",
        ),
        _ if found < AHEAD_KB_MIN => (Severity::Hint, AHEAD_KB_MIN, "less than the kernel's default"),
        _ => (Severity::Fine, found, "for files read through the page cache; gdd reads containers past it"),
    };
    let finding = Finding::new("disk.read_ahead", top, severity, Sureness::RuleOfThumb);
    let finding = finding.say(format!("{found} KiB"), format!("{wanted} KiB"), why);
    let other = if severity == Severity::Fine { AHEAD_KB_MIN.max(found / 4) } else { wanted };
    let finding = if other == found {
        finding
    } else {
        finding.try_one(&path, &found.to_string(), &other.to_string(), &[Workload::BufferedRead])
    };
    Some(match severity {
        Severity::Fine => finding,
        _ => setting(finding, top, "read_ahead_kb", &wanted.to_string()),
    })
}
