//! From an operation to a ring entry. The only caller of `push`.
#![expect(unsafe_code, reason = "hands the kernel pointers into buffers that the table of operations owns")]

use std::os::fd::AsRawFd;

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};

use crate::file::OpenFile;
use crate::in_flight::{Token, Work};
use crate::ring::{Ring, registered};
use crate::transfer::Way;

/// Token of the entry that watches the wake-up descriptor; no slot of the table has it.
pub(crate) const WAKE: Token = Token(u64::MAX);

/// The builders take either kind of descriptor, by type; this picks one at run time.
macro_rules! on {
    ($file:expr, |$fd:ident| $entry:expr) => {
        match $file.slot {
            Some(slot) => {
                let $fd = types::Fixed(slot);
                $entry
            }
            None => {
                let $fd = types::Fd($file.file.as_raw_fd());
                $entry
            }
        }
    };
}

impl Ring {
    /// Queue the next attempt of an operation. `patient` asks for a kernel worker that may block, after the kernel said
    /// "again".
    pub(crate) fn start(&mut self, token: Token, patient: bool) {
        let pending = self.in_flight.get(token).expect("the operation was just put there");
        let file = self.files.get(pending.file).expect("a file with operations in flight is open");
        let entry = match &mut pending.work {
            Work::Datasync => {
                on!(file, |fd| opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build())
            }
            Work::Allocate(len) => on!(file, |fd| opcode::Fallocate::new(fd, *len).build()),
            Work::Move(transfer, buffer) => {
                let slab = buffer.slab();
                let way = transfer.way();
                let (from, len, offset) = transfer.attempt();
                let rest = &mut buffer[from..from + len];
                let (pointer, len) =
                    (rest.as_mut_ptr(), u32::try_from(len).expect("an attempt is at most 1 GiB"));
                let slot = registered(&self.pools, slab);
                move_entry(file, way, pointer, len, offset, slot)
            }
        };
        let entry = entry.user_data(token.0);
        self.push(&if patient { entry.flags(Flags::ASYNC) } else { entry });
    }

    /// Queue an entry that completes when somebody rings the alarm, unless one is there.
    pub(crate) fn watch(&mut self) {
        if !self.watching {
            let event = types::Fd(self.alarm.event.as_raw_fd());
            let readable = u32::from(libc::POLLIN.cast_unsigned());
            self.push(&opcode::PollAdd::new(event, readable).build().user_data(WAKE.0));
            self.watching = true;
        }
    }

    fn push(&mut self, entry: &Entry) {
        // SAFETY: the entry points into a buffer that `in_flight` owns, and gives back only when the completion of its
        // token is reaped or is known never to come; or it points to nothing. Descriptors outlive it: `close` refuses
        // a file in flight, and the alarm is freed after the ring.
        let pushed = unsafe { self.ring.submission().push(entry) };
        assert!(pushed.is_ok(), "the queue has an entry for each operation in flight");
    }
}

fn move_entry(
    file: &OpenFile,
    way: Way,
    pointer: *mut u8,
    len: u32,
    offset: u64,
    slot: Option<u16>,
) -> Entry {
    on!(file, |fd| match (way, slot) {
        (Way::Read, None) => opcode::Read::new(fd, pointer, len).offset(offset).build(),
        (Way::Write, None) => opcode::Write::new(fd, pointer, len).offset(offset).build(),
        (Way::Read, Some(slot)) => opcode::ReadFixed::new(fd, pointer, len, slot).offset(offset).build(),
        (Way::Write, Some(slot)) => opcode::WriteFixed::new(fd, pointer, len, slot).offset(offset).build(),
    })
}
