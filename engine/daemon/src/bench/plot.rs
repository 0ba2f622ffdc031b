//! All distributions of a run as one picture: percentile to the right, latency up, both logarithmic.

use std::path::Path;

use super::chart::{self, COLOURS, Line};
use super::latency::Latencies;
use crate::failure::{Failure, Result};

const WIDTH: u32 = 1000;
/// Height of one chart.
const HEIGHT: u32 = 420;

/// A chart: its caption and its curves.
pub type Chart<'a> = (String, &'a [Latencies]);

/// Draw one chart below the other.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, charts: &[Chart<'_>]) -> Result<()> {
    let height = HEIGHT * u32::try_from(charts.len().max(1)).unwrap_or(1);
    let picture = chart::svg((WIDTH, height), |root| {
        for (area, (caption, curves)) in root.split_evenly((charts.len().max(1), 1)).iter().zip(charts) {
            let line = |(curve, colour): (&Latencies, _)| Line {
                name: curve.name.clone(),
                points: chart::curve(curve.histogram()),
                colour,
            };
            let lines: Vec<Line> = curves.iter().zip(COLOURS.into_iter().cycle()).map(line).collect();
            chart::percentiles(area, caption, &lines, true)?;
        }
        Ok(())
    });
    let picture =
        picture.map_err(|error| Failure::Failed(format!("cannot draw {}: {error}", path.display())))?;
    std::fs::write(path, picture).map_err(Failure::file("write", path))
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
}
