//! bconsole, the program, once per call: what works here works for an operator.

use crate::execution::Execution;
use crate::{Daemon, Error, Result, Rig};

/// What bconsole prints before the first answer.
const GREETING: &str = "Enter a period to cancel a command.\n";

impl Rig {
    /// Type `commands` (one a line) and return all that was answered. A question that nobody answers is answered by the
    /// end of the input.
    ///
    /// # Errors
    /// The director has ended, does not answer in time, or refuses.
    pub fn console(&self, commands: &str) -> Result<String> {
        self.demand_alive(Daemon::Director)?; // bconsole would knock for 15 s.
        let mut command = self.packages.tied("bconsole")?;
        command.arg("-n").arg("-c").arg(self.site.file("bconsole.conf"));
        let input = format!("{commands}\nquit\n");
        // bconsole repeats each line that it sends once the one before is answered. That of 15.0.3 was seen to stay for
        // ever after its "quit".
        let printed = Execution::new(command, self.call_limit).input(input).farewell("\nquit\n").succeed()?;
        match printed.output.split_once(GREETING) {
            Some((_, answer)) => Ok(answer.to_owned()),
            None => Err(Error::Console {
                command: commands.to_owned(),
                expected: "a connection to the director".into(),
                answer: printed.all(),
            }),
        }
    }

    /// As [`Rig::console`]; the answer must have `expected` in it.
    ///
    /// # Errors
    /// It has not, or the director does not answer.
    pub fn console_expecting(&self, commands: &str, expected: &str) -> Result<String> {
        let answer = self.console(commands)?;
        if answer.contains(expected) {
            return Ok(answer);
        }
        Err(Error::Console { command: commands.to_owned(), expected: format!("{expected:?}"), answer })
    }

    /// What the director, or a daemon through it, says about itself.
    ///
    /// # Errors
    /// Of [`Rig::console`]; a daemon that does not answer is in the answer.
    pub fn status(&self, daemon: Daemon) -> Result<String> {
        match daemon {
            Daemon::Director => self.console("status director"),
            Daemon::Storage => self.console(&format!("status storage={}", self.devices[0].name)),
            Daemon::File(_) => self.console(&format!("status client={}", daemon.name())),
        }
    }
}
