//! Whose challenges are looked at first: everybody's, a few at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration as Wait;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::problem::Problem;
use super::super::state::AccountId;
use super::super::validate::Turn;

/// What one account may take of all slots: one in this many.
const SHARE: u32 = 16;
/// Challenges of one account that wait or are looked at.
const MAX_WAITING: usize = 500;

/// Room for validations, over all accounts and for each.
#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    each: usize,
    accounts: Mutex<HashMap<AccountId, Share>>,
}

#[derive(Debug)]
struct Share {
    slots: Arc<Semaphore>,
    tickets: usize,
}

/// A place in the queue of one account.
#[derive(Debug)]
pub(super) struct Ticket {
    account: AccountId,
    slots: Arc<Semaphore>,
}

impl Slots {
    pub(super) fn new(all: u32) -> Self {
        let each = (all / SHARE).max(1);
        Self {
            all: Arc::new(Semaphore::new(all.max(1) as usize)),
            each: each as usize,
            accounts: Mutex::default(),
        }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<AccountId, Share>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more challenge of this account, to be given back to
    /// [`Self::leave`].
    pub(super) fn enter(&self, account: &AccountId) -> Result<Ticket, Problem> {
        let mut accounts = self.accounts();
        let share = accounts.entry(account.clone()).or_insert_with(|| Share {
            slots: Arc::new(Semaphore::new(self.each)),
            tickets: 0,
        });
        if share.tickets >= MAX_WAITING {
            let detail = "too many challenges of this account wait to be looked at";
            return Err(Problem::rate_limited(detail, Wait::from_secs(30)));
        }
        share.tickets += 1;
        Ok(Ticket {
            account: account.clone(),
            slots: Arc::clone(&share.slots),
        })
    }

    /// Waits until it is the ticket's turn: first among its account's, then among all.
    pub(super) async fn turn(&self, ticket: &Ticket) -> Turn {
        // They are never closed.
        let own = Arc::clone(&ticket.slots).acquire_owned().await.ok();
        let all = Arc::clone(&self.all).acquire_owned().await.ok();
        Arc::new(Slot {
            _own: own,
            _all: all,
        })
    }

    pub(super) fn leave(&self, ticket: &Ticket) {
        let mut accounts = self.accounts();
        if let Some(share) = accounts.get_mut(&ticket.account) {
            share.tickets -= 1;
        }
        // What is left behind may still have a slot, which counts when the account comes
        // again.
        let is_idle = |share: &Share| share.slots.available_permits() == self.each;
        accounts.retain(|_, share| share.tickets > 0 || !is_idle(share));
    }
}

/// Kept by whatever goes on for a challenge.
#[derive(Debug)]
struct Slot {
    _own: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(letter: &str) -> AccountId {
        AccountId::parse(&letter.repeat(22)).unwrap()
    }

    #[tokio::test]
    async fn one_account_leaves_room_for_others_and_does_not_queue_without_end() {
        let slots = Slots::new(32);
        let tickets: Vec<_> = (0..MAX_WAITING)
            .map(|_| slots.enter(&account("a")).unwrap())
            .collect();
        assert!(slots.enter(&account("a")).is_err());
        let _first = slots.turn(&tickets[0]).await;
        let second = slots.turn(&tickets[1]).await;
        let third = tokio::time::timeout(Wait::ZERO, slots.turn(&tickets[2])).await;
        assert!(third.is_err(), "two of thirty-two are its share");
        let other = slots.enter(&account("b")).unwrap();
        let _others = slots.turn(&other).await;
        drop(second);
        let _third = slots.turn(&tickets[2]).await;
        tickets.iter().for_each(|ticket| slots.leave(ticket));
        slots.enter(&account("a")).unwrap();
        assert_eq!(slots.accounts().len(), 2);
    }

    #[tokio::test]
    async fn what_is_left_behind_keeps_its_slot_from_its_own_account() {
        let slots = Slots::new(16);
        let ticket = slots.enter(&account("a")).unwrap();
        let turn = slots.turn(&ticket).await;
        let left_behind = Arc::clone(&turn);
        drop(turn);
        slots.leave(&ticket);
        let again = slots.enter(&account("a")).unwrap();
        let early = tokio::time::timeout(Wait::ZERO, slots.turn(&again)).await;
        assert!(early.is_err());
        let other = slots.enter(&account("b")).unwrap();
        drop(slots.turn(&other).await);
        drop(left_behind);
        drop(slots.turn(&again).await);
        slots.leave(&again);
        slots.leave(&other);
        assert!(slots.accounts().is_empty());
    }
}
