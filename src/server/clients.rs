//! How many connections each client may have.
//!
//! What is kept is bounded by the connections that are open.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::net::client::ClientPrefix;

/// The connections of a listener by client.
#[derive(Debug)]
pub(super) struct Clients {
    most: AtomicUsize,
    open: Mutex<HashMap<ClientPrefix, usize>>,
}

/// One connection's place among those of its client; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    clients: Arc<Clients>,
    client: ClientPrefix,
}

impl Clients {
    /// At most `most` connections of each client.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: AtomicUsize::new(most),
            open: Mutex::default(),
        }
    }

    /// From now on at most `most`; those that are open stay.
    pub(super) fn change(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    /// A place for one more connection, unless the client has all it may have.
    pub(super) fn admit(self: &Arc<Self>, client: ClientPrefix) -> Option<Seat> {
        let mut open = self.open();
        let count = open.get(&client).copied().unwrap_or(0);
        if count >= self.most.load(Relaxed) {
            return None;
        }
        open.insert(client, count + 1);
        Some(Seat {
            clients: Arc::clone(self),
            client,
        })
    }

    // The counts are whole after every step, also one that panicked.
    fn open(&self) -> MutexGuard<'_, HashMap<ClientPrefix, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.clients.open();
        match open.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = open.remove(&self.client),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn prefix(address: &str) -> ClientPrefix {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn one_client_that_has_all_its_places_keeps_no_other_out() {
        let clients = Arc::new(Clients::new(2));
        let (hoarder, other) = (prefix("2001:db8::1"), prefix("2001:db8:0:1::1"));
        let first = clients.admit(hoarder).unwrap();
        let _second = clients.admit(prefix("2001:db8::2")).unwrap();
        assert!(clients.admit(hoarder).is_none());
        let theirs = clients.admit(other).unwrap();
        drop(first);
        let _third = clients.admit(hoarder).unwrap();
        assert!(clients.admit(hoarder).is_none());
        drop(theirs);
        assert_eq!(clients.open().len(), 1, "who has left is forgotten");
    }
}
