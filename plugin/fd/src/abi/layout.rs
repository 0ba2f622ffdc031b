//! Structures of bacula-fd's plugin interface (fd_plugins.h) on x86-64 and other 64-bit Linux: versions 14 (9.6.7), 22
//! (13.0.3) and 23 (15.0.3).
//!
//! What differs between versions is an offset in [`Layout`]; what is the same is a structure. The tests have the sizes
//! that a C compiler gives.

use std::ffi::{c_char, c_int, c_void};

use crate::abi::host::{CheckFile, Command, DoIo, GetValue, Handle, JobMessage, Packet, Plain, Value};

/// bRC of Bacula.
pub type Code = c_int;
/// bRC_OK.
pub const OK: Code = 0;
/// bRC_Error.
pub const ERROR: Code = 2;
/// bRC_Core.
pub const CORE: Code = 6;

/// Events that are acted on (bEvent...).
pub mod event {
    /// A backup begins, before its first file.
    pub const START_BACKUP: u32 = 3;
    /// The data of a backup are on the volume.
    pub const END_BACKUP: u32 = 4;
    /// The data of a restore were given.
    pub const END_RESTORE: u32 = 6;
    /// A file with a plugin's name begins.
    pub const RESTORE_COMMAND: u32 = 10;
    /// From another thread: the operator has cancelled the job.
    pub const CANCEL: u32 = 14;
    /// An entry of the FileSet with our option.
    pub const HANDLE_FILE: u32 = 24;
}

/// What pluginIO is asked to do (IO_...).
pub mod io {
    /// IO_OPEN.
    pub const OPEN: c_int = 1;
    /// IO_READ.
    pub const READ: c_int = 2;
    /// IO_WRITE.
    pub const WRITE: c_int = 3;
    /// IO_CLOSE.
    pub const CLOSE: c_int = 4;
    /// IO_SEEK.
    pub const SEEK: c_int = 5;
    use super::c_int;
}

/// What createFile answers (CF_...).
pub mod creation {
    /// CF_SKIP.
    pub const SKIP: c_int = 1;
    /// CF_ERROR.
    pub const ERROR: c_int = 2;
    /// CF_EXTRACT.
    pub const EXTRACT: c_int = 3;
    /// CF_CORE.
    pub const CORE: c_int = 5;
    use super::c_int;
}

/// FT_REG: a regular file with data.
pub const FT_REG: c_int = 3;
/// STREAM_UNIX_ATTRIBUTE_UPDATE of 13.0.0 and later: owner, mode and times of a file whose data an earlier job has. Its
/// type is FT_REG all the same.
pub const ATTRIBUTE_UPDATE: c_int = 37;
/// Variables of getBaculaValue that are the same in all versions: an int or a char*.
pub mod variable {
    /// The job's number, an int.
    pub const JOB_ID: c_int = 1;
    /// The job's unique name, a char*.
    pub const JOB_NAME: c_int = 6;
    /// Bacula's letter for the job's state, an int.
    pub const JOB_STATUS: c_int = 7;
    /// Entries that the job has in the catalog, an int: when a backup begins, those of an earlier, incomplete run.
    pub const FILE_INDEX: c_int = 23;
    use super::c_int;
}

/// What one version has where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Of the interface.
    pub version: u32,
    /// Bytes of the daemon's table of functions.
    pub host_size: u32,
    /// Bytes of ours.
    pub own_size: u32,
    /// Bytes of save_pkt.
    pub save_size: usize,
    /// save_pkt.fname.
    pub save_name: usize,
    /// save_pkt.link.
    pub save_link: usize,
    /// save_pkt.statp.
    pub save_stat: usize,
    /// save_pkt.cmd.
    pub save_command: usize,
    /// restore_pkt.stream.
    pub restore_stream: usize,
    /// restore_pkt.type.
    pub restore_type: usize,
    /// Whether core mixes up two restores at once.
    pub one_restore: bool,
}

/// restore_pkt: bytes, and offsets that all versions share.
pub mod restore {
    /// All of it.
    pub const SIZE: usize = 232;
    /// statp.
    pub const STAT: usize = 32;
    /// ofname.
    pub const NAME: usize = 184;
    /// replace.
    pub const REPLACE: usize = 216;
    /// create_status.
    pub const STATUS: usize = 220;
}

/// 9.6.7.
const V14: Layout = Layout {
    version: 14,
    host_size: 144,
    own_size: 128,
    save_size: 240,
    save_name: 8,
    save_link: 16,
    save_stat: 24,
    save_command: 192,
    restore_stream: 4,
    restore_type: 12,
    one_restore: true,
};
/// 13.0.3.
const V22: Layout = Layout {
    version: 22,
    host_size: 152,
    own_size: 152,
    save_size: 344,
    save_name: 8,
    save_link: 32,
    save_stat: 40,
    save_command: 208,
    restore_stream: 8,
    restore_type: 16,
    one_restore: false,
};
/// 15.0.3.
const V23: Layout = Layout { version: 23, host_size: 168, own_size: 168, ..V22 };

impl Layout {
    /// The layout for what the daemon announces: its interface's version, and the size of its table.
    #[must_use]
    pub fn of(version: u32, host_size: u32) -> Option<&'static Self> {
        let known = [&V14, &V22, &V23];
        known.into_iter().find(|layout| layout.version == version && layout.host_size == host_size)
    }
}

