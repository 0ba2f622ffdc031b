//! Days of a backup server in minutes: see `gdd_tests::soak`. 168 cycles are the hours of a week.
//!
//! `cargo xtask soak [CYCLES [FOLDER]]` builds gdd and runs it. It prints a line for each cycle and a verdict, and
//! writes a table and a picture to FOLDER. It ends with an error when a restore differs, a check finds anything, or
//! memory, disk or savings show a trend.

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use gdd_tests::soak::{CALM_FROM, Sample, Soak, plot, verdict};
use gdd_tests::workspace::scratch;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let cycles: u64 = arguments.next().map_or(Ok(168), |text| text.parse())?;
    let target = arguments.next().map_or_else(|| "target/soak".into(), PathBuf::from);
    std::fs::create_dir_all(&target)?;
    let folder = scratch("soak");
    let (mut soak, mut samples, started) =
        (Soak::new(folder.path(), 1, cycles / CALM_FROM), Vec::new(), Instant::now());
    let mut table = head();
    print!("{table}");
    for cycle in 1..=cycles {
        let sample = soak.cycle();
        let line = row(cycle, &sample);
        print!("{line}");
        table.push_str(&line);
        samples.push(sample);
    }
    let compared = soak.finish();
    let mut end = format!(
        "\n{cycles} cycles in {:.0} s, {} kills, {compared} restores compared and none differs; fsck is clean\n\n",
        started.elapsed().as_secs_f64(),
        samples.last().map_or(0.0, |sample| sample.kills)
    );
    let verdicts = verdict::judge(&samples);
    for one in &verdicts {
        writeln!(end, "- {}: {}: {}", if one.holds { "holds" } else { "FAILS" }, one.what, one.why)?;
    }
    print!("{end}");
    std::fs::write(target.join("soak.md"), format!("{table}{end}"))?;
    plot::write(&target.join("soak.svg"), &samples)?;
    println!("written: soak.md and soak.svg in {}", target.display());
    match verdicts.iter().find(|one| !one.holds) {
        Some(one) => Err(format!("{} does not hold", one.what).into()),
        None => Ok(()),
    }
}

fn head() -> String {
    "# A soak\n\n\
     By `cargo xtask soak`, which says what each cycle does. MB are 10^6 bytes.\n\n\
     | cycle | MB backed up | new % | wire % | MB on disk | MB needed | ratio | RSS MB | put s | restore s \
     | vacuum s | scrub s | kills |\n\
     |---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned()
}

fn row(cycle: u64, sample: &Sample) -> String {
    let mb = |bytes: f64| bytes / 1e6;
    format!(
        "| {cycle} | {:.1} | {:.2} | {:.2} | {:.1} | {:.1} | {:.3} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |\n",
        mb(sample.backed_up),
        100.0 * sample.new / sample.backed_up.max(1.0),
        100.0 * sample.wire / sample.remote.max(1.0),
        mb(sample.disk),
        mb(sample.needed),
        sample.disk / sample.needed.max(1.0),
        mb(sample.resident),
        sample.put_seconds,
        sample.get_seconds,
        sample.vacuum_seconds,
        sample.scrub_seconds,
        sample.kills
    )
}
