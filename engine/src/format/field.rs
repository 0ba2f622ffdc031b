//! A typed field at a computed offset: a layout is written as a chain of them, and its end asserted.
//!
//! ```
//! use gdd_engine::format::field::Field;
//! const VERSION: Field<u16> = Field::first();
//! const LENGTH: Field<u32> = VERSION.then();
//! const _: () = assert!(LENGTH.end() == 6);
//! ```

use std::marker::PhantomData;

use crate::ids::{ChunkHash, ContainerId, Epoch, RecipeId};

use super::StoreId;

/// A value of fixed encoded size.
pub trait Fixed: Sized {
    /// Encoded size in bytes.
    const SIZE: usize;
    /// Decode from exactly [`Fixed::SIZE`] bytes.
    fn get(bytes: &[u8]) -> Self;
    /// Encode into exactly [`Fixed::SIZE`] bytes.
    fn put(self, bytes: &mut [u8]);
}

/// Where a `T` lies in a structure.
#[derive(Debug)]
pub struct Field<T> {
    at: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T: Fixed> Field<T> {
    /// The field at the start of a structure.
    #[must_use]
    pub const fn first() -> Self {
        Self::at(0)
    }

    /// The field at byte `at`.
    #[must_use]
    pub const fn at(at: usize) -> Self {
        Self { at, kind: PhantomData }
    }

    /// The field directly after this one.
    #[must_use]
    pub const fn then<U: Fixed>(self) -> Field<U> {
        Field::at(self.end())
    }

    /// Offset of the first byte.
    #[must_use]
    pub const fn start(self) -> usize {
        self.at
    }

    /// Offset after the last byte.
    #[must_use]
    pub const fn end(self) -> usize {
        self.at + T::SIZE
    }

    /// As a row of a table in FORMAT.md.
    #[cfg(test)]
    pub(crate) fn row(self, name: &'static str) -> super::testing::Row {
        super::testing::Row { at: self.start(), size: T::SIZE, name: name.to_owned() }
    }

    /// Read it from a structure.
    #[must_use]
    pub fn get(self, bytes: &[u8]) -> T {
        T::get(&bytes[self.at..self.end()])
    }

    /// Write it into a structure.
    pub fn put(self, bytes: &mut [u8], value: T) {
        value.put(&mut bytes[self.at..self.end()]);
    }
}

macro_rules! integers {
    ($($kind:ty),*) => {$(
        impl Fixed for $kind {
            const SIZE: usize = size_of::<$kind>();
            fn get(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$kind>()];
                array.copy_from_slice(bytes);
                Self::from_le_bytes(array)
            }
            fn put(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

integers!(u8, i8, u16, u32, u64);

impl<const N: usize> Fixed for [u8; N] {
    const SIZE: usize = N;
    fn get(bytes: &[u8]) -> Self {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        array
    }
    fn put(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self);
    }
}

macro_rules! newtypes {
    ($($name:ident($inner:ty)),*) => {$(
        impl Fixed for $name {
            const SIZE: usize = <$inner as Fixed>::SIZE;
            fn get(bytes: &[u8]) -> Self {
                Self(Fixed::get(bytes))
            }
            fn put(self, bytes: &mut [u8]) {
                self.0.put(bytes);
            }
        }
    )*};
}

newtypes!(ChunkHash([u8; 32]), ContainerId(u64), RecipeId(u64), Epoch(u32), StoreId([u8; 16]));

#[cfg(test)]
mod tests {
    use super::*;

    const A: Field<u8> = Field::first();
    const B: Field<u32> = A.then();
    const C: Field<[u8; 3]> = B.then();

    #[test]
    fn fields_lie_side_by_side_and_little_endian() {
        let mut bytes = [0; 8];
        assert_eq!((A.end(), B.start(), B.end(), C.end()), (1, 1, 5, 8));
        A.put(&mut bytes, 9);
        B.put(&mut bytes, 0x0403_0201);
        C.put(&mut bytes, [5, 6, 7]);
        assert_eq!(bytes, [9, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((A.get(&bytes), B.get(&bytes), C.get(&bytes)), (9, 0x0403_0201, [5, 6, 7]));
    }
}
