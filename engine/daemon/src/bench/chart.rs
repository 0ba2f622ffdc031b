//! Curves as pictures: how slow each share of the work was, and how fast a run was over time.

use gdd_engine::observe::decode;
use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::size::{show_rate, to_float};
use crate::span::show_ns;

/// Shares shown: up to 99.99 in a hundred.
const SHARE_MAX: f64 = 10_000.0;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(55, 65, 81);
const GRID: RGBColor = RGBColor(226, 232, 240);

/// Colours that people with any kind of sight tell apart (Okabe and Ito, "Color Universal Design", 2008), and greys.
pub const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(100, 60, 160),
    RGBColor(20, 20, 20),
    RGBColor(130, 130, 130),
    RGBColor(160, 82, 45),
];

/// One curve.
#[derive(Clone, Debug)]
pub struct Line {
    /// For the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// Its colour.
    pub colour: RGBColor,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What the drawing library fails with.
pub type Drawn<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How slow each share is: 1 / (1 - percentile), and nanoseconds.
#[must_use]
pub fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let recorded = histogram.iter_quantiles(5).filter(|step| step.quantile() < 1.0);
    recorded.map(|step| (1.0 / (1.0 - step.quantile()), to_float(step.value_iterated_to().max(1)))).collect()
}

/// The curve of a saved histogram; nothing when it is none.
#[must_use]
pub fn curve_of(hdr: &str) -> Vec<(f64, f64)> {
    decode(hdr).map(|histogram| curve(&histogram)).unwrap_or_default()
}

/// Draw percentile curves: percentile to the right, time up, both logarithmic.
///
/// # Errors
/// As the drawing library.
pub fn percentiles(area: &Area<'_>, caption: &str, lines: &[Line], legend: bool) -> Drawn {
    let all = || lines.iter().flat_map(|line| &line.points).map(|(_, time)| *time);
    let (least, greatest) = (all().fold(f64::INFINITY, f64::min), all().fold(1000.0, f64::max));
    let range = (least.min(greatest) / 1.5..greatest * 1.5).log_scale();
    let mut chart = builder(area, caption).build_cartesian_2d((1.0..SHARE_MAX).log_scale(), range)?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .x_label_formatter(&|share| percentile(*share))
        .y_label_formatter(&|time| show_time(*time))
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .draw()?;
    for line in lines {
        let style = line.colour.stroke_width(2);
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        if legend {
            drawn.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
    }
    if legend {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(GRID)
            .draw()?;
    }
    Ok(())
}

/// Draw rates over time, and the ceiling above which they cannot be.
///
/// # Errors
/// As the drawing library.
pub fn flows(area: &Area<'_>, caption: &str, lines: &[Line], ceiling: Option<f64>) -> Drawn {
    let all = || lines.iter().flat_map(|line| &line.points);
    let end = all().map(|(at, _)| *at).fold(0.001, f64::max);
    let top = all().map(|(_, rate)| *rate).fold(ceiling.unwrap_or(1.0), f64::max) * 1.08;
    let mut chart = builder(area, caption).build_cartesian_2d(0.0..end, 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .x_labels(8)
        .y_labels(6)
        .y_label_formatter(&|rate| show_rate(*rate))
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .draw()?;
    if let Some(ceiling) = ceiling {
        let line = [(0.0, ceiling), (end, ceiling)];
        chart.draw_series(DashedLineSeries::new(line, 6, 4, INK.mix(0.7).stroke_width(1)))?;
    }
    for line in lines {
        let style = line.colour.mix(0.75).stroke_width(2);
        // From the start on: the first rate holds until its own moment.
        let first = line.points.first().map(|(_, rate)| (0.0, *rate));
        chart.draw_series(LineSeries::new(first.into_iter().chain(line.points.iter().copied()), style))?;
    }
    Ok(())
}

/// An SVG of its own.
///
/// # Errors
/// As the drawing library.
pub fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Drawn<String> {
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
    }
    Ok(picture)
}

fn builder<'a, 'b>(area: &'a Area<'b>, caption: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(8).margin_right(18).x_label_area_size(42).y_label_area_size(74);
    if !caption.is_empty() {
        builder.caption(caption, (FONT, 16).into_font().color(&INK));
    }
    builder
}

fn show_time(nanoseconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time on an axis")]
    let whole = nanoseconds.round().max(0.0) as u64;
    show_ns(whole)
}

/// 1 / (1 - p) as a percentile: 10 is 90, 1000 is 99.9.
fn percentile(share: f64) -> String {
    let text = format!("{:.3}", 100.0 - 100.0 / share);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentiles() {
        assert_eq!([1.0, 2.0, 10.0, 1000.0].map(percentile), ["0", "50", "90", "99.9"]);
    }

    #[test]
    fn an_empty_chart_can_be_drawn() {
        let picture = svg((400, 200), |area| flows(area, "nothing", &[], None)).unwrap();
        assert!(picture.starts_with("<svg") && picture.contains("nothing"), "{picture}");
        let picture = svg((400, 200), |area| percentiles(area, "nothing", &[], true)).unwrap();
        assert!(picture.trim_end().ends_with("</svg>") && picture.contains("99.9"), "{picture}");
    }
}
