//! How much of what, in the words of problem documents.

use std::net::IpAddr;

use super::super::problem::Problem;
use super::super::state::AccountId;
use super::Limits;
use crate::clock::Timestamp;
use crate::identifier::Identifier;

/// Counts what accounts, addresses and names have had.
#[derive(Debug)]
pub(super) struct Limiter {
    limits: Limits,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// One more account for whoever is at this address.
    pub(super) fn account(&self, _from: IpAddr, _now: Timestamp) -> Result<(), Problem> {
        let _ = &self.limits;
        Ok(())
    }

    /// One more order of this account.
    pub(super) fn order(&self, _account: &AccountId, _now: Timestamp) -> Result<(), Problem> {
        Ok(())
    }

    /// Whether one more certificate may be had for this name.
    pub(super) fn certificates(&self, _name: &Identifier, _now: Timestamp) -> Result<(), Problem> {
        Ok(())
    }

    /// A certificate was issued for this name.
    pub(super) fn issued(&self, _name: &Identifier, _now: Timestamp) {}

    /// Whether this account may be wrong about this name once more.
    pub(super) fn may_fail(
        &self,
        _account: &AccountId,
        _name: &Identifier,
        _now: Timestamp,
    ) -> Result<(), Problem> {
        Ok(())
    }

    /// This account was wrong about this name.
    pub(super) fn failed(&self, _account: &AccountId, _name: &Identifier, _now: Timestamp) {}
}
