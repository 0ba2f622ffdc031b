//! Medians of what was measured, and who is ahead.

use super::field::{FIELD, OURS};
use super::record::{Record, Step};

/// Corpus, step, and the column's head.
pub const CELLS: [(&str, Step, &str); 8] = [
    ("real", Step::New, "files, new"),
    ("real", Step::Known, "files, known"),
    ("random", Step::New, "random, new"),
    ("image", Step::New, "image, new"),
    ("image", Step::Changed, "image, 1 % changed"),
    ("real", Step::Restore, "files, restored"),
    ("random", Step::Restore, "random, restored"),
    ("image", Step::Restore, "image, restored"),
];

/// Medians over the runs of one rival at one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// How many runs.
    pub runs: usize,
    /// Bytes of the corpus.
    pub bytes: f64,
    /// Until the command returned.
    pub seconds: f64,
    /// And until a sync after it did.
    pub synced_seconds: f64,
    /// User and system.
    pub cpu_seconds: f64,
    /// Of the largest process.
    pub peak_bytes: f64,
    /// To the repository.
    pub added: f64,
}

/// One rival's figures, in the order of [`CELLS`].
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub rival: String,
    /// And which.
    pub version: String,
    /// Nothing where nothing was measured.
    pub cells: Vec<Option<Figures>>,
}

/// What can be better or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Bytes per second until the command returned.
    Rate,
    /// Bytes per second until everything was on the disk.
    SyncedRate,
    /// Processor seconds.
    Cpu,
    /// Peak memory.
    Memory,
    /// Bytes added to the repository.
    Added,
}

impl Measure {
    /// All of them, with the head of their table.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Rate, "MB/s"),
        (Self::SyncedRate, "MB/s, synced"),
        (Self::Cpu, "CPU s"),
        (Self::Memory, "peak MB"),
        (Self::Added, "MB added"),
    ];

    /// As a number to print; a restore adds nothing that counts.
    pub fn of(self, figures: &Figures, step: Step) -> Option<f64> {
        match self {
            Self::Rate => Some(figures.bytes / 1e6 / figures.seconds),
            Self::SyncedRate => Some(figures.bytes / 1e6 / figures.synced_seconds),
            Self::Cpu => Some(figures.cpu_seconds),
            Self::Memory => Some(figures.peak_bytes / 1e6),
            Self::Added => (step != Step::Restore).then_some(figures.added / 1e6),
        }
    }

    /// With as many digits as say something.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Rate | Self::SyncedRate | Self::Memory => format!("{value:.0}"),
            Self::Cpu => format!("{value:.1}"),
            Self::Added => format!("{value:.1}"),
        }
    }

    /// How much better `ours` is than `theirs`: above 1 ahead, below 1 behind.
    fn ratio(self, ours: f64, theirs: f64) -> f64 {
        let (better, worse) = match self {
            Self::Rate | Self::SyncedRate => (ours, theirs),
            Self::Cpu | Self::Memory | Self::Added => (theirs, ours),
        };
        if better == worse { 1.0 } else { better / worse }
    }
}

/// Ours beside the best of the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Our figure.
    pub ours: f64,
    /// The best other figure.
    pub best: f64,
    /// Whose it is.
    pub rival: String,
    /// How much better ours is; below 1 it is worse.
    pub ratio: f64,
}

impl Verdict {
    /// Behind, by as much as two digits show.
    pub fn is_lost(&self) -> bool {
        self.ratio < 0.995
    }
}

/// Rows in the order of [`FIELD`], from records that compare; rivals without any are left out.
pub fn rows(records: &[Record]) -> Vec<Row> {
    let row = |name: &str| {
        let own: Vec<&Record> = records.iter().filter(|record| record.rival == name).collect();
        let version = own.last()?.version.clone();
        let cells = CELLS.map(|(corpus, step, _)| {
            let of_cell = own
                .iter()
                .filter(|record| record.corpus == corpus && record.step == step && record.version == version);
            figures(&of_cell.copied().collect::<Vec<_>>())
        });
        Some(Row { rival: name.to_owned(), version, cells: cells.into() })
    };
    FIELD.iter().filter_map(|rival| row(rival.name)).collect()
}

