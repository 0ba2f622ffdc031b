//! `gdd tune --measure`: each setting that can be tried, as it was found and changed, in turn, on this machine.

use gdd_tuning::finding::{Finding, Severity, Sureness, Trial, Workload};
use gdd_tuning::report::Report;
use gdd_tuning::verdict::{Effect, Round, Verdict, judge};
use serde::Serialize;
use std::path::Path;

use super::settings::Changed;
use super::workload::{Bench, need};
use crate::args::Tune;
use crate::bench::scratch::Scratch;
use crate::failure::{Failure, Result};
use crate::progress::Bar;
use crate::signals::Signals;
use crate::size::show_rate;
use gdd_uring::probe::Mode;

/// What one workload said of a change.
#[derive(Clone, Debug, Serialize)]
struct Judged {
    workload: Workload,
    #[serde(flatten)]
    verdict: Verdict,
}

/// What came of trying a finding.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    id: &'static str,
    subject: String,
    trial: Trial,
    io_mode: String,
    workloads: Vec<Judged>,
    /// Why it could not be tried; everything was put back.
    failed: Option<String>,
}

impl Measured {
    pub(super) fn is_of(&self, finding: &Finding) -> bool {
        self.id == finding.id && self.subject == finding.subject
    }

    fn any(&self, effect: Effect) -> bool {
        self.workloads.iter().any(|one| one.verdict.effect == effect)
    }

    /// Something became faster, and nothing slower.
    pub(super) fn has_gained(&self) -> bool {
        self.any(Effect::Gained) && !self.any(Effect::Lost)
    }

    /// A line for each workload.
    pub(super) fn lines(&self) -> Vec<String> {
        if let Some(why) = &self.failed {
            return vec![format!("could not be tried: {why}")];
        }
        let values = |writes: &[gdd_tuning::finding::Write]| {
            writes.iter().map(|write| write.value.as_str()).collect::<Vec<_>>().join(" and ")
        };
        let (present, other) = (values(&self.trial.present), values(&self.trial.other));
        let line = |one: &Judged| {
            let Verdict { effect, ratio, interval, rounds_faster, rounds, .. } = &one.verdict;
            let said = match effect {
                Effect::Gained => "gained",
                Effect::Lost => "lost",
                Effect::Nothing => "gained nothing beyond noise",
            };
            let between = match interval {
                Some((least, most)) => format!("{least:.2} to {most:.2}"),
                None => "too few rounds to be sure".to_owned(),
            };
            format!(
                "{}: {} with {present}, {} with {other}: {ratio:.2} x ({between}; faster in {rounds_faster} of {} \
                 rounds): {said}",
                one.workload.name(),
                show_rate(one.verdict.present),
                show_rate(one.verdict.other),
                rounds.len()
            )
        };
        self.workloads.iter().map(line).collect()
    }
}

/// Try what is advised, or what was named.
///
/// # Errors
/// We are not root; there is no room; another measurement runs; a signal came. Settings are as they were found.
pub(super) fn all(arguments: &Tune, store: &Path, report: &Report) -> Result<Vec<Measured>> {
    let is_rehearsal = arguments.root != Path::new("/");
    if !is_rehearsal && !rustix::process::geteuid().is_root() {
        return Err(Failure::Failed(
            "--measure changes settings of the kernel and puts them back: run it as root".to_owned(),
        ));
    }
    let named = !arguments.only.is_empty();
    let wanted = report.findings.iter().filter(|finding| named || finding.severity != Severity::Fine);
    let trials: Vec<(&Finding, &Trial)> = wanted.filter_map(|one| Some((one, one.trial.as_ref()?))).collect();
    if trials.is_empty() {
        return Ok(Vec::new());
    }
    let signals = Signals::note_all()?;
    let scratch = Scratch::on_disk_of(store, need(arguments.bytes))?;
    let mut bench = Bench::new(scratch.path(), Mode::Auto, arguments.bytes)?;
    let bar = Bar::steps();
    let mut measured = Vec::new();
    for (finding, trial) in trials {
        let what = format!("{} {}", finding.id, finding.subject);
        let mut workloads = Vec::new();
        let failed = match one(arguments, trial, &mut bench, &signals, &bar, &what) {
            Ok(judged) => {
                workloads = judged;
                None
            }
            Err(failure @ (Failure::Signal(_) | Failure::Busy(_))) => return Err(failure),
            Err(failure) => Some(failure.line()),
        };
        let (id, subject, trial) = (finding.id, finding.subject.clone(), trial.clone());
        let io_mode = bench.mode().to_owned();
        measured.push(Measured { id, subject, trial, io_mode, workloads, failed });
    }
    Ok(measured)
}

