//! Whose challenges are looked at first: everybody's, a few at a time.
//!
//! Rules kept here: neither an account nor a client address, whatever its accounts, takes
//! more than a share of what is looked at, or of what waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration as Wait;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::problem::Problem;
use super::super::state::AccountId;
use super::super::validate::Turn;
use crate::net::client::ClientPrefix;

/// What one account may take of all slots: one in this many.
const ACCOUNT_SHARE: u32 = 16;
/// What one client address may take of all slots, whatever its accounts: one in this many.
const ADDRESS_SHARE: u32 = 4;
/// Challenges of one account that wait or are looked at.
const MAX_WAITING: usize = 500;
/// Challenges of one client address that wait or are looked at.
const MAX_WAITING_FROM: usize = 2000;

/// Room for validations, over all clients and for each.
#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    /// How many.
    count: u32,
    shares: Mutex<HashMap<Sharer, Share>>,
}

/// Who has a share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Sharer {
    Account(AccountId),
    Address(ClientPrefix),
}

#[derive(Debug)]
struct Share {
    slots: Arc<Semaphore>,
    tickets: usize,
}

/// A place in the queue of one account, and in that of its client's address.
#[derive(Debug)]
pub(super) struct Ticket {
    account: Queued,
    address: Option<Queued>,
}

#[derive(Debug)]
struct Queued {
    sharer: Sharer,
    slots: Arc<Semaphore>,
}

/// Slots that are taken, kept by whatever goes on for a challenge.
#[derive(Debug)]
struct Taken {
    _slots: [Option<OwnedSemaphorePermit>; 3],
}

impl Sharer {
    /// How many slots are its share of `all`.
    fn slots(&self, all: u32) -> usize {
        let share = match self {
            Self::Account(_) => ACCOUNT_SHARE,
            Self::Address(_) => ADDRESS_SHARE,
        };
        (all / share).max(1) as usize
    }

    fn max_waiting(&self) -> usize {
        match self {
            Self::Account(_) => MAX_WAITING,
            Self::Address(_) => MAX_WAITING_FROM,
        }
    }

    fn too_many(&self) -> Problem {
        let whose = match self {
            Self::Account(_) => "of this account",
            Self::Address(_) => "from this address",
        };
        let detail = format!("too many challenges {whose} wait to be looked at");
        Problem::rate_limited(detail, Wait::from_secs(30))
    }
}

