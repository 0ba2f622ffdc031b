//! A small tree with every kind of entry, and files on both sides of every border of the plugin's.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use crate::random::Random;
use crate::tree::{self, Shape};

/// Sizes at which something changes: nothing, less than a reference, a reference, the smallest file that goes to the
/// store, Bacula's buffer.
const SIZES: [usize; 13] =
    [0, 1, 111, 112, 113, 511, 512, 513, 65_535, 65_536, 65_537, (1 << 20) + 1, 5 << 20];

/// Fill `folder`.
///
/// # Errors
/// The file system's.
pub fn build(folder: &Path) -> io::Result<()> {
    let mut random = Random::new(7);
    for size in SIZES {
        let mut bytes = vec![0; size];
        random.fill(&mut bytes);
        fs::write(folder.join(format!("size-{size}")), bytes)?;
    }
    fs::write(folder.join("zeros"), vec![0; 3_000_001])?;
    let sparse = File::create(folder.join("sparse"))?;
    sparse.set_len(20 << 20)?;
    sparse.write_all_at(b"data", 10_000_001)?;
    fs::hard_link(folder.join("size-65537"), folder.join("second name"))?;
    symlink("nowhere", folder.join("dangling"))?;
    symlink("size-512", folder.join("link"))?;
    fs::write(folder.join(OsStr::from_bytes(b"not utf-8 \xff\xfe %s%n\nline")), vec![7; 5000])?;
    fs::set_permissions(folder.join("size-65535"), fs::Permissions::from_mode(0o4755))?;
    tree::build(&folder.join("built"), 3, Shape { files: 40, xattrs: true, ..Shape::SMALL }).map(drop)
}