/// bpContext.
#[repr(C)]
pub struct Bound {
    /// Core's.
    pub core: *mut c_void,
    /// Ours.
    pub own: *mut c_void,
}

/// bEvent.
#[repr(C)]
pub struct Event {
    /// Which.
    pub kind: u32,
}

/// bInfo.
#[repr(C)]
pub struct Info {
    /// Bytes of this.
    pub size: u32,
    /// Of the interface.
    pub version: u32,
}

/// The start of bFuncs, the daemon's table of functions.
#[repr(C)]
pub struct HostFunctions {
    /// Bytes of the table.
    pub size: u32,
    /// Of the interface.
    pub version: u32,
    /// registerBaculaEvents.
    pub register_events: *const c_void,
    /// getBaculaValue.
    pub get_value: Option<GetValue>,
    /// setBaculaValue.
    pub set_value: *const c_void,
    /// JobMessage.
    pub job_message: Option<JobMessage>,
}

/// pInfo.
#[repr(C)]
pub struct OwnInfo {
    /// Bytes of this.
    pub size: u32,
    /// Of the interface.
    pub version: u32,
    /// `*FDPluginData*`.
    pub magic: *const c_char,
    /// One that the daemon takes.
    pub licence: *const c_char,
    /// For `status client`.
    pub author: *const c_char,
    /// For `status client`.
    pub date: *const c_char,
    /// For `status client`.
    pub own_version: *const c_char,
    /// For `status client`.
    pub description: *const c_char,
}

/// pFuncs, our table: the first thirteen are the same in all versions, the rest we do not have.
#[repr(C)]
pub struct OwnFunctions {
    /// Bytes that this version has.
    pub size: u32,
    /// Of the interface.
    pub version: u32,
    /// newPlugin.
    pub new: Plain,
    /// freePlugin.
    pub free: Plain,
    /// getPluginValue.
    pub get_value: Value,
    /// setPluginValue.
    pub set_value: Value,
    /// handlePluginEvent.
    pub handle: Handle,
    /// startBackupFile.
    pub start_backup: Packet,
    /// endBackupFile.
    pub end_backup: Plain,
    /// startRestoreFile.
    pub start_restore: Command,
    /// endRestoreFile.
    pub end_restore: Plain,
    /// pluginIO.
    pub io: DoIo,
    /// createFile.
    pub create: Packet,
    /// setFileAttributes.
    pub set_attributes: Packet,
    /// checkFile.
    pub check_file: CheckFile,
    /// handleXACLdata and what later versions put behind it; null.
    pub rest: [*const c_void; 7],
}

/// io_pkt.
#[repr(C)]
pub struct IoPacket {
    /// Bytes of this.
    pub size: i32,
    /// What to do.
    pub function: c_int,
    /// Bytes to read or write.
    pub count: i32,
    /// Of open(2).
    pub flags: i32,
    /// Of open(2).
    pub mode: u32,
    /// Core's.
    pub buffer: *mut u8,
    /// The path, for IO_OPEN.
    pub name: *const c_char,
    /// The answer: a count, 0, or -1.
    pub status: i32,
    /// errno for -1.
    pub errno: i32,
    /// Of Windows.
    pub lerror: i32,
    /// Of lseek(2).
    pub whence: i32,
    /// Of lseek(2); also the answer to it.
    pub offset: i64,
    /// Of Windows.
    pub win32: u8,
    /// Bytes of this, once more.
    pub end: i32,
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn sizes_are_those_of_the_c_compiler() {
        assert_eq!(size_of::<Bound>(), 16);
        assert_eq!(size_of::<Event>(), 4);
        assert_eq!(size_of::<Info>(), 8);
        assert_eq!(size_of::<OwnInfo>(), 56);
        assert_eq!(size_of::<IoPacket>(), 72);
        assert_eq!(size_of::<libc::stat>(), 144);
        assert_eq!(size_of::<OwnFunctions>(), 168);
    }

    #[test]
    fn offsets_are_those_of_the_c_compiler() {
        assert_eq!(offset_of!(IoPacket, buffer), 24);
        assert_eq!(offset_of!(IoPacket, name), 32);
        assert_eq!(offset_of!(IoPacket, status), 40);
        assert_eq!(offset_of!(IoPacket, errno), 44);
        assert_eq!(offset_of!(IoPacket, whence), 52);
        assert_eq!(offset_of!(IoPacket, offset), 56);
        assert_eq!(offset_of!(IoPacket, end), 68);
        assert_eq!(offset_of!(HostFunctions, get_value), 16);
        assert_eq!(offset_of!(HostFunctions, job_message), 32);
        assert_eq!(offset_of!(OwnFunctions, check_file), 8 + 12 * 8);
        assert_eq!(offset_of!(OwnFunctions, rest), 8 + 13 * 8);
    }

    #[test]
    fn only_what_is_known_is_taken() {
        for (version, size) in [(14, 144), (22, 152), (23, 168)] {
            assert_eq!(Layout::of(version, size).map(|layout| layout.version), Some(version));
        }
        for (version, size) in [(14, 152), (22, 144), (23, 152), (13, 144), (24, 168), (0, 0)] {
            assert_eq!(Layout::of(version, size), None);
        }
    }
}
