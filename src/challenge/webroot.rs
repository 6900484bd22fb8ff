//! The solver that lets another web server answer http-01: it puts files below that
//! server's root.
//!
//! Rules kept here: a file is written into the journal before it exists; nothing that
//! was there before is replaced or removed; directories made here go when they are
//! empty.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::journal::Entry;
use super::{Challenge, ChallengeKind, HTTP_PREFIX, Journal, Solver, SolverError, Token};
use crate::issuer::BoxFuture;
use crate::store::{StoreError, disk};

/// Any web server may read it, whatever user it runs as.
const FILE_MODE: u32 = 0o644;
/// How often a directory is made again that another process removes meanwhile.
const TRIES: usize = 5;

/// Answers http-01 by files in `<dir>/.well-known/acme-challenge/`.
#[derive(Debug)]
pub struct Webroot01 {
    dir: PathBuf,
    journal: Arc<Journal>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is presented, or was tried to be.
    presented: BTreeMap<Token, Entry>,
    /// Directories made here that are not removed yet, the topmost first.
    made: Vec<PathBuf>,
}

impl Webroot01 {
    /// A solver that writes below `dir`, the root of a web server for every name asked
    /// for.
    pub fn new(dir: PathBuf, journal: Arc<Journal>) -> Self {
        Self {
            dir,
            journal,
            state: Mutex::default(),
        }
    }

    fn put(&self, challenges: &[Challenge]) -> Result<(), SolverError> {
        // Held throughout: orders at the same time share the directories.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.dir.is_dir() {
            return Err(SolverError::new(format!(
                "there is no directory `{}` to put challenges into",
                self.dir.display()
            ))
            .hint("name the directory that the web server serves with `--webroot`")
            .permanent());
        }
        for challenge in challenges {
            self.is_free(challenge)
                .map_err(|e| failed("write the http-01 file", &challenge.identifier, e))?;
        }
        let missing = self.missing();
        let entry = |challenge: &Challenge| Entry::Webroot {
            path: self.path(&challenge.token),
            made: missing.clone(),
        };
        let entries: Vec<_> = challenges.iter().map(entry).collect();
        self.journal.append(&entries)?;
        let tokens = challenges.iter().map(|challenge| challenge.token.clone());
        state.presented.extend(tokens.zip(entries));
        for dir in missing {
            if !state.made.contains(&dir) {
                state.made.push(dir);
            }
        }
        for challenge in challenges {
            self.write(challenge)
                .map_err(|e| failed("write the http-01 file", &challenge.identifier, e))?;
        }
        Ok(())
    }

    fn take(&self, challenges: &[Challenge]) -> Result<(), SolverError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut result = Ok(());
        let mut removed = Vec::new();
        for challenge in challenges {
            let token = &challenge.token;
            if !state.presented.contains_key(token) {
                continue;
            }
            match disk::remove_file(&self.path(token)) {
                Ok(()) => removed.extend(state.presented.remove(token)),
                Err(e) => result = Err(failed("remove the http-01 file", &challenge.identifier, e)),
            }
        }
        if state.presented.is_empty() {
            let made = std::mem::take(&mut state.made);
            remove_empty(&made)
                .map_err(|e| failed("remove the directories made", &self.dir.display(), e))?;
        }
        self.journal.remove(&removed)?;
        result
    }

    fn sweep_now(&self) -> Result<(), SolverError> {
        for pending in self.journal.pending()? {
            let Entry::Webroot { path, made } = &pending.entry else {
                continue;
            };
            if is_ours(path, made) {
                tracing::info!("removing `{}`, which a killed run left", path.display());
                disk::remove_file(path)
                    .and_then(|()| remove_empty(made))
                    .map_err(|e| failed("remove the http-01 file", &path.display(), e))?;
            } else {
                tracing::warn!("`{}` is not removed: not a challenge", path.display());
            }
            self.journal.done(&pending)?;
        }
        Ok(())
    }

    fn write(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let path = self.path(&challenge.token);
        let text = challenge.key_authorization.as_str().as_bytes();
        let mut tries = 1;
        loop {
            for dir in self.dirs() {
                disk::create_public_dir(&dir)?;
            }
            match disk::write_new(&path, text, FILE_MODE) {
                Err(e) if is(&e, io::ErrorKind::NotFound) && tries < TRIES => tries += 1,
                // Another order of the same authorization was quicker.
                Err(e) if is(&e, io::ErrorKind::AlreadyExists) => return self.is_free(challenge),
                other => return other,
            }
        }
    }

    /// Refuses to touch what was there before, unless it is the very answer: that is a
    /// killed run's, or of another order of the same authorization.
    fn is_free(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let path = self.path(&challenge.token);
        let taken = StoreError::io("create", &path);
        match path.symlink_metadata() {
            Err(_) => Ok(()),
            Ok(found) => {
                let text = challenge.key_authorization.as_str().as_bytes();
                if found.is_file() && disk::read(&path)? == text {
                    return Ok(());
                }
                Err(taken(io::ErrorKind::AlreadyExists.into()))
            }
        }
    }

    /// The directories below the root, the topmost first.
    fn dirs(&self) -> [PathBuf; 2] {
        let well_known = self.dir.join(".well-known");
        let challenges = well_known.join("acme-challenge");
        [well_known, challenges]
    }

    fn missing(&self) -> Vec<PathBuf> {
        let dirs = self.dirs().into_iter();
        dirs.filter(|dir| dir.symlink_metadata().is_err()).collect()
    }

    fn path(&self, token: &Token) -> PathBuf {
        let [_, dir] = self.dirs();
        dir.join(token.as_str())
    }
}