impl Slots {
    pub(super) fn new(all: u32) -> Self {
        let count = all.max(1);
        Self {
            all: Arc::new(Semaphore::new(count as usize)),
            count,
            shares: Mutex::default(),
        }
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<Sharer, Share>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more challenge of this account, whose client is at `from` if that
    /// is known; to be given back to [`Self::leave`].
    pub(super) fn enter(
        &self,
        account: &AccountId,
        from: Option<IpAddr>,
    ) -> Result<Ticket, Problem> {
        let account = Sharer::Account(account.clone());
        let address = from.map(|from| Sharer::Address(from.into()));
        let mut shares = self.shares();
        for sharer in [Some(&account), address.as_ref()].into_iter().flatten() {
            let waiting = shares.get(sharer).map_or(0, |share| share.tickets);
            if waiting >= sharer.max_waiting() {
                return Err(sharer.too_many());
            }
        }
        let mut queued = |sharer: Sharer| {
            let share = shares.entry(sharer.clone()).or_insert_with(|| Share {
                slots: Arc::new(Semaphore::new(sharer.slots(self.count))),
                tickets: 0,
            });
            share.tickets += 1;
            let slots = Arc::clone(&share.slots);
            Queued { sharer, slots }
        };
        Ok(Ticket {
            account: queued(account),
            address: address.map(queued),
        })
    }

    /// Waits until it is the ticket's turn: first among its account's, then among its
    /// address's, then among all.
    pub(super) async fn turn(&self, ticket: &Ticket) -> Turn {
        // They are never closed.
        let take = async |slots: &Arc<Semaphore>| Arc::clone(slots).acquire_owned().await.ok();
        let account = take(&ticket.account.slots).await;
        let address = match &ticket.address {
            Some(address) => take(&address.slots).await,
            None => None,
        };
        Arc::new(Taken {
            _slots: [account, address, take(&self.all).await],
        })
    }

    pub(super) fn leave(&self, ticket: &Ticket) {
        let mut shares = self.shares();
        for Queued { sharer, .. } in [&ticket.account].into_iter().chain(&ticket.address) {
            if let Some(share) = shares.get_mut(sharer) {
                share.tickets -= 1;
            }
        }
        // What is left behind may still have a slot, which counts when its account or
        // address comes again.
        shares.retain(|sharer, share| {
            share.tickets > 0 || share.slots.available_permits() < sharer.slots(self.count)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(letter: &str) -> AccountId {
        AccountId::parse(&letter.repeat(22)).unwrap()
    }

    fn from(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    async fn waits(slots: &Slots, ticket: &Ticket) -> bool {
        let turn = tokio::time::timeout(Wait::ZERO, slots.turn(ticket)).await;
        turn.is_err()
    }

    #[tokio::test]
    async fn one_account_leaves_room_for_others_and_does_not_queue_without_end() {
        let slots = Slots::new(32);
        let tickets: Vec<_> = (0..MAX_WAITING)
            .map(|_| slots.enter(&account("a"), from(1)).unwrap())
            .collect();
        assert!(slots.enter(&account("a"), from(1)).is_err());
        assert!(
            slots.enter(&account("a"), from(2)).is_err(),
            "wherever it is"
        );
        let _first = slots.turn(&tickets[0]).await;
        let second = slots.turn(&tickets[1]).await;
        assert!(
            waits(&slots, &tickets[2]).await,
            "two of thirty-two are its share"
        );
        let other = slots.enter(&account("A"), from(1)).unwrap();
        let _others = slots.turn(&other).await;
        drop(second);
        let _third = slots.turn(&tickets[2]).await;
        tickets.iter().for_each(|ticket| slots.leave(ticket));
        slots.enter(&account("a"), from(1)).unwrap();
        assert_eq!(slots.shares().len(), 3, "two accounts, one address");
    }

    #[tokio::test]
    async fn one_address_leaves_room_for_others_whatever_its_accounts() {
        let slots = Slots::new(8);
        let accounts = ["a", "g", "w", "A", "Q"].map(account);
        let enter = |n: usize, from| slots.enter(&accounts[n], from).unwrap();
        let tickets = [0, 1, 2].map(|n| enter(n, from(1)));
        let first = slots.turn(&tickets[0]).await;
        let second = slots.turn(&tickets[1]).await;
        assert!(
            waits(&slots, &tickets[2]).await,
            "two of eight are its share"
        );
        let other = enter(3, from(2));
        let others = slots.turn(&other).await;
        // Where nobody knows from where, the account's share applies alone.
        let unknown = enter(4, None);
        let unknown_turn = slots.turn(&unknown).await;
        drop(first);
        let third = slots.turn(&tickets[2]).await;
        drop([second, others, unknown_turn, third]);
        for ticket in tickets.iter().chain([&other, &unknown]) {
            slots.leave(ticket);
        }
        assert!(slots.shares().is_empty(), "who has left is forgotten");
    }

    #[test]
    fn one_address_does_not_queue_without_end_whatever_its_accounts() {
        let slots = Slots::new(8);
        let accounts = ["a", "g", "w", "A"].map(account);
        for n in 0..MAX_WAITING_FROM {
            slots.enter(&accounts[n % 4], from(1)).unwrap();
        }
        let fifth = account("Q");
        let refused = slots.enter(&fifth, from(1)).unwrap_err();
        assert!(refused.detail().contains("from this address"), "{refused}");
        slots.enter(&fifth, from(2)).unwrap();
        slots.enter(&account("g"), None).unwrap_err();
        assert_eq!(slots.shares().len(), 7, "who was refused left nothing");
    }

    #[tokio::test]
    async fn what_is_left_behind_keeps_its_slot_from_its_own_account() {
        let slots = Slots::new(16);
        let ticket = slots.enter(&account("a"), from(1)).unwrap();
        let turn = slots.turn(&ticket).await;
        let left_behind = Arc::clone(&turn);
        drop(turn);
        slots.leave(&ticket);
        let again = slots.enter(&account("a"), from(1)).unwrap();
        assert!(waits(&slots, &again).await);
        let other = slots.enter(&account("A"), from(1)).unwrap();
        drop(slots.turn(&other).await);
        drop(left_behind);
        drop(slots.turn(&again).await);
        slots.leave(&again);
        slots.leave(&other);
        assert!(slots.shares().is_empty());
    }
}
