//! The right findings on captured trees: all that is not fine, and nothing else.

mod support;

use gdd_tuning::finding::{Finding, Severity};
use gdd_tuning::report::Report;
use gdd_tuning::tree::Tree;
use gdd_tuning::{advise, script};
use support::{TREES, complaint, folder, question};

fn look(name: &str, store: &str, memory: u64) -> Report {
    advise(&Tree::at(&folder(name)), question(store, memory))
}

/// All that is not fine, as `severity id subject`, in the order of the report.
fn wanting(report: &Report) -> Vec<String> {
    let row = |finding: &Finding| format!("{} {} {}", finding.severity.name(), finding.id, finding.subject);
    report.findings.iter().filter(|finding| finding.severity != Severity::Fine).map(row).collect()
}

fn one<'a>(report: &'a Report, id: &str, subject: &str) -> &'a Finding {
    report.findings.iter().find(|one| one.id == id && one.subject == subject).expect("it was looked at")
}

#[test]
fn a_virtual_disk_that_says_it_rotates() {
    let report = look("virtio", "/srv/gdd", 1 << 30);
    let expected = [
        "advice disk.max_sectors_kb vda",
        "hint fs.discard /",
        "hint disk.rotational vda",
        "hint disk.scheduler vda",
        "hint disk.read_ahead vda",
        "hint net.tcp_wmem tcp",
    ];
    assert_eq!(wanting(&report), expected);
    assert_eq!(report.target.devices, ["vda"]);
    let scheduler = one(&report, "disk.scheduler", "vda");
    assert_eq!(scheduler.apply, ["echo none > /sys/block/vda/queue/scheduler"]);
    assert!(scheduler.keep[0].contains("ATTR{queue/scheduler}=\"none\""), "{:?}", scheduler.keep);
    assert_eq!(
        one(&report, "disk.max_sectors_kb", "vda").apply,
        ["echo 512 > /sys/block/vda/queue/max_sectors_kb"]
    );
    assert_eq!(one(&report, "disk.rotational", "vda").apply, ["echo 0 > /sys/block/vda/queue/rotational"]);
    assert_eq!(
        one(&report, "net.tcp_wmem", "tcp").apply,
        ["sysctl -w 'net.ipv4.tcp_wmem=4096 16384 67108864'"]
    );
    assert_eq!(one(&report, "net.tcp_rmem", "tcp").severity, Severity::Fine);
    assert_eq!(one(&report, "memory.thp", "memory").severity, Severity::Fine);
    assert!(report.unseen.is_empty(), "{:?}", report.unseen);
}

#[test]
fn disks_of_a_raid_behind_a_directory_with_a_space() {
    let report = look("sata-raid", "/srv/backup store/gdd", 20 << 30);
    let expected = [
        "advice disk.nomerges sdc",
        "advice gdd.memory gdd.toml",
        "advice limits.memlock gdd.service",
        "advice limits.nofile gdd.service",
        "advice cpu.governor cpu",
        "hint kernel.version kernel",
        "hint fs.atime /srv/backup store",
        "hint disk.scheduler sda",
        "hint disk.max_sectors_kb sda",
        "hint disk.scheduler sdc",
        "hint disk.scheduler sdd",
        "hint disk.nr_requests sdd",
        "hint disk.rq_affinity sdd",
        "hint disk.read_ahead md0",
        "hint vm.dirty vm",
        "hint vm.swappiness vm",
        "hint memory.thp memory",
        "hint memory.thp_defrag memory",
    ];
    assert_eq!(wanting(&report), expected);
    assert_eq!(report.target.devices, ["md0", "sda", "sdb", "sdc", "sdd"], "and not the system's own disk");
    assert_eq!(
        one(&report, "fs.atime", "/srv/backup store").apply,
        ["mount -o remount,noatime '/srv/backup store'"]
    );
    assert!(one(&report, "limits.memlock", "gdd.service").found.contains("of the daemon that runs"));
    assert!(one(&report, "gdd.memory", "gdd.toml").keep[0].contains("memory = \"8001m\""));
}

#[test]
fn a_fast_disk_that_belongs_to_one_of_two_nodes() {
    let report = look("nvme-numa", "/srv/gdd", 1 << 30);
    let expected = [
        "advice disk.scheduler nvme0n1",
        "advice memory.thp memory",
        "advice io_uring.sysctl kernel",
        "advice numa.zone_reclaim vm",
        "hint disk.rq_affinity nvme0n1",
        "hint memory.hugetlb memory",
        "hint gdd.memory gdd.toml",
        "hint cpu.sleep cpu",
        "hint cpu.interrupts nvme0n1",
        "hint numa.place gdd.service",
        "hint numa.balancing kernel",
    ];
    assert_eq!(wanting(&report), expected);
    assert_eq!(report.target.devices, ["dm-0", "nvme0n1"]);
    assert!(one(&report, "limits.memlock", "gdd.service").found.contains("/lib/systemd/system/gdd.service"));
    assert!(one(&report, "numa.place", "gdd.service").apply[1].contains("CPUAffinity=4-7"));
    assert_eq!(one(&report, "io_uring.sysctl", "kernel").apply, ["sysctl -w kernel.io_uring_disabled=0"]);
}