fn figures(records: &[&Record]) -> Option<Figures> {
    let of = |number: &dyn Fn(&Record) -> f64| median(records.iter().map(|record| number(record)).collect());
    Some(Figures {
        runs: records.len(),
        bytes: of(&|record| record.bytes as f64)?,
        seconds: of(&|record| record.usage.seconds)?,
        synced_seconds: of(&|record| record.usage.seconds + record.sync_seconds)?,
        cpu_seconds: of(&|record| record.usage.cpu_seconds)?,
        peak_bytes: of(&|record| record.usage.peak_kib as f64 * 1024.0)?,
        added: of(&|record| record.added as f64)?,
    })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Our row beside the others at cell `cell`; nothing when either is missing.
pub fn verdict(rows: &[Row], measure: Measure, cell: usize) -> Option<Verdict> {
    let step = CELLS.get(cell)?.1;
    let value = |row: &Row| measure.of(row.cells.get(cell)?.as_ref()?, step);
    let compares = |row: &&Row| {
        measure != Measure::Added || !FIELD.iter().any(|rival| rival.name == row.rival && rival.compresses)
    };
    let ours = rows.iter().find(|row| row.rival == OURS).and_then(value)?;
    let others = rows.iter().filter(|row| row.rival != OURS).filter(compares);
    let beside = others.filter_map(|row| Some((measure.ratio(ours, value(row)?), value(row)?, row)));
    let (ratio, best, row) = beside.min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Verdict { ours, best, rival: row.rival.clone(), ratio })
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn the_best_other_decides_and_a_worse_figure_is_lost() {
        let records = [
            record("gdd", "real", Step::New, 2.0, 50_000_000),
            record("borg", "real", Step::New, 4.0, 60_000_000),
            record("restic", "real", Step::New, 1.0, 70_000_000),
            record("casync", "real", Step::New, 9.0, 10_000_000), // Compressed: its size does not count.
        ];
        let rows = rows(&records);
        assert_eq!(
            rows.iter().map(|row| row.rival.as_str()).collect::<Vec<_>>(),
            ["gdd", "borg", "restic", "casync"]
        );
        let rate = verdict(&rows, Measure::Rate, 0).unwrap();
        assert_eq!((rate.rival.as_str(), rate.ours, rate.best, rate.ratio), ("restic", 500.0, 1000.0, 0.5));
        assert!(rate.is_lost());
        let added = verdict(&rows, Measure::Added, 0).unwrap();
        assert_eq!((added.rival.as_str(), added.ratio), ("borg", 1.2));
        assert!(!added.is_lost());
        assert_eq!(verdict(&rows, Measure::Memory, 0).map(|memory| memory.ratio), Some(1.0));
        assert_eq!(verdict(&rows, Measure::Rate, 1), None, "nothing was measured there");
        assert_eq!(verdict(&rows, Measure::Added, 5), None, "a restore adds nothing");
    }

    #[test]
    fn the_sync_that_follows_counts_where_it_is_asked_for() {
        let rows =
            rows(&[record("gdd", "real", Step::New, 2.0, 0), record("borg", "real", Step::New, 1.5, 0)]);
        let synced = verdict(&rows, Measure::SyncedRate, 0).unwrap();
        assert_eq!((synced.ours, synced.best), (400.0, 500.0));
    }

    #[test]
    fn figures_of_another_version_are_left_out() {
        let mut old = record("gdd", "real", Step::New, 8.0, 0);
        old.version = "gdd 0".to_owned();
        let rows = rows(&[old, record("gdd", "real", Step::New, 2.0, 0)]);
        let cell = rows[0].cells[0].as_ref().unwrap();
        assert_eq!((rows[0].version.as_str(), cell.runs, cell.seconds), ("gdd 1", 1, 2.0));
    }

    #[test]
    fn nothing_beside_nothing_is_a_draw() {
        assert!((Measure::Added.ratio(0.0, 0.0) - 1.0).abs() < f64::EPSILON);
        assert!(Measure::Added.ratio(5.0, 0.0) < f64::EPSILON);
    }
}
