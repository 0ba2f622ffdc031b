//! What a directory is mounted from: one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).

use std::path::{Path, PathBuf};

use crate::tree::Tree;

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Such as `ext4`.
    pub file_system: String,
    /// What is mounted, such as `/dev/vda1`.
    pub source: String,
    /// Major and minor number as in `dev` of /sys: `254:1`. Major 0 is a file system without one disk of its own.
    pub number: String,
    /// Options of the mount, then of the file system.
    pub options: Vec<String>,
}

impl Mount {
    /// Whether an option is set, such as `discard`, or `barrier=0`.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|set| set == option)
    }
}

/// The mount that holds `directory`.
#[must_use]
pub fn of(tree: &Tree, directory: &Path) -> Option<Mount> {
    let Some(table) = tree.text("/proc/self/mountinfo") else {
        tree.unseen("/proc/self/mountinfo", "not there: which disk the store lies on is not known");
        return None;
    };
    let holding = table.lines().filter_map(parse).filter(|mount| directory.starts_with(&mount.point));
    // Of two mounts at one place the later one is on top; `max_by_key` takes the last of equals.
    holding.max_by_key(|mount| mount.point.components().count())
}

fn parse(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let number = mount.next()?.to_owned();
    let point = PathBuf::from(unescape(mount.nth(1)?));
    let own = mount.next()?;
    let mut file_system = file_system.split(' ');
    let (name, source) = (file_system.next()?.to_owned(), unescape(file_system.next()?));
    let shared = file_system.next().unwrap_or_default();
    let options = own.split(',').chain(shared.split(',')).filter(|option| !option.is_empty());
    Some(Mount { point, file_system: name, source, number, options: options.map(str::to_owned).collect() })
}

/// Spaces, tabs, newlines and backslashes stand there as three octal digits behind a backslash.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) if *first == b'\\' => {
                bytes.push(code);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.point, Path::new("/mnt/a b"));
        assert_eq!((&*mount.file_system, &*mount.source, &*mount.number), ("ext3", "/dev/root", "98:0"));
        assert!(mount.has("noatime") && mount.has("errors=continue") && !mount.has("errors"));
        for broken in
            ["", "36 35", "36 35 98:0 / /", "1 2 3:4 / /a rw - ext4", " - ", "\\", "1 2 3 4 5 6 - a b"]
        {
            let _ = parse(broken); // Whatever it is, it is no panic.
        }
        assert_eq!(unescape("\\134\\04\\999\\"), "\\\\04\\999\\");
    }

    #[test]
    fn the_innermost_and_latest_mount_counts() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /var rw - xfs /dev/sda2 rw\n\
                     3 1 8:3 / /var rw - btrfs /dev/sda3 rw\n4 1 8:4 / /variant rw - ext4 /dev/sda4 rw\n";
        std::fs::write(root.path().join("proc/self/mountinfo"), table).unwrap();
        let tree = Tree::at(root.path());
        let number = |path: &str| of(&tree, Path::new(path)).unwrap().number;
        assert_eq!(number("/var/lib/gdd"), "8:3", "what is mounted over it hides it");
        assert_eq!((number("/variant/x"), number("/srv")), ("8:4".to_owned(), "8:1".to_owned()));
        assert!(of(&Tree::at(&root.path().join("none")), Path::new("/")).is_none());
    }
}
