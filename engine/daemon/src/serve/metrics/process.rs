//! The daemon as a process, under the names that all of Prometheus' clients use.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::page::Page;
use crate::size::to_float;

/// Memory, processor time, start and open files.
pub fn write(page: &mut Page, started: Instant) {
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory in use, in bytes.", &[], to_float(bytes));
    }
    page.counter("process_cpu_seconds_total", "Processor time of all threads.", &[], cpu_seconds());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = now.saturating_sub(started.elapsed()).as_secs_f64().floor();
    page.gauge("process_start_time_seconds", "When the daemon started, in seconds since 1970.", &[], start);
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open files and sockets.", &[], to_float(files.count() as u64));
    }
}

/// Memory that is in use, as the kernel counts it.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}

/// Processor time of all threads, in seconds.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::try_from(time).unwrap_or_default().as_secs_f64()
}
