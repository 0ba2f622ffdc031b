//! One connection to the control socket: hello, one request, its answer.

use std::io::{BufReader, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gdd_daemon::jobs::JobReport;
use gdd_engine::ingest::PutOptions;
use gdd_engine::progress::Progress;
use gdd_engine::scrub::ScrubOptions;
use gdd_engine::vacuum::VacuumOptions;
use serde_json::json;

use super::state::State;
use super::{copy, fsck, metrics, scrub, status, vacuum};
use crate::commands::{ls, put, rm, stats};
use crate::control::{self, Asked, Frames, Hello, PROTOCOL, REQUEST_MAX, Reply, Request};
use crate::failure::{Failure, Result};
use crate::output::Outcome;

/// A client that has not asked for anything by then is cut off.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Buffer of either direction, in bytes.
const BUFFER_SIZE: usize = 256 << 10;

/// Answer one client.
///
/// # Errors
/// It has gone, or speaks another language; it was told why.
pub fn answer(state: &State, number: u64, stream: &UnixStream) -> std::io::Result<()> {
    let (mut from, mut to) =
        (BufReader::with_capacity(BUFFER_SIZE, stream), BufWriter::with_capacity(BUFFER_SIZE, stream));
    let hello = Hello {
        gdd: "control".to_owned(),
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: state.dir.clone(),
        ready: state.store().is_ok(),
    };
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    control::send(&mut to, &hello)?;
    let asked = match control::receive::<Asked>(&mut from, REQUEST_MAX) {
        Ok(asked) => asked,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return refuse(&mut to, &Failure::Usage(format!("the request was not understood: {error}")));
        }
        Err(error) => return Err(error),
    };
    if asked.protocol != PROTOCOL {
        let what = format!("expected control protocol {PROTOCOL}, found {}", asked.protocol);
        return refuse(&mut to, &Failure::Remote(5, format!("{what}; use the daemon's own version of gdd")));
    }
    stream.set_read_timeout(None)?;
    state.set_busy(number);
    match perform(state, asked.request, &mut from, &mut to) {
        Ok(outcome) => control::send(&mut to, &Reply::Result(outcome)),
        Err(failure) => refuse(&mut to, &failure),
    }
}

/// Say why not.
///
/// # Errors
/// The client has gone.
pub fn refuse(to: &mut impl Write, failure: &Failure) -> std::io::Result<()> {
    tracing::info!("refused a request: {}", failure.line());
    control::send(to, &Reply::Error { code: failure.code(), message: failure.line(), remedy: None })
}

fn perform(
    state: &State,
    request: Request,
    from: &mut BufReader<&UnixStream>,
    to: &mut BufWriter<&UnixStream>,
) -> Result<Outcome> {
    match request {
        Request::Status { histograms } => status::outcome(state, histograms),
        Request::Metrics => {
            let text = metrics::page(state).to_string();
            Outcome::new(&json!({ "content_type": metrics::CONTENT_TYPE, "metrics": text }), text.clone())
        }
        Request::Shutdown => {
            state.stop.store(true, Ordering::Release);
            Outcome::new(&json!({ "stopping": true }), "stopping\n".to_owned())
        }
        Request::Ls => ls::outcome(&*state.store()?),
        Request::Stats => stats::outcome(&*state.store()?, &state.dir),
        Request::Rm { name } => rm::outcome(&*state.store()?, &name),
        Request::Put { name, lineage } => take(state, &name, lineage, from, to),
        Request::Get { name } => give(state, &name, to),
        Request::Vacuum { dry_run, dead_percent, rate } => {
            let config = &state.config.vacuum;
            let rate = rate.or(Some(config.rate.0));
            let dead_share = f64::from(dead_percent) / 100.0;
            let options = VacuumOptions { dead_share, rate, dry_run, broken_only: false };
            vacuum::run(state, &options, &mut |progress| tell(to, progress))
        }
        Request::Scrub { report, rate, older_than } => {
            let rate = rate.or(Some(state.config.scrub.rate.0));
            let options = ScrubOptions { rate, older_than: Duration::from_secs(older_than) };
            let options = (!report).then_some(&options);
            scrub::run(state, options, &mut |progress| tell(to, progress))
        }
        Request::Fsck { level } => fsck::run(state, level, &mut |progress| tell(to, progress)),
        Request::Copy(order) => copy::run(state, &order, &mut |progress| tell(to, progress)),
    }
}

/// Say how far it is; whether the client is still there.
fn tell(to: &mut BufWriter<&UnixStream>, progress: Progress) -> bool {
    let Progress { stage, done, total } = progress;
    control::send(to, &Reply::Progress { stage: stage.to_owned(), done, total }).is_ok()
}

fn take(
    state: &State,
    name: &str,
    lineage: Option<String>,
    from: &mut BufReader<&UnixStream>,
    to: &mut BufWriter<&UnixStream>,
) -> Result<Outcome> {
    let store = state.store()?;
    let mut put = store.put_with(name, PutOptions { lineage, ..PutOptions::default() })?;
    control::send(to, &Reply::Progress { stage: "data".to_owned(), done: 0, total: None }).map_err(gone)?;
    // Whatever ends the data early drops the put, and so nothing of the name remains.
    put.read_from(&mut Frames::new(from), &mut |_| ())?;
    let summary = put.finish()?;
    state.jobs.note(JobReport {
        job: summary.name.clone(),
        logical_bytes: summary.bytes,
        wire_bytes: summary.bytes,
        new_bytes: summary.new_bytes,
        stored_bytes: summary.stored_bytes,
        ended: store.core().unix_seconds(),
        ..JobReport::default()
    });
    Outcome::new(&summary, put::text(&summary))
}

fn give(state: &State, name: &str, to: &mut BufWriter<&UnixStream>) -> Result<Outcome> {
    let mut get = state.store()?.get(name)?;
    let bytes = get.bytes();
    control::send(to, &Reply::Progress { stage: "data".to_owned(), done: 0, total: Some(bytes) })
        .map_err(gone)?;
    loop {
        match get.next() {
            Ok(Some(chunk)) => {
                control::send_data(to, &chunk).map_err(gone)?;
                state.jobs.gave_back(chunk.len() as u64);
            }
            Ok(None) => break,
            Err(error) => {
                control::end_data(to, false).map_err(gone)?;
                return Err(error.into());
            }
        }
    }
    control::end_data(to, true).map_err(gone)?;
    Outcome::new(&json!({ "name": name, "bytes": bytes }), String::new())
}

fn gone(error: std::io::Error) -> Failure {
    Failure::Failed(format!("the client has gone: {error}"))
}
