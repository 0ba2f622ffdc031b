//! `gdd put`: store a stream. It is there whole, under its name and durable, or not at all.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use gdd_engine::ingest::{Put, PutSummary};
use gdd_engine::options::Options;
use serde::Serialize;

use crate::args;
use crate::client::Client;
use crate::control::Request;
use crate::failure::{Failure, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::signals::Signals;
use crate::size::{grouped, show, show_rate};
use crate::tree;

/// The most that the kernel gives a pipe without privileges, in bytes: fewer, longer reads.
const PIPE_SIZE: usize = 1 << 20;

/// What a stream is read from.
enum Source {
    Input,
    File(File, PathBuf, Metadata),
    Directory(PathBuf),
}

/// What `--json` shows.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    summary: PutSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<tree::Totals>,
}

/// Store a stream.
///
/// # Errors
/// The source cannot be read or changed meanwhile, the name is taken, or the store failed; nothing is stored then.
pub fn run(arguments: &args::Put, dir: &Path, options: &Options, daemon: Option<Client>) -> Result<Outcome> {
    let source = Source::open(Path::new(&arguments.source))?;
    let signals = Signals::note()?;
    if let Some(mut client) = daemon {
        let (name, lineage) = (arguments.name.clone(), Some(arguments.lineage()));
        client.begin(Request::Put { name, lineage })?;
        let mut upload = Remote { client, written: 0 };
        let totals = bring(&mut upload, source, dir, &signals)?;
        let written = upload.written;
        let mut outcome = upload.client.finish()?;
        if outcome.json["bytes"].as_u64() != Some(written) {
            let (name, stored) = (&arguments.name, &outcome.json["bytes"]);
            let why = format!(
                "{written} bytes were sent, and {stored} are stored as {name:?}: remove that, and report this"
            );
            return Err(Failure::Failed(why));
        }
        if let (Some(totals), serde_json::Value::Object(fields)) = (&totals, &mut outcome.json) {
            fields.insert("tree".to_owned(), serde_json::json!(totals));
        }
        return Ok(outcome.with_notes(left_out(totals.as_ref(), dir)));
    }
    let (answer, mut notes) = super::writing(dir, options, |store| {
        let mut put = store.put_with(&arguments.name, arguments.options())?;
        let tree = bring(&mut put, source, dir, &signals)?;
        Ok(Answer { summary: put.finish()?, tree })
    })?;
    notes.extend(left_out(answer.tree.as_ref(), dir));
    let text = text(&answer.summary);
    Ok(Outcome::new(&answer, text)?.with_notes(notes))
}

/// What of a tree was left out.
fn left_out(totals: Option<&tree::Totals>, dir: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(totals) = totals {
        if totals.sockets_left_out > 0 {
            notes.push(format!("sockets left out: {}", totals.sockets_left_out));
        }
        if totals.store_left_out {
            notes.push(format!("the store itself, {}, was left out", dir.display()));
        }
    }
    notes
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            if io::stdin().is_terminal() {
                let what = "standard input is a terminal; name a file or a directory, or pipe something in";
                return Err(Failure::Usage(what.to_owned()));
            }
            return Ok(Self::Input);
        }
        let kind = std::fs::metadata(path).map_err(Failure::file("read", path))?.file_type();
        if kind.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        if kind.is_socket() {
            let what = format!("{} is a socket; name a file or a directory", path.display());
            return Err(Failure::Usage(what));
        }
        let file = File::open(path).map_err(Failure::file("open", path))?;
        let meta = file.metadata().map_err(Failure::file("look at", path))?;
        Ok(Self::File(file, path.to_owned(), meta))
    }

    /// Bytes that will come, where the system knows.
    fn total(&self) -> Option<u64> {
        match self {
            Self::File(_, _, meta) if meta.is_file() => Some(meta.len()),
            _ => None,
        }
    }
}

/// Where a stream goes: a store, or the daemon that has it open.
trait Upload {
    fn written(&self) -> u64;
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    fn read_from(&mut self, source: &mut dyn Read, progress: &mut dyn FnMut(u64)) -> Result<u64>;
}

impl Upload for Put {
    fn written(&self) -> u64 {
        Self::written(self)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(Self::write(self, bytes)?)
    }

    fn read_from(&mut self, source: &mut dyn Read, progress: &mut dyn FnMut(u64)) -> Result<u64> {
        Ok(Self::read_from(self, source, &mut |report| progress(report.done))?)
    }
}

/// A stream on its way to the daemon.
struct Remote {
    client: Client,
    written: u64,
}

