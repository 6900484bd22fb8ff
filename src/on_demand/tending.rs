//! The certificates that were made on demand: when each is to be looked at, and whether
//! anybody still uses it.

use std::collections::{BTreeSet, HashMap};

use crate::clock::{Duration, Timestamp};
use crate::identifier::DnsName;

/// Where a certificate is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// In the store.
    Stored,
    /// Nowhere: a program has it, and gives it again.
    Supplied,
}

/// One certificate.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) origin: Origin,
    /// Its last second.
    pub(super) not_after: Timestamp,
    /// It is served; else it only lies in the store.
    pub(super) served: bool,
    /// When a client was last served with it, as far as is known.
    pub(super) used: Timestamp,
    /// What of that is written down.
    pub(super) written: Timestamp,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Tending {
    kept: HashMap<DnsName, Kept>,
    /// When each is to be looked at; those that are being looked at have no place here.
    due: BTreeSet<(Timestamp, DnsName)>,
}

/// How much newer than what is written the last use must be, to be written.
const WRITE_AFTER: Duration = Duration::days(1);

/// Most uses written down at a time: each is a write to the disk.
const MOST_WRITES: usize = 16;

impl Tending {
    /// Keeps a certificate that is to be looked at at `due`, in place of one before.
    pub(super) fn keep(&mut self, name: DnsName, kept: Kept, due: Timestamp) {
        self.due.retain(|(_, other)| *other != name);
        self.due.insert((due, name.clone()));
        self.kept.insert(name, kept);
    }

    /// Has one that was being looked at looked at again at `due`.
    pub(super) fn plan(&mut self, name: DnsName, due: Timestamp) {
        if self.kept.contains_key(&name) {
            self.due.insert((due, name));
        }
    }

    /// The first that is due, to be looked at now.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<(DnsName, Kept)> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, name) = self.due.pop_first()?;
        let kept = self.kept.get(&name)?.clone();
        Some((name, kept))
    }

    /// When the next one is.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn get(&self, name: &DnsName) -> Option<&Kept> {
        self.kept.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &DnsName) -> Option<&mut Kept> {
        self.kept.get_mut(name)
    }

    pub(super) fn forget(&mut self, name: &DnsName) {
        self.kept.remove(name);
        self.due.retain(|(_, other)| other != name);
    }

    /// Notes which were `used` since the last time, and says which uses are to be
    /// written down.
    pub(super) fn note_uses(
        &mut self,
        used: impl Fn(&DnsName) -> bool,
        now: Timestamp,
    ) -> Vec<DnsName> {
        let mut unwritten = Vec::new();
        for (name, kept) in &mut self.kept {
            if kept.served && used(name) {
                kept.used = now;
            }
            let is_news = kept.used - kept.written > WRITE_AFTER;
            if is_news && kept.origin == Origin::Stored && unwritten.len() < MOST_WRITES {
                kept.written = kept.used;
                unwritten.push(name.clone());
            }
        }
        unwritten
    }
}
