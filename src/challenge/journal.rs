//! What is presented outside this process, written down before it is, so that
//! whatever a killed run left behind can be found and removed by the next one.
//!
//! Rules kept here: an entry is on disk before its file or record exists anywhere,
//! and goes only after that; entries of a living process are nobody else's, which
//! the kernel knows by a lock that dies with it; an entry holds no secret.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

use super::SolverError;
use crate::store::lock::Lock;
use crate::store::{StoreError, disk};

/// One thing that is presented.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// A file below a web server's root.
    Webroot {
        /// The file.
        path: PathBuf,
        /// Directories that did not exist before, the topmost first.
        made: Vec<PathBuf>,
    },
    /// A TXT record.
    Dns {
        /// What the credential is called that can remove it.
        credential: String,
        /// The apex of the zone, without the last dot.
        zone: String,
        /// The owner name that was written to, without the last dot.
        name: String,
        /// Its text.
        value: String,
    },
}

/// The journal of one process below `<home>/acme/presented/`. Nothing is made on
/// disk until there is something to write down.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    run: Mutex<Option<Run>>,
}

/// What says that this process lives.
#[derive(Debug)]
struct Run {
    id: String,
    /// The file of `lock`, removed with it.
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Run {
    fn drop(&mut self) {
        // A file left over is removed by the next look at the journal.
        let _ = disk::remove_file(&self.path);
    }
}

/// An entry whose process is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What was presented, or was about to be.
    pub entry: Entry,
    path: PathBuf,
}

impl Journal {
    /// Held for the moment in which the living are told from the dead.
    const SWEEP: &'static str = "sweep.lock";

    /// The journal of the state directory `home`.
    pub fn new(home: &Path) -> Self {
        Self {
            dir: home.join("acme").join("presented"),
            run: Mutex::new(None),
        }
    }

    /// Writes `entries` down, all of them durable on return. To be called before
    /// any of them is presented. An entry that is there already stays.
    pub fn append(&self, entries: &[Entry]) -> Result<(), JournalError> {
        if entries.is_empty() {
            return Ok(());
        }
        let id = self.begin()?;
        for entry in entries {
            let text = serde_json::to_vec(entry).map_err(JournalError::Unwritable)?;
            match disk::write_new(&self.path_of(&id, &text), &text, 0o600) {
                Err(StoreError::Io { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok(disk::sync_dir(&self.dir)?)
    }

    /// Strikes out `entries` of this process, once they are cleaned up. Nothing to do
    /// for those that are not there.
    pub fn remove(&self, entries: &[Entry]) -> Result<(), JournalError> {
        let Some(id) = self.id() else { return Ok(()) };
        for entry in entries {
            let text = serde_json::to_vec(entry).map_err(JournalError::Unwritable)?;
            disk::remove_file(&self.path_of(&id, &text))?;
        }
        Ok(())
    }

    /// What killed processes left. Each is to be cleaned up, then given to
    /// [`Self::done`].
    ///
    /// An entry that cannot be read was being written when its process died: nothing
    /// was presented yet, so it is removed here.
    pub fn pending(&self) -> Result<Vec<Pending>, JournalError> {
        let Some(names) = self.names()? else {
            return Ok(Vec::new());
        };
        let _sweep = Lock::acquire(&self.dir, Self::SWEEP)?;
        let mut alive = HashMap::new();
        let mut pending = Vec::new();
        for name in names {
            let Some(run) = run_of(&name) else { continue };
            let alive = match alive.get(run) {
                Some(known) => *known,
                None => {
                    let found = self.is_alive(run)?;
                    alive.insert(run.to_owned(), found);
                    found
                }
            };
            let path = self.dir.join(&name);
            if alive || path.extension() != Some(OsStr::new("json")) {
                continue;
            }
            match read(&path)? {
                Some(entry) => pending.push(Pending { entry, path }),
                None => disk::remove_file(&path)?,
            }
        }
        Ok(pending)
    }

    /// Strikes out what a killed process left, once it is cleaned up.
    pub fn done(&self, pending: &Pending) -> Result<(), JournalError> {
        Ok(disk::remove_file(&pending.path)?)
    }

    /// The names in the directory; `None` when there is none.
    fn names(&self) -> Result<Option<Vec<String>>, JournalError> {
        let error = StoreError::io("read", &self.dir);
        match std::fs::read_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            found => {
                let names = found
                    .and_then(|entries| {
                        entries
                            .map(|entry| Ok(entry?.file_name()))
                            .collect::<io::Result<Vec<_>>>()
                    })
                    .map_err(error)?;
                // What is not UTF-8 is not ours.
                let names = names.into_iter().filter_map(|name| name.into_string().ok());
                Ok(Some(names.collect()))
            }
        }
    }

    /// Whether the process of `run` still holds its lock. A dead one's lock file goes:
    /// no process takes the id again.
    fn is_alive(&self, run: &str) -> Result<bool, JournalError> {
        let name = lock_name(run);
        if Lock::try_acquire(&self.dir, &name)?.is_none() {
            return Ok(true);
        }
        disk::remove_file(&self.dir.join(name))?;
        Ok(false)
    }

    fn id(&self) -> Option<String> {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        run.as_ref().map(|run| run.id.clone())
    }

    /// The id of this process's run, which begins with the first entry.
    fn begin(&self) -> Result<String, JournalError> {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = &*run {
            return Ok(run.id.clone());
        }
        // Process ids repeat, between containers even at the same time.
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| JournalError::Randomness)?;
        let id = HEXLOWER.encode(&random);
        disk::create_dir(&self.dir)?;
        // Nobody who looks at the lock may find it free between its making and taking.
        let _sweep = Lock::acquire(&self.dir, Self::SWEEP)?;
        let name = lock_name(&id);
        let lock = Lock::acquire(&self.dir, &name)?;
        *run = Some(Run {
            id: id.clone(),
            path: self.dir.join(name),
            _lock: lock,
        });
        Ok(id)
    }

    fn path_of(&self, run: &str, text: &[u8]) -> PathBuf {
        let sum = digest(&SHA256, text);
        let sum = sum.as_ref().get(..16).unwrap_or_default();
        self.dir
            .join(format!("{run}-{}.json", HEXLOWER.encode(sum)))
    }
}

fn lock_name(run: &str) -> String {
    format!("{run}.lock")
}

/// The run that a file in the journal belongs to: sixteen hex digits.
fn run_of(name: &str) -> Option<&str> {
    let (run, rest) = name.split_at_checked(16)?;
    let hex = run
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (hex && (rest == ".lock" || rest.starts_with('-'))).then_some(run)
}

fn read(path: &Path) -> Result<Option<Entry>, JournalError> {
    let Some(text) = disk::read_if_exists(path)? else {
        return Ok(None);
    };
    match serde_json::from_slice(&text) {
        Ok(entry) => Ok(Some(entry)),
        Err(e) => {
            tracing::warn!("`{}` is no entry of the journal: {e}", path.display());
            Ok(None)
        }
    }
}

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file of it cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A path that is not UTF-8.
    #[error("could not write down what is presented")]
    Unwritable(#[source] serde_json::Error),
    /// The operating system gave no random numbers.
    #[error("the operating system gave no random numbers")]
    Randomness,
}

impl JournalError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Unwritable(_) => Some("name a directory in UTF-8".to_owned()),
            Self::Randomness => None,
        }
    }
}