impl Solver for Webroot01 {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Http01
    }

    fn present<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        // Short file operations, made without an await: a dropped future leaves none
        // of them to happen after `clean_up`.
        Box::pin(async { self.put(challenges) })
    }

    fn clean_up<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(async { self.take(challenges) })
    }

    fn sweep<'a>(&'a self) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(async { self.sweep_now() })
    }
}

impl Drop for Webroot01 {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for entry in std::mem::take(&mut state.presented).into_values() {
            if let Entry::Webroot { path, .. } = &entry
                && disk::remove_file(path).is_ok()
            {
                // What stays in the journal is swept by the next run.
                let _ = self.journal.remove(&[entry]);
            }
        }
        let _ = remove_empty(&state.made);
    }
}

/// Whether a journal's entry has the form of what [`Webroot01`] writes.
fn is_ours(path: &Path, made: &[PathBuf]) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let dir = Path::new(HTTP_PREFIX.trim_matches('/'));
    name.is_some_and(|name| Token::parse(name).is_ok())
        && path.parent().is_some_and(|parent| parent.ends_with(dir))
        && made.iter().all(|dir| path.starts_with(dir))
}

/// Removes those of `dirs` that hold nothing, the last first.
fn remove_empty(dirs: &[PathBuf]) -> Result<(), StoreError> {
    dirs.iter()
        .rev()
        .try_for_each(|dir| disk::remove_empty_dir(dir))
}

fn is(error: &StoreError, kind: io::ErrorKind) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == kind)
}

