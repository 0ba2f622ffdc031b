//! Figures: medians with their spread, and what they were measured on.

use std::fmt;
use std::path::Path;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::size::show_rate;

/// One figure, measured several times.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// In the order of measurement.
    pub values: Vec<f64>,
}

impl Series {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// Note a value.
    pub fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The middle one; the mean of the two middle ones of an even number; 0 of none.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.len(), sorted.len() / 2) {
            (0, _) => 0.0,
            (count, middle) if count % 2 == 1 => sorted[middle],
            (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// Where the middle half of them lies: a quarter is below, a quarter above.
    #[must_use]
    pub fn middle_half(&self) -> (f64, f64) {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return (0.0, 0.0) };
        (sorted[(last + 2) / 4], sorted[last - (last + 2) / 4])
    }

    /// Least and greatest.
    #[must_use]
    pub fn spread(&self) -> (f64, f64) {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.values.iter().copied().fold(0.0, f64::max))
    }

    /// Least and greatest rate, for a table.
    #[must_use]
    pub fn show_spread(&self) -> String {
        let (least, greatest) = self.spread();
        format!("{} .. {}", show_rate(least), show_rate(greatest))
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Series", 2)?;
        fields.serialize_field("median", &self.median())?;
        fields.serialize_field("values", &self.values)?;
        fields.end()
    }
}

/// What the figures were measured on.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Hardware {
    cpu: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    file_system: String,
    device: String,
    rotational: Option<bool>,
    instructions: String,
    commit: &'static str,
}

impl Hardware {
    /// This machine, and the disk below `folder`.
    #[must_use]
    pub fn here(folder: &Path) -> Self {
        let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let (device, file_system, rotational) = disk(folder).unwrap_or_default();
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: memory("MemTotal").unwrap_or(0),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            file_system,
            device,
            rotational,
            instructions: gdd_kernels::Chunker::new(gdd_kernels::Params::default()).level().to_string(),
            commit: env!("GDD_COMMIT"),
        }
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spinning = if self.rotational == Some(true) { ", rotational" } else { "" };
        writeln!(
            f,
            "{}, {} cores, {:.0} GiB; Linux {}, {} on {}{spinning}; kernels {}; commit {}",
            self.cpu,
            self.cores,
            crate::size::to_float(self.memory_bytes >> 20) / 1024.0,
            self.kernel,
            self.file_system,
            self.device,
            self.instructions,
            self.commit
        )
    }
}

/// A line of /proc/meminfo, in bytes.
#[must_use]
pub fn memory(name: &str) -> Option<u64> {
    let kibibytes: u64 = field("/proc/meminfo", name)?.trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}

/// The value behind `name` in a file of `name: value` lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Device, file system, and whether it rotates.
fn disk(folder: &Path) -> Option<(String, String, Option<bool>)> {
    let number = rustix::fs::stat(folder).ok()?.st_dev;
    let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
    let mut after = mount.split_once(" - ")?.1.split(' ');
    let (file_system, device) = (after.next()?.to_owned(), after.next()?.to_owned());
    let queue = |at: &str| std::fs::read_to_string(format!("/sys/dev/block/{number}/{at}queue/rotational"));
    let rotational = queue("").or_else(|_| queue("../")).ok().map(|text| text.trim() == "1");
    Some((device, file_system, rotational))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let series = |values: &[f64]| Series { values: values.to_vec() };
        assert_eq!(series(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(series(&[]).median(), 0.0);
        assert_eq!(series(&[3.0, 1.0, 2.0]).spread(), (1.0, 3.0));
        assert_eq!(series(&[5.0, 3.0, 1.0, 2.0, 4.0]).middle_half(), (2.0, 4.0));
        assert_eq!(series(&[7.0]).middle_half(), (7.0, 7.0));
    }

    #[test]
    fn this_machine_has_a_name() {
        let shown = Hardware::here(Path::new(".")).to_string();
        assert!(shown.contains("Linux") && shown.contains("cores"), "{shown}");
    }
}
