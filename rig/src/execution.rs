//! Run one program to its end or to its deadline, whichever comes first, and keep all that it printed.
//!
//! A deadline kills the program and reports what it had printed, so a console that asks a question nobody answers ends
//! a test with that question in the message. Some of Bacula's tools repeat a question for ever once their input has
//! ended; so what is kept has a bound, past which the pipe is closed and the program dies of it.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Error, Result, spawner};

/// How often a running program is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(5);
/// For a program that has said all to end.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);
/// Kept of each output: the list of a volume with half a million files.
const OUTPUT_SIZE_MAX: u64 = 64 << 20;
/// Quoted in an error, from the beginning and from the end.
const QUOTED_SIZE_MAX: usize = 8 << 10;

/// A program, what it reads, and how long it may take.
pub(crate) struct Execution {
    command: Command,
    line: String,
    input: Vec<u8>,
    limit: Duration,
    farewell: Option<&'static str>,
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Its command line.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output, bytes that are not UTF-8 replaced.
    pub output: String,
    /// Standard error, likewise.
    pub complaints: String,
}

impl Execution {
    /// `command` without input, for at most `limit`.
    pub(crate) fn new(command: Command, limit: Duration) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        Self { command, line, input: Vec::new(), limit, farewell: None }
    }

    /// It reads `input` and then the end of the file.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Once it has printed `words` last, all is said: one that is still there after [`FAREWELL_LIMIT`] is killed, and
    /// what it printed is the answer of a success.
    pub(crate) fn farewell(mut self, words: &'static str) -> Self {
        self.farewell = Some(words);
        self
    }

    /// Run it; its failure is in the answer.
    ///
    /// # Errors
    /// It cannot be started, or the deadline passed.
    pub(crate) fn finish(mut self) -> Result<Printed> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = self.line;
        let mut child = spawner::spawn(self.command).map_err(Error::io(format!("cannot run `{line}`")))?;
        let (output, complaints) = (Collector::of(child.stdout.take()), Collector::of(child.stderr.take()));
        if let Some(mut pipe) = child.stdin.take() {
            // What it does not want to read is no error: its exit status says more.
            thread::spawn(move || pipe.write_all(&self.input));
        }
        let status = match self.farewell {
            Some(words) => wait_for_farewell(&mut child, self.limit, || output.ends_with(words)),
            None => wait(&mut child, self.limit),
        };
        let status = status.map_err(Error::io(format!("cannot wait for `{line}`")))?;
        let (output, complaints) = (output.text(), complaints.text());
        match status {
            Some(status) => Ok(Printed { line, status, output, complaints }),
            None => {
                let seen = quoted(&format!("{output}{complaints}"));
                Err(Error::Deadline { what: format!("`{line}`"), limit: self.limit, seen })
            }
        }
    }

    /// Run it and demand success.
    ///
    /// # Errors
    /// As [`Execution::finish`], and that it failed.
    pub(crate) fn succeed(self) -> Result<Printed> {
        self.finish()?.demand_success()
    }
}

impl Printed {
    /// Both outputs.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.output, self.complaints)
    }

    /// Whether either output has `text`.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        self.output.contains(text) || self.complaints.contains(text)
    }

    /// Itself, when the program ended with success.
    ///
    /// # Errors
    /// [`Error::Program`] with all that was printed.
    pub fn demand_success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        Err(Error::Program { printed: quoted(&self.all()), status: self.status.to_string(), line: self.line })
    }
}

/// Its status, or `None` when it had to be killed after `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    wait_for_farewell(child, limit, || false)
}

/// As [`wait`]; one that has said its farewell and stays all the same is killed early, and that is a success.
fn wait_for_farewell(
    child: &mut Child,
    limit: Duration,
    said: impl Fn() -> bool,
) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    let mut since = None;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if said() && since.get_or_insert_with(Instant::now).elapsed() > FAREWELL_LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(Some(ExitStatus::default()));
        }
        thread::sleep(WATCH_INTERVAL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// `text`, without its middle when it is long.
fn quoted(text: &str) -> String {
    if text.len() <= 2 * QUOTED_SIZE_MAX {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(QUOTED_SIZE_MAX);
    let tail = text.ceil_char_boundary(text.len() - QUOTED_SIZE_MAX);
    format!("{}\n[... {} bytes ...]\n{}", &text[..head], tail - head, &text[tail..])
}

/// What comes out of a pipe, as it comes.
#[derive(Default)]
struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&bytes);
        let thread = pipe.map(|pipe| {
            thread::spawn(move || {
                let mut pipe = pipe.take(OUTPUT_SIZE_MAX);
                let mut part = vec![0; 64 << 10];
                // A pipe that breaks has given all that there is.
                while let Ok(length @ 1..) = pipe.read(&mut part) {
                    held(&kept).extend_from_slice(&part[..length]);
                }
            })
        });
        Self { bytes, thread }
    }

    fn ends_with(&self, words: &str) -> bool {
        held(&self.bytes).ends_with(words.as_bytes())
    }

    fn text(self) -> String {
        if let Some(thread) = self.thread {
            // It cannot panic, and if it did, what it has kept is still there.
            let _ended = thread.join();
        }
        String::from_utf8_lossy(&held(&self.bytes)).into_owned()
    }
}

fn held(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Execution {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Execution::new(command, Duration::from_millis(300))
    }

    #[test]
    fn a_program_past_its_deadline_is_killed_and_quoted() {
        let error = shell("echo question?; exec sleep 600").finish().unwrap_err();
        assert!(matches!(&error, Error::Deadline { seen, .. } if seen == "question?\n"), "{error}");
    }

    #[test]
    fn a_program_that_stays_after_its_farewell_has_answered() {
        let slow = |script| Execution { limit: Duration::from_secs(60), ..shell(script) }.farewell("quit\n");
        let printed =
            slow("echo answer; echo quit; exec sleep 600").finish().unwrap().demand_success().unwrap();
        assert_eq!(printed.output, "answer\nquit\n");
        assert!(
            slow("echo quit; exit 3").finish().unwrap().demand_success().is_err(),
            "an end of its own counts"
        );
        let hung = shell("echo quit; echo more; exec sleep 600").farewell("quit\n").finish().unwrap_err();
        assert!(matches!(hung, Error::Deadline { .. }), "{hung}");
    }

    #[test]
    fn a_program_that_prints_for_ever_is_neither_kept_nor_quoted_for_ever() {
        let printed =
            Execution { limit: Duration::from_secs(60), ..shell("exec yes question") }.finish().unwrap();
        assert!(printed.output.len() <= 64 << 20);
        let error = printed.demand_success().unwrap_err().to_string();
        assert!(error.len() < 20_000 && error.contains("bytes ..."), "{} bytes", error.len());
    }

    #[test]
    fn failure_is_an_answer_or_an_error_as_the_caller_wants() {
        let printed = shell("cat; echo bad >&2; exit 3").input("read\n").finish().unwrap();
        assert_eq!((printed.output.as_str(), printed.complaints.as_str()), ("read\n", "bad\n"));
        let error = printed.demand_success().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("bad"), "{error}");
    }
}
