//! The connections of a listener that is full: whoever has been idle the longest
//! makes room for somebody new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::Activity;

/// Of all connections, this part is closed at once: looking for the idlest is then
/// worth its time.
const PART: usize = 32;

/// Connections after their handshake.
#[derive(Debug, Default)]
pub(super) struct Idlers {
    /// By the address of what they share with us.
    served: Mutex<HashMap<usize, Arc<Activity>>>,
}

/// Keeps a connection among those that may have to make room.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    idlers: &'a Idlers,
    activity: &'a Arc<Activity>,
}

impl Idlers {
    pub(super) fn list<'a>(&'a self, activity: &'a Arc<Activity>) -> Listed<'a> {
        let shared = Arc::clone(activity);
        self.served().insert(key(activity), shared);
        Listed {
            idlers: self,
            activity,
        }
    }

    /// Dismisses the idlest; those with a request in flight, or in the middle of
    /// sending one, are left alone.
    pub(super) fn make_room(&self) {
        let served = self.served();
        let most = served.len().div_ceil(PART);
        let mut idle: Vec<_> = served
            .values()
            .filter_map(|activity| Some((activity.idle_since()?, activity)))
            .collect();
        if most < idle.len() {
            idle.select_nth_unstable_by_key(most, |(since, _)| *since);
        }
        for (_, activity) in idle.iter().take(most) {
            activity.dismiss();
        }
    }

    // The list is whole after every step, also one that panicked.
    fn served(&self) -> MutexGuard<'_, HashMap<usize, Arc<Activity>>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.idlers.served().remove(&key(self.activity));
    }
}

fn key(activity: &Arc<Activity>) -> usize {
    Arc::as_ptr(activity).addr()
}
