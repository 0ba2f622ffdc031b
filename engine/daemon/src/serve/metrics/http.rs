//! The page over HTTP, where the configuration wants that: `GET /metrics`, and nothing else.
//!
//! One thread, one connection at a time, each with a bound on its bytes and on its time: whoever connects can make
//! other scrapers wait for [`REQUEST_TIME_MAX`] and [`ANSWER_TIME_MAX`], and a backup not at all. An address that
//! cannot be listened at is told and shown, and the daemon goes on without.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use super::page::{CONTENT_TYPE, Page};
use crate::serve::service::Service;
use crate::serve::state::State;
use crate::size::{grouped, to_float};

/// Bytes of a request, its headers included.
const REQUEST_MAX: usize = 8 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Time in which a request must have come.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(2);
/// Time in which an answer must have been taken.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// A look at the order to stop.
const LOOK: Duration = Duration::from_millis(100);

/// The endpoint as a service of the daemon.
struct Endpoint {
    listen: SocketAddr,
    /// Where it listens, or why not.
    bound: Result<SocketAddr, String>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Pages given, and requests that got none. `Relaxed`: numbers for people.
    pages: AtomicU64,
    refused: AtomicU64,
}

/// Serve the page, if the configuration says where.
pub fn start(state: &Arc<State>) {
    let Some(listen) = state.config.metrics.listen else { return };
    let shared = Arc::new(Shared::default());
    let (bound, thread) = match serve(listen, state, &shared) {
        Ok((address, thread)) => {
            tracing::info!("metrics can be read at http://{address}/metrics");
            (Ok(address), Some(thread))
        }
        Err(error) => {
            tracing::error!("metrics cannot be read at {listen}: {error}; see `metrics.listen` in gdd.toml");
            (Err(error.to_string()), None)
        }
    };
    let endpoint = Endpoint { listen, bound, shared, thread };
    state.services.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(endpoint));
}

fn serve(
    listen: SocketAddr,
    state: &Arc<State>,
    shared: &Arc<Shared>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (state, shared) = (Arc::clone(state), Arc::clone(shared));
    let thread = std::thread::Builder::new().name("gdd-metrics".to_owned());
    let body = move || {
        let timeout = Timespec::try_from(LOOK).ok();
        while !shared.stop.load(Ordering::Acquire) {
            let mut fds = [PollFd::new(&listener, PollFlags::IN)];
            if !matches!(poll(&mut fds, timeout.as_ref()), Ok(1..)) {
                continue;
            }
            match listener.accept().and_then(|(stream, _)| answer(&state, stream)) {
                Ok(true) => shared.pages.fetch_add(1, Ordering::Relaxed),
                Ok(false) => shared.refused.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    tracing::debug!("a scraper got no metrics: {error}");
                    std::thread::sleep(LOOK); // Out of descriptors, for example: others may end meanwhile.
                    shared.refused.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    };
    Ok((address, thread.spawn(body)?))
}

/// Answer one request. Returns whether it got the page.
fn answer(state: &State, mut stream: TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(false)?;
    let asked = request(&mut stream)?;
    let (status, kind, body) = match asked {
        Asked::Metrics => ("200 OK", CONTENT_TYPE, super::page(state).to_string()),
        Asked::Elsewhere => ("404 Not Found", "text/plain", "metrics are at /metrics\n".to_owned()),
        Asked::OtherMethod => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
        Asked::Nonsense(why) => ("400 Bad Request", "text/plain", format!("{why}\n")),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nAllow: GET\r\n\
         Connection: close\r\n\r\n"
    );
    let until = Instant::now() + ANSWER_TIME_MAX;
    send(&mut stream, head.as_bytes(), until)?;
    send(&mut stream, body.as_bytes(), until)?;
    Ok(asked == Asked::Metrics)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Metrics,
    Elsewhere,
    OtherMethod,
    Nonsense(&'static str),
}

/// Read a request to the end of its headers.
fn request(stream: &mut TcpStream) -> io::Result<Asked> {
    let until = Instant::now() + REQUEST_TIME_MAX;
    let (mut bytes, mut len) = ([0; REQUEST_MAX], 0);
    loop {
        stream.set_read_timeout(Some(left(until)?))?;
        let count = stream.read(&mut bytes[len..])?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        len += count;
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes[..len]) {
            Ok(httparse::Status::Complete(_)) => return Ok(wanted(&request)),
            Ok(httparse::Status::Partial) if len < bytes.len() => {}
            Ok(httparse::Status::Partial) => return Ok(Asked::Nonsense("the request is too long")),
            Err(_) => return Ok(Asked::Nonsense("this is no HTTP request")),
        }
    }
}

fn wanted(request: &httparse::Request<'_, '_>) -> Asked {
    let path = request.path.unwrap_or_default();
    match (request.method, path.split('?').next()) {
        (Some("GET"), Some("/metrics")) => Asked::Metrics,
        (Some("GET"), _) => Asked::Elsewhere,
        _ => Asked::OtherMethod,
    }
}

fn send(stream: &mut TcpStream, mut bytes: &[u8], until: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        match stream.write(bytes)? {
            0 => return Err(ErrorKind::WriteZero.into()),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

/// What is left of the time: never nothing, which would be no limit.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Service for Endpoint {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn status(&self) -> Value {
        let Shared { pages, refused, .. } = &*self.shared;
        json!({
            "listen": self.bound.as_ref().ok(), "error": self.bound.as_ref().err(),
            "pages": pages.load(Ordering::Relaxed), "refused": refused.load(Ordering::Relaxed),
        })
    }

    fn lines(&self) -> Vec<String> {
        let [pages, refused] =
            [&self.shared.pages, &self.shared.refused].map(|count| grouped(count.load(Ordering::Relaxed)));
        vec![match &self.bound {
            Ok(address) => {
                format!("http://{address}/metrics, read {pages} times, {refused} requests refused")
            }
            Err(why) => format!("NOT at {}: {why}", self.listen),
        }]
    }

    fn metrics(&self, page: &mut Page) {
        let [pages, refused] =
            [&self.shared.pages, &self.shared.refused].map(|count| to_float(count.load(Ordering::Relaxed)));
        page.counter("gdd_metrics_pages_total", "Times that metrics were read over HTTP.", &[], pages);
        page.counter("gdd_metrics_refused_total", "Requests over HTTP that got none.", &[], refused);
    }

    fn stop(self: Box<Self>, deadline: Instant) -> bool {
        self.shared.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread else { return true };
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        thread.join().is_ok()
    }
}
