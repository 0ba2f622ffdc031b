//! Spans of time, as people write and read them.

/// The units, the longest first, in seconds.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Read a span: a number with `s`, `m`, `h` or `d` behind it, or `never`, which is none.
///
/// # Errors
/// A sentence for the user.
pub fn parse(text: &str) -> Result<Option<u64>, String> {
    let text = text.trim();
    if text == "never" {
        return Ok(None);
    }
    let wrong =
        || format!("{text:?} is no span of time; write a number such as 30s, 5m, 12h or 30d, or never");
    let unit = UNITS.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, seconds) = unit.ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|span| *span > 0).map(Some).ok_or_else(wrong)
}

/// A span in the largest unit that it is a whole number of.
#[must_use]
pub fn show(span: u64) -> String {
    let (unit, seconds) =
        UNITS.into_iter().find(|(_, seconds)| span.is_multiple_of(*seconds)).unwrap_or(("s", 1));
    format!("{}{unit}", span / seconds)
}

/// A short time, given in nanoseconds, in the unit that suits it: `850 ns`, `12.3 us`, `4.56 ms`, `1.20 s`.
#[must_use]
pub fn show_ns(nanoseconds: u64) -> String {
    let (unit, size) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => ("us", 1e3),
        1_000_000..1_000_000_000 => ("ms", 1e6),
        _ => ("s", 1e9),
    };
    let value = crate::size::to_float(nanoseconds) / size;
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, span) in [("30s", 30), ("5m", 300), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(parse(text), Ok(Some(span)), "{text}");
            assert_eq!(show(span), text);
        }
        assert_eq!(parse("never"), Ok(None));
        assert_eq!(show(61), "61s");
        let short = [850, 12_345, 4_560_000, 123_456_789, 1_200_000_000].map(show_ns);
        assert_eq!(short, ["850 ns", "12.3 us", "4.56 ms", "123 ms", "1.20 s"]);
        for text in ["", "d", "-1d", "1.5h", "0s", "0d", "12", "99999999999999999999d", "213503982334602d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
