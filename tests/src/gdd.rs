//! Run the real `gdd`: feed it, read it, kill it.
//!
//! Each call is one process, as from a shell. Streams go through pipes and are digested on the way, so that a stream of
//! many gigabytes needs no memory and no disk of the test's own.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::network::Host;
use crate::workspace::gdd_binary;

/// `gdd` on one store.
#[derive(Clone, Debug)]
pub struct Gdd {
    binary: PathBuf,
    store: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    /// Words of a command that runs it, on another host for example.
    runner: Vec<OsString>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    line: String,
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// When a running `put` is killed.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// After this many bytes went into its pipe. At or beyond the stream's end, the pipe is closed first.
    pub bytes: u64,
    /// And then this much later.
    pub pause: Duration,
}

impl Gdd {
    /// On the store in `store`, which need not exist.
    #[must_use]
    pub fn at(store: &Path) -> Self {
        let (binary, store) = (gdd_binary(), store.to_owned());
        Self { binary, store, flags: Vec::new(), environment: Vec::new(), runner: Vec::new() }
    }

    /// The same, with these flags before every command.
    #[must_use]
    pub fn with_flags(&self, flags: &[&str]) -> Self {
        Self { flags: flags.iter().map(|&flag| flag.to_owned()).collect(), ..self.clone() }
    }

    /// The same, with `name` in the environment of every command.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, where every command runs on `host`.
    #[must_use]
    pub fn on(&self, host: &Host) -> Self {
        let command = host.command(&self.binary);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        Self { runner: words.map(OsStr::to_owned).collect(), ..self.clone() }
    }

