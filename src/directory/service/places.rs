//! The places from which processes run the directory of one CA: the server's, which
//! there is once, and those beside it, one for each directory inside another process.
//!
//! Rules kept here: a place is a lock that the kernel frees when its process dies, so
//! that a free place says that whatever was begun from it is nobody's; a place is held
//! for as long as anything may be begun from it.

use std::path::{Path, PathBuf};

use super::super::state::{Runner, State};
use super::OpenError;
use crate::store::{Lock, StoreError};

/// What the locks are called; those beside the server have a number as well.
const LOCK: &str = "acme-directory";
/// The server's number.
const SERVER: Runner = Runner(0);
/// Directories inside other processes at a time.
const BESIDE: u32 = 4096;

/// A place that is ours.
#[derive(Debug)]
pub(super) struct Place {
    runner: Runner,
    locks: PathBuf,
    _held: Lock,
}

impl Place {
    /// The server's, unless another process has it.
    pub(super) fn of_the_server(locks: &Path) -> Result<Option<Self>, StoreError> {
        Self::take(locks, SERVER)
    }

    /// The first that is free beside the server's.
    pub(super) fn beside(locks: &Path) -> Result<Option<Self>, StoreError> {
        for number in 1..=BESIDE {
            if let Some(place) = Self::take(locks, Runner(number))? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn take(locks: &Path, runner: Runner) -> Result<Option<Self>, StoreError> {
        let name = match runner {
            SERVER => LOCK.to_owned(),
            Runner(number) => format!("{LOCK}-{number}"),
        };
        let held = Lock::try_acquire(locks, &name)?;
        Ok(held.map(|held| Self {
            runner,
            locks: locks.to_owned(),
            _held: held,
        }))
    }

    /// The memory, as it is used from here. What was begun from here before is nobody's.
    pub(super) fn enter(&self, state: State) -> Result<State, OpenError> {
        state.abandon(self.runner)?;
        Ok(state.run_by(self.runner))
    }

    /// Makes nobody's what was begun from places that nobody holds any more.
    pub(super) fn clear_others(&self, state: &State) -> Result<(), OpenError> {
        for other in state.others_at_work()? {
            // Held while it is cleared: nobody comes in between.
            if let Some(free) = Self::take(&self.locks, other)? {
                state.abandon(free.runner)?;
            }
        }
        Ok(())
    }
}