#[test]
fn a_container_shows_no_disks_and_its_own_layer_is_no_place() {
    let report = look("container", "/var/lib/gdd", 1 << 30);
    let expected = [
        "danger fs.type /",
        "advice gdd.memory gdd.toml",
        "advice limits.memlock gdd.service",
        "hint io_uring.seccomp gdd.service",
    ];
    assert_eq!(wanting(&report), expected);
    let unseen: Vec<_> = report.unseen.iter().map(|unseen| &*unseen.path).collect();
    assert_eq!(unseen, ["/sys/block"], "what could not be seen is said");
    assert!(one(&report, "gdd.memory", "gdd.toml").found.contains("its control group may take 512 MiB"));
    let volume = look("container", "/data/gdd", 1 << 30);
    assert_eq!(volume.severity(), Severity::Advice, "a volume is a place");
    assert!(wanting(&volume).contains(&"hint fs.discard /data".to_owned()), "{:?}", wanting(&volume));
}

#[test]
fn an_old_machine_that_would_lose_what_it_has_acknowledged() {
    let report = look("old-kernel", "/backup/gdd", 4 << 30);
    let expected = [
        "danger fs.barrier /backup",
        "danger disk.write_cache sdb",
        "advice kernel.version kernel",
        "advice fs.sync /backup",
        "advice limits.memlock gdd.service",
        "advice limits.nofile gdd.service",
        "hint disk.scheduler sdb",
        "hint disk.read_ahead sdb",
        "hint vm.dirty vm",
        "hint vm.swappiness vm",
        "hint memory.thp memory",
        "hint memory.thp_defrag memory",
    ];
    assert_eq!(wanting(&report), expected);
    assert_eq!(one(&report, "fs.barrier", "/backup").apply, ["mount -o remount,barrier /backup"]);
    assert_eq!(
        one(&report, "disk.scheduler", "sdb").apply,
        ["echo deadline > /sys/block/sdb/queue/scheduler"],
        "its kernel knows the scheduler by its old name"
    );
}

#[test]
fn a_machine_that_is_as_it_should_be() {
    let report = look("tuned", "/var/lib/gdd", 1 << 30);
    assert_eq!(wanting(&report), [""; 0]);
    assert!(report.findings.len() > 15, "and much was looked at");
    assert!(report.unseen.is_empty(), "{:?}", report.unseen);
}

#[test]
fn a_kernel_that_damages_files_is_a_danger() {
    let copy = tempfile::tempdir().unwrap();
    for (path, bytes) in support::files(&folder("tuned")) {
        let path = copy.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let kernel = copy.path().join("proc/sys/kernel");
    std::fs::write(kernel.join("osrelease"), "6.1.0-14-amd64\n").unwrap();
    std::fs::write(kernel.join("version"), "#1 SMP PREEMPT_DYNAMIC Debian 6.1.64-1 (2023-11-30)\n").unwrap();
    let report = advise(&Tree::at(copy.path()), question("/var/lib/gdd", 1 << 30));
    assert_eq!(wanting(&report), ["danger kernel.version kernel"]);
}

#[test]
fn every_report_is_a_script_and_every_piece_of_advice_is_complete() {
    for (name, store, memory) in TREES {
        let report = look(name, store, memory);
        let text = script::render(&report, &|_| None);
        assert_eq!(complaint(&text), "", "{name}: {text}");
        assert!(text.starts_with("#!/bin/sh\n") && text.lines().all(|line| !line.ends_with(' ')), "{text}");
        for finding in &report.findings {
            let words = [&finding.found, &finding.wanted, &finding.why, &finding.subject];
            assert!(words.iter().all(|words| !words.is_empty()), "{finding:?}");
            let is_fine = finding.severity == Severity::Fine;
            assert_eq!(
                is_fine,
                finding.found == finding.wanted || finding.wanted == "madvise" && is_fine,
                "{finding:?}"
            );
            assert!(
                is_fine == finding.apply.is_empty()
                    || !finding.keep.is_empty()
                    || finding.id == "kernel.version"
                    || finding.id == "fs.type",
                "{finding:?}"
            );
            for line in &finding.apply {
                assert!(text.contains(&format!("\n{line}\n")), "{line}");
            }
            if let Some(trial) = &finding.trial {
                assert!(!trial.workloads.is_empty() && trial.present != trial.other, "{finding:?}");
            }
        }
    }
}

#[test]
fn without_files_there_is_little_to_say_and_no_panic() {
    let empty = tempfile::tempdir().unwrap();
    let report = advise(&Tree::at(empty.path()), question("/var/lib/gdd", 1 << 30));
    assert_eq!(wanting(&report), [""; 0]);
    let unseen: Vec<_> = report.unseen.iter().map(|unseen| &*unseen.path).collect();
    assert_eq!(unseen, ["/proc/self/mountinfo", "/proc/sys/kernel/osrelease"]);
}
