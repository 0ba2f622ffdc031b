//! A page that needs nothing besides itself: text, tables, and pictures as part of it.

use plotters::style::RGBColor;

const STYLE: &str = "\
:root{color-scheme:light}
body{font:15px/1.5 system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;color:#1f2937;background:#f8fafc;margin:0}
main{max-width:1040px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:26px;margin:0 0 14px}
h2{font-size:19px;margin:36px 0 10px;border-top:1px solid #e2e8f0;padding-top:22px}
h2 small{font-weight:400;font-size:14px;color:#64748b;margin-left:10px}
.run{background:#fff;border:1px solid #e2e8f0;border-radius:8px;padding:10px 14px;margin:0 0 10px}
.run b{font-size:15px}.run div{color:#475569;font-size:13px}
.mark{display:inline-block;min-width:1.5em;padding:0 .3em;text-align:center;border-radius:4px;color:#fff;
font-weight:700;margin-right:8px}
table{border-collapse:collapse;background:#fff;border:1px solid #e2e8f0;width:100%;margin:10px 0;
font-variant-numeric:tabular-nums;font-size:13.5px}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid #eef2f7;white-space:nowrap}
th{color:#475569;background:#f1f5f9;font-weight:600}
th:first-child,td:first-child{text-align:left}
.faint{color:#64748b}.better{color:#047857;font-weight:600}.worse{color:#b91c1c;font-weight:600}
.grid{display:grid;grid-template-columns:1fr 1fr;gap:12px}
figure{margin:0 0 6px;background:#fff;border:1px solid #e2e8f0;border-radius:8px;padding:6px}
svg{display:block;max-width:100%;height:auto}
figcaption{padding:2px 10px 6px;font-size:13px;color:#334155}
figcaption span{margin-right:18px;white-space:nowrap}
figcaption i{display:inline-block;width:22px;height:3px;vertical-align:middle;margin-right:6px}
@media(max-width:760px){.grid{grid-template-columns:1fr}}
";

/// A cell of a table.
pub struct Cell {
    class: &'static str,
    text: String,
}

impl Cell {
    /// Words.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self { class: "", text: text.to_owned() }
    }

    /// A figure.
    #[must_use]
    pub fn number(text: String) -> Self {
        Self { class: "", text }
    }

    /// A figure that matters less.
    #[must_use]
    pub fn faint(text: String) -> Self {
        Self { class: "faint", text }
    }

    /// A ratio: coloured when it is further from 1 than `notable`; whether more is better is said by `more`.
    #[must_use]
    pub fn ratio(ratio: f64, notable: f64, more: bool) -> Self {
        let class = match ratio {
            ratio if (ratio - 1.0).abs() < notable => "",
            ratio if (ratio > 1.0) == more => "better",
            _ => "worse",
        };
        Self { class, text: format!("{ratio:.2}") }
    }
}

/// See the module.
pub struct Page(String);

impl Page {
    /// With this title.
    #[must_use]
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        Self(format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n<h1>{title}</h1>\n"
        ))
    }

    /// A run: where it was saved, on what, and what was asked for.
    pub fn run(&mut self, mark: Option<(&str, RGBColor)>, name: &str, hardware: &str, options: &str) {
        let mark = mark.map_or_else(String::new, |(letter, colour)| {
            format!("<span class=\"mark\" style=\"background:{}\">{letter}</span>", css(colour))
        });
        let [name, hardware, options] = [name, hardware, options].map(escape);
        self.0 += &format!(
            "<section class=\"run\">{mark}<b>{name}</b><div>{hardware}</div><div>{options}</div></section>\n"
        );
    }

    /// A heading, with a note beside it.
    pub fn heading(&mut self, text: &str, note: &str) {
        self.0 += &format!("<h2>{}<small>{}</small></h2>\n", escape(text), escape(note));
    }

    /// A table.
    pub fn table(&mut self, heads: &[&str], rows: &[Vec<Cell>]) {
        self.0 += "<table><tr>";
        heads.iter().for_each(|head| self.0 += &format!("<th>{}</th>", escape(head)));
        self.0 += "</tr>\n";
        for row in rows {
            self.0 += "<tr>";
            for Cell { class, text } in row {
                let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
                self.0 += &format!("<td{class}>{}</td>", escape(text));
            }
            self.0 += "</tr>\n";
        }
        self.0 += "</table>\n";
    }

    /// What follows stands two beside each other, until [`Page::end_grid`].
    pub fn begin_grid(&mut self) {
        self.0 += "<div class=\"grid\">\n";
    }

    /// See [`Page::begin_grid`].
    pub fn end_grid(&mut self) {
        self.0 += "</div>\n";
    }

    /// A picture, with a legend below.
    pub fn picture(&mut self, svg: &str, legend: &[(&str, RGBColor)]) {
        self.0 += &format!("<figure>{svg}");
        if !legend.is_empty() {
            self.0 += "<figcaption>";
            for (name, colour) in legend {
                let (name, colour) = (escape(name), css(*colour));
                self.0 += &format!("<span><i style=\"background:{colour}\"></i>{name}</span>");
            }
            self.0 += "</figcaption>";
        }
        self.0 += "</figure>\n";
    }

    /// The whole page.
    #[must_use]
    pub fn end(mut self) -> String {
        self.0 += "</main></body></html>\n";
        self.0
    }
}

fn css(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Names come from files: none of them is markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_never_markup() {
        let mut page = Page::new("a <b> & \"c\"");
        page.run(None, "<script>", "&", "\"");
        page.table(&["<i>"], &[vec![Cell::text("</td>"), Cell::ratio(1.5, 0.03, true)]]);
        let text = page.end();
        assert!(!text.contains("<script>") && !text.contains("<td></td></td>"), "{text}");
        assert!(
            text.contains("a &lt;b&gt; &amp; &quot;c&quot;")
                && text.contains("<td class=\"better\">1.50</td>")
        );
    }

    #[test]
    fn small_differences_are_not_coloured() {
        let class = |ratio, more| Cell::ratio(ratio, 0.03, more).class;
        assert_eq!([class(1.02, true), class(1.2, true), class(0.8, true)], ["", "better", "worse"]);
        assert_eq!([class(0.99, false), class(1.2, false), class(0.8, false)], ["", "worse", "better"]);
    }
}
