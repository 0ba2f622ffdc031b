//! Orders for a program that runs with the shim (`tests/shim`): reads that fail or wait, a wall clock that is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::workspace;

/// How long a read may take to come to the place where it is to wait.
const HELD_LIMIT: Duration = Duration::from_secs(60);

/// What one program suffers. Dropped, it suffers no more.
#[derive(Debug)]
pub struct Faults {
    folder: PathBuf,
}

impl Faults {
    /// None yet; their orders lie in `folder`, which is made.
    ///
    /// # Panics
    /// When it cannot be made, or the shim was not built.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        fs::create_dir(folder).expect("a new folder takes a folder");
        assert!(workspace::shim().is_file(), "the shim was built: `cargo build --release --workspace`");
        Self { folder: folder.to_owned() }
    }

    /// What the program must have in its environment.
    ///
    /// # Panics
    /// Never in a build folder whose name is text.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.to_str().expect("the build folder's name is text").to_owned();
        [("LD_PRELOAD", text(&workspace::shim())), ("FAULTS", text(&self.folder))]
    }

    /// Files whose path has `part` in it cannot be read from byte `offset` on.
    pub fn fail_reads(&self, part: &str, offset: u64) {
        self.order("read", &format!("{part} {offset} eio"));
    }

    /// The next read of such a file from byte `offset` on waits until [`Faults::release`].
    pub fn hold_reads(&self, part: &str, offset: u64) {
        let _ = fs::remove_file(self.folder.join("held")); // Of an earlier wait.
        self.order("read", &format!("{part} {offset} hold"));
    }

    /// Returns when a read waits.
    ///
    /// # Panics
    /// When none comes to that.
    #[track_caller]
    pub fn wait_until_held(&self) {
        let start = Instant::now();
        while !self.folder.join("held").exists() {
            assert!(start.elapsed() < HELD_LIMIT, "no read came to the place where it is to wait");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Reads are good again; those that wait go on.
    pub fn release(&self) {
        let _ = fs::remove_file(self.folder.join("read")); // There may be no order.
    }

    /// The wall clock is wrong by `seconds`.
    pub fn step_clock(&self, seconds: i64) {
        self.order("clock", &seconds.to_string());
    }

    /// The order is there whole or not at all.
    fn order(&self, name: &str, text: &str) {
        let new = self.folder.join("new");
        fs::write(&new, text).expect("the folder takes a file");
        fs::rename(new, self.folder.join(name)).expect("a file can be renamed in its folder");
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use super::*;

    fn run(faults: &Faults, script: &str) -> Output {
        Command::new("sh").args(["-c", script]).envs(faults.environment()).output().unwrap()
    }

    #[test]
    fn reads_fail_from_a_byte_on_and_others_do_not() {
        let folder = workspace::scratch("faults");
        let faults = Faults::new(&folder.path().join("orders"));
        let [bad, good] = ["x.bad", "x.good"].map(|name| folder.path().join(name));
        for file in [&bad, &good] {
            fs::write(file, vec![b'x'; 5000]).unwrap();
        }
        let copy = |file: &Path| {
            run(&faults, &format!("dd if={} bs=1000 status=none | wc -c; true", file.display()))
        };
        faults.fail_reads(".bad", 3000);
        let output = copy(&bad);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "3000", "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Input/output error"), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&copy(&good).stdout).trim(), "5000");
        faults.release();
        assert_eq!(String::from_utf8_lossy(&copy(&bad).stdout).trim(), "5000");
    }

    #[test]
    fn a_read_waits_until_it_is_released() {
        let folder = workspace::scratch("faults");
        let faults = Faults::new(&folder.path().join("orders"));
        let file = folder.path().join("waits");
        fs::write(&file, "before").unwrap();
        faults.hold_reads("waits", 0);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| run(&faults, &format!("cat {}", file.display())));
            faults.wait_until_held();
            fs::write(&file, "after").unwrap();
            faults.release();
            assert_eq!(reader.join().unwrap().stdout, b"after");
        });
    }

    #[test]
    fn the_clock_is_stepped_both_ways() {
        let folder = workspace::scratch("faults");
        let faults = Faults::new(&folder.path().join("orders"));
        let year =
            || String::from_utf8_lossy(&run(&faults, "date -u +%Y").stdout).trim().parse::<i64>().unwrap();
        let now = year();
        faults.step_clock(10 * 366 * 86_400);
        assert!((10..=11).contains(&(year() - now)));
        faults.step_clock(-10 * 366 * 86_400);
        assert!((10..=11).contains(&(now - year())));
    }
}
