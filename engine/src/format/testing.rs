//! What every codec must refuse, stated once; and that FORMAT.md draws what the code writes.

use std::path::Path;

use super::Place;
use crate::error::{Error, Result};

/// A place for decoders under test.
pub fn place() -> Place<'static> {
    Place::new(Path::new("test"), 0)
}

/// `decode` accepts `good` and refuses it with any byte changed, and with any other length tried.
pub fn refuses_damage<T>(good: &[u8], decode: impl Fn(&[u8]) -> Result<T>) {
    decode(good).map(drop).expect("the undamaged bytes decode");
    refuses_changed_bytes(good, &decode);
    for len in [0, 1, good.len() / 2, good.len() - 1] {
        is_refusal(decode(&good[..len]), &format!("cut to {len}"));
    }
    let mut longer = good.to_vec();
    longer.push(0);
    is_refusal(decode(&longer), "one byte longer");
}

/// `decode` refuses `good` with any byte changed.
pub fn refuses_changed_bytes<T>(good: &[u8], decode: impl Fn(&[u8]) -> Result<T>) {
    let mut bytes = good.to_vec();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            bytes[at] ^= mask;
            is_refusal(decode(&bytes), &format!("byte {at} xor {mask:02x}"));
            bytes[at] ^= mask;
        }
    }
}

fn is_refusal<T>(result: Result<T>, how: &str) {
    match result {
        Err(Error::Corrupt { .. }) => {}
        Err(other) => panic!("{how}: refused as {other}"),
        Ok(_) => panic!("{how}: accepted"),
    }
}

/// A field, as drawn or as coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Offset in bytes.
    pub at: usize,
    /// Size in bytes.
    pub size: usize,
    /// Its name.
    pub name: String,
}

/// Lists fields: `rows![magic: MAGIC, version: FORMAT]`.
macro_rules! rows {
    ($($name:ident: $field:ident),* $(,)?) => {
        [$($field.row(stringify!($name))),*]
    };
}
pub(crate) use rows;

/// The table under `### {title}, {size} bytes` in FORMAT.md lists exactly these fields.
pub fn is_drawn(title: &str, size: usize, coded: &[Row]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../FORMAT.md");
    let text = std::fs::read_to_string(path).expect("FORMAT.md lies in the root");
    let heading = format!("### {title}, {size} bytes\n");
    let (_, section) = text.split_once(&heading).unwrap_or_else(|| panic!("FORMAT.md has no {heading}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let drawn: Vec<_> = section.lines().filter_map(drawn_row).collect();
    assert_eq!(drawn, coded, "{title}");
}

/// `| at | size | \`name\` | ... |`
fn drawn_row(line: &str) -> Option<Row> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let at = cells.next()?.parse().ok()?;
    let size = cells.next()?.parse().ok()?;
    let name = cells.next()?.trim_matches('`').to_owned();
    Some(Row { at, size, name })
}
