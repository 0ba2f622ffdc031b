//! A sealed set: a store of its own that is finished, and a list of its files with their BLAKE3, by which somebody far
//! away finds that all of it has come and nothing has changed.
//!
//! The list is what `b3sum` prints, so that a set can be checked without gdd; see FORMAT.md, "Sealed sets".
//!
//! # Invariants
//! - The list is written last, and durably: a set without one is unfinished and never taken for whole.
//! - A set is whole when each file of the list is there with its content, and no other file is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write as _};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use crate::error::{Error, Result};
use crate::ids::ContainerId;
use crate::index::rocks::RocksIndex;
use crate::index::{ContainerRow, Index};
use crate::options::Access;
use crate::paths::Paths;
use crate::store::{self, Store};

/// The list of a set's files.
pub const SEAL: &str = "SEAL";

/// Bytes of memory for reading the index once.
const INDEX_CACHE: usize = 8 << 20;

/// Bytes that are read at once.
const PART: usize = 1 << 20;

/// Threads that read at most: more only fight for the disk.
const THREADS_MAX: usize = 8;

/// What a set is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sealed {
    /// BLAKE3 of its list: two sets with the same are the same, byte for byte.
    pub seal: String,
    /// Its files, without the list.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Close `store`, and seal it. `told` hears of bytes that are done.
///
/// # Errors
/// The store failed, or the disk refused: the set is unfinished.
pub fn seal(store: Store, told: &mut dyn FnMut(u64)) -> Result<Sealed> {
    let (paths, id) = (store.core().paths.clone(), store.core().store);
    store.close()?;
    let rows = RocksIndex::open_read_only(&paths.index(), id, INDEX_CACHE)?.containers()?;
    strip(&paths, &rows)?;
    let mut list = String::new();
    let mut sealed = Sealed { seal: String::new(), files: 0, bytes: 0 };
    let told = &mut |bytes| {
        told(bytes);
        true
    };
    for (name, (hash, bytes)) in digests(paths.root(), &files(&paths)?, told)? {
        let path = paths.root().join(&name);
        File::open(&path).and_then(|file| file.sync_all()).map_err(Error::io("sync", &path))?;
        let _ = writeln!(list, "{hash}  {name}"); // A string takes everything.
        sealed.files += 1;
        sealed.bytes += bytes;
    }
    sealed.seal = blake3::hash(list.as_bytes()).to_hex().to_string();
    let path = paths.root().join(SEAL);
    let mut file = File::create_new(&path).map_err(Error::io("create", &path))?;
    file.write_all(list.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::io("write", &path))?;
    File::open(paths.root()).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", paths.root()))?;
    Ok(sealed)
}

/// Whether the set in `dir` is whole and unchanged. `told` hears of bytes that are done, and says whether to go on.
///
/// # Errors
/// It is not: the message names the first file that tells; or [`Error::Cancelled`].
pub fn verify(dir: &Path, told: &mut dyn FnMut(u64) -> bool) -> Result<Sealed> {
    let (paths, path) = (Paths::new(dir), dir.join(SEAL));
    let _lock = store::lock(&paths, Access::ReadOnly)?;
    let list = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let why = "it has no list of its files, so it is no set, or one whose export did not end";
            return Err(refuse(&path, why.to_owned()));
        }
        list => list.map_err(Error::io("read", &path))?,
    };
    let mut listed = BTreeMap::new();
    let text = std::str::from_utf8(&list).map_err(|error| refuse(&path, error.to_string()))?;
    if !text.ends_with('\n') {
        return Err(refuse(&path, "its end is missing".to_owned()));
    }
    for line in text.lines() {
        let pair = line.split_once("  ").filter(|(hash, name)| hash.len() == 64 && !name.is_empty());
        let (hash, name) = pair.ok_or_else(|| refuse(&path, format!("its line {line:?} is none")))?;
        listed.insert(name.to_owned(), hash.to_owned());
    }
    let there = files(&paths)?;
    if let Some(name) = listed.keys().find(|name| !there.contains(*name)) {
        return Err(refuse(&dir.join(name), "it is missing".to_owned()));
    }
    if let Some(name) = there.iter().find(|name| !listed.contains_key(*name)) {
        return Err(refuse(&dir.join(name), "it came after the set was sealed".to_owned()));
    }
    let seal = blake3::hash(&list).to_hex().to_string();
    let mut sealed = Sealed { seal, files: there.len() as u64, bytes: 0 };
    for (name, (found, bytes)) in digests(dir, &there, told)? {
        let hash = &listed[&name];
        if found != *hash {
            let why = format!("its BLAKE3 is {found}, and was {hash} when the set was sealed");
            return Err(refuse(&dir.join(name), why));
        }
        sealed.bytes += bytes;
    }
    Ok(sealed)
}

