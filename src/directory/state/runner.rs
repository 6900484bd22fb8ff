//! Whose work is whose, where several processes run the directory of one CA: what is
//! begun says who began it.
//!
//! Rules kept here: nobody touches what somebody else is at; what was begun by
//! somebody who is not alive becomes nobody's first, and of what is nobody's each
//! piece goes to one alone. Who is alive is not known here.

use rusqlite::params;

use super::order::{one_order, order_id_at};
use super::{Commit, Order, State, StateError, rows, run};
use crate::clock::Timestamp;

/// Somebody who runs the directory. No two that are alive have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runner(pub u32);

impl State {
    /// The same for this runner: what is begun from now on is its own.
    pub fn run_by(mut self, runner: Runner) -> Self {
        self.runner = Some(runner);
        self
    }

    /// Who else is at an order, alive or not.
    pub fn others_at_work(&self) -> Result<Vec<Runner>, StateError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(AT_WORK)?;
            rows(&mut statement, [self.number()], |row| {
                Ok(Runner(row.get("runner")?))
            })
        })
    }

    /// Makes nobody's what this runner was at: it is not alive, and nobody can take its
    /// number before this returns.
    pub fn abandon(&self, dead: Runner) -> Result<usize, StateError> {
        self.write(Commit::Quick, |db| Ok(run(db, ABANDON, [dead.0])?))
    }

    /// Takes the orders in `processing` that are nobody's, each with its CSR: the caller,
    /// and nobody else, is to sign them.
    pub fn adopt(&self, now: Timestamp) -> Result<Vec<Order>, StateError> {
        let left = self.read(|db| {
            let mut statement = db.prepare_cached(LEFT)?;
            rows(&mut statement, [], |row| order_id_at(row, "id"))
        })?;
        if left.is_empty() {
            return Ok(Vec::new());
        }
        self.write(Commit::Quick, |db| {
            let mut adopted = Vec::new();
            for id in &left {
                if run(db, ADOPT, params![id.as_str(), self.number()])? > 0 {
                    adopted.push(one_order(db, id, now)?);
                }
            }
            Ok(adopted)
        })
    }

    /// What rows are marked with.
    pub(super) fn number(&self) -> Option<u32> {
        self.runner.map(|runner| runner.0)
    }
}

pub(super) const LEFT: &str =
    "SELECT id FROM acme_orders WHERE status = 'processing' AND runner IS NULL ORDER BY number";

pub(super) const AT_WORK: &str = "SELECT DISTINCT runner FROM acme_orders
    WHERE status = 'processing' AND runner IS NOT NULL AND runner IS NOT ?1";

const ABANDON: &str =
    "UPDATE acme_orders SET runner = NULL WHERE status = 'processing' AND runner = ?1";

const ADOPT: &str = "UPDATE acme_orders SET runner = ?2
    WHERE id = ?1 AND status = 'processing' AND runner IS NULL";
