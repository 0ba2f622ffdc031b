#![expect(unsafe_code, reason = "a TUN device is made by an ioctl that no crate here has")]
//! TUN devices: network cards whose cable is a file of this process (Linux, Documentation/networking/tuntap.rst).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// struct ifreq, as far as TUNSETIFF looks at it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: i16,
    rest: [u8; 22],
}

/// IFF_TUN | IFF_NO_PI: packets of IP, with nothing before them.
const PLAIN_PACKETS: i16 = 0x1001;

/// A new device called `name`. A read of the file gives one packet that the kernel sends through it, and a write hands
/// the kernel one. The device goes with the file, or when its namespace does.
///
/// # Errors
/// The system's; it takes root.
pub fn open(name: &str) -> io::Result<File> {
    let device = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: PLAIN_PACKETS, rest: [0; 22] };
    if name.len() >= request.name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a device's name has 15 bytes at most"));
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the request is as long as the kernel's struct ifreq, 40 bytes, and it writes the name back at most.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(device) }
}
