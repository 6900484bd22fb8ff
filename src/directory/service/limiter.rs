//! How much of what, in the words of problem documents.

use std::net::IpAddr;

use super::super::Limits;
use super::super::limits::{Counters, Key, Wait};
use super::super::problem::Problem;
use super::super::state::AccountId;
use crate::clock::Timestamp;
use crate::identifier::Identifier;

/// Counts what accounts, addresses and names have had.
#[derive(Debug)]
pub(super) struct Limiter {
    limits: Limits,
    counters: Counters,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Self {
        let counters = Counters::new();
        Self { limits, counters }
    }

    /// One more account for whoever is at this address.
    pub(super) fn account(&self, from: IpAddr, now: Timestamp) -> Result<(), Problem> {
        let key = Key::Accounts(from.into());
        let taken = self
            .counters
            .take(key, self.limits.accounts_per_address, now);
        taken.map_err(|wait| too_many("accounts from this address", wait))
    }

    /// One more order of this account.
    pub(super) fn order(&self, account: &AccountId, now: Timestamp) -> Result<(), Problem> {
        let key = Key::Orders(account.clone());
        let taken = self.counters.take(key, self.limits.orders_per_account, now);
        taken.map_err(|wait| too_many("orders of this account", wait))
    }

    /// Whether one more certificate may be had for each of these names.
    pub(super) fn may_issue<'a>(
        &self,
        names: impl IntoIterator<Item = &'a Identifier>,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let limit = self.limits.certificates_per_name;
        names.into_iter().try_for_each(|name| {
            let room = self
                .counters
                .peek(&Key::Certificates(name.clone()), limit, now);
            room.map_err(|wait| too_many_certificates(name, wait))
        })
    }

    /// One more certificate for each of these names, or none.
    pub(super) fn issue(&self, names: &[Identifier], now: Timestamp) -> Result<(), Problem> {
        self.may_issue(names, now)?;
        let limit = self.limits.certificates_per_name;
        names.iter().try_for_each(|name| {
            let taken = self
                .counters
                .take(Key::Certificates(name.clone()), limit, now);
            taken.map_err(|wait| too_many_certificates(name, wait))
        })
    }

    /// Whether this account may be wrong about this name once more.
    pub(super) fn may_fail(
        &self,
        account: &AccountId,
        name: &Identifier,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let key = Key::Failures(account.clone(), name.clone());
        let room = self.counters.peek(&key, self.limits.failures_per_name, now);
        room.map_err(|wait| too_many(&format!("failed validations of {name}"), wait))
    }

    /// This account was wrong about this name.
    pub(super) fn failed(&self, account: &AccountId, name: &Identifier, now: Timestamp) {
        let key = Key::Failures(account.clone(), name.clone());
        // What has happened is counted without a limit.
        let _ = self.counters.take(key, u32::MAX, now);
    }
}

fn too_many_certificates(name: &Identifier, wait: Wait) -> Problem {
    too_many(&format!("certificates for {name}"), wait)
}

fn too_many(what: &str, wait: Wait) -> Problem {
    Problem::rate_limited(format!("too many {what} within an hour"), wait.0)
}
