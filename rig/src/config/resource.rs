//! One resource of a configuration file, a directive per line.

use std::fmt::Display;
use std::path::Path;

use crate::{Error, Result};

/// A resource that is being written.
pub(super) struct Resource {
    text: String,
    depth: usize,
}

impl Resource {
    pub(super) fn new(kind: &str) -> Self {
        Self { text: format!("{kind} {{\n"), depth: 1 }
    }

    /// `name = value`: numbers, sizes, times, words.
    pub(super) fn set(self, name: &str, value: impl Display) -> Result<Self> {
        self.line(&format!("{name} = {value}"))
    }

    /// `name = "value"`.
    pub(super) fn text(self, name: &str, value: &str) -> Result<Self> {
        if value.contains(['"', '\\']) {
            return Err(Error::Settings(format!("{name}: {value:?} has a quote or a backslash in it")));
        }
        self.line(&format!("{name} = \"{value}\""))
    }

    /// `name = "path"`.
    pub(super) fn path(self, name: &str, value: &Path) -> Result<Self> {
        let text = value.to_str().ok_or_else(|| {
            Error::Settings(format!(
                "{name}: {} is not UTF-8, which a configuration file must be",
                value.display()
            ))
        })?;
        self.text(name, text)
    }

    /// A directive as it is.
    pub(super) fn line(mut self, line: &str) -> Result<Self> {
        if line.contains('\n') {
            return Err(Error::Settings(format!("{line:?} is more than one line")));
        }
        self.text.push_str(&"  ".repeat(self.depth));
        self.text.push_str(line);
        self.text.push('\n');
        Ok(self)
    }

    /// Directives as they are.
    pub(super) fn lines<'a>(self, lines: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        lines.into_iter().try_fold(self, Self::line)
    }

    /// Open a block inside.
    pub(super) fn open(self, kind: &str) -> Result<Self> {
        let mut inner = self.line(&format!("{kind} {{"))?;
        inner.depth += 1;
        Ok(inner)
    }

    /// Close the innermost block.
    pub(super) fn close(mut self) -> Result<Self> {
        self.depth -= 1;
        self.line("}")
    }

    /// The whole text.
    pub(super) fn end(mut self) -> String {
        assert_eq!(self.depth, 1, "every block is closed");
        self.text.push_str("}\n\n");
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_and_every_brace_has_a_line() {
        let text = || Resource::new("Pool").set("Size", 5)?.open("Options")?.text("Name", "n")?.close();
        assert_eq!(text().unwrap().end(), "Pool {\n  Size = 5\n  Options {\n    Name = \"n\"\n  }\n}\n\n");
    }

    #[test]
    fn what_would_break_out_of_its_line_is_refused() {
        assert!(Resource::new("Pool").text("Name", "a\"b").is_err());
        assert!(Resource::new("Pool").line("a\nb").is_err());
    }
}
