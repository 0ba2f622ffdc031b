//! What was measured, for a terminal, for docs/performance.md and for programs.

use std::fmt::Write as _;

use super::field::{FIELD, OURS};
use super::summary::{CELLS, Measure, Row, verdict};

/// What the figures were measured on and how.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Processor, cores, memory, kernel, file system.
    pub hardware: String,
    /// As it can be typed again.
    pub command: String,
    /// Size of each corpus that was asked for.
    pub size: u64,
    /// Of the corpora.
    pub seed: u64,
    /// Whether restores began with an empty page cache.
    pub cold: bool,
}

/// The tables in Markdown: ours beside the best, then everybody's.
pub fn markdown(rows: &[Row], setting: &Setting) -> String {
    let mut text = format!("`{}` on {}.\n", setting.command, setting.hardware);
    let runs = rows.iter().flat_map(|row| row.cells.iter().flatten()).map(|figures| figures.runs);
    let (least, most) = runs.fold((usize::MAX, 0), |(least, most), runs| (least.min(runs), most.max(runs)));
    let runs = if least >= most { most.to_string() } else { format!("{least} to {most}") };
    let cold = if setting.cold { "empty" } else { "as the backup left it" };
    let _ = writeln!(
        text,
        "Corpora of {} MiB each; medians of {runs} runs, in turns; sources in memory, the page cache before a \
         restore {cold}.\n",
        setting.size >> 20
    );
    text.push_str(&verdicts(rows));
    for (measure, head) in Measure::ALL {
        let _ = write!(text, "\n| {head}");
        for (_, _, title) in columns(measure) {
            let _ = write!(text, " | {title}");
        }
        let _ = writeln!(text, " |\n|---{}|", "|---".repeat(columns(measure).count()));
        for row in rows {
            let _ = writeln!(text, "{} |", cells(row, measure));
        }
    }
    text.push('\n');
    for row in rows {
        let settings = FIELD.iter().find(|rival| rival.name == row.rival).map_or("", |rival| rival.settings);
        let _ = writeln!(text, "- {} ({}): {settings}.", row.rival, row.version);
    }
    text
}

/// The cells that a measure says something about.
fn columns(measure: Measure) -> impl Iterator<Item = (usize, super::record::Step, &'static str)> {
    let cells = CELLS.iter().enumerate().map(|(index, (_, step, title))| (index, *step, *title));
    cells.filter(move |(_, step, _)| measure != Measure::Added || *step != super::record::Step::Restore)
}

fn cells(row: &Row, measure: Measure) -> String {
    let mut line = format!("| {}", row.rival);
    for (index, step, _) in columns(measure) {
        let figures = row.cells.get(index).and_then(Option::as_ref);
        let value = figures.and_then(|figures| measure.of(figures, step));
        let _ = write!(line, " | {}", value.map_or_else(|| "-".to_owned(), |value| measure.show(value)));
    }
    line
}

/// Each cell and measure: ours, the best other, the ratio, and whether it is lost.
fn verdicts(rows: &[Row]) -> String {
    let mut text = format!("| {OURS} beside the best other");
    for (_, head) in Measure::ALL {
        let _ = write!(text, " | {head}");
    }
    let _ = writeln!(text, " |\n|---{}|", "|---".repeat(Measure::ALL.len()));
    for (index, (_, _, title)) in CELLS.iter().enumerate() {
        let _ = write!(text, "| {title}");
        for (measure, _) in Measure::ALL {
            let shown = verdict(rows, measure, index).map_or_else(String::new, |verdict| {
                let (ours, best) = (measure.show(verdict.ours), measure.show(verdict.best));
                let lost = if verdict.is_lost() { ", **lost**" } else { "" };
                format!("{ours} / {best} {}: {:.2}{lost}", verdict.rival, verdict.ratio)
            });
            let _ = write!(text, " | {shown}");
        }
        text.push_str(" |\n");
    }
    text
}

