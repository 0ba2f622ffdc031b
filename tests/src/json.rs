//! Read what `--json` printed, and say what is missing when it is.

use serde_json::Value;

/// The number at `path`, whose parts are set apart by dots: `filter.items`.
///
/// # Panics
/// When there is none, or it is no natural number; shows the whole value.
#[must_use]
pub fn number(value: &Value, path: &str) -> u64 {
    at(value, path).as_u64().unwrap_or_else(|| unreachable!("{path} is no natural number in {value:#}"))
}

/// The text at `path`.
///
/// # Panics
/// When there is none; shows the whole value.
#[must_use]
pub fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_else(|| unreachable!("{path} is no text in {value:#}"))
}

/// The list at `path`.
///
/// # Panics
/// When there is none; shows the whole value.
#[must_use]
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().unwrap_or_else(|| unreachable!("{path} is no list in {value:#}"))
}

/// What is at `path`.
///
/// # Panics
/// When there is nothing; shows the whole value.
#[must_use]
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    let pointer = format!("/{}", path.replace('.', "/"));
    value.pointer(&pointer).unwrap_or_else(|| unreachable!("no {path} in {value:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_path() {
        let value = serde_json::json!({"a": {"b": 7, "c": ["x"]}});
        assert_eq!((number(&value, "a.b"), text(&value, "a.c.0"), list(&value, "a.c").len()), (7, "x", 1));
    }

    #[test]
    #[should_panic(expected = "no a.d in {")]
    fn what_is_missing_is_named() {
        let _ = number(&serde_json::json!({"a": {}}), "a.d");
    }
}
