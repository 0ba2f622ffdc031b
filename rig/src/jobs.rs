//! Run jobs, one or many at once, and learn how they ended from the catalog and from the console.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Daemon, Error, Result, Rig};

/// Letters of a job that has ended (JS_* in Bacula's jcr.h): OK, OK with warnings, error, non-fatal error, fatal error,
/// cancelled, differences, incomplete.
const ENDED: &str = "TWEefADI";
/// A job that has ended writes the rest of its log within this time.
const LOG_LIMIT: Duration = Duration::from_secs(5);
/// Bounds of the time between two looks at a job; a tenth of the time it has taken, so that long jobs are left alone.
const LOOK_INTERVALS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// The number of a job in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u32);

/// How much a job takes, or what a verification compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Full,
    /// What changed since the last backup.
    Incremental,
    /// What changed since the last full.
    Differential,
    /// A full made of earlier backups by the storage daemon alone.
    VirtualFull,
    /// Verify: read the volume, compare with the catalog.
    VolumeToCatalog,
    /// Verify: read the disk, compare with the catalog.
    DiskToCatalog,
    /// Verify: read the volume's data, compare with its digests.
    Data,
    /// Jobs without levels: copies.
    None,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct JobResult {
    /// Its number.
    pub id: JobId,
    /// Its resource.
    pub name: String,
    /// Bacula's letter for its type: B backup, R restore, V verify, c copy.
    pub kind: char,
    /// Bacula's letter for its level: F, I, D.
    pub level: char,
    /// Bacula's letter for its end, in the catalog: T is success.
    pub status: char,
    /// The same, as the console says it.
    pub console_status: char,
    /// Files written or restored.
    pub files: u64,
    /// Bytes written or restored, with attributes and before any dedup.
    pub bytes: u64,
    /// Bytes read by the client, before compression.
    pub read_bytes: u64,
    /// Errors that did not end it.
    pub errors: u64,
    /// The volumes it wrote to or read from, in order.
    pub volumes: Vec<String>,
    /// Everything that was said about it.
    pub log: String,
    /// From the command to its end as seen here; 0 for a job that was not waited for. The director lets up to 2 s pass
    /// before a job begins.
    pub wall: Duration,
    /// From the first look that found it running to its end, to about 100 ms; for rates.
    pub running: Duration,
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Level {
    fn argument(self) -> String {
        if self == Self::None { String::new() } else { format!(" level={self:?}") }
    }
}

impl JobResult {
    /// Whether catalog and console both say that it ended well, without a single error.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == 'T' && self.console_status == 'T' && self.errors == 0
    }

    /// Itself, when it ended well.
    ///
    /// # Errors
    /// [`Error::Job`] with its log.
    pub fn demand_ok(self) -> Result<Self> {
        if self.is_ok() { Ok(self) } else { Err(self.into()) }
    }
}

impl From<JobResult> for Error {
    fn from(job: JobResult) -> Self {
        let JobResult { id, name, status, console_status: console, errors, log, .. } = job;
        Self::Job { id: id.0, name, status, console, errors, log }
    }
}

impl Rig {
    /// Queue job `job` and return at once.
    ///
    /// # Errors
    /// The director does not take it.
    pub fn submit(&self, job: &str, level: Level) -> Result<JobId> {
        self.submit_with(job, level, "")
    }

    /// As [`Rig::submit`] with further arguments for `run`, such as `pool=...` or `spooldata=yes`.
    ///
    /// # Errors
    /// The director does not take it.
    pub fn submit_with(&self, job: &str, level: Level, arguments: &str) -> Result<JobId> {
        self.queue(&format!("run job={job}{} {arguments} yes", level.argument()))
    }

    /// Run `job` to its end. A job that fails is no error here: see [`JobResult::demand_ok`].
    ///
    /// # Errors
    /// The director does not take it, or it does not end in time.
    pub fn run(&self, job: &str, level: Level) -> Result<JobResult> {
        let began = Instant::now();
        let id = self.submit(job, level)?;
        self.wait_since(id, began)
    }