impl From<JournalError> for SolverError {
    fn from(error: JournalError) -> Self {
        let hint = error.hint();
        Self {
            hint,
            ..Self::new("could not keep the journal of what is presented").caused_by(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(value: &str) -> Entry {
        Entry::Dns {
            credential: "home".into(),
            zone: "example.test".into(),
            name: "_acme-challenge.a.example.test".into(),
            value: value.into(),
        }
    }

    fn webroot(path: &str) -> Entry {
        Entry::Webroot {
            path: path.into(),
            made: vec!["/srv/.well-known".into()],
        }
    }

    fn files(home: &Path) -> usize {
        std::fs::read_dir(home.join("acme/presented")).map_or(0, Iterator::count)
    }

    #[test]
    fn what_a_living_process_presents_is_not_pending_and_what_a_dead_one_left_is() {
        let home = tempfile::tempdir().unwrap();
        let next = Journal::new(home.path());
        assert_eq!(next.pending().unwrap(), []);
        assert_eq!(files(home.path()), 0, "looking makes nothing");

        let first = Journal::new(home.path());
        let entries = [dns("a"), dns("b"), webroot("/srv/x")];
        first.append(&entries).unwrap();
        first.append(&entries[..1]).unwrap();
        assert_eq!(next.pending().unwrap(), []);
        first.remove(&[dns("b"), dns("never")]).unwrap();

        // The kernel frees the lock of a killed process; so does this.
        drop(first);
        let mut found = next.pending().unwrap();
        found.sort_by_key(|pending| format!("{:?}", pending.entry));
        let seen: Vec<_> = found.iter().map(|p| p.entry.clone()).collect();
        assert_eq!(seen, [dns("a"), webroot("/srv/x")]);
        for pending in &found {
            next.done(pending).unwrap();
            next.done(pending).unwrap();
        }
        assert_eq!(next.pending().unwrap(), []);
        assert_eq!(files(home.path()), 1, "the sweep's own lock");
    }

    #[test]
    fn half_an_entry_of_a_dead_process_is_removed_and_strange_files_are_not() {
        let home = tempfile::tempdir().unwrap();
        let journal = Journal::new(home.path());
        journal.append(&[dns("a")]).unwrap();
        let dir = home.path().join("acme/presented");
        for (name, stays) in [
            ("0123456789abcdef-00.json", false),
            ("0123456789abcdef.lock", false),
            ("notes.txt", true),
            ("é123456789abcdefé", true),
        ] {
            let path = dir.join(name);
            disk::write_new(&path, b"{\"kind\":", 0o600).unwrap();
            assert_eq!(journal.pending().unwrap(), [], "{name}");
            assert_eq!(path.exists(), stays, "{name}");
        }
        assert!(journal.id().is_some());
    }
}
