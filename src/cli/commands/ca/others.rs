//! What the CA has signed for others, whose keys are elsewhere: which of it counts, and
//! who is to renew it.
//!
//! Rules kept here: of what an ACME client ordered, the newest of an account for a set of
//! names counts, since clients make a new key each time; of what was signed by hand, the
//! newest for a key. What does not count is never parsed.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::account::contacts;
use crate::bundle::Certificate;
use crate::cli::report::CliError;
use crate::clock::{Duration, Timestamp};
use crate::directory::state::{AccountId, AccountStatus, Signed, State, visit_signed};
use crate::finding::words;
use crate::identifier::Identifier;
use crate::pki::Authority;
use crate::pki::ledger::{Entry, Filter, Ledger, LedgerError, Role};

/// Longest time that what its client did not renew is shown after its end. It may have
/// been retired on purpose, and nobody takes it off a list.
const LINGER: Duration = Duration::days(7);

/// What counts among the leaves that have not ended at `moment` and that `is_meant`, in no
/// order.
pub(super) fn newest(
    ledger: &Ledger,
    moment: Timestamp,
    mut is_meant: impl FnMut(&Signed) -> bool,
) -> Result<Vec<Signed>, CliError> {
    let mut groups: HashMap<(Option<AccountId>, String), Signed> = HashMap::new();
    visit_signed(ledger, moment, |one| {
        if !is_meant(&one) {
            return;
        }
        let of_its_kind = match one.account {
            Some(_) => one.names.clone(),
            None => one.spki_sha256.clone(),
        };
        match groups.entry((one.account.clone(), of_its_kind)) {
            Slot::Vacant(slot) => {
                slot.insert(one);
            }
            Slot::Occupied(mut slot) if slot.get().number < one.number => {
                slot.insert(one);
            }
            Slot::Occupied(_) => {}
        }
    })?;
    Ok(groups.into_values().collect())
}

/// Whether it is over for `one`, which an ACME client ordered: it was revoked, or it ended
/// so long ago that its client will not come back for it.
pub(super) fn is_over(one: &Signed, now: Timestamp) -> bool {
    let life = one.not_after - one.not_before;
    one.is_revoked || now > one.not_after + life.min(LINGER)
}

/// Whether a later leaf that `fits` is valid for the same names.
pub(super) fn has_successor(
    ledger: &Ledger,
    one: &Signed,
    now: Timestamp,
    fits: impl Fn(&Entry) -> bool,
) -> Result<bool, LedgerError> {
    let first = one.names.lines().next().map(Identifier::parse);
    let Some(Ok(name)) = first else {
        return Ok(false);
    };
    let filter = Filter {
        not_expired_at: Some(now),
        revoked: Some(false),
        name: Some(name),
        role: Some(Role::Leaf),
        ..Filter::default()
    };
    let mut found = false;
    ledger.for_each(&filter, |other| {
        found |= other.serial != one.serial
            && other.issued_at >= one.issued_at
            && other.not_before <= now
            && fits(&other)
            && Signed::names_key(&other.names) == one.names;
    })?;
    Ok(found)
}

/// What counts, is valid, and has only a root above it that the CA has moved on from.
pub(super) fn left_behind(
    authority: &Authority,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<Vec<Signed>, CliError> {
    let root = &authority.newest_root().name;
    let is_old = |issuer: &str| {
        let issuer = authority.intermediate(issuer);
        issuer.is_none_or(|issuer| issuer.issuer != *root)
    };
    let mut left = Vec::new();
    for one in newest(ledger, now, |_| true)? {
        if one.is_revoked || !is_old(&one.issuer) {
            continue;
        }
        let replaced = one.account.is_none()
            && has_successor(ledger, &one, now, |other| !is_old(&other.issuer))?;
        if !replaced {
            left.push(one);
        }
    }
    left.sort_by_key(|one| one.number);
    Ok(left)
}

/// Says whose client is to renew something.
#[derive(Debug, Default)]
pub(super) struct Clients {
    state: Option<State>,
    known: HashMap<AccountId, String>,
}

impl Clients {
    /// What to do about what the client of this account does not renew.
    pub(super) fn advice(
        &mut self,
        id: &AccountId,
        authority: &Authority,
        program: &str,
    ) -> Result<String, CliError> {
        if let Some(known) = self.known.get(id) {
            return Ok(known.clone());
        }
        let state = match self.state.take() {
            Some(state) => state,
            None => State::open(&authority.paths().ledger())?,
        };
        let account = self.state.insert(state).account(id)?;
        let who = match account.contacts.as_slice() {
            [] => String::new(),
            urls => format!(" ({})", contacts(urls)),
        };
        let mut line = vec!["ca", "account", "list"];
        if account.status != AccountStatus::Valid {
            line.push("--all");
        }
        let line = words::command(program, line);
        let advice = format!("look at the client of account {id}{who}; `{line}`");
        self.known.insert(id.clone(), advice.clone());
        Ok(advice)
    }
}

/// The certificate itself.
pub(super) fn certificate(
    ledger: &Ledger,
    one: &Signed,
) -> Result<Option<(Entry, Certificate)>, LedgerError> {
    let entry = ledger.by_serial(&one.serial)?;
    Ok(entry.and_then(|entry| {
        let leaf = Certificate::from_der(&entry.der).ok()?;
        Some((entry, leaf))
    }))
}
