//! Huge pages, and how gdd's memory budget stands to the machine's memory and to the store.

use crate::facts::{Facts, limits};
use crate::finding::{Finding, Severity, Sureness, Workload};
use crate::shell;

use super::{TMPFILES, show};

const HUGE: &str = "/sys/kernel/mm/transparent_hugepage";
/// From this much memory on, a budget below a thirty-second of it leaves most of the machine idle.
const LARGE: u64 = 16 << 30;
/// How many times the index may be as large as its cache before look-ups of old data go to the disk.
const INDEX_TIMES_MAX: u64 = 8;

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    findings.extend(transparent(facts));
    findings.extend(defragmentation(facts));
    findings.extend(reserved(facts));
    findings.extend(budget(facts));
    findings.extend(index(facts));
}

/// The word in brackets.
fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

fn huge(finding: Finding, file: &str, value: &str) -> Finding {
    let path = format!("{HUGE}/{file}");
    finding
        .apply(shell::write(&path, value))
        .keep(shell::append(TMPFILES, &format!("w {path} - - - - {value}")))
}

fn transparent(facts: &Facts<'_>) -> Option<Finding> {
    let path = format!("{HUGE}/enabled");
    let text = facts.tree.text(&path)?;
    let found = chosen(&text)?;
    let finding =
        |severity, sure, why| Finding::new("memory.thp", "memory", severity, sure).say(found, "madvise", why);
    let workload = [Workload::FreshMemory];
    Some(match found {
        "madvise" => finding(
            Severity::Fine,
            Sureness::Measured,
            "gdd asks for huge pages where it has large buffers, and nobody else gets any unasked",
        )
        .try_one(&path, found, "never", &workload),
        "always" => huge(
            finding(
                Severity::Hint,
                Sureness::RuleOfThumb,
                "gdd's buffers have huge pages; so has every other program, whether they help it or only grow it",
            ),
            "enabled",
            "madvise",
        )
        .try_one(&path, found, "madvise", &workload),
        "never" => huge(
            finding(
                Severity::Advice,
                Sureness::Measured,
                "gdd asks for huge pages for its buffers and gets none: each 4 KiB of a fresh buffer costs a fault",
            ),
            "enabled",
            "madvise",
        )
        .try_one(&path, found, "madvise", &workload),
        _ => return None,
    })
}

fn defragmentation(facts: &Facts<'_>) -> Option<Finding> {
    let text = facts.tree.text(&format!("{HUGE}/defrag"))?;
    let found = chosen(&text)?;
    if found != "always" {
        let finding = Finding::new("memory.thp_defrag", "memory", Severity::Fine, Sureness::Documented);
        return Some(finding.say(found, found, "only who asks for huge pages may wait for them"));
    }
    let why = "every program that touches fresh memory may wait while the kernel moves pages together";
    let finding = Finding::new("memory.thp_defrag", "memory", Severity::Hint, Sureness::Documented);
    Some(huge(finding.say(found, "madvise", why), "defrag", "madvise"))
}

fn reserved(facts: &Facts<'_>) -> Option<Finding> {
    let table = facts.tree.text("/proc/meminfo")?;
    let field = |name| crate::facts::machine::field(&table, name);
    let pages = field("HugePages_Total:")?;
    let size = field("Hugepagesize:").unwrap_or(0).saturating_mul(1024);
    let bytes = pages.saturating_mul(size);
    let much = bytes > facts.machine.memory? / 10;
    let severity = if much { Severity::Hint } else { Severity::Fine };
    let found = format!("{pages} reserved, {}", show(bytes));
    let finding = Finding::new("memory.hugetlb", "memory", severity, Sureness::Documented);
    let why = "neither gdd nor the page cache can use reserved huge pages; gdd uses transparent ones";
    Some(if much {
        super::sysctl(finding.say(found, "0, if no other program needs them", why), "vm.nr_hugepages", "0")
    } else {
        finding.say(&*found, &*found, why)
    })
}

/// `memory` of gdd.toml against what there is.
fn budget(facts: &Facts<'_>) -> Option<Finding> {
    let group = limits::group_memory(facts.tree, &facts.process);
    let there = facts.machine.memory.into_iter().chain(group).min()?;
    let budget = facts.question.memory;
    let place = match group {
        Some(group) if group == there => "its control group may take",
        _ => "this machine has",
    };
    let found = format!("memory = {}; {place} {}", show(budget), show(there));
    let finding = |severity, sure| Finding::new("gdd.memory", "gdd.toml", severity, sure);
    let set = |finding: Finding, bytes: u64| {
        finding.keep(format!("set memory = \"{}m\" in /etc/gdd/gdd.toml, and restart gdd", bytes >> 20))
    };
    Some(if budget > there / 2 {
        let wanted = (there / 4).max(64 << 20);
        let why = "beside the budget each device of Bacula takes 96 MiB, and the page cache holds index and volumes: \
                   the kernel may end the daemon for want of memory";
        set(finding(Severity::Advice, Sureness::Documented).say(found, show(wanted), why), wanted)
    } else if there >= LARGE && budget < there / 32 {
        let wanted = there / 16;
        let why = "caches for the index, for containers' directories and for restores are shares of it; on a machine \
                   that is there for backups they may be larger";
        set(finding(Severity::Hint, Sureness::RuleOfThumb).say(found, show(wanted), why), wanted)
    } else {
        finding(Severity::Fine, Sureness::RuleOfThumb).say(
            &*found,
            &*found,
            "caches and buffers fit the machine",
        )
    })
}

/// The index on disk against its share of the budget, an eighth.
fn index(facts: &Facts<'_>) -> Option<Finding> {
    let path = facts.question.store.join("index");
    let size = facts.tree.size_below(path.to_str()?)?;
    let cache = facts.question.memory / 8;
    let found = format!("{} of index, {} of cache for it", show(size), show(cache));
    let severity = if size / INDEX_TIMES_MAX > cache { Severity::Hint } else { Severity::Fine };
    let finding = Finding::new("gdd.index_cache", "gdd.toml", severity, Sureness::RuleOfThumb);
    let why = "the first hit in each container is looked up in the index; what its cache lacks is read from the disk";
    if severity == Severity::Fine {
        return Some(finding.say(&*found, &*found, why));
    }
    let most = facts.machine.memory? / 4;
    let wanted = (size / INDEX_TIMES_MAX).saturating_mul(8).min(most).max(facts.question.memory);
    let keep = format!("set memory = \"{}m\" in /etc/gdd/gdd.toml, and restart gdd", wanted >> 20);
    Some(finding.say(found, format!("memory = {}", show(wanted)), why).keep(keep))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_brackets_is_chosen() {
        assert_eq!(chosen("always [madvise] never"), Some("madvise"));
        assert_eq!((chosen("[a"), chosen("a"), chosen("")), (None, None, None));
    }
}
