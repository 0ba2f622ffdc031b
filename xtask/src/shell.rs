//! Run other programs, always from the workspace root and always in the open: the line printed is the line run.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// Where chores install programs that Debian does not have, below the workspace root; the programs are in `bin`.
pub const TOOLS: &str = "target/tools";

/// One program and its arguments.
pub struct Run {
    command: Command,
    line: String,
}

impl Run {
    /// `program`, in the workspace root, without standard input.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(&program);
        command.current_dir(root()).stdin(Stdio::null());
        Self { command, line: quoted(program.as_ref()) }
    }

    /// `cargo`, the one that runs us.
    pub fn cargo() -> Self {
        let mut run = Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        "cargo".clone_into(&mut run.line);
        run
    }

    /// Add one argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.line.push(' ');
        self.line.push_str(&quoted(argument.as_ref()));
        self.command.arg(argument);
        self
    }

    /// Add the words of `text`, which are separated by single spaces.
    pub fn words(self, text: &str) -> Self {
        text.split(' ').filter(|word| !word.is_empty()).fold(self, Self::arg)
    }

    /// Set an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.line = format!("{name}={} {}", quoted(value.as_ref()), self.line);
        self.command.env(name, value);
        self
    }

    /// Print the line, run it with our standard output, and demand success.
    pub fn run(mut self) -> Result {
        println!("$ {}", self.line);
        let status = self.command.status().map_err(|error| format!("cannot run `{}`: {error}", self.line))?;
        if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", self.line)) }
    }

    /// Print the line, run it, demand success, and return what it printed; its standard error is ours.
    pub fn read(self) -> Result<String> {
        println!("$ {}", self.line);
        self.quiet()
    }

    /// As [`Run::read`] without printing the line: for questions that change nothing, such as `dpkg-query`.
    pub fn quiet(mut self) -> Result<String> {
        self.command.stderr(Stdio::inherit());
        let output = self.command.output().map_err(|error| format!("cannot run `{}`: {error}", self.line))?;
        if !output.status.success() {
            return Err(format!("`{}` failed: {}", self.line, output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What it printed, nothing if it failed; its complaints are dropped. For questions whose answer may be "no".
    pub fn answer(mut self) -> String {
        let output = self.command.stderr(Stdio::null()).output();
        output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether it can be started and succeeds; nothing is printed.
    pub fn succeeds(mut self) -> bool {
        self.command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// As [`Run::run`], with its output going to `file`.
    pub fn into_file(mut self, file: File) -> Result {
        self.command.stdout(file);
        self.run()
    }

    /// `self | into`: print the line, run both, demand that both succeed.
    pub fn pipe(mut self, mut into: Self) -> Result {
        println!("$ {} | {}", self.line, into.line);
        let mut source = self
            .command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run `{}`: {error}", self.line))?;
        let stream = source.stdout.take().ok_or("the pipe has a reading end")?;
        let target = into.command.stdin(stream).status();
        drop(into.command); // Our copy of the reading end goes, so that the source sees a closed pipe.
        let source = source.wait().map_err(|error| format!("cannot wait for `{}`: {error}", self.line))?;
        let target = target.map_err(|error| format!("cannot run `{}`: {error}", into.line))?;
        match (source.success(), target.success()) {
            (true, true) => Ok(()),
            (_, false) => Err(format!("`{}` failed: {target}", into.line)),
            (false, _) => Err(format!("`{}` failed: {source}", self.line)),
        }
    }
}

/// The workspace root.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_owned)
}

/// The search path, with what was built here, and with [`TOOLS`], before what is installed.
pub fn search_path() -> String {
    let ours = ["target/release".to_owned(), format!("{TOOLS}/bin")];
    let ours = ours.map(|folder| root().join(folder).display().to_string());
    format!("{}:{}", ours.join(":"), std::env::var("PATH").unwrap_or_default())
}

/// Whether `program` is an executable in the search path.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn quoted(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^~".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into_owned() } else { format!("'{text}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_side_of_a_pipe_is_named() {
        let error = Run::new("false").pipe(Run::new("cat")).expect_err("false fails");
        assert!(error.contains("`false` failed"), "{error}");
        let error = Run::new("true").pipe(Run::new("false")).expect_err("false fails");
        assert!(error.contains("`false` failed"), "{error}");
        assert_eq!(Run::new("true").pipe(Run::new("true")), Ok(()));
    }

    #[test]
    fn lines_can_be_pasted_into_a_shell() {
        let run = Run::new("gdd").arg("put").arg("two words").env("GDD_STORE", "/tmp/s");
        assert_eq!(run.line, "GDD_STORE=/tmp/s gdd put 'two words'");
    }

    #[test]
    fn a_missing_program_is_an_error_and_not_a_panic() {
        assert!(Run::new("no-such-program-here").quiet().is_err());
        assert!(!Run::new("no-such-program-here").succeeds());
        assert!(has("sh") && !has("no-such-program-here"));
    }
}
