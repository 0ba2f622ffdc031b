//! The commands, thin: each opens what it needs, lets the engine work, and says what came of it.

mod about;
mod blamed;
pub mod copy;
pub mod export;
pub mod fsck;
mod get;
mod init;
mod key;
pub mod ls;
pub mod put;
mod rebuild_index;
mod reconcile;
mod rehydrate;
mod restore;
pub mod rm;
pub mod scrub;
pub mod stats;
mod status;
pub mod vacuum;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;

use crate::args::{Cli, Command};
use crate::bench;
use crate::client::Client;
use crate::control::Request;
use crate::failure::{Failure, Result};
use crate::output::Outcome;
use crate::serve;
use crate::tune;

/// Do what was typed.
///
/// # Errors
/// See [`crate::failure::Failure`].
pub fn run(cli: &Cli) -> Result<Outcome> {
    let common = &cli.common;
    let (store, options) = (common.store(), common.options());
    if let Some(request) = plain_request(&cli.command)
        && let Some(client) = Client::of_store(&common.socket(), &store)
    {
        let outcome = client.ask(request)?;
        return match &cli.command {
            Command::Scrub(arguments) => blamed::with_files(outcome, &arguments.volumes),
            _ => Ok(outcome),
        };
    }
    if let Some(what) = for_a_store_at_rest(&cli.command)
        && Client::of_store(&common.socket(), &store).is_some()
    {
        return Err(Failure::Busy(format!(
            "`gdd {what}` needs the store at rest, and the daemon is at work on it: stop it with `systemctl stop gdd`, \
             run this again, and start it; or name a copy of the store with --store. `gdd fsck` and `gdd scrub` check \
             the store meanwhile"
        )));
    }
    match &cli.command {
        Command::Serve(arguments) => serve::run(arguments, common),
        Command::Status(arguments) => status::run(arguments, common),
        Command::Init(arguments) => init::run(arguments, &options),
        Command::Put(arguments) => {
            put::run(arguments, &store, &options, Client::of_store(&common.socket(), &store))
        }
        Command::Get(arguments) => {
            let daemon = Client::of_store(&common.socket(), &store);
            get::run(arguments, &store, &options, common.json, daemon)
        }
        Command::Ls => ls::run(&store, &options),
        Command::Rm { name } => rm::run(name, &store, &options),
        Command::Stats => stats::run(&store, &options),
        Command::Fsck(arguments) => fsck::run(arguments, &store, &options),
        Command::Scrub(arguments) => {
            blamed::with_files(scrub::run(arguments, &store, &options)?, &arguments.volumes)
        }
        Command::Vacuum(arguments) => vacuum::run(arguments, &store, &options),
        Command::RebuildIndex(arguments) => rebuild_index::run(arguments, &store, &options),
        Command::Reconcile(arguments) => reconcile::run(arguments, common, &store, &options),
        Command::Copy(arguments) => copy::run(arguments, common),
        Command::Export(arguments) => export::export(arguments, common),
        Command::Import(arguments) => export::import(arguments, common),
        Command::Rehydrate(arguments) => rehydrate::run(arguments),
        Command::Key(arguments) => key::run(&arguments.action),
        Command::Bench(arguments) => bench::run(arguments, common),
        Command::Tune(arguments) => tune::run(arguments, common),
        Command::Man { directory } => about::manual(directory),
        Command::Completions { shell } => about::completions(*shell, common.json),
    }
}

/// What a running daemon is asked for in place of a command without data.
fn plain_request(command: &Command) -> Option<Request> {
    match command {
        Command::Ls => Some(Request::Ls),
        Command::Stats => Some(Request::Stats),
        Command::Rm { name } => Some(Request::Rm { name: name.clone() }),
        Command::Fsck(arguments) if !arguments.repair => Some(Request::Fsck { level: arguments.level }),
        Command::Scrub(arguments) => Some(arguments.request()),
        Command::Vacuum(arguments) => Some(arguments.request()),
        _ => None,
    }
}

/// What is not done beside the daemon's work: it replaces what the daemon has in memory and in use.
fn for_a_store_at_rest(command: &Command) -> Option<&'static str> {
    match command {
        Command::RebuildIndex(_) => Some("rebuild-index"),
        Command::Fsck(arguments) if arguments.repair => Some("fsck --repair"),
        _ => None,
    }
}

/// Open for reading, use, and close.
pub fn reading<T>(dir: &Path, options: &Options, work: impl FnOnce(&Store) -> Result<T>) -> Result<T> {
    let store = Store::open(dir, Access::ReadOnly, options)?;
    let done = work(&store)?;
    store.close()?;
    Ok(done)
}

/// Refuse that root writes into another user's store: its daemon could not open what root makes there.
fn demand_owner(dir: &Path) -> Result<()> {
    let Ok(meta) = std::fs::metadata(dir) else { return Ok(()) }; // Whoever opens it says what is wrong.
    if meta.uid() == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{} belongs to user {}, whose daemon could not open what root writes there: run this as that user, with \
         `runuser -u gdd -- gdd ...` if that is gdd",
        dir.display(),
        meta.uid()
    )))
}

/// Open for writing, use, and close cleanly, also when the work failed. A close that fails takes nothing back of what
/// the work made durable, so it is only noted.
fn writing<T>(
    dir: &Path,
    options: &Options,
    work: impl FnOnce(&Store) -> Result<T>,
) -> Result<(T, Vec<String>)> {
    demand_owner(dir)?;
    let store = Store::open(dir, Access::ReadWrite, options)?;
    let mut notes = store.notes().to_vec();
    let done = work(&store);
    let closed = store.close();
    let done = done?;
    if let Err(error) = closed {
        notes.push(format!("the store was not closed cleanly, so its next opening takes longer: {error}"));
    }
    Ok((done, notes))
}
