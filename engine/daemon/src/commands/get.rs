//! `gdd get`: give a stream back. Reading and verifying run beside writing: the slower sets the pace.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use gdd_engine::get::Get;
use gdd_engine::options::Options;
use gdd_engine::store::Store;
use gdd_uring::buffer::{IoBuf, Shared};
use serde_json::json;

use super::restore::Target;
use crate::args;
use crate::client::Client;
use crate::control::Request;
use crate::failure::{Failure, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::signals::Signals;
use crate::size::{grouped, show, show_rate, to_float};

/// Bytes handed to the writer at once: few hand-overs, and long writes.
const BATCH_SIZE: usize = 1 << 20;
/// Chunks handed over at once, at most; the kernel takes 1024 pieces in one write.
const BATCH_COUNT: usize = 512;
/// Batches between reader and writer.
const BATCHES: usize = 4;
/// Bytes taken from the daemon at once; also the length of the shortest hole made of them.
const PART_SIZE: usize = 256 << 10;

/// Give a stream back.
///
/// # Errors
/// No such stream, damage, or the output failed. A file named with `-o` appears only when all of it is there.
pub fn run(
    arguments: &args::Get,
    dir: &Path,
    options: &Options,
    as_json: bool,
    daemon: Option<Client>,
) -> Result<Outcome> {
    let output = arguments.output.as_deref().filter(|path| *path != Path::new("-"));
    if output.is_none() && as_json {
        let what = "standard output carries the stream itself; with --json, name a file with -o";
        return Err(Failure::Usage(what.to_owned()));
    }
    let started = Instant::now();
    let bytes = match daemon {
        Some(client) => restore_remote(client, &arguments.name, output)?,
        None => super::reading(dir, options, |store| restore(store, &arguments.name, output))?,
    };
    let Some(output) = output else {
        return Outcome::new(&json!({}), String::new());
    };
    let seconds = started.elapsed().as_secs_f64().max(1e-9);
    let rate = to_float(bytes) / seconds;
    let object = json!({
        "name": arguments.name, "output": output.to_string_lossy(), "bytes": bytes, "seconds": seconds,
        "throughput_bytes_per_second": rate,
    });
    let text = format!(
        "restored {} to {}: {} bytes ({}) in {seconds:.2} s, {}\n",
        arguments.name,
        output.display(),
        grouped(bytes),
        show(bytes),
        show_rate(rate)
    );
    Outcome::new(&object, text)
}

/// The same from the daemon, which reads and verifies meanwhile.
fn restore_remote(mut client: Client, name: &str, output: Option<&Path>) -> Result<u64> {
    let bytes = client.begin(Request::Get { name: name.to_owned() })?.unwrap_or_default();
    let signals = output.map(|_| Signals::note()).transpose()?;
    let mut target = output.map_or_else(Target::stdout, Target::file)?;
    let bar = Bar::bytes("restore", Some(bytes));
    let mut count = 0;
    {
        let mut data = client.data();
        loop {
            signals.as_ref().map_or(Ok(()), Signals::check)?;
            let mut buffer = IoBuf::zeroed(PART_SIZE);
            let mut len = 0;
            let part = loop {
                match data.read(&mut buffer[len..]) {
                    Ok(0) => break Ok(()),
                    Ok(more) => len += more,
                    Err(error) => break Err(error),
                }
            };
            match part {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => break,
                Err(error) => return Err(Failure::Failed(format!("the daemon ended early: {error}"))),
                Ok(()) if len == 0 => break,
                Ok(()) => target.write(&[buffer.freeze().slice(0..len)])?,
            }
            count += len as u64;
            bar.set(count);
        }
    }
    client.result()?; // The daemon's failure, if it had one, is the cause of an early end.
    if count != bytes {
        return Err(Failure::Failed(format!("{name} gave {count} bytes instead of {bytes}; run `gdd fsck`")));
    }
    target.finish()?;
    Ok(bytes)
}

fn restore(store: &Store, name: &str, output: Option<&Path>) -> Result<u64> {
    let mut get = store.get(name)?;
    // Only a half-written file needs cleaning up; a pipe ends as every filter's does.
    let signals = output.map(|_| Signals::note()).transpose()?;
    let mut target = output.map_or_else(Target::stdout, Target::file)?;
    let bytes = get.bytes();
    let bar = Bar::bytes("restore", Some(bytes));
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Vec<Shared>>(BATCHES);
        let writer = scope.spawn(move || -> Result<Target> {
            for batch in receiver {
                target.write(&batch)?;
            }
            Ok(target)
        });
        let read = read(&mut get, &sender, &bar, signals.as_ref());
        drop(sender);
        let target = writer.join().map_err(|_| Failure::Failed("the writing thread panicked".to_owned()))?;
        // The writer's failure is the cause when both have one.
        let target = target?;
        let count = read?;
        if count != bytes {
            let what = format!("{name} gave {count} bytes instead of {bytes}; run `gdd fsck`");
            return Err(Failure::Failed(what));
        }
        target.finish()?;
        Ok(bytes)
    })
}

/// Hand over all chunks in order; returns their length. Stops early when the writer has.
fn read(
    get: &mut Get,
    sender: &SyncSender<Vec<Shared>>,
    bar: &Bar,
    signals: Option<&Signals>,
) -> Result<u64> {
    let (mut count, mut batch, mut batched) = (0, Vec::new(), 0);
    while let Some(chunk) = get.next()? {
        count += chunk.len() as u64;
        batched += chunk.len();
        batch.push(chunk);
        if batched >= BATCH_SIZE || batch.len() >= BATCH_COUNT {
            signals.map_or(Ok(()), Signals::check)?;
            bar.set(count);
            batched = 0;
            if sender.send(std::mem::take(&mut batch)).is_err() {
                return Ok(count);
            }
        }
    }
    let _ = sender.send(batch); // A writer that has gone says why itself.
    Ok(count)
}
