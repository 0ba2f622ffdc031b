//! Sizes, as people write and read them.

/// Read a size in bytes: a number, with `k`, `m`, `g` or `t` (powers of 1024) behind it, and an optional `b` or `ib`.
///
/// # Errors
/// A sentence for the user.
pub fn parse(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.len() - lower.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("{text:?} is no size; write a number such as 65536, 64k, 512m or 1g")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no size; write 64k, 512m or 1g"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more than 2^64 bytes"))
}

/// Bytes for people: `1.50 GB` (powers of 1000, as disks are sold).
#[must_use]
pub fn show(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    match UNITS.into_iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.2} {unit}", to_float(bytes) / to_float(size)),
        None => format!("{bytes} B"),
    }
}

/// A power-of-two size as the user writes it: `64k`, `4m`; anything else in bytes.
#[must_use]
pub fn show_binary(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        bytes if bytes.is_multiple_of(1 << 30) => format!("{}g", bytes >> 30),
        bytes if bytes.is_multiple_of(1 << 20) => format!("{}m", bytes >> 20),
        bytes if bytes.is_multiple_of(1 << 10) => format!("{}k", bytes >> 10),
        bytes => bytes.to_string(),
    }
}

/// A rate for people.
#[must_use]
pub fn show_rate(bytes_per_second: f64) -> String {
    if bytes_per_second >= 1e9 {
        format!("{:.2} GB/s", bytes_per_second / 1e9)
    } else {
        format!("{:.1} MB/s", bytes_per_second / 1e6)
    }
}

/// A count with its thousands set apart: `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As a float, for ratios and rates.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "ratios and rates for people need no more than 53 bits")]
pub fn to_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64k", 65_536), ("64KiB", 65_536), ("1g", 1 << 30), ("2 m", 0)]
        {
            if text.contains(' ') {
                assert!(parse(text).is_err(), "{text}");
            } else {
                assert_eq!(parse(text), Ok(bytes), "{text}");
            }
        }
        for text in ["", "k", "-1", "1.5g", "1x", "99999999999999999999", "16777216t"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(show(999), "999 B");
        assert_eq!(show(1_500_000_000), "1.50 GB");
        assert_eq!(show_binary(65_536), "64k");
        assert_eq!(show_binary(65_537), "65537");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
    }
}
