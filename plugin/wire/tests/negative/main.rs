//! What somebody on the way can do to a connection: change, drop, repeat, move or insert bytes and records, or answer
//! with those of another connection. Whatever it is, one end says so with an error of its own, and no message is
//! delivered that was not sent in that place.
//!
//! Each case runs one real end, [`accept`] or [`connect`], in this thread; the other end and whoever sits between them
//! are a script that is asked for bytes when the real end has read all. Where the script has nothing to say the
//! connection is closed, so that nothing can wait for ever.

mod bytes;
mod records;

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gdd_wire::handshake::{Initiator, Keys, respond};
use gdd_wire::record::{Kind, Sealer};
use gdd_wire::{
    BootId, Channel, Domain, Identity, Introduction, Key, KeyRing, StoreId, Transport, WireError, accept,
    connect,
};

const TIME_MAX: Duration = Duration::from_secs(20);
/// What an honest end sends after the handshake.
const MESSAGES: [&[u8]; 2] = [b"one", b"two, and longer"];

/// Changes bytes on their way.
type Change<'a> = &'a dyn Fn(Vec<u8>) -> Vec<u8>;

/// Given what the real end wrote, the next bytes for it; none closes.
type Script = Box<dyn FnMut(Vec<u8>) -> Option<Vec<u8>> + Send>;

/// A connection whose other end is a script.
#[derive(Clone)]
struct Scripted(Arc<Mutex<Inner>>);

struct Inner {
    script: Script,
    input: Vec<u8>,
    written: Vec<u8>,
}

