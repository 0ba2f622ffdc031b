//! `gdd serve`: the daemon. It opens the store for writing and answers at its sockets until it is told to stop.
//!
//! Socket -> recovery -> READY -> requests -> STOPPING -> requests end or are cut off -> clean close. The control
//! socket answers `status` during recovery already. A thread a connection: there are few, and they block on the store.

mod copy;
mod fsck;
pub mod metrics;
mod net;
mod notify;
mod scrub;
pub mod service;
mod session;
mod socket;
mod state;
mod status;
mod storage;
pub mod upkeep;
mod vacuum;

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gdd_engine::options::{Access, Options};
use gdd_engine::progress::Gauge;
use gdd_engine::store::Store;
use serde_json::json;

use crate::args::{Common, Serve};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::output::{self, Outcome};
use crate::signals::{self, Signals};
use crate::size;
use notify::Notify;
use state::State;

/// Connections at once; one more is refused.
const CONNECTIONS_MAX: usize = 64;
/// How often the main thread looks for signals.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often systemd hears how far an opening or a stop is, and how many sessions there are.
pub const TELL_EVERY: Duration = Duration::from_secs(5);
/// How often sessions are counted for it.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How long threads may take to notice that their connection was cut.
const CUT_LIMIT: Duration = Duration::from_secs(5);
/// How long a stop may take behind `stop_limit`, before the store is closed.
#[cfg(test)]
pub const AFTER_STOP_LIMIT: Duration =
    Duration::from_secs(storage::SAVE_LIMIT.as_secs() + net::TELL_LIMIT.as_secs() + CUT_LIMIT.as_secs());

/// Run the daemon, or only check its configuration.
///
/// # Errors
/// The configuration is wrong (2), the socket or the store is in use (4), or the store failed.
pub fn run(arguments: &Serve, common: &Common) -> Result<Outcome> {
    let config = Config::load(arguments, common)?;
    if arguments.check {
        let text = toml::to_string(&config)
            .map_err(|error| Failure::Failed(format!("the configuration cannot be shown: {error}")))?;
        return Outcome::new(&config, text);
    }
    output::start_daemon_log(&config);
    let signals = Signals::note()?;
    let notify = Notify::from_env();
    let dir = config.store.canonicalize().map_err(Failure::file("find the store", &config.store))?;
    let listener = socket::listen(&config.socket)?;
    let path = config.socket.clone();
    let state = Arc::new(State::new(config, dir));
    let served = listener
        .set_nonblocking(false)
        .map_err(Failure::file("listen at", &path))
        .and_then(|()| accept(&state, listener))
        .and_then(|()| serve(&state, &signals, &notify));
    state.stop.store(true, Ordering::Release);
    let _ = std::fs::remove_file(&path); // A stale one would be replaced.
    served?;
    Outcome::new(&json!({ "stopped": true }), String::new())
}

/// Open the store, work, and close it.
fn serve(state: &Arc<State>, signals: &Signals, notify: &Notify) -> Result<()> {
    let ring = net::ring(&state.config.net)?; // A wrong key is told before a long recovery.
    metrics::start(state);
    let store = open(state, signals, notify)?;
    let epoch = store.core().epoch.0;
    store.keep_ballast();
    state.set_store(store);
    storage::start(state)?;
    net::start(state, ring)?;
    vacuum::start(state)?;
    scrub::start(state)?;
    tracing::info!("ready after {:.2} s, epoch {epoch}", state.started.elapsed().as_secs_f64());
    notify.send(&format!("READY=1\nSTATUS={}", ready_text(state)));
    watch(state, signals, notify);
    stop(state, notify)
}

/// End what runs, and close the store. Meanwhile systemd hears what is waited for.
fn stop(state: &State, notify: &Notify) -> Result<()> {
    let waited_for = Mutex::new("stopping".to_owned());
    let now = |what: String| *waited_for.lock().unwrap_or_else(PoisonError::into_inner) = what;
    let told = || waited_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
    notify.send("STOPPING=1\nSTATUS=stopping");
    notify.telling(
        TELL_EVERY,
        told,
        || (),
        || {
            let deadline = Instant::now() + Duration::from_secs(state.config.stop_limit);
            for service in state.take_services() {
                let name = service.name();
                now(format!("stopping: {name} ends its sessions"));
                if !service.stop(deadline) {
                    tracing::warn!("{name}: a session did not end in time");
                }
            }
            now("stopping: requests may end".to_owned());
            state.drain(deadline, CUT_LIMIT);
            now("stopping: the store is being closed".to_owned());
            let store = state.take_store().ok_or_else(|| {
                Failure::Failed("a request did not end; the store's next opening runs recovery".to_owned())
            })?;
            store.close()?;
            tracing::info!("stopped; the store is closed cleanly");
            Ok(())
        },
    )
}

