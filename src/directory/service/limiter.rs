//! How much of what, in the words of problem documents.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::Limits;
use super::super::limits::{Counters, Key, Wait};
use super::super::problem::Problem;
use super::super::state::AccountId;
use crate::clock::Timestamp;
use crate::identifier::Identifier;

/// When it is worth asking again while what goes on may still come to a good end.
const SOON: Duration = Duration::from_secs(5);

/// Counts what accounts, addresses and names have had.
#[derive(Debug)]
pub(super) struct Limiter {
    limits: Limits,
    counters: Counters,
    trials: Trials,
}

/// How many validations of an account for a name go on.
type Trials = Arc<Mutex<HashMap<(AccountId, Identifier), u32>>>;

/// A validation that goes on, and may fail, until it is dropped.
#[derive(Debug)]
pub(super) struct Trial {
    of: (AccountId, Identifier),
    all: Trials,
}

/// A name of a certificate, and what it counts as.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: Identifier,
    /// Whether it replaces one for the same name that is due: these are counted apart, so
    /// that who renews when told to is not held up by others (RFC 9773 §5).
    pub(super) replaces_due: bool,
}

fn lock(trials: &Trials) -> MutexGuard<'_, HashMap<(AccountId, Identifier), u32>> {
    trials.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Trial {
    fn drop(&mut self) {
        let mut trials = lock(&self.all);
        if let Some(going_on) = trials.get_mut(&self.of) {
            *going_on -= 1;
            if *going_on == 0 {
                trials.remove(&self.of);
            }
        }
    }
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Self {
        let counters = Counters::new();
        let trials = Trials::default();
        Self {
            limits,
            counters,
            trials,
        }
    }

    /// One more account for whoever is at this address.
    pub(super) fn account(&self, from: IpAddr, now: Timestamp) -> Result<(), Problem> {
        let key = Key::Accounts(from.into());
        let taken = self
            .counters
            .take(key, self.limits.accounts_per_address, now);
        taken.map_err(|wait| too_many("accounts from this address", wait))
    }

    /// One more order of this account, of whoever is at this address, for so many `names`:
    /// it is names that cost room on the disk.
    pub(super) fn order(
        &self,
        account: &AccountId,
        from: IpAddr,
        names: usize,
        now: Timestamp,
    ) -> Result<(), Problem> {
        // What has more names than a limit takes all of it: it could never be had else.
        let names = u32::try_from(names).unwrap_or(u32::MAX);
        let of = |limit: u32| names.min(limit).max(1);
        let counters = &self.counters;
        let address = Key::OrdersFrom(from.into());
        let most = self.limits.orders_per_address;
        let full = |wait| too_many("names in orders from this address", wait);
        let room = counters.peek_several(&address, of(most), most, now);
        room.map_err(full)?;
        let key = Key::Orders(account.clone());
        let limit = self.limits.orders_per_account;
        let taken = counters.take_several(key, of(limit), limit, now);
        taken.map_err(|wait| too_many("names in orders of this account", wait))?;
        let taken = counters.take_several(address, of(most), most, now);
        taken.map_err(full)
    }

    /// Whether one more certificate may be had for each of these names.
    pub(super) fn may_issue(&self, names: &[Named], now: Timestamp) -> Result<(), Problem> {
        let limit = self.limits.certificates_per_name;
        names.iter().try_for_each(|name| {
            let room = self.counters.peek(&name.key(), limit, now);
            room.map_err(|wait| name.too_many(wait))
        })
    }

    /// One more certificate for each of these names, or none.
    pub(super) fn issue(&self, names: &[Named], now: Timestamp) -> Result<(), Problem> {
        self.may_issue(names, now)?;
        let limit = self.limits.certificates_per_name;
        names.iter().try_for_each(|name| {
            let taken = self.counters.take(name.key(), limit, now);
            taken.map_err(|wait| name.too_many(wait))
        })
    }

    /// One more validation of this account for this name, if it may fail, and so may all
    /// that go on already.
    pub(super) fn attempt(
        &self,
        account: &AccountId,
        name: &Identifier,
        now: Timestamp,
    ) -> Result<Trial, Problem> {
        let of = (account.clone(), name.clone());
        let key = Key::Failures(account.clone(), name.clone());
        let limit = self.limits.failures_per_name;
        // Held throughout: of several who come at once, each sees those before it.
        let mut trials = lock(&self.trials);
        let going_on = trials.get(&of).copied().unwrap_or_default();
        let too_many = |wait| too_many(&format!("failed validations of {name}"), wait);
        self.counters.peek(&key, limit, now).map_err(too_many)?;
        let left = limit.saturating_sub(going_on);
        if self.counters.peek(&key, left, now).is_err() {
            let detail = format!("too many validations of {name} go on at the same time");
            return Err(Problem::rate_limited(detail, SOON));
        }
        *trials.entry(of.clone()).or_default() += 1;
        Ok(self.trial(of))
    }

    /// The same for one that was let in before.
    pub(super) fn attempt_again(&self, account: &AccountId, name: &Identifier) -> Trial {
        let of = (account.clone(), name.clone());
        *lock(&self.trials).entry(of.clone()).or_default() += 1;
        self.trial(of)
    }

    fn trial(&self, of: (AccountId, Identifier)) -> Trial {
        Trial {
            of,
            all: Arc::clone(&self.trials),
        }
    }

    /// This account was wrong about this name.
    pub(super) fn failed(&self, account: &AccountId, name: &Identifier, now: Timestamp) {
        let key = Key::Failures(account.clone(), name.clone());
        // What has happened is counted without a limit.
        let _ = self.counters.take(key, u32::MAX, now);
    }
}

impl Named {
    fn key(&self) -> Key {
        let name = self.name.clone();
        match self.replaces_due {
            true => Key::Replacements(name),
            false => Key::Certificates(name),
        }
    }

    fn too_many(&self, wait: Wait) -> Problem {
        let what = match self.replaces_due {
            true => "replacements of certificates",
            false => "certificates",
        };
        too_many(&format!("{what} for {}", self.name), wait)
    }
}

fn too_many(what: &str, wait: Wait) -> Problem {
    Problem::rate_limited(format!("too many {what} within an hour"), wait.0)
}
