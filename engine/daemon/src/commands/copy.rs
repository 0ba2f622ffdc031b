//! `gdd copy`: the streams of one store into another, of which only missing chunks travel. A store that the daemon has
//! open is copied by the daemon ([`crate::serve`]), which works beside its jobs.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use gdd_engine::copy::{Copier, StreamCopy};
use gdd_engine::error::Error;
use gdd_engine::index::RecipeRow;
use gdd_engine::options::Options;
use gdd_engine::scrub::{ScrubOptions, ScrubReport};
use gdd_engine::store::Store;
use serde::Serialize;

use crate::args;
use crate::args::Which;
use crate::client::Client;
use crate::control::Request;
use crate::control::order::{Kind, Order, Seen, Way};
use crate::failure::{CODE_DAMAGE, CODE_FAILED, Failure, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::signals::Signals;
use crate::size::{grouped, show};

use super::scrub;

/// A stream that was not copied.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    name: String,
    why: String,
    #[serde(skip)]
    code: u8,
}

/// What was copied.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Copied {
    /// Streams that were asked for.
    streams: u64,
    /// Streams that came to be there.
    copied: u64,
    /// Streams that were there, with the same content.
    present: u64,
    /// Those of them that had lost chunks, or their recipe, and were given them again.
    healed: u64,
    /// Those of them whose recipe could not be read there, and was written anew.
    renewed: u64,
    /// What was found when all of the other store was read first, if it was.
    scrub: Option<ScrubReport>,
    /// Streams that were removed from where they come meanwhile.
    gone: u64,
    /// Streams that are not there now.
    pub(super) failed: Vec<Failed>,
    /// Bytes of the streams that were copied or checked.
    bytes: u64,
    sent_chunks: u64,
    sent_bytes: u64,
    seconds: f64,
    /// A signal came before the end.
    pub(super) stopped: bool,
}

/// Hears how many bytes are done, and of how many; says whether to go on.
pub(crate) type Watch<'a> = dyn FnMut(u64, u64) -> bool + 'a;

/// Copy.
///
/// # Errors
/// One of the stores cannot be opened, a name is unknown, or the other store failed.
pub fn run(arguments: &args::Copy, common: &args::Common) -> Result<Outcome> {
    demand_two(&arguments.from, &arguments.to)?;
    let (from, to, which, check) = (&arguments.from, &arguments.to, &arguments.which, arguments.check);
    if !arguments.scrub
        && let Some(outcome) = served(common, from, to, which, Kind::Copy { check })?
    {
        return Ok(outcome);
    }
    let signals = Signals::note()?;
    let options = half(&common.options());
    super::reading(from, &options, |from| {
        let asked = wanted(from, which)?;
        if !arguments.scrub {
            return into(from, to, &asked, check, &options, &mut watching(&signals), signal_code(&signals));
        }
        let (copied, notes) = super::writing(to, &options, |to| {
            let scrub = Some(scrub_there(to, &signals)?);
            let copied = between(from, to, &asked, true, &mut watching(&signals))?;
            Ok(Copied { scrub, ..copied })
        })?;
        Ok(copied.outcome(signal_code(&signals)())?.with_notes(notes))
    })
}

/// Read all of the store that gets copies, so that it knows what it has lost.
fn scrub_there(to: &Store, signals: &Signals) -> Result<ScrubReport> {
    let mut bar = Bar::bytes("scrub", None);
    Ok(to.scrub(&ScrubOptions::default(), &mut |progress| bar.follow(progress), &mut |wait| {
        std::thread::sleep(wait);
        signals.check().is_ok()
    })?)
}

/// Have the daemon do it, if it has one of the two open; nothing when it has neither.
pub(super) fn served(
    common: &args::Common,
    from: &Path,
    to: &Path,
    which: &Which,
    kind: Kind,
) -> Result<Option<Outcome>> {
    let socket = common.socket();
    let (client, way, other) = match (Client::of_store(&socket, from), Client::of_store(&socket, to)) {
        (Some(client), _) => (client, Way::Out, to),
        (None, Some(client)) => (client, Way::In, from),
        (None, None) => return Ok(None),
    };
    let order = Order { way, other: Seen::from_here(other)?, which: which.clone(), kind };
    client.ask(Request::Copy(order)).map(Some)
}