/// Open the store, which runs recovery where that is needed and may take long. Meanwhile systemd hears of it, and a
/// signal ends the process at once: recovery that breaks off is run again by the next opening.
fn open(state: &State, signals: &Signals, notify: &Notify) -> Result<Store> {
    notify.send("STATUS=opening the store, with recovery where needed");
    tracing::info!("opening the store in {}", state.dir.display());
    let gauge = Gauge::default();
    let text = || {
        let text = format!("opening the store for {} s{}", state.started.elapsed().as_secs(), far(&gauge));
        tracing::info!("{text}");
        text
    };
    let look = || {
        if let Err(Failure::Signal(signal)) = signals.check() {
            tracing::info!("stopping after {} while the store is opened", signals::name(signal));
            signals::end(signal);
        }
    };
    let options = Options { gauge: gauge.clone(), ..state.config.options() };
    notify.telling(TELL_EVERY, text, look, || {
        Store::open(&state.dir, Access::ReadWrite, &options).map_err(Failure::from)
    })
}

/// How far the opening is, where it says so.
fn far(gauge: &Gauge) -> String {
    let Some(progress) = gauge.read() else { return String::new() };
    let done = size::show(progress.done);
    match progress.total {
        Some(total) => format!(": {}, {done} of {}", progress.stage, size::show(total)),
        None => format!(": {}", progress.stage),
    }
}

/// What systemd shows of a daemon that is ready.
fn ready_text(state: &State) -> String {
    if let Some(why) = state.store().ok().and_then(|store| store.core().poison.why().map(str::to_owned)) {
        return format!("FAILED: takes no more data, restart gdd: {why}");
    }
    let services = state.services.read().unwrap_or_else(PoisonError::into_inner);
    let sessions = services.iter().filter_map(|service| Some((service.name(), service.session_count()?)));
    let sessions: String = sessions.map(|(name, count)| format!(", {name} {count} sessions")).collect();
    format!("ready, {} requests{sessions}", state.busy())
}

/// Wait for a signal or a shutdown request; meanwhile tell systemd how it goes.
fn watch(state: &State, signals: &Signals, notify: &Notify) {
    let (every, mut told) = (notify::watchdog(), Instant::now());
    let (mut shown, mut counted) = (ready_text(state), Instant::now());
    while !state.stop.load(Ordering::Acquire) {
        if let Err(failure) = signals.check() {
            if let Failure::Signal(signal) = failure {
                tracing::info!("stopping after {}", signals::name(signal));
            }
            state.stop.store(true, Ordering::Release);
        }
        if every.is_some_and(|every| told.elapsed() >= every) {
            notify.send("WATCHDOG=1");
            told = Instant::now();
        }
        if counted.elapsed() >= COUNT_EVERY {
            counted = Instant::now();
            let text = ready_text(state);
            if text != shown {
                notify.send(&format!("STATUS={text}"));
                shown = text;
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Accept connections on a thread of its own, which ends with the process.
fn accept(state: &Arc<State>, listener: UnixListener) -> Result<()> {
    let state = Arc::clone(state);
    let thread = std::thread::Builder::new().name("gdd-control".to_owned());
    let body = move || {
        for stream in listener.incoming() {
            if let Err(error) = stream.and_then(|stream| begin(&state, stream)) {
                tracing::warn!("a connection failed: {error}");
                std::thread::sleep(LOOK_EVERY); // Out of descriptors, for example: others may end meanwhile.
            }
        }
    };
    let failed = |error| Failure::Failed(format!("cannot start a thread: {error}"));
    thread.spawn(body).map(drop).map_err(failed)
}

fn begin(state: &Arc<State>, mut stream: UnixStream) -> io::Result<()> {
    if !socket::is_allowed(&stream, &state.config)? {
        let what = "this user may not use the daemon; name it in `users` of the configuration";
        return session::refuse(&mut stream, &Failure::Failed(what.to_owned()));
    }
    let Some(number) = state.enter(stream.try_clone()?, CONNECTIONS_MAX) else {
        let what = "the daemon is stopping, or has all the connections it takes; try again later";
        return session::refuse(&mut stream, &Failure::Busy(what.to_owned()));
    };
    let shared = Arc::clone(state);
    let thread = std::thread::Builder::new().name(format!("gdd-control-{number}"));
    let spawned = thread.spawn(move || {
        if let Err(error) = session::answer(&shared, number, &stream) {
            tracing::debug!("connection {number} ended early: {error}");
        }
        shared.leave(number);
    });
    if spawned.is_err() {
        state.leave(number);
    }
    spawned.map(drop)
}