fn failed(what: &str, whose: &dyn std::fmt::Display, error: StoreError) -> SolverError {
    let hint = match &error {
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some(
            "run as a user who may write there, or answer on port 80 without `--webroot`"
                .to_owned(),
        ),
        other => other.hint(),
    };
    SolverError {
        hint,
        ..SolverError::new(format!("could not {what} for `{whose}`")).caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::challenge::tests::challenge;

    const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ";

    struct Case {
        dir: tempfile::TempDir,
    }

    impl Case {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            disk::create_public_dir(&dir.path().join("www")).unwrap();
            Self { dir }
        }

        fn www(&self) -> PathBuf {
            self.dir.path().join("www")
        }

        fn file(&self) -> PathBuf {
            self.www().join(".well-known/acme-challenge").join(TOKEN)
        }

        fn solver(&self) -> Webroot01 {
            let journal = Journal::new(&self.dir.path().join("home"));
            Webroot01::new(self.www(), Arc::new(journal))
        }

        fn journal(&self) -> usize {
            let dir = self.dir.path().join("home/acme/presented");
            let Ok(names) = std::fs::read_dir(dir) else {
                return 0;
            };
            let names = names.map(|entry| entry.unwrap().path());
            names
                .filter(|path| path.extension().is_some_and(|e| e == "json"))
                .count()
        }
    }

    fn open() -> [Challenge; 2] {
        let other = challenge(ChallengeKind::Http01, "b.test", "0123456789abcdef");
        [challenge(ChallengeKind::Http01, "a.test", TOKEN), other]
    }

    #[tokio::test]
    async fn everybody_can_read_what_is_presented_and_nothing_of_it_stays() {
        let case = Case::new();
        let (solver, open) = (case.solver(), open());
        solver.clean_up(&open).await.unwrap();
        solver.present(&open).await.unwrap();
        let text = std::fs::read_to_string(case.file()).unwrap();
        assert_eq!(text, open[0].key_authorization.as_str());
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode(&case.file()), 0o644);
        assert_eq!(mode(case.file().parent().unwrap()), 0o755);
        assert_eq!(case.journal(), 2);
        solver.clean_up(&open[..1]).await.unwrap();
        assert!(!case.file().exists() && case.file().parent().unwrap().exists());
        solver.clean_up(&open).await.unwrap();
        solver.clean_up(&open).await.unwrap();
        assert_eq!(std::fs::read_dir(case.www()).unwrap().count(), 0);
        assert_eq!(case.journal(), 0);
    }

    #[tokio::test]
    async fn what_a_killed_run_left_is_swept_by_the_next_and_only_then() {
        let case = Case::new();
        let (killed, open) = (case.solver(), open());
        killed.present(&open).await.unwrap();
        let next = case.solver();
        next.sweep().await.unwrap();
        assert!(case.file().exists(), "its process lives");
        // What a kill leaves: the files, and a lock that is free.
        killed.state.lock().unwrap().presented.clear();
        killed.state.lock().unwrap().made.clear();
        drop(killed);
        assert_eq!(case.journal(), 2);
        next.sweep().await.unwrap();
        assert_eq!(std::fs::read_dir(case.www()).unwrap().count(), 0);
        assert_eq!(case.journal(), 0);
    }

    #[tokio::test]
    async fn what_was_there_before_is_neither_replaced_nor_removed() {
        let case = Case::new();
        let (solver, open) = (case.solver(), open());
        let dir = case.file().parent().unwrap().to_owned();
        disk::create_dir(&dir).unwrap();
        let precious = case.dir.path().join("precious");
        disk::write_new(&precious, b"kept", 0o600).unwrap();
        symlink(&precious, case.file()).unwrap();
        let error = solver.present(&open).await.unwrap_err();
        assert!(error.message.contains("a.test"), "{error}");
        assert_eq!(std::fs::read(&precious).unwrap(), b"kept");
        solver.clean_up(&open).await.unwrap();
        assert!(dir.exists());
        assert_eq!(case.journal(), 0);

        let nowhere = Webroot01::new(case.dir.path().join("none"), Arc::clone(&solver.journal));
        let error = nowhere.present(&open).await.unwrap_err();
        assert!(error.permanent && error.hint.unwrap().contains("--webroot"));
    }

    #[test]
    fn a_journal_cannot_name_other_files() {
        let dir = Path::new("/srv/.well-known/acme-challenge");
        assert!(is_ours(&dir.join(TOKEN), &[dir.to_owned()]));
        for (path, made) in [
            (dir.join(".."), vec![]),
            (dir.join("index.html"), vec![]),
            (Path::new("/etc").join(TOKEN), vec![]),
            (dir.join(TOKEN), vec![PathBuf::from("/home")]),
        ] {
            assert!(!is_ours(&path, &made), "{path:?} {made:?}");
        }
    }
}