/// Copy the streams of `asked` to the store in `to`.
///
/// # Errors
/// It cannot be opened, or failed.
pub(crate) fn into(
    from: &Store,
    to: &Path,
    asked: &Asked,
    check: bool,
    options: &Options,
    watch: &mut Watch<'_>,
    on_stop: impl FnOnce() -> Option<u8>,
) -> Result<Outcome> {
    let (copied, notes) = super::writing(to, options, |to| between(from, to, asked, check, watch))?;
    Ok(copied.outcome(on_stop())?.with_notes(notes))
}

/// A bar on the terminal, and an end with a signal.
pub(super) fn watching(signals: &Signals) -> impl FnMut(u64, u64) -> bool {
    let mut bar = Bar::bytes("copy", None);
    move |done, total| {
        bar.follow_named("copy", done, Some(total));
        signals.check().is_ok()
    }
}

/// The exit code of what a signal has stopped.
pub(super) fn signal_code(signals: &Signals) -> impl FnOnce() -> Option<u8> {
    || signals.check().err().map(|failure| failure.code())
}

/// Two stores share what one may take.
pub(super) fn half(options: &Options) -> Options {
    Options { memory_budget: options.memory_budget / 2, ..options.clone() }
}

/// Refuse a store's copy to itself.
pub(super) fn demand_two(from: &Path, to: &Path) -> Result<()> {
    match (from.canonicalize(), to.canonicalize()) {
        (Ok(from), Ok(to)) if from == to => {
            Err(Failure::Usage(format!("{} is both: name two stores", from.display())))
        }
        _ => Ok(()),
    }
}

/// Streams that somebody asked for.
pub(crate) struct Asked {
    pub(crate) rows: Vec<RecipeRow>,
    /// Those of them that were named: one that is removed before its turn comes is missed.
    named: Vec<String>,
}

/// The streams of `from` that `which` names.
///
/// # Errors
/// A name is unknown, no stream's name begins as was said, or the store cannot be read.
pub(crate) fn wanted(from: &Store, which: &Which) -> Result<Asked> {
    let mut rows = from.list()?;
    if let Some(name) = which.names.iter().find(|name| !rows.iter().any(|row| row.name == **name)) {
        return Err(Error::NoSuchStream(name.clone()).into());
    }
    let has_none = |prefix: &&String| !rows.iter().any(|row| row.name.starts_with(prefix.as_str()));
    if let Some(prefix) = which.prefix.iter().find(has_none) {
        let why = format!("--prefix {prefix}: no stream's name begins so; `gdd ls` lists them");
        return Err(Failure::Usage(why));
    }
    rows.retain(|row| which.has(&row.name));
    Ok(Asked { rows, named: which.names.clone() })
}

/// Copy the streams of `asked` from `from` to `to`.
///
/// # Errors
/// `to` failed. A stream that cannot be copied is in the result.
pub(crate) fn between(
    from: &Store,
    to: &Store,
    Asked { rows, named }: &Asked,
    check: bool,
    watch: &mut Watch<'_>,
) -> Result<Copied> {
    let started = Instant::now();
    let numbers = numbers(&to.list()?);
    let mut copied = Copied { streams: rows.len() as u64, ..Copied::default() };
    let (mut done, total) = (0, rows.iter().map(|row| row.logical_bytes).sum());
    let mut copier = Copier::new(from, to, check)?;
    for row in rows {
        let before = done;
        let result = taken(&numbers, row).map_or(Ok(()), Err).and_then(|()| {
            copier.copy(row, &mut |bytes| {
                done += bytes;
                watch(done, total)
            })
        });
        done = before + row.logical_bytes;
        match result {
            Ok(stream) => copied.add(stream),
            Err(Error::Cancelled) => {
                copied.stopped = true;
                break;
            }
            Err(_) if from.core().index.recipe(&row.name)?.is_none_or(|now| now.recipe != row.recipe) => {
                copied.gone += 1;
                if named.contains(&row.name) {
                    let why = "it was removed before its turn came".to_owned();
                    copied.failed.push(Failed { name: row.name.clone(), why, code: CODE_FAILED });
                }
            }
            Err(error) => {
                to.core().poison.check()?;
                let code = error.exit_code();
                copied.failed.push(Failed { name: row.name.clone(), why: error.to_string(), code });
            }
        }
        if !watch(done, total) {
            copied.stopped = true;
            break;
        }
    }
    copied.seconds = started.elapsed().as_secs_f64();
    Ok(copied)
}

