//! Which files lie in the damaged stretches of streams: volumes know, the store does not.
//!
//! Volumes of storage mode say which bytes of their streams each file has. Volumes that Bacula itself writes hold the
//! references of bothsides mode, which say the same of jobs' streams.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use gdd_client::reference::{self, Reference};

use super::{Volume, blocks, in_folder, skeleton};
use crate::failure::{Failure, Result};

/// Bacula's records of a file's attributes, which have its name: plain, and with more.
const ATTRIBUTES: [i32; 2] = [1, 5];
/// Which bits of a record's stream say what it is.
const KIND_MASK: i32 = 0x7ff;
/// Bytes of the address that stands before data of a sparse file.
const ADDRESS_SIZE: usize = 8;
const SPARSE_SIZE: usize = ADDRESS_SIZE + reference::SIZE;
/// Files that are listed of a stream.
const FILES_MAX: usize = 1000;

/// A stream, and the stretches of it that are damaged: first byte and length.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Its name in the store.
    pub stream: String,
    /// None: all of it.
    pub stretches: Vec<(u64, u64)>,
    /// The volumes that refer to it, found here.
    pub volumes: BTreeSet<String>,
    /// Files in those stretches, found here.
    pub files: BTreeSet<String>,
    /// There are more than are listed.
    pub more: bool,
}

impl Wanted {
    fn hits(&self, offset: u64, len: u64) -> bool {
        let overlaps = |(from, bytes): &(u64, u64)| offset < from + bytes && *from < offset + len;
        len > 0 && (self.stretches.is_empty() || self.stretches.iter().any(overlaps))
    }

    fn found(&mut self, volume: &str, file: impl FnOnce() -> String) {
        if !self.volumes.contains(volume) {
            self.volumes.insert(volume.to_owned());
        }
        if self.files.len() < FILES_MAX {
            self.files.insert(file());
        } else {
            self.more |= !self.files.contains(&file());
        }
    }
}

/// The name of the file whose attributes came last.
#[derive(Default)]
struct Latest {
    file_index: i32,
    attributes: Vec<u8>,
}

impl Latest {
    fn begin(&mut self, file_index: i32, attributes: &[u8]) {
        (self.file_index, self.attributes) = (file_index, attributes.to_vec());
    }

    /// `file index, type, name, NUL, ...`, with a space between the first three.
    fn name(&self, file_index: i32) -> String {
        let text = self.attributes.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = text.splitn(3, |byte| *byte == b' ').nth(2);
        match name.filter(|_| self.file_index == file_index) {
            Some(name) => String::from_utf8_lossy(name).into_owned(),
            None => format!("file {file_index} of its job, whose name stands on the volume before"),
        }
    }
}

/// Look through the volumes in `folders` for what is wanted. Returns files that could not be looked through to the end.
///
/// # Errors
/// A folder or a file cannot be read, or a volume's header is damaged.
pub fn find(folders: &[PathBuf], wanted: &mut [Wanted]) -> Result<Vec<String>> {
    let mut numbers = HashMap::new();
    let mut jobs = HashMap::new();
    for (index, one) in wanted.iter().enumerate() {
        let last = one.stream.rsplit('/').next().unwrap_or_default();
        if one.stream.starts_with("sd/") {
            numbers.extend(u64::from_str_radix(last, 16).ok().map(|number| (number, index)));
        } else if one.stream.starts_with("net/") {
            jobs.extend(u128::from_str_radix(last, 16).ok().map(|id| (id.swap_bytes().to_le_bytes(), index)));
        }
    }
    let mut unread = Vec::new();
    for folder in folders {
        let volumes = in_folder(folder)?;
        let ours: BTreeSet<&Path> = volumes.iter().map(|volume| volume.path.as_path()).collect();
        for volume in volumes.iter().filter(|_| !numbers.is_empty()) {
            let whole = in_ours(volume, &numbers, wanted).map_err(Failure::file("read", &volume.path))?;
            if !whole {
                unread.push(format!("volume {} is damaged; what it knows there is not told", volume.name()));
            }
        }
        for path in files(folder)?.iter().filter(|path| !jobs.is_empty() && !ours.contains(path.as_path())) {
            let whole = in_plain(path, &jobs, wanted).map_err(Failure::file("read", path))?;
            if !whole {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                unread.push(format!("{name} is damaged or no volume; what lies behind that is not told"));
            }
        }
    }
    Ok(unread)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Failure::file("list", folder))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(Failure::file("list", folder))?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

fn in_ours(volume: &Volume, numbers: &HashMap<u64, usize>, wanted: &mut [Wanted]) -> std::io::Result<bool> {
    let (name, mut latest) = (volume.name(), HashMap::<u64, Latest>::new());
    skeleton::records(volume, &mut |record| {
        let Some(index) = numbers.get(&record.stream) else { return };
        let latest = latest.entry(record.stream).or_default();
        if ATTRIBUTES.contains(&(record.kind.wrapping_abs() & KIND_MASK)) {
            match record.kind > 0 {
                true => latest.begin(record.file_index, record.literal),
                false => latest.attributes.extend_from_slice(record.literal),
            }
        }
        let (offset, len) = record.payload;
        if wanted[*index].hits(offset, len) {
            wanted[*index].found(&name, || latest.name(record.file_index));
        }
    })
}

fn in_plain(path: &Path, jobs: &HashMap<[u8; 16], usize>, wanted: &mut [Wanted]) -> std::io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut latest = HashMap::<[u8; 8], Latest>::new();
    blocks::records(path, &mut |record| {
        if ATTRIBUTES.contains(&(record.kind & KIND_MASK)) {
            latest.entry(record.session).or_default().begin(record.file_index, record.data);
        }
        // With `sparse=` eight bytes of address stand before it.
        let data = match record.data.len() {
            reference::SIZE => record.data,
            SPARSE_SIZE => &record.data[ADDRESS_SIZE..],
            _ => return,
        };
        let Ok(Reference { place, length, .. }) = Reference::decode(data) else { return };
        let Some(index) = jobs.get(&place.stream) else { return };
        if wanted[*index].hits(place.offset, length) {
            let latest = latest.entry(record.session).or_default();
            wanted[*index].found(&name, || latest.name(record.file_index));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_overlap() {
        let wanted = Wanted { stretches: vec![(10, 5), (100, 1)], ..Wanted::default() };
        for (offset, len, expected) in
            [(0, 10, false), (0, 11, true), (14, 1, true), (15, 85, false), (15, 86, true), (12, 0, false)]
        {
            assert_eq!(wanted.hits(offset, len), expected, "{offset}, {len}");
        }
    }

    #[test]
    fn names_stand_in_attributes() {
        let mut latest = Latest::default();
        latest.begin(7, b"7 3 /etc/a file\0A Bc\0\0");
        assert_eq!(latest.name(7), "/etc/a file");
        assert!(latest.name(8).contains("file 8 of its job"));
    }
}
