//! Where a rig listens: an address of 127.0.0.0/8 that belongs to this process, and ports that were free on it.
//!
//! Two test processes never meet, because the address is made of the process id. Inside one process a port is handed
//! out once. So the gap between finding a free port and a daemon's binding it has nobody in it who could take it:
//! outgoing connections use 127.0.0.1 as their source.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

/// Tries before giving up; a used port is met only after thousands of rigs.
const TRIES_MAX: u32 = 1000;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// The address of this process: 127.64.0.0/10 with the low 22 bits of the process id (PID_MAX_LIMIT is 2^22).
pub(crate) fn address() -> Ipv4Addr {
    let [low, middle, high, _] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 64 | (high & 0x3f), middle, low)
}

/// A free port on [`address`] that this process has not used yet.
pub(crate) fn port() -> Result<u16> {
    for _ in 0..TRIES_MAX {
        let listener =
            TcpListener::bind((address(), 0)).map_err(Error::io("cannot listen on a loopback port"))?;
        let port = listener.local_addr().map_err(Error::io("a listener has no address"))?.port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
    Err(Error::Settings(format!("no unused port on {} after {TRIES_MAX} tries", address())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_never_given_twice() {
        let ports: BTreeSet<_> = (0..50).map(|_| port().unwrap()).collect();
        assert_eq!(ports.len(), 50);
        assert!(address().is_loopback() && address() != Ipv4Addr::LOCALHOST);
    }
}
