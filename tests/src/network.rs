//! Hosts: network namespaces, each joined to this one by a cable of its own.

use std::net::Ipv4Addr;
use std::process::Command;

/// Hosts have numbers below this; their second cables have those from it on.
const SECOND: u8 = 31;

/// A namespace with its end of a cable. Dropped, both are gone.
#[derive(Debug)]
pub struct Host {
    name: String,
    number: u8,
}

impl Host {
    /// Host number `number` of this process, 1 to 30. `None`, with the reason printed, where namespaces cannot be made.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        let host = Self { name: format!("gdd{}-{number}", std::process::id() % 100_000), number };
        let (name, cable) = (host.name.as_str(), host.cable());
        let (here, there) = (host.address_here().to_string() + "/30", host.address().to_string() + "/30");
        let made = ip(&["netns", "add", name])
            && ip(&["link", "add", &cable, "type", "veth", "peer", "name", "up0", "netns", name])
            && ip(&["address", "add", &here, "dev", &cable])
            && ip(&["link", "set", &cable, "up"])
            && ip(&["-n", name, "address", "add", &there, "dev", "up0"])
            && ip(&["-n", name, "link", "set", "up0", "up"])
            && ip(&["-n", name, "link", "set", "lo", "up"]);
        if !made {
            println!("SKIPPED: network namespaces need root, iproute2 and a kernel with veth");
            return None;
        }
        Some(host)
    }

    fn cable(&self) -> String {
        format!("{}v", self.name)
    }

    /// Its namespace, as ip-netns(8) calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Addresses for one more cable of the host: of this end, and of the host's.
    pub(crate) fn second_cable(&self) -> [Ipv4Addr; 2] {
        [1, 2].map(|last| address(self.number + SECOND, last))
    }

    /// This machine's address at the other end of the host's cable.
    #[must_use]
    pub fn address_here(&self) -> Ipv4Addr {
        self.at(1)
    }

    /// The host's address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.at(2)
    }

    fn at(&self, last: u8) -> Ipv4Addr {
        address(self.number, last)
    }

    /// A command that runs on the host.
    #[must_use]
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.name]); // Its cable goes with it.
    }
}

/// In a network of four addresses that this process has for this cable alone.
fn address(number: u8, last: u8) -> Ipv4Addr {
    let process = std::process::id();
    let [low, high, ..] = process.to_le_bytes();
    Ipv4Addr::new(10, 64 | (high & 0x3f), low, 4 * number + last)
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).status().is_ok_and(|status| status.success())
}
