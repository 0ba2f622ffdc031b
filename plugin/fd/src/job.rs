//! The state of one Bacula job, and how it speaks to Bacula.
//!
//! Two threads know a job: its own, and the one that cancels it. So [`Context`] has atomics that both touch, and the
//! rest behind a mutex that only the job's own thread takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::backup::Backup;
use crate::config::Config;
use crate::lock::RestoreLock;
use crate::restore::Restore;
use crate::store::{About, Purpose, Session, Store};

/// How bad a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The job ends in error.
    Fatal,
    /// It counts an error and goes on.
    Error,
    /// Worth reading.
    Warning,
    /// Nothing to do.
    Info,
}

/// The way from a job to Bacula.
pub trait Voice: Send + Sync {
    /// A line for the job's log. A fatal one ends the job, also where nobody hears it.
    fn say(&self, severity: Severity, text: &str);
    /// Whether lines of this severity go anywhere as what they are: Bacula's Messages resource decides.
    fn is_heard(&self, severity: Severity) -> bool;
    /// Number and unique name of the job.
    fn name(&self) -> (u32, String);
    /// Entries that the job has in the catalog; nothing where Bacula does not say.
    fn file_index(&self) -> Option<i32>;
    /// Whether Bacula has ended it already: cancelled, or in error.
    fn has_ended(&self) -> bool;
}

/// What an entry point answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done, or taken.
    Done,
    /// Failed; a message was sent before.
    Failed,
    /// Bacula is to do it itself.
    Core,
}

/// A job, as Bacula's context points to it.
pub struct Context {
    /// Unique in this process.
    pub id: u64,
    /// The way to Bacula.
    pub voice: Box<dyn Voice>,
    /// The way to stores.
    pub store: &'static dyn Store,
    /// For releases that restore one file at a time.
    pub lock: Option<&'static RestoreLock>,
    /// The operator has cancelled it.
    pub cancelled: Arc<AtomicBool>,
    /// A fatal message was sent: nothing more is taken or given.
    pub dead: AtomicBool,
    /// All else.
    pub job: Mutex<Job>,
}

/// What only the job's own thread touches.
#[derive(Default)]
pub struct Job {
    /// The plugin string that `config` came from.
    pub string: Option<String>,
    /// What it said.
    pub config: Config,
    /// The session, from the first entry of the FileSet or the first restored file on.
    pub session: Option<Box<dyn Session>>,
    /// Files on their way to the store.
    pub backup: Backup,
    /// Files on their way back.
    pub restore: Restore,
}

impl Context {
    /// A new job.
    #[must_use]
    pub fn new(
        id: u64,
        voice: Box<dyn Voice>,
        store: &'static dyn Store,
        lock: Option<&'static RestoreLock>,
    ) -> Self {
        let (cancelled, dead, job) = (Arc::default(), AtomicBool::new(false), Mutex::default());
        Self { id, voice, store, lock, cancelled, dead, job }
    }

    /// End the job: the message first, then the answer.
    pub fn fatal(&self, text: &str) -> Answer {
        self.dead.store(true, Ordering::SeqCst);
        self.voice.say(Severity::Fatal, text);
        Answer::Failed
    }

    /// Whether a fatal message was sent.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Whether work for this job is in vain.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_dead() || self.cancelled.load(Ordering::SeqCst) || self.voice.has_ended()
    }

    /// Run `body` with the job's state. After a panic in an earlier call the state is not believed.
    pub fn with(&self, body: impl FnOnce(&mut Job) -> Answer) -> Answer {
        match self.job.lock() {
            Ok(mut job) => body(&mut job),
            Err(_) => {
                self.fatal("[GDD-FD-0003] the plugin has panicked in this job before; report this as a bug")
            }
        }
    }

    /// Have settings and a session for `string`, the plugin string of a file.
    ///
    /// # Errors
    /// [`Answer::Failed`] after a fatal message.
    pub fn connect(&self, job: &mut Job, string: &str, purpose: Purpose) -> Result<(), Answer> {
        if job.string.as_deref() != Some(string) {
            if purpose == Purpose::Backup && job.string.is_some() {
                let text = format!(
                    "[GDD-FD-0004] expected one plugin string in a job, found {:?} and {string:?}; give all \
                     Options of the FileSet the same",
                    job.string.as_deref().unwrap_or_default()
                );
                return Err(self.fatal(&text));
            }
            job.session = None;
            job.config = Config::load(string).map_err(|refused| self.fatal(&refused.to_string()))?;
            job.string = Some(string.to_owned());
        }
        if job.session.is_none() {
            let (job_id, job_name) = self.voice.name();
            let about = About { purpose, job_id, job_name, cancelled: Arc::clone(&self.cancelled) };
            let session = self.store.connect(&job.config, &about);
            job.session = Some(session.map_err(|error| self.fatal(&error.to_string()))?);
            if let Some(warning) = self.store.warning() {
                self.voice.say(Severity::Warning, &format!("[GDD-FD-0005] {warning}"));
            }
            self.tell_what_is_not_heard();
        }
        Ok(())
    }

    /// What bacula-fd itself has to say of a failure is lost with its severity, and the failure with it.
    fn tell_what_is_not_heard(&self) {
        let all = [(Severity::Fatal, "fatal"), (Severity::Error, "error")];
        let unheard = all.into_iter().filter(|(severity, _)| !self.voice.is_heard(*severity));
        let unheard: Vec<_> = unheard.map(|(_, name)| name).collect();
        if !unheard.is_empty() {
            let text = format!(
                "[GDD-FD-0010] the Messages resource of this bacula-fd sends {} nowhere: an error of Bacula's own then \
                 neither shows nor ends a job; add it there, or \"all\"",
                unheard.join(" and ")
            );
            self.voice.say(Severity::Warning, &text);
        }
    }
}