    /// Run several jobs at the same time, to the end of the last.
    ///
    /// # Errors
    /// As [`Rig::run`].
    pub fn run_at_once(&self, jobs: &[&str], level: Level) -> Result<Vec<JobResult>> {
        let began = Instant::now();
        let commands: Vec<_> =
            jobs.iter().map(|job| format!("run job={job}{} yes", level.argument())).collect();
        let commands = commands.join("\n");
        let answer = self.console(&commands)?;
        let ids = queued(&answer);
        if ids.len() != jobs.len() {
            let expected = format!("{} jobs queued", jobs.len());
            return Err(Error::Console { command: commands, expected, answer });
        }
        ids.into_iter().map(|id| self.wait_since(id, began)).collect()
    }

    /// Wait for the end of a job.
    ///
    /// # Errors
    /// It does not end in time, or the director dies.
    pub fn wait(&self, id: JobId) -> Result<JobResult> {
        self.wait_since(id, Instant::now())
    }

    /// Cancel a job; it still has to be waited for.
    ///
    /// # Errors
    /// The director does not answer.
    pub fn cancel(&self, id: JobId) -> Result<String> {
        self.console(&format!("cancel jobid={id} yes"))
    }

    /// The letter of a job now, in the catalog.
    ///
    /// # Errors
    /// The catalog does not know it.
    pub fn job_status(&self, id: JobId) -> Result<char> {
        let sql = format!("SELECT JobStatus FROM Job WHERE JobId={id}");
        let rows = self.query_catalog(&sql)?;
        rows.first().and_then(|row| row.first()?.chars().next()).ok_or_else(|| Error::Catalog {
            query: sql,
            expected: "a job",
            found: format!("{rows:?}"),
        })
    }

    /// Everything about a job, as it is now.
    ///
    /// # Errors
    /// The catalog does not know it.
    pub fn job(&self, id: JobId) -> Result<JobResult> {
        let sql = format!(
            "SELECT Name, Type, Level, JobStatus, JobFiles, JobBytes, ReadBytes, JobErrors FROM Job WHERE JobId={id}"
        );
        let rows = self.query_catalog(&sql)?;
        let wrong = || Error::Catalog { query: sql.clone(), expected: "a job", found: format!("{rows:?}") };
        let row = rows.first().filter(|row| row.len() == 8).ok_or_else(wrong)?;
        let letter = |index: usize| row[index].chars().next().unwrap_or(' ');
        let number = |index: usize| row[index].parse().map_err(|_| wrong());
        Ok(JobResult {
            id,
            name: row[0].clone(),
            kind: letter(1),
            level: letter(2),
            status: letter(3),
            console_status: self.console_status(id)?,
            files: number(4)?,
            bytes: number(5)?,
            read_bytes: number(6)?,
            errors: number(7)?,
            volumes: self.volumes_of(id)?,
            log: self.job_log(id)?,
            wall: Duration::ZERO,
            running: Duration::ZERO,
        })
    }

    /// The copies that were made of a job.
    ///
    /// # Errors
    /// Of the catalog.
    pub fn copies_of(&self, id: JobId) -> Result<Vec<JobId>> {
        let rows = self.query_catalog(&format!(
            "SELECT JobId FROM Job WHERE PriorJobId={id} AND Type='C' ORDER BY JobId"
        ))?;
        Ok(rows.iter().filter_map(|row| row.first()?.parse().ok().map(JobId)).collect())
    }