impl Scripted {
    fn new(script: Script) -> Self {
        Self(Arc::new(Mutex::new(Inner { script, input: Vec::new(), written: Vec::new() })))
    }
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().expect("nobody panicked");
        if inner.input.is_empty() {
            let written = std::mem::take(&mut inner.written);
            inner.input = (inner.script)(written).unwrap_or_default();
        }
        let count = buffer.len().min(inner.input.len());
        buffer[..count].copy_from_slice(&inner.input[..count]);
        inner.input.drain(..count);
        Ok(count)
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").written.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Scripted {
    fn second(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn set_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn hang_up(&self) -> io::Result<()> {
        Ok(())
    }
}

fn key() -> Key {
    Key::from_secret(&[1; 32]).expect("not zeros")
}

fn ring() -> KeyRing {
    let domain = Domain { name: "site".to_owned(), current: key(), previous: None };
    KeyRing::new(vec![domain]).expect("one good domain")
}

fn identity() -> Identity {
    Identity { store: StoreId([5; 16]), boot: BootId([6; 16]), epoch: 7, program: "gdd".to_owned() }
}

fn introduction() -> Introduction {
    Introduction { client: "zoe-fd".to_owned(), job: "zoe".to_owned(), program: "test".to_owned() }
}

fn hello() -> (Initiator, Vec<u8>) {
    Initiator::start(&key(), &introduction()).expect("good names")
}

/// Keys of a session that has nothing to do with any other, but for the pre-shared key.
fn another_session() -> Keys {
    let (initiator, hello) = hello();
    let answer = respond(&hello, &ring(), &identity()).expect("our own hello");
    initiator.finish(&answer.bytes, None).expect("our own answer").1
}

/// The records of an honest client.
fn up(keys: &Keys) -> Vec<Vec<u8>> {
    sealed(&keys.up, &[Kind::Confirm])
}

/// The records of an honest daemon.
fn down(keys: &Keys) -> Vec<Vec<u8>> {
    sealed(&keys.down, &[])
}

fn sealed(key: &[u8; 32], first: &[Kind]) -> Vec<Vec<u8>> {
    let mut sealer = Sealer::new(key);
    let mut record = |kind, payload: &[u8]| {
        let mut out = Vec::new();
        sealer.seal(kind, payload, b"", &mut out).expect("few records");
        out
    };
    let mut records: Vec<_> = first.iter().map(|kind| record(*kind, b"")).collect();
    records.extend(MESSAGES.map(|message| record(Kind::Message, message)));
    records.push(record(Kind::End, b""));
    records
}

/// What came of a case.
struct Outcome {
    delivered: Vec<Vec<u8>>,
    error: Option<WireError>,
}

fn receive(channel: Result<Channel<Scripted>, WireError>) -> Outcome {
    let mut delivered = Vec::new();
    let error = match channel {
        Err(error) => Some(error),
        Ok(mut channel) => loop {
            match channel.reader.receive() {
                Ok(Some(message)) => delivered.push(message.to_vec()),
                Ok(None) => break channel.reader.closed().err(),
                Err(error) => break Some(error),
            }
        },
    };
    Outcome { delivered, error }
}

/// A daemon whose client's hello and records come through `hello_change` and `records`.
fn daemon(hello_change: Change<'_>, mut records: impl FnMut(&Keys) -> Vec<u8> + Send + 'static) -> Outcome {
    let (initiator, hello) = hello();
    let mut hello = Some(hello_change(hello));
    let mut initiator = Some(initiator);
    let script = move |written: Vec<u8>| {
        if let Some(hello) = hello.take() {
            return Some(hello);
        }
        let (_, keys) = initiator.take()?.finish(&written, None).ok()?;
        Some(records(&keys))
    };
    let accepted = accept(Scripted::new(Box::new(script)), &ring(), &identity(), TIME_MAX);
    receive(accepted.map(|accepted| accepted.channel))
}

/// A client whose daemon's answer and records come through `answer_change` and `records`.
fn client(
    answer_change: impl Fn(Vec<u8>) -> Vec<u8> + Send + 'static,
    mut records: impl FnMut(&Keys) -> Vec<u8> + Send + 'static,
) -> Outcome {
    let mut keys = None;
    let script = move |written: Vec<u8>| {
        if let Some(keys) = keys.take() {
            return (!written.is_empty()).then(|| records(&keys));
        }
        let answer = respond(&written, &ring(), &identity()).ok()?;
        keys = Some(answer.keys);
        Some(answer_change(answer.bytes))
    };
    let connected = connect(Scripted::new(Box::new(script)), &key(), &introduction(), None, TIME_MAX);
    receive(connected.map(|connected| connected.channel))
}

/// A stream that was changed gives the messages that were whole before the change, and an error.
fn check(case: &str, outcome: &Outcome, expected: usize) {
    let delivered: Vec<_> = outcome.delivered.iter().map(Vec::as_slice).collect();
    assert_eq!(delivered, MESSAGES[..expected], "{case}");
    let error = outcome.error.as_ref();
    let typed = matches!(
        error,
        Some(
            WireError::Truncated { .. }
                | WireError::Refused
                | WireError::Denied { .. }
                | WireError::Version { .. }
                | WireError::Unverified { .. }
                | WireError::Tampered { .. }
                | WireError::Malformed(_)
        )
    );
    assert!(typed, "{case}: {error:?}");
}

/// How many messages end before the first byte at which the streams differ.
fn whole_messages(records: &[Vec<u8>], changed: &[u8]) -> usize {
    let sent = records.concat();
    let same = sent.iter().zip(changed).take_while(|(a, b)| a == b).count();
    let empty = gdd_wire::limits::RECORD_HEADER_SIZE + gdd_wire::limits::RECORD_TAG_SIZE;
    let mut end = 0;
    records
        .iter()
        .filter(|record| {
            end += record.len();
            record.len() > empty && end <= same
        })
        .count()
}

#[test]
fn unchanged_streams_are_taken() {
    for outcome in [
        daemon(&|hello| hello, |keys| up(keys).concat()),
        client(|answer| answer, |keys| down(keys).concat()),
    ] {
        assert_eq!(outcome.delivered, MESSAGES);
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
    }
}
