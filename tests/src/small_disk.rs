//! A disk that is small enough to fill: ext4 in a file, mounted through a loop device. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::scratch;

/// A mounted file system, unmounted and removed on drop.
#[derive(Debug)]
pub struct SmallDisk {
    root: PathBuf,
    image: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    /// An empty one of `mebibytes`.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn new(mebibytes: u64) -> Result<Self, String> {
        Self::below(scratch("disk"), mebibytes)
    }

    /// One whose file lies in `folder`, on another such disk perhaps, and takes room there only as it fills.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn within(folder: &Path, mebibytes: u64) -> Result<Self, String> {
        let folder = tempfile::tempdir_in(folder).map_err(|error| error.to_string())?;
        Self::below(folder, mebibytes)
    }

    fn below(folder: tempfile::TempDir, mebibytes: u64) -> Result<Self, String> {
        let (image, root) = (folder.path().join("image"), folder.path().join("root"));
        let made = fs::File::create(&image).and_then(|file| file.set_len(mebibytes << 20));
        made.and_then(|()| fs::create_dir(&root)).map_err(|error| error.to_string())?;
        // No blocks are set aside for root, so that root runs out of space as everyone does.
        run(Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&root))?;
        Ok(Self { root, image, _folder: folder })
    }

    /// Have its file system find itself broken, as it does when the device below fails: it is read-only from now on,
    /// for those who have files open too.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn break_down(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.root))
    }

    /// Mount it anew, which heals what [`SmallDisk::break_down`] did. Nobody may have a file open.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn mount_again(&self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.root))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.root))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// An overlayfs whose upper layer is a folder of another disk, unmounted on drop.
#[derive(Debug)]
pub struct Overlay {
    root: PathBuf,
}

impl Overlay {
    /// Over the folder `below`.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn over(below: &Path) -> Result<Self, String> {
        let [lower, upper, work, root] = ["lower", "upper", "work", "merged"].map(|name| below.join(name));
        for folder in [&lower, &upper, &work, &root] {
            fs::create_dir(folder).map_err(|error| error.to_string())?;
        }
        let layers =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&root))?;
        Ok(Self { root })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        if let Err(why) = run(Command::new("umount").arg("--lazy").arg(&self.root)) {
            eprintln!("{why}");
        }
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
    use std::io::Write;

    use super::*;

    #[test]
    fn it_breaks_down_under_an_open_file_and_heals() {
        let disk = match SmallDisk::new(16) {
            Ok(disk) => disk,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let path = disk.root().join("file");
        let mut file = fs::File::create(&path).unwrap();
        disk.break_down().unwrap();
        let error = file.write_all(&[1; 1 << 20]).and_then(|()| file.sync_all()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        drop(file);
        disk.mount_again().unwrap();
        fs::write(&path, b"healed").unwrap();
    }

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
