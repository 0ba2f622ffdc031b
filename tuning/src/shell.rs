//! Text for a POSIX shell. Names of mount points and devices come from outside, so nothing is pasted as it is.

/// One word of a shell's command line, quoted where that is needed.
pub(crate) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=+,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", clean(text).replace('\'', "'\\''"))
}

/// The same words on one line, for a comment: no character in it ends the line or moves the cursor.
pub(crate) fn clean(text: &str) -> String {
    let safe = |c: char| if c.is_control() || "\u{2028}\u{2029}".contains(c) { '?' } else { c };
    text.chars().map(safe).collect()
}

/// A line that writes `value` to `path`, as root.
pub(crate) fn write(path: &str, value: &str) -> String {
    format!("echo {} > {}", word(value), word(path))
}

/// A line that appends `text` to a file in /etc, so that it holds after a restart.
pub(crate) fn append(path: &str, text: &str) -> String {
    format!("echo {} >> {}", word(text), word(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_needed() {
        assert_eq!(word("/sys/block/vda"), "/sys/block/vda");
        assert_eq!(word(""), "''");
        assert_eq!(word("a b"), "'a b'");
        assert_eq!(word("a'; rm -rf $HOME #"), "'a'\\''; rm -rf $HOME #'");
        assert_eq!(word("a\nb"), "'a?b'");
        assert_eq!(clean("a\r\u{1b}[0m\u{2028}b\u{7f}"), "a??[0m?b?");
        assert_eq!(write("/a", "1"), "echo 1 > /a");
        assert_eq!(append("/etc/x.conf", "vm.x = 1"), "echo 'vm.x = 1' >> /etc/x.conf");
    }
}
