//! The store in the state directory: `certs/<id>/<generation>/…`, and the symbolic
//! link `certs/<id>/current`, whose one rename makes a generation the current one.
//!
//! Rules kept here: a generation is whole and synced before `current` names it,
//! and is never changed after; `current` moves forward only; whoever reads
//! resolves it once and writes nothing; whoever writes holds the directory of
//! the id and first puts right what a crash left there; what is wrong with one
//! id concerns no other.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::disk::{self, Durability, Staged};
use super::lock::{Lock, lock_within};
use super::{Attempts, Record, Store, StoreError, Stored, generation, serving_lock};
use crate::bundle::CertBundle;
use crate::clock::Clock;
use crate::finding::words::causes;
use crate::identifier::CertId;
use crate::issuer::IssuerRef;

/// Where the certificates lie below the state directory.
const CERTS: &str = "certs";
/// Where the locks lie below the state directory.
const LOCKS: &str = "locks";
/// Below [`CERTS`]: what is being removed. Not an id, for the dot.
const TRASH: &str = ".trash";
/// Below an id: the symbolic link to the current generation.
const CURRENT: &str = "current";
/// Below an id: its [`Attempts`].
const ATTEMPTS: &str = "attempts.json";

/// Keeps certificates in files.
#[derive(Debug, Clone)]
pub struct FileStore {
    home: PathBuf,
    clock: Arc<dyn Clock>,
}

impl FileStore {
    /// How many generations of a certificate are kept, the current one included.
    pub const KEEP: usize = 3;
    /// How many certificates are written between two syncs of the file system:
    /// each takes a file descriptor, of which a process has 1024.
    const BATCH: usize = 256;
    /// How often a reader looks again when a commit swept what it was reading.
    const RELOADS: u32 = 10;

    /// The store in the state directory `home`. Nothing is written, and `home`
    /// need not exist.
    pub fn open(home: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        match home.metadata() {
            Ok(found) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
        .map_err(StoreError::io("open", home))?;
        Ok(Self {
            home: home.to_owned(),
            clock,
        })
    }

    /// The directory that holds one directory for each certificate.
    pub fn certs_dir(&self) -> PathBuf {
        self.home.join(CERTS)
    }

    /// The path that always leads to the newest files of `id`. Whoever opens
    /// several of them should resolve it once, or read `combined.pem`.
    pub fn current_dir(&self, id: &CertId) -> PathBuf {
        self.certs_dir().join(id.as_str()).join(CURRENT)
    }

    fn entry(&self, id: &CertId) -> Entry {
        Entry {
            id: id.clone(),
            dir: self.certs_dir().join(id.as_str()),
        }
    }

    fn write_batch(
        &self,
        batch: &[(CertId, CertBundle, Record)],
    ) -> Result<Vec<Stored>, StoreError> {
        let mut new = Vec::with_capacity(batch.len());
        for (id, bundle, record) in batch {
            let mut held = HeldEntry::hold(self.entry(id), Durability::Later)?;
            let stored = held.prepare(bundle, record, &*self.clock, Durability::Later)?;
            new.push((held, stored));
        }
        let certs = self.certs_dir();
        disk::sync_filesystem(&certs)?;
        for (held, _) in &mut new {
            held.name()?;
        }
        disk::sync_filesystem(&certs)?;
        for (held, _) in &mut new {
            held.publish()?;
        }
        disk::sync_filesystem(&certs)?;
        new.iter().for_each(|(held, _)| held.sweep());
        Ok(new.into_iter().map(|(_, stored)| stored).collect())
    }

    /// Every name in the directory that could be that of a certificate.
    fn known_ids(&self) -> Result<Vec<CertId>, StoreError> {
        let names = disk::list(&self.certs_dir())?;
        let ids = names.iter().filter_map(|name| name.to_str()?.parse().ok());
        Ok(ids.collect())
    }

    fn trash(&self) -> PathBuf {
        self.certs_dir().join(TRASH)
    }

    /// Removes what a crash of [`Store::remove`] left. No two removals use one
    /// name, so nobody has to be excluded.
    fn empty_trash(&self) -> Result<(), StoreError> {
        disk::sweep_temporary(&self.trash())
    }
}

impl Store for FileStore {
    fn ids(&self) -> Result<Vec<CertId>, StoreError> {
        let mut ids = self.known_ids()?;
        ids.retain(|id| self.entry(id).exists());
        ids.sort();
        Ok(ids)
    }

    fn failing(&self) -> Result<Vec<CertId>, StoreError> {
        let mut ids = self.known_ids()?;
        ids.retain(|id| !self.entry(id).exists() && self.entry(id).dir.join(ATTEMPTS).exists());
        ids.sort();
        Ok(ids)
    }

    fn load(&self, id: &CertId) -> Result<Option<Stored>, StoreError> {
        let entry = self.entry(id);
        let mut tries = 0;
        loop {
            let pointer = entry.pointer()?;
            let outcome = entry.newest_usable(pointer);
            tries += 1;
            let whole = matches!(&outcome, Ok(Some(stored)) if stored.damage.is_empty());
            // A commit may have swept what we were reading.
            if whole || tries == Self::RELOADS || entry.pointer()? == pointer {
                return outcome;
            }
        }
    }

    fn commit(
        &self,
        id: &CertId,
        bundle: &CertBundle,
        record: &Record,
    ) -> Result<Stored, StoreError> {
        let mut held = HeldEntry::hold(self.entry(id), Durability::Now)?;
        let stored = held.prepare(bundle, record, &*self.clock, Durability::Now)?;
        disk::sync_dir(held.name()?)?;
        disk::sync_dir(held.publish()?)?;
        held.sweep();
        Ok(stored)
    }

