//! `gdd bench report`: a page of a saved run, or of two runs compared.

use gdd_engine::observe::{Summary, decode};
use serde_json::json;

use super::chart::{self, COLOURS, Drawn, Line};
use super::html::{Cell, Page};
use super::record::{Curve, Flow, Rate, Record};
use super::report::Series;
use crate::args::BenchReport;
use crate::failure::{Failure, Result};
use crate::output::Outcome;
use crate::size::{grouped, show_rate, to_float};
use crate::span::show_ns;

/// A chart over the whole width, and one of two beside each other. Pixels.
const WIDE: (u32, u32) = (980, 320);
const HALF: (u32, u32) = (484, 270);

/// Differences below this share are not coloured.
const NOTABLE: f64 = 0.03;

/// A run with its name.
struct Named {
    name: String,
    record: Record,
}

/// Read the runs, write the page.
///
/// # Errors
/// A file is no saved run, they are of different benches, or the page cannot be written.
pub fn run(arguments: &BenchReport) -> Result<Outcome> {
    let mut runs = Vec::new();
    for path in [Some(&arguments.run), arguments.other.as_ref()].into_iter().flatten() {
        runs.push(Named { name: path.display().to_string(), record: Record::load(path)? });
    }
    let benches: Vec<&str> = runs.iter().map(|run| run.record.bench.as_str()).collect();
    if let [one, other] = benches[..]
        && one != other
    {
        let what = format!("{one} and {other} are different benches; compare two runs of the same");
        return Err(Failure::Usage(what));
    }
    let page = page(&runs).map_err(|error| Failure::Failed(format!("cannot draw the report: {error}")))?;
    let path = &arguments.output;
    std::fs::write(path, &page).map_err(Failure::file("write", path))?;
    let object = json!({
        "written": path, "bytes": page.len(), "bench": runs[0].record.bench, "runs": runs.len(),
    });
    Outcome::new(&object, format!("{}\n", path.display()))
}

fn page(runs: &[Named]) -> Drawn<String> {
    let first = &runs[0].record;
    let verb = if runs.len() > 1 { "compared" } else { "measured" };
    let mut page = Page::new(&format!("gdd bench {}, {verb}", first.bench));
    for (run, (letter, colour)) in runs.iter().zip(["A", "B"].into_iter().zip(COLOURS)) {
        let mark = (runs.len() > 1).then_some((letter, colour));
        page.run(mark, &run.name, &run.record.hardware, &run.record.options);
    }
    rates(&mut page, runs);
    flows(&mut page, runs)?;
    curves(&mut page, runs)?;
    Ok(page.end())
}

/// Figures beside their ceilings, or beside those of the other run.
fn rates(page: &mut Page, runs: &[Named]) {
    page.heading("Rates", "medians, with the least and the greatest");
    let median = |rate: &Rate| Series { values: rate.values.clone() };
    let mut rows = Vec::new();
    for rate in &runs[0].record.rates {
        let series = median(rate);
        let mut row = vec![
            Cell::text(&rate.name),
            Cell::number(show_rate(series.median())),
            Cell::faint(series.show_spread()),
        ];
        let ratio = |of: f64| Cell::number(format!("{:.2}", series.median() / of));
        match rate.ceiling {
            Some(of) => row.extend([Cell::faint(show_rate(of)), ratio(of)]),
            None => row.extend([Cell::faint(String::new()), Cell::faint(String::new())]),
        }
        if let Some(other) = runs.get(1) {
            match other.record.rates.iter().find(|other| other.name == rate.name) {
                Some(other) => {
                    let other = median(other);
                    row.push(Cell::number(show_rate(other.median())));
                    row.push(Cell::faint(other.show_spread()));
                    row.push(Cell::ratio(other.median() / series.median(), NOTABLE, true));
                }
                None => row.extend((0..3).map(|_| Cell::faint("not measured".to_owned()))),
            }
        }
        rows.push(row);
    }
    let heads: &[&str] = match runs.len() {
        1 => &["", "median", "spread", "ceiling", "of it"],
        _ => &["", "A", "spread", "ceiling", "of it", "B", "spread", "B / A"],
    };
    page.table(heads, &rows);
}

/// Names in the order in which they come first.
fn groups<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    names.for_each(|name| {
        if !found.contains(&name) {
            found.push(name);
        }
    });
    found
}

