//! Extended attributes of a path, links not followed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

/// Longest list of names and longest value in bytes (XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h).
const SIZE_MAX: usize = 65_536;

/// The label of a security module belongs to the place where a file lies, and not to the file.
const OF_THE_PLACE: &[u8] = b"security.selinux";

/// Names and values; none where the file system has no extended attributes.
pub(crate) fn of(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; SIZE_MAX];
    let length = match llistxattr(path, &mut names[..]) {
        Err(Errno::NOTSUP) => 0,
        other => other?,
    };
    let mut found = BTreeMap::new();
    let mut value = vec![0; if length > 0 { SIZE_MAX } else { 0 }];
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        if name != OF_THE_PLACE {
            let length = lgetxattr(path, name, &mut value[..])?;
            found.insert(name.to_vec(), value[..length].to_vec());
        }
    }
    Ok(found)
}

/// Set one; `false` where the file system has none.
pub(crate) fn set(path: &Path, name: &str, value: &[u8]) -> io::Result<bool> {
    match lsetxattr(path, name, value, XattrFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOTSUP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
