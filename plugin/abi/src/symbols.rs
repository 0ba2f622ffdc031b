#![expect(unsafe_code, reason = "dlsym and dladdr are C functions, and what they return are addresses")]
//! Names to addresses: what the daemon and its libraries export.
//!
//! `RTLD_DEFAULT` is searched, because the relocations of the daemon's own tables were resolved in that order too: a
//! weak symbol that both the program and a library define has the same address here and there.

use std::ffi::{CStr, CString, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use crate::error::Refused;

/// Asks `dladdr1` for the symbol's entry in its library's table; `<dlfcn.h>` of glibc 2.3.3 and later.
const RTLD_DL_SYMENT: i32 = 1;

/// The address of an exported symbol.
///
/// # Errors
/// [`Refused::Missing`] when nothing exports it.
pub fn address(name: &str) -> Result<*mut c_void, Refused> {
    let missing = || Refused::Missing(name.to_owned());
    let c_name = CString::new(name).map_err(|_| missing())?;
    // SAFETY: the name is a NUL-terminated string, and RTLD_DEFAULT a handle that always exists.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c_name.as_ptr()) };
    if found.is_null() { Err(missing()) } else { Ok(found) }
}

/// An exported function, as the function pointer type `F`.
///
/// # Safety
/// `F` is the type of a function pointer, with the signature that the function of this name has.
///
/// # Errors
/// [`Refused::Missing`] when nothing exports it.
pub unsafe fn function<F: Copy>(name: &str) -> Result<F, Refused> {
    let found = address(name)?;
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>(), "F is a function pointer");
    // SAFETY: both are pointers of one size, and the caller vouches for the signature.
    Ok(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&found) })
}

/// The size in bytes that the ELF symbol at exactly this address declares; it is only looked up; `None` where there is
/// no such symbol.
pub fn declared_size(symbol: usize) -> Option<usize> {
    let symbol = ptr::without_provenance_mut(symbol);
    let mut info = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    let mut entry: *mut c_void = ptr::null_mut();
    // SAFETY: both out pointers are valid; with RTLD_DL_SYMENT the second one receives an ElfW(Sym) of the loaded
    // library, which is never unloaded: it is the daemon's own.
    let found = unsafe { libc::dladdr1(symbol, &raw mut info, &raw mut entry, RTLD_DL_SYMENT) };
    if found == 0 || entry.is_null() || info.dli_saddr != symbol {
        return None;
    }
    // SAFETY: see above; dladdr1 has found the symbol, so the pointer leads to its entry.
    let size = unsafe { (*entry.cast::<libc::Elf64_Sym>()).st_size };
    usize::try_from(size).ok()
}

/// The file that an address was loaded from.
pub fn library_of(address: usize) -> Option<PathBuf> {
    let address = ptr::without_provenance_mut(address);
    let mut info = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    // SAFETY: the out pointer is valid; any address may be asked about.
    let found = unsafe { libc::dladdr(address, &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr gives a NUL-terminated string that lives as long as the library.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_is_found_and_what_is_not_is_refused() {
        let malloc = address("malloc").expect("libc exports malloc");
        let library = library_of(malloc.addr()).expect("malloc lies in a library");
        assert!(library.to_string_lossy().contains("libc"), "{}", library.display());
        assert_eq!(address("gdd_no_such_symbol"), Err(Refused::Missing("gdd_no_such_symbol".into())));
        assert_eq!(address("gdd\0no"), Err(Refused::Missing("gdd\0no".into())));
    }

    #[test]
    fn the_size_of_an_object_is_read() {
        let environ = address("environ").expect("libc exports environ");
        assert_eq!(declared_size(environ.addr()), Some(size_of::<*mut c_void>()));
        let inside = environ.addr() + 1;
        assert_eq!(declared_size(inside), None, "an address inside a symbol is not its start");
    }

    #[test]
    fn a_function_can_be_called() {
        // SAFETY: this is the signature of abs(3).
        let abs = unsafe { function::<extern "C" fn(i32) -> i32>("abs") }.expect("libc exports abs");
        assert_eq!(abs(-3), 3);
    }
}
