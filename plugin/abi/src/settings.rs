//! plugin.toml, the one file that the plugins of both Bacula daemons read.
//!
//! It has lines `key = "value"`, empty lines and comments, which is a part of TOML. Anything else is refused with its
//! line: a typing error must not silently lead to another daemon. A machine may run both daemons, so each plugin knows
//! the other's keys, and passes over them.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Where the file is unless GDD_PLUGIN_CONFIG says otherwise.
pub const FILE_DEFAULT: &str = "/etc/gdd/plugin.toml";
/// Keys that the storage daemon's driver understands.
pub const STORAGE_KEYS: [&str; 2] = ["socket", "user"];
/// Keys that the file daemon's plugin understands.
pub const CLIENT_KEYS: [&str; 5] = ["server", "key_file", "client", "zero_read", "patience"];

/// The file's path and text. A file that does not exist is empty, unless GDD_PLUGIN_CONFIG names it.
///
/// # Errors
/// The path, and why it cannot be read.
pub fn read() -> Result<(PathBuf, String), (PathBuf, String)> {
    let named = env::var_os("GDD_PLUGIN_CONFIG").map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| FILE_DEFAULT.into());
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok((path, String::new())),
        Err(error) => Err((path, error.to_string())),
    }
}

/// Hand each setting of `text` to `set`, but for those whose key is in `of_others`.
///
/// # Errors
/// The number of a line, what is wrong with it, and the line: it is no setting, or `set` refused.
pub fn each(
    text: &str,
    of_others: &[&str],
    mut set: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), String> {
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| format!("line {}: {what}: {line:?}", index + 1);
        let (key, value) = setting(line).map_err(wrong)?;
        if !of_others.contains(&key) {
            set(key, value).map_err(|what| wrong(&what))?;
        }
    }
    Ok(())
}

fn setting(line: &str) -> Result<(&str, &str), &'static str> {
    let (key, rest) = line.split_once('=').ok_or("expected key = \"value\", found")?;
    let quoted = rest.trim().strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let (value, behind) = quoted.ok_or("expected a value in quotes, found")?;
    let behind = behind.trim();
    if value.contains('\\') || !(behind.is_empty() || behind.starts_with('#')) {
        return Err("expected a plain value in quotes, found");
    }
    Ok((key.trim(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_handed_over_but_for_those_of_others() {
        let text = "# where\n\n socket = \"/run/x\"  # here\nserver = \"h:1\"\n";
        let mut seen = Vec::new();
        let read = each(text, &CLIENT_KEYS, |key, value| {
            seen.push(format!("{key}={value}"));
            Ok(())
        });
        assert_eq!((read, seen), (Ok(()), vec!["socket=/run/x".to_owned()]));
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_line() {
        for bad in
            ["socket", "socket = /x", "socket = \"/x\" y", "socket = \"a\\b\"", "[daemon]", "server = 1"]
        {
            let refused = each(&format!("\n{bad}\n"), &CLIENT_KEYS, |_, _| Ok(())).expect_err(bad);
            assert!(refused.contains("line 2") && refused.contains("expected"), "{refused}");
        }
        let refused = each("a = \"b\"", &[], |key, _| Err(format!("expected another key than {key}, found")));
        assert_eq!(refused, Err("line 1: expected another key than a, found: \"a = \\\"b\\\"\"".to_owned()));
    }
}
