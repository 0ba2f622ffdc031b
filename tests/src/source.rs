//! Read Rust source as a lint does: what is code and what is a comment or literal, where functions begin and end.
//!
//! This is a scanner and no parser: it knows comments, strings and characters, and counts braces. That is enough to
//! measure and to search, and it does not break when the language grows.

/// A function in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Line of the `fn`, from 1.
    pub line: usize,
    /// Lines from the `fn` to the closing brace, both counted.
    pub length: usize,
}

/// `text` with every comment and every literal's inside replaced by spaces; lines and columns stay.
#[must_use]
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = skipped(bytes, at).max(1);
        let keep = skipped(bytes, at) == 0;
        code.extend(
            bytes[at..at + length].iter().map(|&byte| if keep || byte == b'\n' { byte } else { b' ' }),
        );
        at += length;
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The functions with a body in `code` (from [`code_only`]), in order.
#[must_use]
pub fn functions(code: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let Some((at, name)) = name_after(text, "fn ") else { continue };
        let rest = [&text[at..]].into_iter().chain(code.lines().skip(line + 1));
        if let Some(length) = body_length(rest) {
            functions.push(Function { name, line: line + 1, length });
        }
    }
    functions
}

/// The modules that `code` (from [`code_only`]) declares without a body: `mod name;`.
#[must_use]
pub fn modules(code: &str) -> Vec<String> {
    let declared = code.lines().filter(|line| line.trim_end().ends_with(';'));
    declared.filter_map(|line| name_after(line, "mod ")).map(|(_, name)| name).collect()
}

/// The identifier after `keyword`, when `keyword` stands at the start of a word; with where the keyword ends.
fn name_after(line: &str, keyword: &str) -> Option<(usize, String)> {
    let at = line.match_indices(keyword).find(|(at, _)| *at == 0 || !is_word(line.as_bytes()[at - 1]))?.0
        + keyword.len();
    let name: String = line[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some((at, name))
}

/// Lines until the brace that closes the first one opened; `None` when a `;` ends it before any brace opens.
fn body_length<'a>(lines: impl Iterator<Item = &'a str>) -> Option<usize> {
    let (mut braces, mut brackets) = (0_u32, 0_u32);
    for (index, line) in lines.enumerate() {
        for byte in line.bytes() {
            match byte {
                b'{' => braces += 1,
                b'}' if braces <= 1 => return (braces == 1).then_some(index + 1),
                b'}' => braces -= 1,
                b'(' | b'[' => brackets += 1,
                b')' | b']' => brackets = brackets.saturating_sub(1),
                b';' if braces == 0 && brackets == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

/// Length of the comment, string or character that starts at `at`; 0 when code does.
fn skipped(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_word = at > 0 && is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, b'"'),
        [b'r' | b'b' | b'c', ..] if !after_word => prefixed(rest),
        // A character, unless it is a lifetime: those have no closing quote right after one character.
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        [b'\'', first, ..] => {
            let width = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            if rest.get(1 + width) == Some(&b'\'') { 2 + width } else { 0 }
        }
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// A literal from its opening quote to its closing one, backslashes heeded.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"..."`, `r#"..."#`, `b"..."`, `b'.'`, `br"..."`, `c"..."`; 0 when it is only a word.
fn prefixed(rest: &[u8]) -> usize {
    let letters = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).take(2).count();
    let hashes = rest[letters..].iter().take_while(|&&byte| byte == b'#').count();
    let (start, raw) = (letters + hashes, rest[..letters].contains(&b'r'));
    match rest.get(start) {
        Some(b'"') if raw => {
            let end: Vec<u8> = [b'"'].into_iter().chain(vec![b'#'; hashes]).collect();
            let body = &rest[start + 1..];
            let close = body.windows(end.len()).position(|window| window == end);
            close.map_or(rest.len(), |close| start + 1 + close + end.len())
        }
        Some(b'"' | b'\'') if hashes == 0 => letters + quoted(&rest[letters..], rest[letters]),
        _ => 0,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        // In each case, `~` in the second string stands for a blanked character.
        let cases = [
            ("a // b", "a ~~~~"),
            ("a /* /* b */ c */ d", "a ~~~~~~~~~~~~~~~ d"),
            (r#"f("x{\"}") + y"#, "f(~~~~~~~) + y"),
            (r##"f(r#"a"b"#) + y"##, "f(~~~~~~~~) + y"),
            (r"f(b'{', '\'', '}') + y", "f(~~~~, ~~~~, ~~~) + y"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("bar(x, 'static)", "bar(x, 'static)"),
            ("br(x) + r#type", "br(x) + r#type"),
        ];
        for (text, expected) in cases {
            assert_eq!(code_only(text), expected.replace('~', " "), "{text}");
        }
        let text = "a\n/* b\n c */\nd";
        assert_eq!(code_only(text).lines().count(), text.lines().count());
    }

    #[test]
    fn functions_are_measured_and_declarations_are_not() {
        let code = "trait T { fn none(&self) -> [u8; 2];\n}\nfn one() {}\npub fn three(\n  x: u8,\n) { if x { y } }\n";
        let found: Vec<_> = functions(code).into_iter().map(|f| (f.name, f.line, f.length)).collect();
        assert_eq!(found, [("one".to_owned(), 3, 1), ("three".to_owned(), 4, 3)]);
    }

    #[test]
    fn modules_with_a_body_are_not_files() {
        assert_eq!(modules("mod a;\npub(crate) mod b;\nmod c {\n}\nuse commod d;"), ["a", "b"]);
    }
}