/// One JSON object.
pub fn json(rows: &[Row], setting: &Setting) -> String {
    let mut text = format!(
        "{{\"hardware\":{},\"command\":{},\"size\":{},\"seed\":{},\"restores_cold\":{},\"rivals\":[",
        quoted(&setting.hardware),
        quoted(&setting.command),
        setting.size,
        setting.seed,
        setting.cold
    );
    let rivals: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row.cells.iter().zip(&CELLS).filter_map(cell_json).collect();
            let (rival, version) = (quoted(&row.rival), quoted(&row.version));
            format!("{{\"rival\":{rival},\"version\":{version},\"steps\":[{}]}}", cells.join(","))
        })
        .collect();
    text.push_str(&rivals.join(","));
    text.push_str("],\"beside_best\":[");
    let mut verdicts = Vec::new();
    for (index, (corpus, step, _)) in CELLS.iter().enumerate() {
        for (measure, head) in Measure::ALL {
            verdicts.extend(verdict(rows, measure, index).map(|verdict| {
                format!(
                    "{{\"corpus\":{},\"step\":{},\"measure\":{},\"ours\":{:.3},\"best\":{:.3},\"rival\":{},\
                     \"ratio\":{:.4},\"lost\":{}}}",
                    quoted(corpus),
                    quoted(step.name()),
                    quoted(head),
                    verdict.ours,
                    verdict.best,
                    quoted(&verdict.rival),
                    verdict.ratio,
                    verdict.is_lost()
                )
            }));
        }
    }
    text.push_str(&verdicts.join(","));
    text.push_str("]}");
    text
}

type Cell = (&'static str, super::record::Step, &'static str);

fn cell_json((figures, (corpus, step, _)): (&Option<super::summary::Figures>, &Cell)) -> Option<String> {
    let figures = figures.as_ref()?;
    Some(format!(
        "{{\"corpus\":{},\"step\":{},\"runs\":{},\"bytes\":{:.0},\"seconds\":{:.3},\"synced_seconds\":{:.3},\
         \"cpu_seconds\":{:.2},\"peak_bytes\":{:.0},\"added_bytes\":{:.0}}}",
        quoted(corpus),
        quoted(step.name()),
        figures.runs,
        figures.bytes,
        figures.seconds,
        figures.synced_seconds,
        figures.cpu_seconds,
        figures.peak_bytes,
        figures.added
    ))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::record::Step;
    use super::super::record::tests::record;
    use super::super::summary::rows;
    use super::*;

    fn setting() -> Setting {
        Setting {
            hardware: "2 x \"CPU\"".to_owned(),
            command: "cargo xtask rivals".to_owned(),
            size: 1 << 30,
            seed: 0,
            cold: true,
        }
    }

    #[test]
    fn the_table_marks_what_is_lost() {
        let rows = rows(&[
            record("gdd", "real", Step::New, 2.0, 50_000_000),
            record("borg", "real", Step::New, 4.0, 40_000_000),
        ]);
        let text = markdown(&rows, &setting());
        assert!(text.contains("Corpora of 1024 MiB each; medians of 1 runs"), "{text}");
        assert!(text.contains("500 / 250 borg: 2.00 |"), "{text}");
        assert!(text.contains("50.0 / 40.0 borg: 0.80, **lost** |"), "{text}");
        assert!(text.contains("| borg | 250 | - |"), "{text}");
        assert!(text.contains("- borg (borg 1): `-e none`"), "{text}");
    }

    #[test]
    fn every_line_of_a_table_has_as_many_cells_as_its_head() {
        let rows =
            rows(&[record("gdd", "real", Step::New, 2.0, 5), record("zpaq", "image", Step::Changed, 4.0, 4)]);
        let text = markdown(&rows, &setting());
        let mut tables = 0;
        for table in text.split("\n\n").filter(|part| part.starts_with("| ")) {
            let counts: Vec<_> = table.lines().map(|line| line.matches('|').count()).collect();
            assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
            tables += 1;
        }
        assert_eq!(tables, 1 + Measure::ALL.len());
    }

    #[test]
    fn json_is_balanced_and_escaped() {
        let rows =
            rows(&[record("gdd", "real", Step::New, 2.0, 5), record("borg", "real", Step::New, 1.0, 5)]);
        let text = json(&rows, &setting());
        assert!(text.contains(r#""hardware":"2 x \"CPU\"""#), "{text}");
        assert!(text.contains(
            r#""measure":"MB/s","ours":500.000,"best":1000.000,"rival":"borg","ratio":0.5000,"lost":true"#
        ));
        for (open, close) in [('{', '}'), ('[', ']')] {
            assert_eq!(text.matches(open).count(), text.matches(close).count());
        }
        assert_eq!(quoted("a\nb"), r#""a\u000ab""#);
    }
}