/// Rates over time, a chart for each group.
fn flows(page: &mut Page, runs: &[Named]) -> Drawn {
    let all = || runs.iter().flat_map(|run| &run.record.flows);
    let groups = groups(all().map(|flow| flow.group.as_str()));
    if groups.is_empty() {
        return Ok(());
    }
    let note = if runs.len() > 1 { "each run a line" } else { "each run a line; the dashes are the ceiling" };
    page.heading("Throughput over time", note);
    page.begin_grid();
    for group in groups {
        let mut lines = Vec::new();
        for (place, run) in runs.iter().enumerate() {
            let of = run.record.flows.iter().filter(|flow: &&Flow| flow.group == group);
            for (number, flow) in of.enumerate() {
                let colour = if runs.len() > 1 { COLOURS[place] } else { COLOURS[number % COLOURS.len()] };
                lines.push(Line { name: String::new(), points: flow.points.clone(), colour });
            }
        }
        let rate = runs[0].record.rates.iter().find(|rate| rate.name == group);
        let ceiling = rate.and_then(|rate| rate.ceiling).filter(|_| runs.len() == 1);
        page.picture(&chart::svg(HALF, |area| chart::flows(area, group, &lines, ceiling))?, &[]);
    }
    page.end_grid();
    Ok(())
}

/// Percentile curves and their table, group by group.
fn curves(page: &mut Page, runs: &[Named]) -> Drawn {
    let all = || runs.iter().flat_map(|run| &run.record.curves);
    for group in groups(all().map(|curve| curve.group.as_str())) {
        page.heading(
            &format!("Times: {group}"),
            "how slow each share of the work was, both axes logarithmic",
        );
        let names = groups(all().filter(|curve| curve.group == group).map(|curve| curve.name.as_str()));
        let find = |run: &Named, name: &str| -> Option<Curve> {
            let same = |curve: &&Curve| curve.group == group && curve.name == name;
            run.record.curves.iter().find(same).cloned()
        };
        if runs.len() == 1 {
            let line = |(name, colour): (&&str, _)| {
                let points = find(&runs[0], name).map_or_else(Vec::new, |curve| chart::curve_of(&curve.hdr));
                Line { name: (*name).to_owned(), points, colour }
            };
            let lines: Vec<Line> = names.iter().zip(COLOURS.into_iter().cycle()).map(line).collect();
            let picture = chart::svg(WIDE, |area| chart::percentiles(area, "", &lines, false))?;
            let legend: Vec<_> = lines.iter().map(|line| (line.name.as_str(), line.colour)).collect();
            page.picture(&picture, &legend);
        } else {
            page.begin_grid();
            for name in &names {
                let line = |(run, colour): (&Named, _)| {
                    let curve = find(run, name)?;
                    Some(Line { name: String::new(), points: chart::curve_of(&curve.hdr), colour })
                };
                let lines: Vec<Line> = runs.iter().zip(COLOURS).filter_map(line).collect();
                page.picture(&chart::svg(HALF, |area| chart::percentiles(area, name, &lines, false))?, &[]);
            }
            page.end_grid();
        }
        let rows: Vec<_> = names.iter().map(|name| row(name, runs, &|run| find(run, name))).collect();
        let heads: &[&str] = match runs.len() {
            1 => &["", "count", "p50", "p90", "p99", "p99.9", "max", "time in all"],
            _ => &["", "count A", "count B", "p50 A", "p50 B", "B / A", "p99 A", "p99 B", "B / A"],
        };
        page.table(heads, &rows);
    }
    Ok(())
}

fn row(name: &str, runs: &[Named], find: &dyn Fn(&Named) -> Option<Curve>) -> Vec<Cell> {
    let mut row = vec![Cell::text(name)];
    let found = |run: &Named| Some(Summary::of(&decode(&find(run)?.hdr).ok()?));
    let first = found(&runs[0]);
    let number = |value: Option<u64>, show: &dyn Fn(u64) -> String| match value {
        Some(value) => Cell::number(show(value)),
        None => Cell::faint("none".to_owned()),
    };
    let Some(other) = runs.get(1).map(found) else {
        let at = |of: &dyn Fn(&Summary) -> u64| first.as_ref().map(of);
        row.push(number(at(&|found| found.count), &grouped));
        let columns: [&dyn Fn(&Summary) -> u64; 5] =
            [&|found| found.p50, &|found| found.p90, &|found| found.p99, &|found| found.p999, &|found| {
                found.max
            }];
        row.extend(columns.iter().map(|of| number(at(of), &show_ns)));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time for people")]
        row.push(number(at(&|found| (found.mean * to_float(found.count)) as u64), &show_ns));
        return row;
    };
    row.extend([&first, &other].map(|run| number(run.as_ref().map(|found| found.count), &grouped)));
    let columns: [&dyn Fn(&Summary) -> u64; 2] = [&|found| found.p50, &|found| found.p99];
    for of in columns {
        let [a, b] = [&first, &other].map(|run| run.as_ref().map(of));
        row.extend([number(a, &show_ns), number(b, &show_ns)]);
        row.push(match (a, b) {
            (Some(a), Some(b)) if a > 0 => Cell::ratio(to_float(b) / to_float(a), NOTABLE, false),
            _ => Cell::faint(String::new()),
        });
    }
    row
}
