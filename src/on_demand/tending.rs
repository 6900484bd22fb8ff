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
    /// Each with when it is to be looked at; those without are being looked at.
    kept: HashMap<DnsName, (Kept, Option<Timestamp>)>,
    due: BTreeSet<(Timestamp, DnsName)>,
}

/// How much newer than what is written the last use must be, to be written.
const WRITE_AFTER: Duration = Duration::days(1);

/// Most uses written down at a time: each is a write to the disk.
const MOST_WRITES: usize = 16;

impl Tending {
    /// Keeps a certificate that is to be looked at at `due`, in place of one before.
    pub(super) fn keep(&mut self, name: DnsName, kept: Kept, due: Timestamp) {
        self.forget(&name);
        self.due.insert((due, name.clone()));
        self.kept.insert(name, (kept, Some(due)));
    }

    /// Has one that was being looked at looked at again at `due`.
    pub(super) fn plan(&mut self, name: DnsName, due: Timestamp) {
        if let Some((_, planned @ None)) = self.kept.get_mut(&name) {
            *planned = Some(due);
            self.due.insert((due, name));
        }
    }

    /// The first that is due, to be looked at now.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<(DnsName, Kept)> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, name) = self.due.pop_first()?;
        let (kept, planned) = self.kept.get_mut(&name)?;
        *planned = None;
        Some((name, kept.clone()))
    }

    /// When the next one is.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn get(&self, name: &DnsName) -> Option<&Kept> {
        self.kept.get(name).map(|(kept, _)| kept)
    }

    /// What of its last use is written down, is not.
    pub(super) fn unwritten(&mut self, name: &DnsName) {
        if let Some((kept, _)) = self.kept.get_mut(name) {
            kept.written = Timestamp::UNIX_EPOCH;
        }
    }

    pub(super) fn forget(&mut self, name: &DnsName) {
        if let Some((_, Some(due))) = self.kept.remove(name) {
            self.due.remove(&(due, name.clone()));
        }
    }

    /// Notes which were `used` since the last time, and says which uses are to be
    /// written down.
    pub(super) fn note_uses(
        &mut self,
        used: impl Fn(&DnsName) -> bool,
        now: Timestamp,
    ) -> Vec<DnsName> {
        let mut unwritten = Vec::new();
        for (name, (kept, _)) in &mut self.kept {
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

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(days: i64) -> Timestamp {
        T0 + Duration::days(days)
    }

    fn kept() -> Kept {
        Kept {
            origin: Origin::Stored,
            not_after: at(90),
            served: true,
            used: T0,
            written: T0,
        }
    }

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    #[test]
    fn each_is_looked_at_in_its_turn_and_by_one_at_a_time() {
        let mut tending = Tending::default();
        tending.keep(name("b.test"), kept(), at(2));
        tending.keep(name("a.test"), kept(), at(9));
        tending.keep(name("a.test"), kept(), at(1));
        let take = |tending: &mut Tending, days| {
            let taken = tending.take_due(at(days));
            taken.map(|(name, _)| name.to_string())
        };
        assert_eq!(take(&mut tending, 0), None);
        assert_eq!(tending.next_due(), Some(at(1)));
        assert_eq!(take(&mut tending, 3).as_deref(), Some("a.test"));
        assert_eq!(take(&mut tending, 3).as_deref(), Some("b.test"));
        assert_eq!(take(&mut tending, 99), None);
        tending.plan(name("a.test"), at(5));
        tending.plan(name("a.test"), at(6));
        tending.plan(name("stranger.test"), at(5));
        assert_eq!(take(&mut tending, 99).as_deref(), Some("a.test"));
        assert_eq!(take(&mut tending, 99), None);
        tending.plan(name("b.test"), at(5));
        tending.forget(&name("b.test"));
        assert_eq!((take(&mut tending, 99), tending.next_due()), (None, None));
    }

    #[test]
    fn a_use_is_written_down_once_a_day_and_not_all_at_once() {
        let mut tending = Tending::default();
        for n in 0..20 {
            tending.keep(name(&format!("n{n}.test")), kept(), at(30));
        }
        let idle = name("idle.test");
        tending.keep(idle.clone(), kept(), at(30));
        let mut look = |days| tending.note_uses(|asked| *asked != idle, at(days)).len();
        assert_eq!([look(1), look(2), look(2), look(2)], [0, MOST_WRITES, 4, 0]);
        assert_eq!(tending.get(&idle).unwrap().used, T0);
        assert_eq!(tending.get(&name("n1.test")).unwrap().used, at(2));
    }
}
