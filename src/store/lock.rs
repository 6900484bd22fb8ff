//! Mutual exclusion between processes, by `flock` on a file made for it.
//!
//! Rules kept here: the kernel frees a lock when its holder dies, so nothing is
//! ever stale and no file is ever removed or dated; no wait is without end; who
//! got a lock looks again before acting on what was seen without it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{StoreError, disk, memory};

/// An exclusive lock; freed when dropped, or by the kernel when its holder dies.
#[derive(Debug)]
pub struct Lock {
    _held: Held,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for their drop")]
enum Held {
    File(File),
    Process(memory::Hold),
}

impl Lock {
    /// How long [`Lock::acquire`] waits.
    pub const WAIT: Duration = Duration::from_secs(60);
    /// How often a waiting process looks whether the lock is free.
    const POLL: Duration = Duration::from_millis(20);

    /// Waits for the lock on `dir/name`, at most [`Lock::WAIT`]; the directory
    /// is made when absent.
    ///
    /// Two locks of one name exclude each other within one process too.
    pub fn acquire(dir: &Path, name: &str) -> Result<Self, StoreError> {
        Self::acquire_within(dir, name, Self::WAIT)
    }

    /// Waits for the lock on `dir/name`, at most `wait`.
    pub fn acquire_within(dir: &Path, name: &str, wait: Duration) -> Result<Self, StoreError> {
        let file = open(dir, name)?;
        lock_within(&file, &dir.join(name), wait)?;
        Ok(Self::on(Held::File(file)))
    }

    /// The lock on `dir/name`, or `None` when somebody holds it.
    pub fn try_acquire(dir: &Path, name: &str) -> Result<Option<Self>, StoreError> {
        let file = open(dir, name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self::on(Held::File(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(StoreError::io("lock", &dir.join(name))(e)),
        }
    }

    /// Whether somebody holds the lock on `dir/name`. Makes nothing on disk, but for
    /// a moment keeps others from the lock.
    pub fn is_held(dir: &Path, name: &str) -> Result<bool, StoreError> {
        let path = dir.join(name);
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        // Shared, so that several who look do not take each other for the holder.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(StoreError::io("lock", &path)(e)),
        }
    }

    /// A lock that excludes nobody outside this process.
    pub(super) fn in_process(hold: memory::Hold) -> Self {
        Self::on(Held::Process(hold))
    }

    fn on(held: Held) -> Self {
        Self { _held: held }
    }
}

/// Waits until `file`, which is called `path`, is locked.
pub(super) fn lock_within(file: &File, path: &Path, wait: Duration) -> Result<(), StoreError> {
    // A blocking `flock` cannot be given a deadline without a signal, hence the poll.
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", path)(e)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(StoreError::Busy {
                    path: path.to_owned(),
                    waited: wait,
                });
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Lock::POLL.min(wait)),
        }
    }
}

fn open(dir: &Path, name: &str) -> Result<File, StoreError> {
    if !is_component(name) {
        return Err(StoreError::BadLockName(name.to_owned()));
    }
    disk::create_dir(dir)?;
    disk::open_lock(&dir.join(name))
}

/// Whether `name` can only be a file of its own in the directory of locks.
pub(super) fn is_component(name: &str) -> bool {
    /// The longest name that every file system takes.
    const MAX: usize = 255;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_reported_with_its_path_and_freed_by_drop() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::acquire(dir.path(), "a").unwrap();
        assert!(Lock::try_acquire(dir.path(), "a").unwrap().is_none());
        let error = Lock::acquire_within(dir.path(), "a", Duration::ZERO).unwrap_err();
        let path = dir.path().join("a");
        assert!(error.to_string().contains(path.to_str().unwrap()));
        assert!(error.hint().unwrap().contains("another certmint"));
        assert!(Lock::try_acquire(dir.path(), "b").unwrap().is_some());
        let held_now = |name| Lock::is_held(dir.path(), name).unwrap();
        assert!(held_now("a") && !held_now("b") && !held_now("never"));
        assert!(!path.with_file_name("never").exists());
        drop(held);
        assert!(!held_now("a"));
        assert!(Lock::try_acquire(dir.path(), "a").unwrap().is_some());
    }

    #[test]
    fn who_waits_gets_the_lock_when_it_is_freed() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::acquire(dir.path(), "a").unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::acquire(dir.path(), "a").map(drop));
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_lock_file_outlives_its_lock_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        drop(Lock::acquire(&dir.path().join("locks"), "a").unwrap());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&dir.path().join("locks")), 0o700);
        assert_eq!(mode(&dir.path().join("locks/a")), 0o600);
    }

    #[test]
    fn a_lock_name_is_one_path_component() {
        let dir = tempfile::tempdir().unwrap();
        let long = "a".repeat(256);
        for good in ["a", "cert-_wildcard.a.test", "CA", &long[1..]] {
            assert!(Lock::acquire(dir.path(), good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "a/b", "/a", "a\0", "a b", "ä", &long] {
            assert!(
                matches!(
                    Lock::acquire(dir.path(), bad),
                    Err(StoreError::BadLockName(_))
                ),
                "{bad}"
            );
        }
    }
}
