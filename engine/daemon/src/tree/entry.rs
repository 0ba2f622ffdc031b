//! One entry of a tar stream: headers that GNU tar, bsdtar and Python read alike.
//!
//! The header is GNU's, with numeric owners. A name of more than 99 bytes goes before it in GNU's own way, which takes
//! any bytes; what has no field (nanoseconds, extended attributes) goes before it in a POSIX extended header.

use rustix::fs::Stat;
use tar::{EntryType, Header};

/// The unit of a tar stream in bytes.
pub const BLOCK: usize = 512;

/// The longest name that fits a header with its closing zero, in bytes.
const NAME_MAX: usize = 99;

/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;

/// The name under which GNU tar looks for a long name.
const LONG_LINK: &[u8] = b"././@LongLink";

/// What an entry is.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// A regular file, whose bytes follow.
    File,
    /// A directory.
    Directory,
    /// Another name of the file stored under this path.
    HardLink(&'a [u8]),
    /// With this target.
    SymbolicLink(&'a [u8]),
    /// A named pipe.
    Pipe,
    /// Its numbers are in the status.
    CharacterDevice,
    /// Its numbers are in the status.
    BlockDevice,
}

/// A name and a value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// See the module.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Path in the archive.
    pub path: &'a [u8],
    /// What the system says about it.
    pub stat: &'a Stat,
    /// What it is.
    pub kind: Kind<'a>,
    /// Extended attributes, sorted.
    pub attributes: Vec<Attribute>,
}

impl Entry<'_> {
    /// All headers, whole blocks.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let target = match self.kind {
            Kind::HardLink(target) | Kind::SymbolicLink(target) => target,
            _ => b"",
        };
        let mut blocks = Vec::with_capacity(3 * BLOCK);
        let records = self.records();
        if !records.is_empty() {
            append(&mut blocks, EntryType::XHeader, b"./PaxHeaders", &records);
        }
        if target.len() > NAME_MAX {
            append(&mut blocks, EntryType::GNULongLink, LONG_LINK, &[target, b"\0"].concat());
        }
        if self.path.len() > NAME_MAX {
            append(&mut blocks, EntryType::GNULongName, LONG_LINK, &[self.path, b"\0"].concat());
        }
        blocks.extend_from_slice(self.header(target).as_bytes());
        blocks
    }

    fn header(&self, target: &[u8]) -> Header {
        let (entry_type, size) = match self.kind {
            Kind::File => (EntryType::Regular, u64::try_from(self.stat.st_size).unwrap_or(0)),
            Kind::Directory => (EntryType::Directory, 0),
            Kind::HardLink(_) => (EntryType::Link, 0),
            Kind::SymbolicLink(_) => (EntryType::Symlink, 0),
            Kind::Pipe => (EntryType::Fifo, 0),
            Kind::CharacterDevice => (EntryType::Char, 0),
            Kind::BlockDevice => (EntryType::Block, 0),
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(entry_type);
        header.set_size(size);
        header.set_mode(self.stat.st_mode & PERMISSIONS);
        header.set_uid(u64::from(self.stat.st_uid));
        header.set_gid(u64::from(self.stat.st_gid));
        header.set_mtime(u64::try_from(self.stat.st_mtime).unwrap_or(0)); // Before 1970: see `records`.
        let gnu = header.as_gnu_mut().expect("the header was made as GNU's");
        put(&mut gnu.name, self.path);
        put(&mut gnu.linkname, target);
        if matches!(self.kind, Kind::CharacterDevice | Kind::BlockDevice) {
            gnu.set_device_major(rustix::fs::major(self.stat.st_rdev));
            gnu.set_device_minor(rustix::fs::minor(self.stat.st_rdev));
        }
        header.set_cksum();
        header
    }

    /// The records of the extended header.
    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if let Some(time) =
            exact_time(self.stat.st_mtime, i64::try_from(self.stat.st_mtime_nsec).unwrap_or(0))
        {
            record(&mut records, b"mtime", time.as_bytes());
        }
        for (name, value) in &self.attributes {
            record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
        records
    }
}

/// An entry that holds `bytes` for the next one.
fn append(blocks: &mut Vec<u8>, entry_type: EntryType, name: &[u8], bytes: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    put(&mut header.as_gnu_mut().expect("the header was made as GNU's").name, name);
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
    blocks.extend_from_slice(bytes);
    blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
}

/// As much of `bytes` as fits, with a zero behind it; what is cut off stands in an entry before.
fn put(field: &mut [u8; 100], bytes: &[u8]) {
    let length = bytes.len().min(NAME_MAX);
    field[..length].copy_from_slice(&bytes[..length]);
}

/// One record: its own length in decimal, then `name=value`.
fn record(records: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let rest = name.len() + value.len() + 3; // A blank, an equals sign, a line feed.
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(name);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// A time that the header cannot hold: one with a fraction, or before 1970.
fn exact_time(seconds: i64, nanoseconds: i64) -> Option<String> {
    if nanoseconds == 0 {
        return (seconds < 0).then(|| seconds.to_string());
    }
    let (sign, whole, fraction) = if seconds < 0 {
        ("-", -(seconds + 1), 1_000_000_000 - nanoseconds)
    } else {
        ("", seconds, nanoseconds)
    };
    Some(format!("{sign}{whole}.{fraction:09}").trim_end_matches('0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for value_len in 0..1200 {
            let mut records = Vec::new();
            record(&mut records, b"name", &vec![b'x'; value_len]);
            let text = String::from_utf8(records.clone()).unwrap();
            let (length, _) = text.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), records.len());
        }
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(exact_time(5, 0), None);
        assert_eq!(exact_time(5, 500_000_000).unwrap(), "5.5");
        assert_eq!(exact_time(5, 1).unwrap(), "5.000000001");
        assert_eq!(exact_time(-2, 0).unwrap(), "-2");
        assert_eq!(exact_time(-2, 250_000_000).unwrap(), "-1.75");
        assert_eq!(exact_time(-1, 750_000_000).unwrap(), "-0.25");
    }
}
