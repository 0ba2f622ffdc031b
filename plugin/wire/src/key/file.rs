//! A key's file: two lines of text, 92 bytes, for the eyes of its owner only.
//!
//! ```text
//! gdd-key 1 0123456789abcdef
//! 64 hex digits
//! ```
//!
//! The first line names the key: a file whose two lines do not belong together was damaged or edited, and is refused.
//! Whatever is checked is checked on the open file and not on its name: a name can be exchanged in between.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{KEY_SIZE, Key};

const TAG: &str = "gdd-key 1 ";
/// Bytes of a key file: tag, id, newline, secret, newline.
pub const FILE_SIZE: usize = TAG.len() + 16 + 1 + 2 * KEY_SIZE + 1;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system said no.
    #[error("{path}: cannot {verb} the key file: {source}")]
    Io {
        /// The key file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The file is not one that a key may stand in.
    #[error("{path}: {what} of the key file: expected {expected}, found {found}")]
    File {
        /// The key file.
        path: PathBuf,
        /// Which part.
        what: &'static str,
        /// What a good one has.
        expected: String,
        /// What is there. Never the secret.
        found: String,
    },
    /// The secret is all zeros.
    #[error("the key is all zeros: expected 32 random bytes")]
    Zero,
    /// The kernel gave no random numbers.
    #[error("no random numbers for a key: {0}")]
    Random(String),
}

pub(super) fn load(path: &Path) -> Result<Key, KeyError> {
    // A named pipe must not block us before it is found to be no file.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = OpenOptions::new().read(true).custom_flags(raw(flags)).open(path);
    let mut file = opened.map_err(|source| io_error(path, "open", source))?;
    check(path, &file)?;
    let mut text = Zeroizing::new([0; FILE_SIZE]);
    file.read_exact(&mut *text).map_err(|source| io_error(path, "read", source))?;
    parse(path, &text)
}

pub(super) fn create(path: &Path, key: &Key) -> Result<(), KeyError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(raw(OFlags::NOFOLLOW | OFlags::CLOEXEC));
    let file = options.open(path).map_err(|source| io_error(path, "create", source))?;
    write(path, file, key).inspect_err(|_| {
        // What is half written is nobody's key; should it stay, loading refuses it.
        let _ = std::fs::remove_file(path);
    })
}

fn write(path: &Path, mut file: File, key: &Key) -> Result<(), KeyError> {
    let mut text = Zeroizing::new(String::with_capacity(FILE_SIZE));
    writeln!(text, "{TAG}{}", key.id()).expect("a string takes what it is given");
    for byte in key.secret.iter() {
        write!(text, "{byte:02x}").expect("a string takes what it is given");
    }
    text.push('\n');
    assert_eq!(text.len(), FILE_SIZE);
    file.write_all(text.as_bytes()).map_err(|source| io_error(path, "write", source))?;
    file.sync_all().map_err(|source| io_error(path, "sync", source))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| io_error(path, "sync the folder of", source))
}

fn check(path: &Path, file: &File) -> Result<(), KeyError> {
    let found = file.metadata().map_err(|source| io_error(path, "look at", source))?;
    let refuse = |what, expected: String, found: String| {
        Err(KeyError::File { path: path.to_owned(), what, expected, found })
    };
    let owner = rustix::process::geteuid().as_raw();
    if !found.file_type().is_file() {
        return refuse("kind", "a plain file".to_owned(), format!("{:?}", found.file_type()));
    }
    if found.uid() != owner {
        return refuse("owner", format!("user {owner}, who reads it"), format!("user {}", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return refuse("mode", "0600 or 0400".to_owned(), format!("{:04o}", found.mode() & 0o7777));
    }
    if found.len() != FILE_SIZE as u64 {
        return refuse("size", format!("{FILE_SIZE} bytes"), format!("{} bytes", found.len()));
    }
    Ok(())
}

fn parse(path: &Path, text: &[u8; FILE_SIZE]) -> Result<Key, KeyError> {
    let refuse = |what, expected: &str, found: String| KeyError::File {
        path: path.to_owned(),
        what,
        expected: expected.to_owned(),
        found,
    };
    let (tag, rest) = text.split_at(TAG.len());
    let (id, rest) = rest.split_at(16);
    let (newline, rest) = rest.split_at(1);
    let (digits, end) = rest.split_at(2 * KEY_SIZE);
    if tag != TAG.as_bytes() || newline != b"\n" || end != b"\n" {
        return Err(refuse(
            "layout",
            "two lines, the first starts with \"gdd-key 1 \"",
            "another".to_owned(),
        ));
    }
    let mut secret = Zeroizing::new([0; KEY_SIZE]);
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        let wrong = || refuse("second line", "64 hex digits in lower case", "another character".to_owned());
        *byte = digit(pair[0]).ok_or_else(wrong)? << 4 | digit(pair[1]).ok_or_else(wrong)?;
    }
    let key = Key::from_secret(&secret)?;
    if key.id().to_string().as_bytes() != id {
        let found = String::from_utf8_lossy(id).into_owned();
        return Err(refuse("key id", &format!("{}, as the second line has it", key.id()), found));
    }
    Ok(key)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

fn raw(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("flags of open fit an int")
}

fn io_error(path: &Path, verb: &'static str, source: io::Error) -> KeyError {
    KeyError::Io { path: path.to_owned(), verb, source }
}