    /// Look every few milliseconds until `condition` holds: the moment to kill somebody.
    ///
    /// # Errors
    /// `condition` fails, or does not hold in time; `what` names it.
    pub fn wait_for(&self, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result {
        let began = Instant::now();
        while !condition()? {
            if began.elapsed() > self.job_limit {
                let what = format!("waiting for {what}");
                return Err(Error::Deadline { what, limit: self.job_limit, seen: self.tails() });
            }
            thread::sleep(pause(began));
        }
        Ok(())
    }

    /// Type `command`, which queues one job.
    pub(crate) fn queue(&self, command: &str) -> Result<JobId> {
        let answer = self.console(command)?;
        match queued(&answer).as_slice() {
            [id] => Ok(*id),
            _ => Err(Error::Console {
                command: command.to_owned(),
                expected: "one job queued".to_owned(),
                answer,
            }),
        }
    }

    pub(crate) fn wait_since(&self, id: JobId, began: Instant) -> Result<JobResult> {
        let mut first_seen = None;
        let ended = self.wait_for(&format!("the end of job {id}"), || {
            self.demand_alive(Daemon::Director)?;
            let status = self.job_status(id)?;
            if status == 'R' {
                first_seen.get_or_insert_with(Instant::now);
            }
            Ok(ENDED.contains(status))
        });
        if let Err(Error::Deadline { what, limit, seen }) = ended {
            let status = [Daemon::Director, Daemon::Storage].map(|daemon| self.status(daemon));
            let status = status.map(|text| text.unwrap_or_else(|error| error.to_string())).join("\n");
            return Err(Error::Deadline { what, limit, seen: format!("{seen}{status}") });
        }
        ended?;
        let (wall, running) = (began.elapsed(), first_seen.map_or(Duration::ZERO, |seen| seen.elapsed()));
        let end = Instant::now() + LOG_LIMIT;
        // The last entry of the log is written after the status. A job that never began has none.
        while !self.job_log(id)?.contains("Termination:") && Instant::now() < end {
            thread::sleep(LOOK_INTERVALS.0);
        }
        let job = JobResult { wall, running, ..self.job(id)? };
        self.progress.say(format!(
            "job {id} {}: {} (status {}), {} files, {} bytes, {:.1} s, of which it ran {:.1} s",
            job.name,
            if job.is_ok() { "ok" } else { "NOT OK" },
            job.status,
            job.files,
            job.bytes,
            wall.as_secs_f64(),
            running.as_secs_f64()
        ));
        Ok(job)
    }

    fn console_status(&self, id: JobId) -> Result<char> {
        let command = format!("llist jobid={id}");
        let answer = self.console(&command)?;
        let line = answer
            .lines()
            .find_map(|line| line.trim().to_lowercase().strip_prefix("jobstatus:").map(|_| line));
        let letter = line.and_then(|line| line.split(':').nth(1)?.trim().chars().next());
        letter.ok_or_else(|| Error::Console { command, expected: "JobStatus: and a letter".into(), answer })
    }

    fn job_log(&self, id: JobId) -> Result<String> {
        let rows = self.query_catalog(&format!("SELECT LogText FROM Log WHERE JobId={id} ORDER BY LogId"))?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn volumes_of(&self, id: JobId) -> Result<Vec<String>> {
        let rows = self.query_catalog(&format!(
            "SELECT VolumeName FROM JobMedia JOIN Media ON Media.MediaId=JobMedia.MediaId \
             WHERE JobMedia.JobId={id} ORDER BY JobMedia.VolIndex, JobMedia.JobMediaId"
        ))?;
        let mut names: Vec<String> = rows.into_iter().flatten().collect();
        names.dedup();
        Ok(names)
    }
}

fn pause(began: Instant) -> Duration {
    (began.elapsed() / 10).clamp(LOOK_INTERVALS.0, LOOK_INTERVALS.1)
}

/// The numbers after each `JobId=` of "Job queued. JobId=7".
fn queued(answer: &str) -> Vec<JobId> {
    let after = answer.split("Job queued. JobId=").skip(1);
    let digits = after.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.filter_map(|digits| digits.parse().ok().map(JobId)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_queued_jobs_are_found() {
        assert_eq!(queued("x\nJob queued. JobId=7\nJob queued. JobId=12\n"), [JobId(7), JobId(12)]);
        assert_eq!(queued("Job failed."), []);
    }
}
