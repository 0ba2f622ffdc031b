//! The samples of a soak as one picture.

use std::path::Path;

use plotters::prelude::*;

use super::Sample;

const WIDTH: u32 = 1000;
/// Of the picture.
const HEIGHT: u32 = 2200;

/// A curve: its caption, and what of a sample it shows.
type Curve = (&'static str, fn(&Sample) -> f64);

const CURVES: [Curve; 10] = [
    ("memory of the daemon, MB resident", |sample| sample.resident / 1e6),
    ("containers on disk, MB", |sample| sample.disk / 1e6),
    ("disk for each needed byte", |sample| sample.disk / sample.needed.max(1.0)),
    ("new of 100 bytes backed up", |sample| 100.0 * sample.new / sample.backed_up.max(1.0)),
    ("of 100 bytes of the remote client, over the network", |sample| {
        100.0 * sample.wire / sample.remote.max(1.0)
    }),
    ("backups of a cycle, seconds", |sample| sample.put_seconds),
    ("vacuum of a cycle, seconds", |sample| sample.vacuum_seconds),
    ("scrub of a cycle, seconds", |sample| sample.scrub_seconds),
    ("restores of a cycle, seconds", |sample| sample.get_seconds),
    ("killed so far", |sample| sample.kills),
];

/// Draw one chart below the other.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, samples: &[Sample]) -> Result<(), Box<dyn std::error::Error>> {
    let mut picture = String::new();
    draw(&mut picture, samples)?;
    Ok(std::fs::write(path, picture)?)
}

fn draw(picture: &mut String, samples: &[Sample]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(picture, (WIDTH, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (caption, of)) in root.split_evenly((CURVES.len(), 1)).iter().zip(CURVES) {
        let greatest = samples.iter().map(of).fold(1e-9, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..samples.len() as f64, 0.0..greatest)?;
        chart.configure_mesh().y_labels(5).draw()?;
        let points = samples.iter().enumerate().map(|(at, sample)| (at as f64 + 1.0, of(sample)));
        chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    }
    root.present()?;
    drop(root);
    Ok(())
}
