//! Records in the blocks of a volume as Bacula itself writes it: where references of bothsides mode lie.
//!
//! ```text
//! block:   u32 checksum or options, u32 length, u32 number, "BB02" or "BB03", session [8], in BB03 u64 checksum
//! record:  i32 file index, i32 stream, u32 length, data; one that does not fit goes on in the next block of its job
//! ```
//!
//! All integers are big-endian. Nothing is verified: a name that is wrong misleads a report, and a reference has a
//! checksum of its own.

#![expect(clippy::big_endian_bytes, reason = "Bacula's own format, which is not ours to choose")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Largest block that Bacula accepts.
const BLOCK_SIZE_MAX: usize = 20_000_000;
const RECORD_HEADER_SIZE: usize = 12;
/// Records of more bytes are neither attributes nor references.
const DATA_LEN_MAX: usize = 1 << 16;

/// A whole record.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Whose: `VolSessionId` and `VolSessionTime`, as they stand there.
    pub session: [u8; 8],
    /// Bacula's number of the file in its job.
    pub file_index: i32,
    /// What it is.
    pub kind: i32,
    /// The bytes.
    pub data: &'a [u8],
}

/// Of a record that goes on in the next block: what was there, and how many bytes are to come.
type Begun = (Vec<u8>, usize);

/// Show `seen` the short records of the volume in `path`, up to the first bytes that are no block; whether there are
/// none.
///
/// # Errors
/// The file cannot be read.
pub fn records(path: &Path, seen: &mut dyn FnMut(&Record<'_>)) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut begun = HashMap::<[u8; 8], Begun>::new();
    let (mut head, mut shown) = ([0; 24], 0);
    loop {
        match file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(file.get_ref().metadata()?.len() == shown);
            }
            other => other?,
        }
        let header_size = match &head[12..16] {
            b"BB02" => 24,
            b"BB03" => 32,
            _ => return Ok(false),
        };
        let len = number(&head, 4) as usize;
        if !(header_size..=BLOCK_SIZE_MAX).contains(&len) {
            return Ok(false);
        }
        let mut body = vec![0; len - head.len()];
        match file.read_exact(&mut body) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        shown += len as u64;
        let mut session = [0; 8];
        session.copy_from_slice(&head[16..24]);
        block(&body[header_size - head.len()..], session, &mut begun, seen);
    }
}

fn block(
    mut rest: &[u8],
    session: [u8; 8],
    begun: &mut HashMap<[u8; 8], Begun>,
    seen: &mut dyn FnMut(&Record<'_>),
) {
    while let Some((header, data)) = rest.split_at_checked(RECORD_HEADER_SIZE) {
        let (file_index, kind) = (number(header, 0).cast_signed(), number(header, 4).cast_signed());
        let data_len = number(header, 8) as usize;
        let here = data_len.min(data.len());
        let (data, behind) = data.split_at(here);
        rest = behind;
        let before = begun.remove(&session).filter(|(_, left)| kind < 0 && *left == data_len);
        let (mut bytes, is_long) = match before {
            Some((bytes, _)) => (bytes, false),
            None => (Vec::new(), kind < 0),
        };
        if is_long || bytes.len() + data_len > DATA_LEN_MAX {
            continue;
        }
        bytes.extend_from_slice(data);
        if here < data_len {
            begun.insert(session, (bytes, data_len - here));
        } else {
            seen(&Record { session, file_index, kind: kind.wrapping_abs(), data: &bytes });
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.first_chunk()).map_or(0, |part| u32::from_be_bytes(*part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_also_across_blocks() {
        let mut file = Vec::new();
        let mut put = |session: u32, records: &[(i32, i32, u32, &[u8])]| {
            let mut body = Vec::new();
            for (file_index, kind, len, data) in records {
                body.extend(file_index.to_be_bytes());
                body.extend(kind.to_be_bytes());
                body.extend(len.to_be_bytes());
                body.extend(*data);
            }
            file.extend([0; 4]);
            file.extend((24 + u32::try_from(body.len()).unwrap()).to_be_bytes());
            file.extend([0; 4]);
            file.extend(b"BB02");
            file.extend(session.to_be_bytes());
            file.extend(9_u32.to_be_bytes());
            file.extend(body);
        };
        put(1, &[(1, 1, 3, b"one"), (1, 2, 8, b"begi")]);
        put(2, &[(1, 1, 5, b"other")]);
        put(1, &[(1, -2, 4, b"nner"), (2, 1, 3, b"two")]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("V");
        std::fs::write(&path, &file).unwrap();
        let mut found = Vec::new();
        let whole = records(&path, &mut |record| {
            found.push((record.session[3], record.file_index, record.kind, record.data.to_vec()));
        });
        assert!(whole.unwrap());
        let expected: [(u8, i32, i32, &[u8]); 4] =
            [(1, 1, 1, b"one"), (2, 1, 1, b"other"), (1, 1, 2, b"beginner"), (1, 2, 1, b"two")];
        assert_eq!(found, expected.map(|(session, index, kind, data)| (session, index, kind, data.to_vec())));
        for broken in [&file[..file.len() - 1], &[&file[..], b"x"].concat(), &[&file[..], &[0; 100]].concat()]
        {
            std::fs::write(&path, broken).unwrap();
            assert!(!records(&path, &mut |_| ()).unwrap(), "{} bytes", broken.len());
        }
    }
}
