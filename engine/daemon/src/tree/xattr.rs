//! Extended attributes: access lists, capabilities and labels live there, so a restore without them is not the same.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::{Errno, Result};

use super::entry::Attribute;

/// Linux's limit for a value, and for the list of names, in bytes.
const SIZE_MAX: usize = 65_536;

/// Reads extended attributes through one buffer.
#[derive(Debug)]
pub struct Attributes {
    buffer: Vec<u8>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { buffer: vec![0; SIZE_MAX] }
    }
}

impl Attributes {
    /// Those of an open file or directory, sorted by name.
    ///
    /// # Errors
    /// As `fgetxattr(2)`; a file system without attributes has none.
    pub fn of_file(&mut self, file: BorrowedFd<'_>) -> Result<Vec<Attribute>> {
        let list = flistxattr(file, &mut self.buffer[..]);
        self.collect(list, |name, buffer| fgetxattr(file, name, buffer))
    }

    /// Those of a name that cannot or must not be opened: a symbolic link, a pipe, a device.
    ///
    /// # Errors
    /// As [`Attributes::of_file`].
    pub fn of_name(&mut self, directory: BorrowedFd<'_>, name: &CString) -> Result<Vec<Attribute>> {
        let mut path = Vec::new();
        let _ = write!(path, "/proc/self/fd/{}/", directory.as_raw_fd()); // A vector takes everything.
        path.extend_from_slice(name.as_bytes());
        let path = std::ffi::OsStr::from_bytes(&path);
        let list = llistxattr(path, &mut self.buffer[..]);
        self.collect(list, |name, buffer| lgetxattr(path, name, buffer))
    }

    fn collect(
        &mut self,
        list: Result<usize>,
        mut value: impl FnMut(&[u8], &mut [u8]) -> Result<usize>,
    ) -> Result<Vec<Attribute>> {
        let length = match list {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            other => other?,
        };
        let names = self.buffer[..length].to_vec();
        let mut attributes = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            match value(name, &mut self.buffer) {
                Ok(count) => attributes.push((name.to_vec(), self.buffer[..count].to_vec())),
                // Removed since, or a label that this kernel lists and does not keep here.
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
        attributes.sort();
        Ok(attributes)
    }
}
