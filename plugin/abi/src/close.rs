#![expect(unsafe_code, reason = "std does not tell what closing a file has said")]
//! Closing a file, with an answer: some file systems write only then, and say only then that they could not.

use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;

/// Close `file`.
///
/// # Errors
/// What was written did not reach whoever keeps it. The file is closed all the same (close(2), of Linux).
pub fn close(file: File) -> io::Result<()> {
    let descriptor = file.into_raw_fd();
    // SAFETY: the descriptor was the file's alone, and nobody has it any more.
    match unsafe { libc::close(descriptor) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_closed_once() {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        let writer = File::from(std::os::fd::OwnedFd::from(writer));
        close(writer).expect("nothing was written");
        // Only then is there an end to read.
        let read = std::io::Read::read_to_end(&mut { reader }, &mut Vec::new());
        assert_eq!(read.expect("its end"), 0);
    }
}
