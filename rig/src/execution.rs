//! Run one program to its end or to its deadline, whichever comes first, and keep all that it printed.
//!
//! A deadline kills the program and reports what it had printed, so a console that asks a question nobody answers ends
//! a test with that question in the message. Some of Bacula's tools repeat a question for ever once their input has
//! ended; so what is kept has a bound, past which the pipe is closed and the program dies of it.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Error, Result, spawner};

/// How often a running program is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(5);
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
        Self { command, line, input: Vec::new(), limit }
    }

    /// It reads `input` and then the end of the file.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
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
        let output = child.stdout.take().map(collect);
        let complaints = child.stderr.take().map(collect);
        if let Some(mut pipe) = child.stdin.take() {
            // What it does not want to read is no error: its exit status says more.
            thread::spawn(move || pipe.write_all(&self.input));
        }
        let status = wait(&mut child, self.limit).map_err(Error::io(format!("cannot wait for `{line}`")))?;
        let (output, complaints) = (text(output), text(complaints));
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
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
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

fn collect(pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks has given all that there is.
        let _broken = pipe.take(OUTPUT_SIZE_MAX).read_to_end(&mut bytes);
        bytes
    })
}

fn text(collector: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = collector.and_then(|thread| thread.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
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