    fn commit_all(
        &self,
        batch: &[(CertId, CertBundle, Record)],
    ) -> Result<Vec<Stored>, StoreError> {
        let mut seen = BTreeSet::new();
        if let Some((id, ..)) = batch.iter().find(|(id, ..)| !seen.insert(id)) {
            return Err(StoreError::Repeated(id.clone()));
        }
        let mut done = Vec::with_capacity(batch.len());
        for part in batch.chunks(Self::BATCH) {
            done.append(&mut self.write_batch(part)?);
        }
        Ok(done)
    }

    fn recover(&self, id: &CertId) -> Result<Vec<String>, StoreError> {
        self.empty_trash()?;
        let entry = self.entry(id);
        if !entry.dir.is_dir() {
            return Ok(Vec::new());
        }
        HeldEntry::lock(entry, Lock::WAIT)?.heal()
    }

    fn recover_all(&self) -> Result<Vec<String>, StoreError> {
        self.empty_trash()?;
        let mut done = Vec::new();
        for id in self.known_ids()? {
            let entry = self.entry(&id);
            if !entry.dir.is_dir() {
                continue;
            }
            match HeldEntry::lock(entry, Duration::ZERO).and_then(|held| held.heal()) {
                Ok(mut more) => done.append(&mut more),
                // Who holds it has healed it.
                Err(StoreError::Busy { .. }) => {}
                Err(error) => {
                    tracing::warn!(%id, error = causes(&error), "could not put right what a crash left");
                }
            }
        }
        Ok(done)
    }

    fn remove(&self, id: &CertId) -> Result<(), StoreError> {
        self.empty_trash()?;
        let entry = self.entry(id);
        if !entry.dir.is_dir() {
            return Ok(());
        }
        disk::create_dir(&self.trash())?;
        let held = HeldEntry::lock(entry, Lock::WAIT)?;
        disk::discard(&held.entry.dir, &self.trash())?;
        disk::sync_dir(&self.certs_dir())
    }

    fn attempts(&self, id: &CertId) -> Result<Attempts, StoreError> {
        let path = self.entry(id).dir.join(ATTEMPTS);
        let Some(text) = disk::read_if_exists(&path)? else {
            return Ok(Attempts::default());
        };
        // Without it a renewal is tried at once; refusing would mean never.
        Ok(serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "forgot the last attempts: the file is damaged");
            Attempts::default()
        }))
    }

    fn set_attempts(&self, id: &CertId, attempts: &Attempts) -> Result<(), StoreError> {
        let entry = self.entry(id);
        disk::create_dir(&entry.dir)?;
        let held = HeldEntry::lock(entry, Lock::WAIT)?;
        let mut text =
            serde_json::to_vec_pretty(attempts).expect("attempts have no failing serializer");
        text.push(b'\n');
        disk::replace(&held.entry.dir.join(ATTEMPTS), &text, 0o600)
    }

    fn issuer(&self, id: &CertId) -> Option<IssuerRef> {
        self.entry(id).issuer().ok()?
    }

    fn is_served(&self, id: &CertId) -> Result<bool, StoreError> {
        Lock::is_held(&self.home.join(LOCKS), &serving_lock(id))
    }

    fn lock_within(&self, name: &str, wait: Duration) -> Result<Lock, StoreError> {
        Lock::acquire_within(&self.home.join(LOCKS), name, wait)
    }

    fn try_lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        Lock::try_acquire(&self.home.join(LOCKS), name)
    }
}

/// The directory of one certificate, as readers see it.
#[derive(Debug)]
struct Entry {
    id: CertId,
    dir: PathBuf,
}