fn refuse(path: &Path, why: String) -> Error {
    Error::corrupt(path, 0, "sealed set", "each file as it was sealed".to_owned(), why)
}

/// Take away what only a store that grows needs: room that was reserved, and filters, which are made anew.
fn strip(paths: &Paths, rows: &[(ContainerId, ContainerRow)]) -> Result<()> {
    for directory in [paths.pool(), paths.filter()] {
        for entry in fs::read_dir(&directory).map_err(Error::io("list", &directory))? {
            let path = entry.map_err(Error::io("list", &directory))?.path();
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        File::open(&directory).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", &directory))?;
    }
    for (id, row) in rows {
        let path = paths.container(*id);
        let file = File::options().write(true).open(&path).map_err(Error::io("open", &path))?;
        let len = file.metadata().map_err(Error::io("look at", &path))?.len();
        if len > row.durable_len {
            file.set_len(row.durable_len).map_err(Error::io("truncate", &path))?;
        }
    }
    Ok(())
}

/// The files of a set by name, relative to it, without its list and its lock.
fn files(paths: &Paths) -> Result<BTreeSet<String>> {
    let (mut files, mut folders) = (BTreeSet::new(), vec![paths.root().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let entry = entry.map_err(Error::io("list", &folder))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(Error::io("look at", &path))?;
            if kind.is_dir() {
                folders.push(path);
            } else if path != paths.lock() && path != paths.root().join(SEAL) {
                let name = path.strip_prefix(paths.root()).ok().and_then(Path::to_str);
                let name = name.filter(|name| kind.is_file() && !name.contains(['\n', '\\']));
                let name = name.ok_or_else(|| refuse(&path, "it is no file of a set".to_owned()))?;
                files.insert(name.to_owned());
            }
        }
    }
    Ok(files)
}

/// BLAKE3 in hex and length of the files called `names`, by as many threads as there are cores. `told` hears of bytes
/// that are done, and says whether to go on.
fn digests(
    root: &Path,
    names: &BTreeSet<String>,
    told: &mut dyn FnMut(u64) -> bool,
) -> Result<BTreeMap<String, (String, u64)>> {
    let (names, stop) = (Mutex::new(names.iter()), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (names, stop, sender) = (&names, &stop, sender.clone());
            scope.spawn(move || {
                let next = || names.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some(name) = next().filter(|_| !stop.load(Ordering::Relaxed)) {
                    let told =
                        &mut |bytes| sender.send(News::Bytes(bytes)).is_ok() && !stop.load(Ordering::Relaxed);
                    let digest = digest(&root.join(name), told);
                    let _ = sender.send(News::Digest(name, digest)); // Somebody listens to the end.
                }
            });
        }
        drop(sender);
        let (mut digests, mut trouble) = (BTreeMap::new(), None);
        for news in receiver {
            match news {
                News::Bytes(bytes) if !told(bytes) => trouble = trouble.or(Some(Error::Cancelled)),
                News::Bytes(_) => {}
                News::Digest(name, Ok(digest)) => drop(digests.insert(name.clone(), digest)),
                News::Digest(_, Err(error)) => trouble = trouble.or(Some(error)),
            }
            stop.store(trouble.is_some(), Ordering::Relaxed);
        }
        trouble.map_or(Ok(digests), Err)
    })
}

/// What a thread says.
enum News<'a> {
    Bytes(u64),
    Digest(&'a String, Result<(String, u64)>),
}

fn digest(path: &Path, told: &mut dyn FnMut(u64) -> bool) -> Result<(String, u64)> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let (mut hasher, mut part, mut len) = (blake3::Hasher::new(), vec![0; PART], 0);
    loop {
        let count = match file.read(&mut part) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            count => count.map_err(Error::io("read", path))?,
        };
        if count == 0 {
            return Ok((hasher.finalize().to_hex().to_string(), len));
        }
        hasher.update(&part[..count]);
        len += count as u64;
        if !told(count as u64) {
            return Err(Error::Cancelled);
        }
    }
}