    /// Where the store lies.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// A command with the store set, and nothing else of `gdd`'s environment.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = match self.runner.split_first() {
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words);
                command
            }
            None => Command::new(&self.binary),
        };
        let ours = std::env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| name.as_encoded_bytes().starts_with(b"GDD_"));
        ours.for_each(|name| {
            command.env_remove(name);
        });
        command.env("GDD_STORE", &self.store).stdin(Stdio::null()).args(&self.flags);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Run to the end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Outcome {
        let mut command = self.command();
        command.args(arguments);
        let output = command.output().expect("gdd starts");
        Outcome::new(&command, output.status, &output.stdout, &output.stderr)
    }

    /// Run to the end and demand exit code `code`.
    ///
    /// # Panics
    /// When the exit code is another, with both outputs.
    pub fn expect<A: AsRef<OsStr>>(&self, code: i32, arguments: &[A]) -> Outcome {
        let outcome = self.run(arguments);
        outcome.demand(code);
        outcome
    }

    /// `gdd init`.
    ///
    /// # Panics
    /// When it fails.
    pub fn init(&self) -> Outcome {
        self.init_with(&[])
    }

    /// `gdd init` with these settings.
    ///
    /// # Panics
    /// When it fails.
    pub fn init_with(&self, settings: &[&str]) -> Outcome {
        let words = [OsStr::new("init"), self.store.as_os_str()];
        self.expect(0, &words.into_iter().chain(settings.iter().map(OsStr::new)).collect::<Vec<_>>())
    }

    /// Run with `--json`, demand success, and parse the last object printed.
    ///
    /// # Panics
    /// When it fails or prints no JSON.
    pub fn json<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Value {
        let mut words: Vec<OsString> = arguments.iter().map(|word| word.as_ref().to_owned()).collect();
        words.push("--json".into());
        self.expect(0, &words).json()
    }

    /// `gdd put NAME PATH --json`.
    ///
    /// # Panics
    /// When it fails or prints no JSON.
    pub fn put_path(&self, name: &str, path: &Path) -> Value {
        self.json(&[OsStr::new("put"), OsStr::new(name), path.as_os_str()])
    }

    /// `gdd put NAME - --json`, fed with `stream`, demanding success.
    ///
    /// # Panics
    /// When it fails or prints no JSON.
    pub fn put(&self, name: &str, stream: impl Read + Send) -> Value {
        let outcome = self.try_put(name, stream);
        outcome.demand(0);
        outcome.json()
    }

    /// As [`Gdd::put`], whatever comes of it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn try_put(&self, name: &str, mut stream: impl Read + Send) -> Outcome {
        let mut command = self.command();
        command.args(["put", name, "-", "--json"]);
        let mut child = piped(&mut command);
        let mut pipe = child.stdin.take().expect("standard input is a pipe");
        thread::scope(|scope| {
            // A closed pipe is not our failure: the exit code and message of the child say what happened.
            scope.spawn(move || io::copy(&mut stream, &mut pipe).map_err(|error| error.kind()));
            let output = child.wait_with_output().expect("a child can be waited for");
            Outcome::new(&command, output.status, &output.stdout, &output.stderr)
        })
    }

    /// Start a put, kill it (SIGKILL) at `moment`, and say whether it had reported success before.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn put_killed(&self, name: &str, stream: impl Read, moment: Moment) -> bool {
        let mut command = self.command();
        command.args(["put", name, "-", "--json"]);
        let mut child = piped(&mut command);
        let mut pipe = child.stdin.take().expect("standard input is a pipe");
        let fed = io::copy(&mut stream.take(moment.bytes), &mut pipe);
        if fed.is_ok_and(|bytes| bytes < moment.bytes) {
            drop(pipe); // The stream is over: let it finish, if it can in time.
            thread::sleep(moment.pause);
            return kill(child);
        }
        thread::sleep(moment.pause);
        kill(child) // The pipe is still open, so this put can not have seen an end.
    }

    /// `gdd get NAME` into `sink`; gives the number of bytes.
    ///
    /// # Panics
    /// When it fails or `sink` refuses.
    pub fn get(&self, name: &str, sink: &mut impl Write) -> u64 {
        let (outcome, bytes) = self.try_get(name, sink);
        outcome.demand(0);
        bytes
    }

    /// As [`Gdd::get`], whatever comes of it.
    ///
    /// # Panics
    /// When it cannot be started, or `sink` refuses.
    pub fn try_get(&self, name: &str, sink: &mut impl Write) -> (Outcome, u64) {
        let mut command = self.command();
        command.args(["get", name]);
        let mut child = piped(&mut command);
        drop(child.stdin.take());
        let mut pipe = child.stdout.take().expect("standard output is a pipe");
        let bytes = io::copy(&mut pipe, sink).expect("the sink takes all bytes");
        drop(pipe);
        let output = child.wait_with_output().expect("a child can be waited for");
        (Outcome::new(&command, output.status, &[], &output.stderr), bytes)
    }

    /// BLAKE3 and length of what `gdd get NAME` gives.
    ///
    /// # Panics
    /// When it fails.
    pub fn digest(&self, name: &str) -> (blake3::Hash, u64) {
        let mut hasher = blake3::Hasher::new();
        let bytes = self.get(name, &mut hasher);
        (hasher.finalize(), bytes)
    }

    /// `gdd get NAME | tar --extract` into `folder`.
    ///
    /// # Panics
    /// When either fails.
    pub fn extract(&self, name: &str, folder: &Path) {
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--preserve-permissions", "--directory"]).arg(folder);
        let mut child = piped(&mut tar);
        self.get(name, &mut child.stdin.take().expect("standard input is a pipe"));
        let output = child.wait_with_output().expect("a child can be waited for");
        Outcome::new(&tar, output.status, &output.stdout, &output.stderr).demand(0);
    }
}