/// Rounds of one trial. However it ends, the setting is as it was found.
fn one(
    arguments: &Tune,
    trial: &Trial,
    bench: &mut Bench,
    signals: &Signals,
    bar: &Bar,
    what: &str,
) -> Result<Vec<Judged>> {
    let changed = Changed::begin(&arguments.root, trial)?;
    let mut rounds = vec![Vec::new(); trial.workloads.len()];
    for round in 1..=arguments.rounds {
        bar.step(format!("{what}: round {round} of {}", arguments.rounds));
        let mut rates = vec![[0.0; 4]; trial.workloads.len()];
        for (step, other) in [false, true, true, false].into_iter().enumerate() {
            signals.check()?;
            changed.set(other)?;
            for (workload, rates) in trial.workloads.iter().zip(&mut rates) {
                signals.check()?;
                rates[step] = bench.rate(*workload)?;
            }
        }
        for (rounds, rates) in rounds.iter_mut().zip(rates) {
            rounds.push(Round(rates));
        }
    }
    changed.end()?;
    let judged = trial.workloads.iter().zip(rounds);
    Ok(judged.map(|(workload, rounds)| Judged { workload: *workload, verdict: judge(&rounds) }).collect())
}

/// Let what was measured speak: what gained is advice, and what was tried and did not is at most a hint.
pub(super) fn apply(report: &mut Report, measured: &[Measured]) {
    for finding in &mut report.findings {
        let Some(one) = measured.iter().find(|one| one.is_of(finding) && one.failed.is_none()) else {
            continue;
        };
        finding.sure = Sureness::Measured;
        if one.has_gained() {
            if finding.severity == Severity::Fine {
                finding.apply = one.trial.other_lines();
                finding.wanted = "what was faster here".to_owned();
            }
            finding.severity = finding.severity.max(Severity::Advice);
        } else {
            finding.severity = finding.severity.min(Severity::Hint);
        }
    }
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
}

/// The exit code after a measurement.
pub(super) fn code(report: &Report, measured: &[Measured]) -> u8 {
    let gained = measured.iter().any(Measured::has_gained);
    match report.severity() {
        Severity::Danger => super::code(Severity::Danger),
        _ if gained => super::code(Severity::Advice),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(effects: &[f64]) -> Measured {
        let judged = |ratio: &f64| Judged {
            workload: Workload::Read,
            verdict: judge(&[Round([1e9, 1e9 * ratio, 1e9 * ratio, 1e9]); 12]),
        };
        Measured {
            id: "disk.scheduler",
            subject: "vda".to_owned(),
            trial: Trial { present: Vec::new(), other: Vec::new(), workloads: Vec::new() },
            io_mode: String::new(),
            workloads: effects.iter().map(judged).collect(),
            failed: None,
        }
    }

    #[test]
    fn a_gain_that_costs_something_else_is_none() {
        assert!(measured(&[1.5, 1.0]).has_gained());
        assert!(
            !measured(&[1.5, 0.5]).has_gained()
                && !measured(&[1.0]).has_gained()
                && !measured(&[]).has_gained()
        );
    }

    #[test]
    fn people_are_told_what_it_gained_and_that_it_gained_nothing() {
        let lines = measured(&[1.5, 1.0]).lines();
        assert!(lines[0].contains("1.50 x (1.50 to 1.50; faster in 12 of 12 rounds): gained"), "{lines:?}");
        assert!(lines[1].ends_with("gained nothing beyond noise"), "{lines:?}");
        let failed = Measured { failed: Some("no".to_owned()), ..measured(&[]) };
        assert_eq!(failed.lines(), ["could not be tried: no"]);
    }
}