impl Upload for Remote {
    fn written(&self) -> u64 {
        self.written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.client.write(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn read_from(&mut self, source: &mut dyn Read, progress: &mut dyn FnMut(u64)) -> Result<u64> {
        let (mut buffer, mut count) = (vec![0; PIPE_SIZE], 0);
        loop {
            let len = source.read(&mut buffer).map_err(|error| Failure::Failed(error.to_string()))?;
            if len == 0 {
                return Ok(count);
            }
            self.write(&buffer[..len])?;
            count += len as u64;
            progress(count);
        }
    }
}

/// Bring all of `source`.
fn bring(
    put: &mut dyn Upload,
    source: Source,
    dir: &Path,
    signals: &Signals,
) -> Result<Option<tree::Totals>> {
    let bar = Bar::bytes("store", source.total());
    let mut sink = PutSink { put, bar: &bar, signals };
    let mut totals = None;
    match source {
        Source::Input => {
            let input = io::stdin().lock();
            let _ = rustix::pipe::fcntl_setpipe_size(&input, PIPE_SIZE); // Only for speed; it may be no pipe.
            sink.read_watched(&mut Plain(input.as_fd()), Some(input.as_fd()), Path::new("standard input"))?;
        }
        Source::File(mut file, path, before) => {
            let watched = file.try_clone().map_err(Failure::file("open", &path))?;
            let count = sink.read_watched(&mut file, Some(watched.as_fd()), &path)?;
            let after = file.metadata().map_err(Failure::file("look at", &path))?;
            let stamp = |meta: &Metadata| (meta.len(), meta.mtime(), meta.mtime_nsec());
            if before.is_file() && (count != before.len() || stamp(&before) != stamp(&after)) {
                return Err(Failure::Failed(format!(
                    "{} changed while it was read; nothing was stored: stop its writer, or read a snapshot",
                    path.display()
                )));
            }
        }
        Source::Directory(path) => {
            let own = std::fs::metadata(dir).ok().map(|meta| (meta.dev(), meta.ino()));
            totals = Some(tree::write(&path, own, &mut sink)?);
        }
    }
    signals.check()?;
    bar.step("commit");
    Ok(totals)
}

/// Brings bytes into a stream of the store, shows how far it is, and stops when asked to.
struct PutSink<'a> {
    put: &'a mut dyn Upload,
    bar: &'a Bar,
    signals: &'a Signals,
}

impl PutSink<'_> {
    /// Read to the end. Where `watched` is given, a signal ends the wait for a slow source.
    fn read_watched(
        &mut self,
        source: &mut dyn Read,
        watched: Option<BorrowedFd<'_>>,
        place: &Path,
    ) -> Result<u64> {
        let mut guarded = Guarded { source, watched, place, signals: self.signals, failure: None };
        let before = self.put.written();
        let read = self.put.read_from(&mut guarded, &mut |done| self.bar.set(before + done));
        match (read, guarded.failure) {
            (_, Some(failure)) => Err(failure),
            (read, None) => read,
        }
    }
}

impl tree::Sink for PutSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.signals.check()?;
        self.put.write(bytes)
    }

    fn read_from(&mut self, source: &mut dyn Read, place: &Path) -> Result<u64> {
        self.read_watched(source, None, place)
    }
}

/// A source whose failures keep their own message, and which fails when a signal has come.
struct Guarded<'a> {
    source: &'a mut dyn Read,
    watched: Option<BorrowedFd<'a>>,
    place: &'a Path,
    signals: &'a Signals,
    failure: Option<Failure>,
}

impl Guarded<'_> {
    fn try_read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            if let Some(file) = self.watched {
                self.signals.wait_readable(file).map_err(Failure::file("wait for", self.place))?;
            }
            self.signals.check()?;
            match self.source.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(Failure::file("read", self.place)),
            }
        }
    }
}

impl Read for Guarded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer).map_err(|failure| {
            self.failure = Some(failure);
            io::Error::other("the source failed")
        })
    }
}

/// Reads a descriptor without the buffer of `std::io::Stdin`.
struct Plain<'a>(BorrowedFd<'a>);

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, buffer)?)
    }
}

/// For people.
pub fn text(summary: &PutSummary) -> String {
    let ratio = match summary.new_bytes {
        0 => "nothing was new".to_owned(),
        _ => format!("ratio {:.2}", summary.dedup_ratio),
    };
    let tuned = match summary.chunk_size_switch {
        Some(_) => format!("chunk sizes: {}\n", summary.chunk_size_why),
        None => String::new(),
    };
    let slices = match &summary.slices {
        Some(slices) if slices.bytes > 0 => format!(
            "changed in place: {} in {} of slices of older chunks\n",
            show(slices.bytes_changed),
            show(slices.bytes)
        ),
        _ => String::new(),
    };
    let again = match summary.rewritten_bytes {
        0 => String::new(),
        bytes => format!("stored again to be restored faster: {}\n", show(bytes)),
    };
    format!(
        "stored {}: {} bytes ({}), {} new in {} of {} chunks, {} in containers, {ratio}\n\
         {:.2} s, {}\n{tuned}{slices}{again}",
        summary.name,
        grouped(summary.bytes),
        show(summary.bytes),
        show(summary.new_bytes),
        grouped(summary.new_chunks),
        grouped(summary.chunks),
        show(summary.stored_bytes),
        summary.seconds,
        show_rate(summary.throughput_bytes_per_second),
    )
}