impl Entry {
    fn generation_dir(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// The generation that `current` names; `None` when it names none.
    fn pointer(&self) -> Result<Option<u64>, StoreError> {
        let link = self.dir.join(CURRENT);
        match link.read_link() {
            Ok(target) => Ok(target.to_str().and_then(parse_generation)),
            // Not a link: a copy of the state directory made without care.
            Err(e) if disk::is_errno(&e, Errno::INVAL) => Ok(None),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(StoreError::io("read", &link)(e)),
        }
    }

    /// The number of every generation, newest first.
    fn generations(&self) -> Result<Vec<u64>, StoreError> {
        let mut numbers: Vec<u64> = disk::list(&self.dir)?
            .iter()
            .filter_map(|name| parse_generation(name.to_str()?))
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    /// Who issued it, by the newest generation that says so.
    fn issuer(&self) -> Result<Option<IssuerRef>, StoreError> {
        let known = self
            .generations()?
            .into_iter()
            .find_map(|n| generation::read_record(&self.generation_dir(n), &self.id, n).ok());
        Ok(known.map(|record| record.issuer))
    }

    /// Whether there is a certificate at all, in whatever state.
    fn exists(&self) -> bool {
        matches!(self.pointer(), Ok(Some(_))) || self.generations().is_ok_and(|all| !all.is_empty())
    }

    fn read(&self, number: u64) -> Result<Stored, StoreError> {
        generation::read(&self.generation_dir(number), &self.id, number)
    }

    /// The generation `pointer`, or the newest other one that verifies.
    fn newest_usable(&self, pointer: Option<u64>) -> Result<Option<Stored>, StoreError> {
        let mut failures = Vec::new();
        if let Some(number) = pointer {
            match self.read(number) {
                Err(e) if !is_of_the_process(&e) => failures.push(e),
                outcome => return outcome.map(Some),
            }
        }
        let others = self.generations()?.into_iter();
        for number in others.filter(|n| Some(*n) != pointer) {
            if failures.is_empty() {
                failures.push(StoreError::Malformed {
                    path: self.dir.join(CURRENT),
                    reason: "it does not name a generation".to_owned(),
                });
            }
            match self.read(number) {
                Ok(stored) => {
                    let damage = failures.iter().map(|e| causes(e)).collect();
                    return Ok(Some(Stored { damage, ..stored }));
                }
                Err(e) if is_of_the_process(&e) => return Err(e),
                Err(e) => failures.push(e),
            }
        }
        self.nothing_usable(failures)
    }

    fn nothing_usable(&self, failures: Vec<StoreError>) -> Result<Option<Stored>, StoreError> {
        let reasons: Vec<String> = failures.iter().map(|e| causes(e)).collect();
        let mendable = |e: &StoreError| match e {
            StoreError::ExposedKey { .. } => true,
            StoreError::Io { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        };
        match failures.into_iter().find(mendable) {
            // All is there but for a mode: its own remedy is the better one.
            Some(mendable) => Err(mendable),
            None if reasons.is_empty() => Ok(None),
            None => Err(StoreError::NothingUsable {
                id: self.id.clone(),
                issuer: self.issuer()?,
                reasons,
            }),
        }
    }
}

/// The directory of one certificate, while nobody else writes there.
#[derive(Debug)]
struct HeldEntry {
    entry: Entry,
    /// The generation that is written and has no name yet, under which nobody
    /// but [`disk::sweep_temporary`] would look at it.
    staged: Option<(u64, Staged)>,
    /// The generation that has its name and is not yet the current one. A failure
    /// must not be taken for a crash and finished by the next run.
    unpublished: Option<u64>,
    _lock: File,
}

impl Drop for HeldEntry {
    fn drop(&mut self) {
        if let Some(number) = self.unpublished {
            self.discard(number);
        }
    }
}

impl HeldEntry {
    /// Makes the directory when absent, locks it, and heals it.
    fn hold(entry: Entry, durability: Durability) -> Result<Self, StoreError> {
        disk::make_dirs(&entry.dir, durability)?;
        let held = Self::lock(entry, Lock::WAIT)?;
        held.heal()?;
        Ok(held)
    }

    /// Locks the directory. The store's own lock: those of [`Store::lock`] hold
    /// from load to commit, this one keeps two commits from mixing whatever the
    /// callers do.
    fn lock(entry: Entry, wait: Duration) -> Result<Self, StoreError> {
        let dir = &entry.dir;
        let opened = || File::open(dir).map_err(StoreError::io("open", dir));
        let mut file = opened()?;
        loop {
            match lock_within(&file, dir, wait) {
                // NFS locks only what can be written; there the callers' lock must do.
                Err(StoreError::Io { source, .. }) if is_unlockable(&source) => break,
                other => other?,
            }
            // It may have been removed and made again while we waited.
            let now = opened()?;
            if same_file(&file, &now).map_err(StoreError::io("open", dir))? {
                break;
            }
            file = now;
        }
        Ok(Self {
            entry,
            staged: None,
            unpublished: None,
            _lock: file,
        })
    }

    /// Finishes a commit that crashed when its generation is whole and at least as
    /// good as the current one, removes it otherwise, and says what was done.
    fn heal(&self) -> Result<Vec<String>, StoreError> {
        let entry = &self.entry;
        disk::sweep_temporary(&entry.dir)?;
        let pointer = entry.pointer()?;
        let mut leftovers = entry.generations()?;
        leftovers.retain(|n| Some(*n) > pointer);
        if leftovers.is_empty() {
            return Ok(Vec::new());
        }
        let current = match pointer.map(|n| entry.read(n)).transpose() {
            Err(e) if is_of_the_process(&e) => return Err(e),
            outcome => outcome.ok().flatten(),
        };
        let mut done = Vec::new();
        for number in leftovers {
            let _ = disk::restore_access(&entry.generation_dir(number));
            match entry.read(number) {
                Ok(found) if outlives(&found, current.as_ref()) => {
                    self.point_to(number)?;
                    disk::sync_dir(&entry.dir)?;
                    done.push(format!(
                        "finished the interrupted change of `{}` to generation {number}",
                        entry.id
                    ));
                    // What is older stays as a fallback.
                    break;
                }
                Err(e) if is_of_the_process(&e) => return Err(e),
                // Without a pointer it may be all there is of a damaged entry.
                Err(_) if pointer.is_none() => {}
                _ => {
                    self.discard(number);
                    done.push(format!(
                        "removed generation {number} of `{}`, which an interrupted change left",
                        entry.id
                    ));
                }
            }
        }
        Ok(done)
    }

    /// Writes the next generation; nobody sees it yet.
    fn prepare(
        &mut self,
        bundle: &CertBundle,
        record: &Record,
        clock: &dyn Clock,
        durability: Durability,
    ) -> Result<Stored, StoreError> {
        self.check_issuer(record)?;
        let entry = &self.entry;
        let newest = entry.generations()?.first().copied().max(entry.pointer()?);
        let generation = newest.unwrap_or(0) + 1;
        let dir = entry.generation_dir(generation);
        let stored = Stored {
            id: entry.id.clone(),
            generation,
            bundle: bundle.clone(),
            record: record.clone(),
            path: Some(dir.clone()),
            damage: Vec::new(),
        };
        let staged = disk::stage_dir(&dir)?;
        generation::write(staged.path(), &stored, clock.now(), durability)?;
        self.staged = Some((generation, staged));
        Ok(stored)
    }

    /// Gives what was prepared, and is durable by now, its number; returns the
    /// directory to be synced.
    fn name(&mut self) -> Result<&Path, StoreError> {
        if let Some((number, staged)) = self.staged.take() {
            staged.put()?;
            self.unpublished = Some(number);
        }
        Ok(&self.entry.dir)
    }

    /// Makes what was named, and is durable under that name by now, the current
    /// generation; returns the directory to be synced.
    fn publish(&mut self) -> Result<&Path, StoreError> {
        if let Some(number) = self.unpublished {
            self.point_to(number)?;
            self.unpublished = None;
        }
        Ok(&self.entry.dir)
    }

    fn check_issuer(&self, record: &Record) -> Result<(), StoreError> {
        match self.entry.issuer()? {
            Some(owner) if !owner.is_same_as(&record.issuer) => Err(StoreError::OtherIssuer {
                id: self.entry.id.clone(),
                owner,
            }),
            _ => Ok(()),
        }
    }

    /// Makes a generation the current one. The caller syncs the directory.
    fn point_to(&self, number: u64) -> Result<(), StoreError> {
        let current = self.entry.dir.join(CURRENT);
        // A copy made without care has a directory here, which no rename replaces.
        if current.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            disk::remove_tree(&current)?;
        }
        disk::stage_link(&number.to_string(), &current)?.put()
    }

    /// Removes generations that are too old to fall back to.
    fn sweep(&self) {
        let all = self.entry.generations().unwrap_or_default();
        all.into_iter()
            .skip(FileStore::KEEP)
            .for_each(|number| self.discard(number));
    }

    /// Removes a generation that nobody needs; the next commit tries again.
    fn discard(&self, number: u64) {
        let dir = self.entry.generation_dir(number);
        if let Err(error) = disk::discard(&dir, &self.entry.dir) {
            tracing::warn!(path = %dir.display(), error = causes(&error), "could not remove an old generation");
        }
    }
}

fn parse_generation(name: &str) -> Option<u64> {
    /// More than a renewal each second for as long as there are computers.
    const DIGITS: usize = 12;
    let canonical =
        !name.starts_with('0') && name.len() <= DIGITS && name.bytes().all(|b| b.is_ascii_digit());
    if canonical { name.parse().ok() } else { None }
}

/// Whether `found` may follow `current`: never a certificate that ends earlier.
fn outlives(found: &Stored, current: Option<&Stored>) -> bool {
    current
        .is_none_or(|current| found.bundle.leaf().not_after() >= current.bundle.leaf().not_after())
}

/// Whether an error says something about this process or machine and nothing
/// about the file: trying another file would not help.
fn is_of_the_process(error: &StoreError) -> bool {
    let StoreError::Io { source, .. } = error else {
        return false;
    };
    [Errno::MFILE, Errno::NFILE, Errno::NOMEM]
        .into_iter()
        .any(|errno| disk::is_errno(source, errno))
}

fn is_unlockable(error: &io::Error) -> bool {
    [Errno::BADF, Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS]
        .into_iter()
        .any(|errno| disk::is_errno(error, errno))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn same_file(a: &File, b: &File) -> io::Result<bool> {
    let (a, b) = (a.metadata()?, b.metadata()?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests damage files")]

    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use proptest::prelude::*;

    use super::super::fixture::{bundle, bundle_for, clock, id, record, scratch};
    use super::super::generation::{COMBINED, FULLCHAIN, KEY, RECORD};
    use super::*;

    const NAME: &str = "a.test";

    struct Scene {
        home: tempfile::TempDir,
        store: FileStore,
        id: CertId,
    }

    impl Scene {
        fn new() -> Self {
            let home = scratch();
            let store = FileStore::open(&home.path().join("home"), clock()).unwrap();
            let id = id(NAME);
            Self { home, store, id }
        }

        fn commit(&self) -> Stored {
            let (bundle, record) = (bundle(NAME), record(NAME));
            self.store.commit(&self.id, &bundle, &record).unwrap()
        }

        fn load(&self) -> Option<Stored> {
            self.store.load(&self.id).unwrap()
        }

        fn generation(&self) -> Option<u64> {
            self.load().map(|stored| stored.generation)
        }

        fn entry(&self) -> Entry {
            self.store.entry(&self.id)
        }

        fn file(&self, generation: u64, name: &str) -> PathBuf {
            self.entry().generation_dir(generation).join(name)
        }

        /// Writes a generation that has neither its name nor the pointer.
        fn leave_generation(&self, number: u64, bundle: CertBundle) -> Staged {
            let dir = self.entry().generation_dir(number);
            let stored = Stored {
                id: self.id.clone(),
                generation: number,
                bundle,
                record: record(NAME),
                path: None,
                damage: Vec::new(),
            };
            disk::create_dir(&self.entry().dir).unwrap();
            let staged = disk::stage_dir(&dir).unwrap();
            generation::write(staged.path(), &stored, clock().now(), Durability::Now).unwrap();
            staged
        }

        fn point_to(&self, number: u64) {
            let _ = fs::remove_file(self.store.current_dir(&self.id));
            symlink(number.to_string(), self.store.current_dir(&self.id)).unwrap();
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.entry().dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn what_is_committed_is_loaded() {
        let scene = Scene::new();
        assert!(scene.load().is_none());
        assert!(scene.store.ids().unwrap().is_empty());
        let committed = scene.commit();
        let loaded = scene.load().unwrap();
        assert_eq!((committed.generation, loaded.generation), (1, 1));
        assert_eq!(loaded.bundle.chain(), committed.bundle.chain());
        assert_eq!(loaded.record, record(NAME));
        assert_eq!(loaded.path, committed.path);
        assert!(loaded.damage.is_empty());
        assert_eq!(scene.store.ids().unwrap(), std::slice::from_ref(&scene.id));
    }

    #[test]
    fn reading_writes_nothing() {
        let scene = Scene::new();
        scene.store.ids().unwrap();
        scene.load();
        scene.store.attempts(&scene.id).unwrap();
        scene.store.recover(&scene.id).unwrap();
        assert_eq!(fs::read_dir(scene.home.path()).unwrap().count(), 0);
    }

    #[test]
    fn everything_is_private_and_the_layout_is_the_documented_one() {
        let scene = Scene::new();
        scene.commit();
        let mode = |path: &Path| path.symlink_metadata().unwrap().mode() & 0o7777;
        let entry = scene.entry().dir;
        for dir in [
            scene.home.path().join("home"),
            scene.store.certs_dir(),
            entry.clone(),
            entry.join("1"),
        ] {
            assert_eq!(mode(&dir), 0o700, "{dir:?}");
        }
        for name in [KEY, COMBINED, RECORD] {
            assert_eq!(mode(&scene.file(1, name)), 0o600, "{name}");
        }
        let current = scene.store.current_dir(&scene.id);
        assert_eq!(fs::read_link(current).unwrap(), Path::new("1"));
        assert_eq!(scene.names(), ["1", "current"]);
        let text = fs::read(scene.file(1, RECORD)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(json["schema"], "certmint.cert/1");
        assert_eq!(json["id"], NAME);
        assert_eq!(json["generation"], 1);
        assert_eq!(json["created-at"], "2027-01-15T08:00:00Z");
        assert_eq!(json["profile"]["names"][0], NAME);
        assert_eq!(json["manifest"].as_object().unwrap().len(), 5);
    }

    #[test]
    fn three_generations_are_kept() {
        let scene = Scene::new();
        (0..5).for_each(|_| drop(scene.commit()));
        assert_eq!(scene.names(), ["3", "4", "5", "current"]);
    }

    type Damage = Box<dyn Fn(&Path)>;

    /// Ways to spoil a generation, with a word of the complaint about each.
    fn damages() -> Vec<(&'static str, Damage)> {
        let edit = |name: &'static str, edit: fn(Vec<u8>) -> Vec<u8>| {
            move |dir: &Path| {
                fs::write(dir.join(name), edit(fs::read(dir.join(name)).unwrap())).unwrap()
            }
        };
        let flip = |mut text: Vec<u8>| {
            text[40] ^= 1;
            text
        };
        vec![
            (
                "No such file",
                Box::new(|dir| fs::remove_dir_all(dir).unwrap()),
            ),
            (
                "No such file",
                Box::new(|dir| fs::remove_file(dir.join(RECORD)).unwrap()),
            ),
            (
                "No such file",
                Box::new(|dir| fs::remove_file(dir.join(KEY)).unwrap()),
            ),
            (
                "No such file",
                Box::new(|dir| fs::remove_file(dir.join("chain.pem")).unwrap()),
            ),
            ("not what was written", Box::new(edit(KEY, flip))),
            ("not what was written", Box::new(edit("cert.pem", flip))),
            (
                "not what was written",
                Box::new(edit("chain.pem", |_| Vec::new())),
            ),
            (
                "not what was written",
                Box::new(edit(FULLCHAIN, |text| text[..text.len() / 2].to_vec())),
            ),
            (
                "not what was written",
                Box::new(edit(COMBINED, |_| Vec::new())),
            ),
            ("EOF while parsing", Box::new(edit(RECORD, |_| Vec::new()))),
            (
                "trailing characters",
                Box::new(edit(RECORD, |mut text| {
                    text.push(b'}');
                    text
                })),
            ),
            (
                "its schema is `certmint.cert/9`",
                Box::new(edit(RECORD, |text| {
                    String::from_utf8(text)
                        .unwrap()
                        .replace("cert/1", "cert/9")
                        .into()
                })),
            ),
            (
                "it is of generation 77",
                Box::new(edit(RECORD, |text| {
                    String::from_utf8(text)
                        .unwrap()
                        .replace("\"generation\": 2", "\"generation\": 77")
                        .into()
                })),
            ),
            (
                "it does not cover b.test",
                Box::new(edit(RECORD, |text| {
                    String::from_utf8(text)
                        .unwrap()
                        .replace("\"a.test\"\n", "\"b.test\"\n")
                        .into()
                })),
            ),
            (
                "can be read by others",
                Box::new(|dir| {
                    fs::set_permissions(dir.join(KEY), Permissions::from_mode(0o640)).unwrap();
                }),
            ),
            (
                "can be read by others",
                Box::new(|dir| {
                    fs::set_permissions(dir.join(COMBINED), Permissions::from_mode(0o604)).unwrap();
                }),
            ),
        ]
    }

    #[test]
    fn a_damaged_generation_is_reported_and_the_one_before_is_used() {
        for (n, (word, damage)) in damages().into_iter().enumerate() {
            let scene = Scene::new();
            let first = scene.commit();
            scene.commit();
            damage(&scene.entry().generation_dir(2));
            let loaded = scene.load().unwrap();
            assert_eq!(loaded.generation, 1, "{n} {word}");
            assert_eq!(loaded.bundle.leaf(), first.bundle.leaf());
            assert!(loaded.damage[0].contains(word), "{n} {:?}", loaded.damage);
            // healing does not move the pointer back; the next commit heals
            scene.store.recover(&scene.id).unwrap();
            assert_eq!(scene.entry().pointer().unwrap(), Some(2), "{n}");
            assert_eq!(scene.commit().generation, 3);
            assert!(scene.load().unwrap().damage.is_empty());
        }
    }

    #[test]
    fn a_key_and_a_chain_of_different_pairs_are_refused_whatever_the_manifest_says() {
        let scene = Scene::new();
        scene.commit();
        scene.leave_generation(2, bundle(NAME)).put().unwrap();
        scene.point_to(2);
        let other = bundle(NAME);
        let key = other.key().to_pem();
        let old = fs::read(scene.file(2, KEY)).unwrap();
        let hash = |bytes: &[u8]| {
            data_encoding::HEXLOWER
                .encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
        };
        fs::write(scene.file(2, KEY), &*key).unwrap();
        let text = fs::read_to_string(scene.file(2, RECORD)).unwrap();
        let text = text.replace(&hash(&old), &hash(key.as_bytes()));
        fs::write(scene.file(2, RECORD), text).unwrap();
        let loaded = scene.load().unwrap();
        assert_eq!(loaded.generation, 1);
        assert!(
            loaded.damage[0].contains("does not belong"),
            "{:?}",
            loaded.damage
        );
    }

    #[test]
    fn one_damaged_entry_costs_no_other() {
        let scene = Scene::new();
        scene.commit();
        let other = id("b.test");
        let committed = scene
            .store
            .commit(&other, &bundle("b.test"), &record("b.test"))
            .unwrap();
        fs::write(scene.file(1, RECORD), "}").unwrap();
        assert!(matches!(
            scene.store.load(&scene.id),
            Err(StoreError::NothingUsable { .. })
        ));
        assert_eq!(
            scene.store.ids().unwrap(),
            [scene.id.clone(), other.clone()]
        );
        let loaded = scene.store.load(&other).unwrap().unwrap();
        assert_eq!(loaded.bundle.leaf(), committed.bundle.leaf());
    }

    #[test]
    fn an_exposed_key_without_a_successor_is_refused_with_its_own_remedy() {
        let scene = Scene::new();
        scene.commit();
        let key = scene.file(1, KEY);
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        let error = scene.store.load(&scene.id).unwrap_err();
        assert!(matches!(&error, StoreError::ExposedKey { path, mode: 0o644 } if *path == key));
        assert!(error.hint().unwrap().contains("chmod 600"));
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(scene.generation(), Some(1));
    }

    #[test]
    fn ids_are_only_what_has_a_certificate() {
        let scene = Scene::new();
        scene.commit();
        let certs = scene.store.certs_dir();
        fs::create_dir(certs.join("lost+found")).unwrap();
        fs::create_dir(certs.join("empty.test")).unwrap();
        fs::create_dir(certs.join("Upper")).unwrap();
        fs::create_dir_all(certs.join("unfinished.test/.tmp-certmint-1-1")).unwrap();
        fs::write(certs.join("file.test"), "x").unwrap();
        fs::write(certs.join(".hidden"), "x").unwrap();
        scene
            .store
            .set_attempts(&id("failing.test"), &Attempts::default())
            .unwrap();
        assert_eq!(scene.store.ids().unwrap(), std::slice::from_ref(&scene.id));
        assert!(scene.store.load(&id("unfinished.test")).unwrap().is_none());
        assert!(scene.store.load(&id("failing.test")).unwrap().is_none());
    }

    #[test]
    fn a_crash_after_any_step_of_a_commit_leaves_old_or_new_and_heals() {
        /// Files written before the crash, and whether the directory had its name.
        const STEPS: [(usize, bool); 8] = [
            (0, false),
            (1, false),
            (2, false),
            (3, false),
            (4, false),
            (5, false),
            (6, false),
            (6, true),
        ];
        let names = [KEY, "cert.pem", "chain.pem", FULLCHAIN, COMBINED, RECORD];
        for (old, (files, named)) in [0, 3]
            .into_iter()
            .flat_map(|old| STEPS.map(|step| (old, step)))
        {
            let scene = Scene::new();
            (0..old).for_each(|_| drop(scene.commit()));
            let step = format!("{files} files over {old}, named {named}");
            let staged = scene.leave_generation(old + 1, bundle(NAME));
            for name in &names[files..] {
                fs::remove_file(staged.path().join(name)).unwrap();
            }
            if named {
                staged.put().unwrap();
            } else {
                std::mem::forget(staged);
            }
            let link = disk::stage_link("9", &scene.store.current_dir(&scene.id));
            std::mem::forget(link.unwrap());

            let usable = if old > 0 {
                Some(old)
            } else {
                named.then_some(1)
            };
            assert_eq!(scene.generation(), usable, "{step}");
            let ids = scene.store.ids().unwrap();
            assert_eq!(ids.len(), usize::from(usable.is_some()), "{step}");

            let done = scene.store.recover(&scene.id).unwrap();
            assert_eq!(done.len(), usize::from(named), "{step} {done:?}");
            assert_eq!(
                scene.generation().unwrap_or(0),
                old + u64::from(named),
                "{step}"
            );
            assert!(scene.load().is_none_or(|s| s.damage.is_empty()), "{step}");
            assert!(scene.store.recover(&scene.id).unwrap().is_empty(), "{step}");
            assert!(
                !scene.names().iter().any(|n| n.starts_with(".tmp")),
                "{step}"
            );

            let next = scene.commit().generation;
            assert!(next > old, "{step}");
            let loaded = scene.load().unwrap();
            assert_eq!(
                (loaded.generation, loaded.damage.len()),
                (next, 0),
                "{step}"
            );
        }
    }

    #[test]
    fn a_commit_clears_what_a_crash_left_without_being_asked() {
        let scene = Scene::new();
        scene.commit();
        std::mem::forget(scene.leave_generation(2, bundle(NAME)));
        scene
            .leave_generation(2, bundle_for(NAME, 30))
            .put()
            .unwrap();
        let link = disk::stage_link("9", &scene.store.current_dir(&scene.id));
        std::mem::forget(link.unwrap());
        assert_eq!(scene.names().len(), 5);
        assert_eq!(scene.commit().generation, 2);
        assert_eq!(scene.names(), ["1", "2", "current"]);
    }

    #[test]
    fn recovering_all_reaches_what_never_became_a_certificate_and_waits_for_nobody() {
        let scene = Scene::new();
        let held = HeldEntry::hold(scene.store.entry(&id("busy.test")), Durability::Now).unwrap();
        std::mem::forget(scene.leave_generation(1, bundle(NAME)));
        fs::create_dir_all(scene.store.certs_dir().join("Junk")).unwrap();
        assert_eq!(scene.names().len(), 1);
        assert!(scene.store.recover_all().unwrap().is_empty());
        assert!(scene.names().is_empty());
        scene.leave_generation(1, bundle(NAME)).put().unwrap();
        let done = scene.store.recover_all().unwrap();
        assert!(done[0].contains("finished"), "{done:?}");
        assert_eq!(scene.generation(), Some(1));
        drop(held);
    }

    #[test]
    fn an_unfinished_certificate_that_ends_earlier_is_not_installed() {
        let scene = Scene::new();
        scene.commit();
        scene
            .leave_generation(2, bundle_for(NAME, 30))
            .put()
            .unwrap();
        let done = scene.store.recover(&scene.id).unwrap();
        assert!(done[0].contains("removed"), "{done:?}");
        assert_eq!(scene.generation(), Some(1));
        assert_eq!(scene.names(), ["1", "current"]);
        // but who asks for it gets it
        let short = bundle_for(NAME, 30);
        scene
            .store
            .commit(&scene.id, &short, &record(NAME))
            .unwrap();
        assert_eq!(scene.load().unwrap().bundle.leaf(), short.leaf());
    }

    #[test]
    fn a_failed_commit_leaves_nothing_but_the_old_generation() {
        let scene = Scene::new();
        scene.commit();
        let mut held = HeldEntry::lock(scene.entry(), Lock::WAIT).unwrap();
        held.prepare(&bundle(NAME), &record(NAME), &*clock(), Durability::Now)
            .unwrap();
        drop(held);
        assert_eq!(scene.names(), ["1", "current"]);
        let mut held = HeldEntry::lock(scene.entry(), Lock::WAIT).unwrap();
        held.prepare(&bundle(NAME), &record(NAME), &*clock(), Durability::Now)
            .unwrap();
        held.name().unwrap();
        assert_eq!(scene.names(), ["1", "2", "current"]);
        drop(held);
        assert_eq!(scene.names(), ["1", "current"]);
        assert_eq!(scene.generation(), Some(1));
    }

    #[test]
    fn a_copy_that_lost_its_link_is_used_and_healed() {
        for directory in [true, false] {
            let scene = Scene::new();
            scene.commit();
            let second = scene.commit();
            let current = scene.store.current_dir(&scene.id);
            fs::remove_file(&current).unwrap();
            if directory {
                fs::create_dir(&current).unwrap();
                fs::write(current.join(KEY), "x").unwrap();
            }
            let loaded = scene.load().unwrap();
            assert_eq!(loaded.generation, 2);
            assert!(loaded.damage[0].contains("does not name a generation"));
            scene.store.recover(&scene.id).unwrap();
            let loaded = scene.load().unwrap();
            assert!(loaded.damage.is_empty());
            assert_eq!(loaded.bundle.leaf(), second.bundle.leaf());
        }
    }

    #[test]
    fn exposed_generations_that_lost_their_link_are_not_removed() {
        let scene = Scene::new();
        scene.commit();
        fs::remove_file(scene.store.current_dir(&scene.id)).unwrap();
        let key = scene.file(1, KEY);
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        scene.store.recover(&scene.id).unwrap();
        assert!(matches!(
            scene.store.load(&scene.id),
            Err(StoreError::ExposedKey { .. })
        ));
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(scene.generation(), Some(1));
    }

    #[test]
    fn commits_of_one_id_at_once_all_succeed_one_after_the_other() {
        let scene = Scene::new();
        let mut numbers: Vec<u64> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..5)
                            .map(|_| scene.commit().generation)
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
        assert_eq!(scene.names(), ["18", "19", "20", "current"]);
    }

    #[test]
    fn a_reader_never_sees_a_mismatched_pair_nor_an_older_generation() {
        let scene = Scene::new();
        scene.commit();
        let done = AtomicBool::new(false);
        let (store_reads, file_reads) = thread::scope(|scope| {
            let by_store = scope.spawn(|| {
                let (mut reads, mut newest) = (0, 0);
                while !done.load(Ordering::Relaxed) {
                    let stored = scene.load().unwrap();
                    assert!(stored.damage.is_empty(), "{:?}", stored.damage);
                    assert!(stored.generation >= newest);
                    newest = stored.generation;
                    reads += 1;
                }
                reads
            });
            let by_files = scope.spawn(|| {
                let mut reads = 0;
                let current = scene.store.current_dir(&scene.id);
                while !done.load(Ordering::Relaxed) {
                    let text = fs::read(current.join(COMBINED)).unwrap();
                    CertBundle::from_pem(&text, &text, None).unwrap();
                    reads += 1;
                }
                reads
            });
            (0..200).for_each(|_| drop(scene.commit()));
            done.store(true, Ordering::Relaxed);
            (by_store.join().unwrap(), by_files.join().unwrap())
        });
        assert!(
            store_reads > 10 && file_reads > 10,
            "{store_reads} {file_reads}"
        );
    }

    #[test]
    fn a_batch_larger_than_one_sync_is_committed() {
        let scene = Scene::new();
        let bundle = bundle("*.a.test");
        let mut batch: Vec<_> = (0..FileStore::BATCH + 5)
            .map(|n| {
                (
                    id(&format!("n{n}.a.test")),
                    bundle.clone(),
                    record(&format!("n{n}.a.test")),
                )
            })
            .collect();
        let stored = scene.store.commit_all(&batch).unwrap();
        assert_eq!(stored.len(), batch.len());
        assert_eq!(scene.store.ids().unwrap().len(), batch.len());
        let loaded = scene
            .store
            .load(&batch[FileStore::BATCH].0)
            .unwrap()
            .unwrap();
        assert_eq!((loaded.generation, loaded.damage.len()), (1, 0));
        assert_eq!(
            scene.store.commit_all(&batch[..2]).unwrap()[1].generation,
            2
        );
        batch[7] = batch[3].clone();
        let error = scene.store.commit_all(&batch).unwrap_err();
        assert!(matches!(error, StoreError::Repeated(id) if id == batch[3].0));
    }

    #[test]
    fn a_removed_certificate_is_gone_also_when_removing_crashed() {
        let scene = Scene::new();
        scene.commit();
        scene
            .store
            .set_attempts(
                &scene.id,
                &Attempts {
                    failures: 3,
                    ..Attempts::default()
                },
            )
            .unwrap();
        let crashed = scene.store.trash().join(".tmp-certmint-1-1");
        fs::create_dir_all(&crashed).unwrap();
        fs::write(crashed.join(KEY), "x").unwrap();
        for _ in 0..2 {
            scene.store.remove(&scene.id).unwrap();
            assert!(scene.load().is_none());
            assert!(scene.store.ids().unwrap().is_empty());
            assert_eq!(
                scene.store.attempts(&scene.id).unwrap(),
                Attempts::default()
            );
        }
        assert_eq!(fs::read_dir(scene.store.trash()).unwrap().count(), 0);
        assert_eq!(scene.commit().generation, 1);
    }

    #[test]
    fn attempts_are_kept_and_a_damaged_file_means_none() {
        let scene = Scene::new();
        let attempts = Attempts {
            failures: 2,
            last: Some(clock().now()),
            not_before: Some(clock().now() + crate::clock::Duration::minutes(10)),
            error: Some("no route".into()),
            deploying: Some("01".into()),
            hint: Some("mend it".into()),
            plan: Some(crate::store::Plan {
                serial: "01".into(),
                window: Some(crate::store::Window {
                    start: clock().now(),
                    end: clock().now() + crate::clock::Duration::hours(2),
                    moment: clock().now() + crate::clock::Duration::hours(1),
                    explanation: None,
                }),
                asked: clock().now(),
                ask_again: clock().now() + crate::clock::Duration::hours(6),
            }),
            hurried: Some(clock().now()),
            used: Some(clock().now()),
        };
        scene.store.set_attempts(&scene.id, &attempts).unwrap();
        assert_eq!(scene.store.attempts(&scene.id).unwrap(), attempts);
        scene.commit();
        assert_eq!(scene.store.attempts(&scene.id).unwrap(), attempts);
        fs::write(scene.entry().dir.join(ATTEMPTS), "{").unwrap();
        assert_eq!(
            scene.store.attempts(&scene.id).unwrap(),
            Attempts::default()
        );
    }

    #[test]
    fn a_home_that_is_a_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(FileStore::open(file.path(), clock()).is_err());
    }

    #[test]
    fn running_out_of_descriptors_is_not_taken_for_damage() {
        let of_the_process = |errno: Errno| {
            let error = StoreError::io("read", Path::new("x"))(errno.into());
            is_of_the_process(&error)
        };
        assert!(of_the_process(Errno::MFILE) && of_the_process(Errno::NFILE));
        assert!(!of_the_process(Errno::IO) && !of_the_process(Errno::NOENT));
    }

    #[test]
    fn only_canonical_numbers_are_generations() {
        assert_eq!(parse_generation("12"), Some(12));
        for junk in [
            "",
            "0",
            "01",
            "-1",
            "+1",
            "1 ",
            "1/",
            "x",
            "1234567890123",
            "../1",
        ] {
            assert_eq!(parse_generation(junk), None, "{junk:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_pointer_never_moves_back_and_the_newest_that_verifies_is_used(
            spoiled in proptest::collection::vec(proptest::option::weighted(0.6, 0..damages().len()), 1..5),
            pointer in 0_u64..6,
        ) {
            let scene = Scene::new();
            let good: Vec<u64> = (1..).zip(&spoiled).filter(|(_, s)| s.is_none()).map(|(n, _)| n).collect();
            for (number, spoiled) in (1..).zip(&spoiled) {
                scene.leave_generation(number, bundle(NAME)).put().unwrap();
                if let Some(n) = spoiled {
                    let (word, damage) = &damages()[*n];
                    damage(&scene.entry().generation_dir(number));
                    // Two of them only spoil generation 2.
                    if word.contains("77") && number != 2 {
                        fs::remove_file(scene.file(number, RECORD)).unwrap();
                    }
                }
            }
            if pointer > 0 {
                scene.point_to(pointer);
            }
            let seen = scene.store.load(&scene.id).ok().flatten().map(|s| s.generation);
            let expected = if good.contains(&pointer) { Some(pointer) } else { good.last().copied() };
            prop_assert_eq!(seen, expected);

            scene.store.recover(&scene.id).unwrap();
            let healed = scene.entry().pointer().unwrap().unwrap_or(0);
            prop_assert!(healed >= pointer);
            let seen = scene.store.load(&scene.id).ok().flatten().map(|s| s.generation);
            let expected = good.last().copied().map(|newest| if newest >= pointer || !good.contains(&pointer) { newest } else { pointer });
            prop_assert_eq!(seen, expected);

            let committed = scene.commit().generation;
            prop_assert!(committed > healed);
            prop_assert_eq!(scene.load().map(|s| (s.generation, s.damage.len())), Some((committed, 0)));
        }
    }
}
