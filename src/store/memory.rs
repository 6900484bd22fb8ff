//! A store that forgets everything with the process, for tests of what stands
//! above it; it can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lock::{Lock, is_component};
use super::{Attempts, Record, Store, StoreError, Stored};
use crate::bundle::CertBundle;
use crate::identifier::CertId;

/// Keeps certificates in memory. Clones are one store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
    locks: Arc<Locks>,
}

#[derive(Debug, Default)]
struct Kept {
    current: BTreeMap<CertId, Stored>,
    attempts: BTreeMap<CertId, Attempts>,
    failing_commits: u32,
}

/// The locks that are held.
#[derive(Debug, Default)]
struct Locks {
    held: Mutex<BTreeSet<String>>,
    freed: Condvar,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next `count` commits fail as on a full disk.
    pub fn fail_commits(&self, count: u32) {
        self.kept().failing_commits = count;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, name: &str, held: &mut BTreeSet<String>) -> Option<Lock> {
        held.insert(name.to_owned()).then(|| {
            Lock::in_process(Hold {
                name: name.to_owned(),
                locks: Arc::clone(&self.locks),
            })
        })
    }
}

impl Store for MemoryStore {
    fn ids(&self) -> Result<Vec<CertId>, StoreError> {
        Ok(self.kept().current.keys().cloned().collect())
    }

    fn load(&self, id: &CertId) -> Result<Option<Stored>, StoreError> {
        Ok(self.kept().current.get(id).cloned())
    }

    fn commit(
        &self,
        id: &CertId,
        bundle: &CertBundle,
        record: &Record,
    ) -> Result<Stored, StoreError> {
        let mut kept = self.kept();
        if kept.failing_commits > 0 {
            kept.failing_commits -= 1;
            let full = io::ErrorKind::StorageFull.into();
            return Err(StoreError::io("write", Path::new(id.as_str()))(full));
        }
        let current = kept.current.get(id);
        if let Some(owner) = current
            .map(|stored| &stored.record.issuer)
            .filter(|owner| !owner.is_same_as(&record.issuer))
        {
            return Err(StoreError::OtherIssuer {
                id: id.clone(),
                owner: owner.clone(),
            });
        }
        let stored = Stored {
            id: id.clone(),
            generation: current.map_or(0, |stored| stored.generation) + 1,
            bundle: bundle.clone(),
            record: record.clone(),
            path: None,
            damage: Vec::new(),
        };
        kept.current.insert(id.clone(), stored.clone());
        Ok(stored)
    }

    fn remove(&self, id: &CertId) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.current.remove(id);
        kept.attempts.remove(id);
        Ok(())
    }

    fn attempts(&self, id: &CertId) -> Result<Attempts, StoreError> {
        Ok(self.kept().attempts.get(id).cloned().unwrap_or_default())
    }

    fn set_attempts(&self, id: &CertId, attempts: &Attempts) -> Result<(), StoreError> {
        self.kept().attempts.insert(id.clone(), attempts.clone());
        Ok(())
    }

    fn lock_within(&self, name: &str, wait: Duration) -> Result<Lock, StoreError> {
        check_name(name)?;
        let held = self.locks.held();
        let (mut held, timeout) = self
            .locks
            .freed
            .wait_timeout_while(held, wait, |held| held.contains(name))
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(busy(name, wait));
        }
        self.hold(name, &mut held).ok_or_else(|| busy(name, wait))
    }

    fn try_lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        check_name(name)?;
        Ok(self.hold(name, &mut self.locks.held()))
    }
}

impl Locks {
    fn held(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_name(name: &str) -> Result<(), StoreError> {
    if is_component(name) {
        Ok(())
    } else {
        Err(StoreError::BadLockName(name.to_owned()))
    }
}

fn busy(name: &str, waited: Duration) -> StoreError {
    StoreError::Busy {
        path: name.into(),
        waited,
    }
}

/// A lock that is held in this process; freed when dropped.
#[derive(Debug)]
pub(super) struct Hold {
    name: String,
    locks: Arc<Locks>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.locks.held().remove(&self.name);
        self.locks.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{bundle, id, record};
    use super::*;

    #[test]
    fn a_failed_commit_leaves_what_was_there() {
        let store = MemoryStore::new();
        let (id, record) = (id("a.test"), record("a.test"));
        let first = store.commit(&id, &bundle("a.test"), &record).unwrap();
        store.fail_commits(1);
        let failed = store.commit(&id, &bundle("a.test"), &record);
        assert!(failed.unwrap_err().hint().unwrap().contains("space"));
        let loaded = store.load(&id).unwrap().unwrap();
        assert_eq!(loaded.generation, 1);
        assert_eq!(loaded.bundle.leaf(), first.bundle.leaf());
        let second = store.commit(&id, &bundle("a.test"), &record).unwrap();
        assert_eq!(second.generation, 2);
        assert_eq!(store.ids().unwrap(), std::slice::from_ref(&id));
        store.remove(&id).unwrap();
        assert!(store.load(&id).unwrap().is_none());
    }

    #[test]
    fn locks_exclude_each_other_between_clones() {
        let store = MemoryStore::new();
        let held = store.lock("a").unwrap();
        assert!(store.clone().try_lock("a").unwrap().is_none());
        assert!(store.try_lock("b").unwrap().is_some());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| store.lock("a").map(drop));
            drop(held);
            waiting.join().unwrap().unwrap();
        });
        assert!(matches!(
            store.lock("../a"),
            Err(StoreError::BadLockName(_))
        ));
    }
}
