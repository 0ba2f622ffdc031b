#![expect(unsafe_code, reason = "a class's table of functions is read word by word")]
//! A copy of a C++ class's table of virtual functions, with some of them replaced.
//!
//! Slots are found by the address that they hold, never by number: the number differs between versions. A function that
//! is in no slot, or in two, is refused: guessing would call the wrong method of a class that we do not know.

use std::ffi::c_void;
use std::ptr;

use crate::error::Refused;
use crate::symbols;

/// Words before the first function: the offset to the top of the object, and the type information (0 without RTTI).
const PREAMBLE_WORDS: usize = 2;

/// Words that a believable table has; `file_dev` has 110 (9.6.7) to 142 (15.0.3).
const WORDS_MAX: usize = 1024;

/// A private copy of a table.
#[derive(Debug, Clone)]
pub struct Vtable {
    symbol: String,
    words: Vec<*mut c_void>,
}

impl Vtable {
    /// Copies the table that `symbol` (mangled, `_ZTV...`) names. Its size is what the ELF symbol declares.
    ///
    /// # Errors
    /// When it is not exported, or its size is not that of a table.
    pub fn copy_of(symbol: &str) -> Result<Self, Refused> {
        let start = symbols::address(symbol)?;
        let size = symbols::declared_size(start.addr()).unwrap_or(0);
        let word_count = size / size_of::<*mut c_void>();
        if !size.is_multiple_of(size_of::<*mut c_void>())
            || !(PREAMBLE_WORDS + 1..=WORDS_MAX).contains(&word_count)
        {
            let expected = format!("whole words, at most {WORDS_MAX}");
            return Err(Refused::Table { table: symbol.to_owned(), found: size, expected });
        }
        let mut words = vec![ptr::null_mut(); word_count];
        // SAFETY: the symbol's object has `size` bytes, and the copy has as many.
        unsafe { ptr::copy_nonoverlapping(start.cast::<*mut c_void>(), words.as_mut_ptr(), word_count) };
        Ok(Self { symbol: symbol.to_owned(), words })
    }

    /// Size of the table in bytes, as the ELF symbol declares it.
    pub fn size(&self) -> usize {
        self.words.len() * size_of::<*mut c_void>()
    }

    /// Puts `ours` in the one slot that holds the exported function `method`, and returns that function.
    ///
    /// # Errors
    /// When the function is not exported, or not in exactly one slot.
    pub fn replace(&mut self, method: &str, ours: *mut c_void) -> Result<*mut c_void, Refused> {
        let theirs = symbols::address(method)?;
        let slots = &mut self.words[PREAMBLE_WORDS..];
        let count = slots.iter().filter(|slot| **slot == theirs).count();
        match slots.iter_mut().find(|slot| **slot == theirs) {
            Some(slot) if count == 1 => *slot = ours,
            _ => {
                let (method, table) = (method.to_owned(), self.symbol.clone());
                return Err(Refused::Slots { method, table, count });
            }
        }
        Ok(theirs)
    }

    /// Gives the table to the daemon for good, and returns what an object's first word must hold.
    pub fn publish(self) -> *mut c_void {
        let words = self.words.leak();
        (&raw mut words[PREAMBLE_WORDS]).cast()
    }
}
