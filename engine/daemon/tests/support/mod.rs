//! The built program on a store of its own, run as from a shell.

#![allow(dead_code)] // Each test program uses its own part of this.

pub mod daemon;
pub mod exposition;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A folder with a store in it.
pub struct Place {
    folder: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Place {
    /// With an empty store.
    pub fn new() -> Self {
        let place = Self::empty();
        let made = place.run(&["init", place.store().to_str().expect("a plain name")]);
        assert_eq!(made.code, Some(0), "{made:?}");
        place
    }

    /// Without a store. Not in the temporary directory, which may be memory and know no direct I/O.
    pub fn empty() -> Self {
        let folder =
            tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's folder is writable");
        Self { folder }
    }

    pub fn store(&self) -> PathBuf {
        self.join("store")
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, with the store set, two engine threads, and nothing else of its environment.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gdd"));
        command
            .env_remove("GDD_LOG")
            .env("GDD_STORE", self.store())
            .env("GDD_SOCKET", self.join("gdd.sock"))
            .env("COLUMNS", "100");
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        command
    }

    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ended {
        Ended::of(self.command(arguments).output().expect("gdd starts"))
    }

    /// Run and demand success.
    pub fn ok<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// Run with pipes for all three streams.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("gdd starts")
    }

    /// Store bytes from a pipe, demanding success.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Value {
        let mut child = self.start(&["put", name, "--json"]);
        child.stdin.take().expect("a pipe").write_all(bytes).expect("put reads everything");
        let ended = Ended::of(child.wait_with_output().expect("a child can be waited for"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.object()
    }

    /// Names of streams.
    pub fn names(&self) -> Vec<String> {
        let listed = self.ok(&["ls", "--json"]).object();
        let streams = listed["streams"].as_array().expect("a list").clone();
        streams.iter().map(|stream| stream["name"].as_str().expect("a name").to_owned()).collect()
    }
}

impl Ended {
    pub fn of(output: Output) -> Self {
        let err = String::from_utf8(output.stderr).expect("messages are UTF-8");
        Self { code: output.status.code(), out: output.stdout, err }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("the output is text")
    }

    /// Standard output as exactly one JSON object on one line.
    pub fn object(&self) -> Value {
        assert_eq!(self.text().lines().count(), 1, "one line: {self:?}");
        let value: Value = serde_json::from_str(self.text()).expect("it is JSON");
        assert!(value.is_object(), "{value}");
        value
    }
}

/// Bytes that nobody has seen before, the same for the same seed.
pub fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Names in a folder.
pub fn list(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("it can be listed");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("plain")).collect();
    names.sort();
    names
}
