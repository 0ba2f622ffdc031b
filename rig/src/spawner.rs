//! Children that cannot outlive this process, however it dies.
//!
//! `setpriv --pdeathsig` asks the kernel to kill the child when the THREAD that forked it ends (prctl(2),
//! PR_SET_PDEATHSIG), and the thread of one test ends long before the process. So one thread forks for all, and lives
//! as long as the process. Without setpriv (it is in util-linux, which Debian never lacks) a child of a killed test
//! stays.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Sender};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

type Order = (Command, Sender<io::Result<Child>>);

static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, reply) in inbox {
            // A caller that has gone away wants no child: it is dropped, and dies with the process.
            let _gone = reply.send(command.spawn());
        }
    });
    Mutex::new(orders)
});

/// Words to put before a program so that it dies with this process.
pub(crate) const TIED: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// Fork and execute `command` from the thread that never ends.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let (reply, answer) = mpsc::channel();
    let orders = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let ended = || io::Error::other("the spawning thread has ended");
    orders.send((command, reply)).map_err(|_| ended())?;
    answer.recv().map_err(|_| ended())?
}