impl Outcome {
    /// How `command` ended.
    #[must_use]
    pub fn new(command: &Command, status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Self {
        let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Self { line: format!("{command:?}"), code: status.code(), stdout, stderr }
    }

    /// Demand exit code `code`.
    ///
    /// # Panics
    /// When it is another, with both outputs.
    pub fn demand(&self, code: i32) {
        let Self { line, code: found, stdout, stderr } = self;
        assert_eq!(*found, Some(code), "{line}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    }

    /// Demand that standard error holds each of `words`.
    ///
    /// # Panics
    /// When one is missing, with both outputs.
    pub fn demand_said(&self, words: &[&str]) {
        let Self { line, stdout, stderr, .. } = self;
        for word in words {
            assert!(stderr.contains(word), "{line}: no {word:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        }
    }

    /// The last JSON value on standard output.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn json(&self) -> Value {
        let values = serde_json::Deserializer::from_str(&self.stdout).into_iter::<Value>();
        let last = values.map_while(Result::ok).last();
        last.unwrap_or_else(|| {
            unreachable!("no JSON from {}: {:?} {:?}", self.line, self.stdout, self.stderr)
        })
    }
}

/// Start `command` with all three streams as pipes.
///
/// # Panics
/// When it cannot be started.
pub(crate) fn piped(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Kill and reap; `true` when it had already ended with success.
fn kill(mut child: Child) -> bool {
    child.kill().expect("a child that was not reaped can be signalled");
    child.wait().expect("a child can be waited for").success()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A stand-in for `gdd` that acts out one script.
    pub(crate) fn stand_in(script: &str) -> (tempfile::TempDir, Gdd) {
        use std::os::unix::fs::PermissionsExt;
        let folder = crate::workspace::scratch("stand-in");
        let binary = folder.path().join("gdd");
        std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        let gdd = Gdd {
            binary,
            store: folder.path().join("store"),
            flags: Vec::new(),
            environment: Vec::new(),
            runner: Vec::new(),
        };
        (folder, gdd)
    }

    #[test]
    fn bytes_go_in_and_the_last_object_comes_out() {
        let (_folder, gdd) = stand_in(r#"echo '{"bytes":1}'; printf '{"bytes":'; wc -c; echo '}'"#);
        assert_eq!(gdd.put("name", &[7; 300_000][..])["bytes"], 300_000);
    }

    #[test]
    fn an_early_exit_is_reported_by_its_code_and_message() {
        let (_folder, gdd) = stand_in("echo full >&2; exit 4");
        let outcome = gdd.try_put("name", io::repeat(1).take(10 << 20));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(4), "full\n"));
    }

    #[test]
    fn a_killed_put_is_dead_and_a_finished_one_counts_as_acknowledged() {
        let (_folder, gdd) = stand_in("cat > /dev/null");
        let pause = Duration::from_millis(1);
        assert!(!gdd.put_killed("name", io::repeat(1), Moment { bytes: 100_000, pause }));
        let pause = Duration::from_secs(2);
        assert!(gdd.put_killed("name", &[1; 10][..], Moment { bytes: 11, pause }));
    }

    #[test]
    fn what_comes_out_is_digested() {
        let (_folder, gdd) = stand_in("printf %s \"$1$2\"");
        assert_eq!(gdd.digest("name"), (blake3::hash(b"getname"), 7));
    }

    #[test]
    fn the_store_is_in_the_environment_and_flags_come_first() {
        let (_folder, gdd) = stand_in("printf %s \"$GDD_STORE $*\"");
        let expected = format!("{} --flag 1 ls", gdd.store.display());
        assert_eq!(gdd.with_flags(&["--flag", "1"]).run(&["ls"]).stdout, expected);
    }

    #[test]
    fn a_failed_get_gives_what_came_before_it_failed() {
        let (_folder, gdd) = stand_in("printf half; echo broken >&2; exit 3");
        let mut sink = Vec::new();
        let (outcome, bytes) = gdd.try_get("name", &mut sink);
        assert_eq!((outcome.code, bytes, sink.as_slice()), (Some(3), 4, &b"half"[..]));
        outcome.demand_said(&["broken"]);
    }
}
