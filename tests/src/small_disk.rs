//! A disk that is small enough to fill: ext4 in a file, mounted through a loop device. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::scratch;

/// A mounted file system, unmounted and removed on drop.
#[derive(Debug)]
pub struct SmallDisk {
    root: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    /// An empty one of `mebibytes`.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn new(mebibytes: u64) -> Result<Self, String> {
        let folder = scratch("disk");
        let (image, root) = (folder.path().join("image"), folder.path().join("root"));
        let made = fs::File::create(&image).and_then(|file| file.set_len(mebibytes << 20));
        made.and_then(|()| fs::create_dir(&root)).map_err(|error| error.to_string())?;
        // No blocks are set aside for root, so that root runs out of space as everyone does.
        run(Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&root))?;
        Ok(Self { root, _folder: folder })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a test that fails may leave a process behind that still looks at it.
        if let Err(why) = run(Command::new("umount").arg("--lazy").arg(&self.root)) {
            eprintln!("{why}");
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_up_and_goes_away() {
        let disk = match SmallDisk::new(16) {
            Ok(disk) => disk,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let file = disk.root().join("file");
        let error = fs::write(&file, vec![1; 17 << 20]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        let root = disk.root().to_owned();
        drop(disk);
        assert!(!root.exists());
    }
}