/// The number of a stream of storage mode, by which volumes refer to it.
pub(crate) fn number(row: &RecipeRow) -> Option<u64> {
    u64::from_str_radix(row.name.strip_prefix("sd/")?.split_once('/')?.1, 16).ok()
}

fn numbers(rows: &[RecipeRow]) -> HashMap<u64, String> {
    rows.iter().filter_map(|row| Some((number(row)?, row.name.clone()))).collect()
}

/// Why the stream cannot be there, if so.
fn taken(numbers: &HashMap<u64, String>, row: &RecipeRow) -> Option<Error> {
    let other = numbers.get(&number(row)?).filter(|other| **other != row.name)?;
    Some(Error::Invalid(format!(
        "its number is taken there by {other:?}: that store has volumes of its own; copy to a store that has none"
    )))
}

impl Copied {
    fn add(&mut self, stream: StreamCopy) {
        let count = if stream.was_there { &mut self.present } else { &mut self.copied };
        *count += 1;
        self.healed += u64::from(stream.was_there && (stream.sent_chunks > 0 || stream.renewed));
        self.renewed += u64::from(stream.renewed);
        self.bytes += stream.bytes;
        self.sent_chunks += stream.sent_chunks;
        self.sent_bytes += stream.sent_bytes;
    }

    /// The exit code; `on_stop` is that of what has stopped it, if something has.
    pub(super) fn code(&self, on_stop: Option<u8>) -> u8 {
        match on_stop {
            Some(code) if self.stopped => code,
            _ if self.failed.iter().any(|failed| failed.code == CODE_DAMAGE) => CODE_DAMAGE,
            _ if self.failed.is_empty() && !self.stopped => 0,
            _ => CODE_FAILED,
        }
    }

    /// For programs and people.
    pub(crate) fn outcome(&self, on_stop: Option<u8>) -> Result<Outcome> {
        let outcome = Outcome::new(self, self.text())?;
        Ok(Outcome { code: self.code(on_stop), ..outcome })
    }

    /// The stream of `name` is not copied, and why.
    pub(crate) fn refuse(&mut self, name: &str, why: &str) {
        self.streams += 1;
        self.failed.push(Failed { name: name.to_owned(), why: why.to_owned(), code: CODE_FAILED });
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Failed { name, why, .. } in &self.failed {
            let _ = writeln!(text, "NOT COPIED   {name}: {why}"); // A string takes everything.
        }
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<12} {value}");
        };
        row("streams", grouped(self.streams));
        row("copied", format!("{}, now there and durable", grouped(self.copied)));
        row("present", format!("{}, there before", grouped(self.present)));
        if let Some(report) = &self.scrub {
            row("scrubbed", scrub::line(report));
        }
        if self.healed > 0 {
            let (healed, renewed) = (grouped(self.healed), grouped(self.renewed));
            row("healed", format!("{healed} of them, which had lost chunks, or their recipe ({renewed})"));
        }
        if self.gone > 0 {
            row("gone", format!("{}, removed before their turn came", grouped(self.gone)));
        }
        let (chunks, sent) = (grouped(self.sent_chunks), show(self.sent_bytes));
        row("sent", format!("{chunks} chunks with {sent}, of {}", show(self.bytes)));
        if !self.failed.is_empty() {
            row("FAILED", grouped(self.failed.len() as u64));
        }
        if self.stopped {
            row("stopped", "before it was done; run again, it goes on".to_owned());
        }
        row("took", format!("{:.1} s", self.seconds));
        text
    }
}
