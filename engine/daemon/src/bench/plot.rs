//! All distributions of a run as one picture: percentile to the right, latency up, both logarithmic.

use std::path::Path;

use plotters::prelude::*;

use super::latency::Latencies;
use crate::failure::{Failure, Result};

const WIDTH: u32 = 1000;
/// Height of one chart.
const HEIGHT: u32 = 420;
/// Shares shown: up to 99.99 in a hundred.
const SHARE_MAX: f64 = 10_000.0;

/// A chart: its caption and its curves.
pub type Chart<'a> = (String, &'a [Latencies]);

/// Draw one chart below the other.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, charts: &[Chart<'_>]) -> Result<()> {
    let height = HEIGHT * u32::try_from(charts.len().max(1)).unwrap_or(1);
    let mut picture = String::new();
    draw(&mut picture, height, charts)
        .map_err(|error| Failure::Failed(format!("cannot draw {}: {error}", path.display())))?;
    std::fs::write(path, picture).map_err(Failure::file("write", path))
}

fn draw(
    picture: &mut String,
    height: u32,
    charts: &[Chart<'_>],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(picture, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (caption, curves)) in root.split_evenly((charts.len().max(1), 1)).iter().zip(charts) {
        let points: Vec<Vec<(f64, f64)>> = curves.iter().map(Latencies::curve).collect();
        let all = || points.iter().flatten().map(|(_, latency)| *latency);
        let (least, greatest) = (all().fold(f64::INFINITY, f64::min), all().fold(1.0, f64::max));
        let range = (least.min(greatest) / 1.5..greatest * 1.5).log_scale();
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d((1.0..SHARE_MAX).log_scale(), range)?;
        chart
            .configure_mesh()
            .x_desc("percentile")
            .y_desc("microseconds")
            .x_label_formatter(&|share| percentile(*share))
            .draw()?;
        for (index, (latencies, points)) in curves.iter().zip(points).enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(&latencies.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()?;
    }
    root.present()?;
    Ok(())
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
    fn a_picture_has_every_curve() {
        let mut one = Latencies::new("cold read");
        (1..2000).for_each(|count| one.add(std::time::Duration::from_micros(count)));
        let empty = Latencies::new("nothing");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.svg");
        let curves = [one, empty];
        write(&path, &[("64k".to_owned(), &curves), ("4m".to_owned(), &curves)]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
        assert_eq!(text.matches("cold read").count(), 2, "{text}");
        assert!(text.contains("99.9"), "{text}");
    }

    #[test]
    fn shares_are_percentiles() {
        assert_eq!([1.0, 2.0, 10.0, 1000.0].map(percentile), ["0", "50", "90", "99.9"]);
    }
}
