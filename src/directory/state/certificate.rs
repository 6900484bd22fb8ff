//! From an order to its certificate, and back from a certificate to its order.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::asked::AskedIdentifier;
use super::super::problem::Problem;
use super::account::id_at;
use super::challenge::all_valid;
use super::order::{one_order, order_id_at, set_order};
use super::status::{OrderEvent, OrderStatus};
use super::{AccountId, Commit, Order, OrderId, State, StateError, account, damaged, rows, run};
use crate::clock::Timestamp;
use crate::identifier::Identifier;
use crate::pki::ledger::{Entry, Filter, Role, serial_to_hex};

/// An order whose certificate was asked for and not issued when its directory stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// The order, in `processing`, with its CSR: to be signed, and given to
    /// [`State::finish_order`] or [`State::fail_order`].
    pub order: Order,
}

/// What [`State::recover`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Orders whose certificate was in the inventory: they are valid now.
    pub finished: Vec<OrderId>,
    /// Orders that have none.
    pub interrupted: Vec<Interrupted>,
}

/// Which order a certificate came of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderOfCertificate {
    /// The order.
    pub order: OrderId,
    /// Its account, which may revoke the certificate.
    pub account: AccountId,
}

impl State {
    /// Takes an order from `ready` to `processing`, with the CSR (DER) that was checked
    /// and the DER SubjectPublicKeyInfo in it.
    ///
    /// Atomic: of two who come with a CSR, one goes on to sign, and the other is told
    /// [`StateError::NotReady`]. Looks once more whether account and authorizations are
    /// valid; when one is not, the order is invalid from then on.
    pub fn begin_issuance(
        &self,
        id: &OrderId,
        csr: &[u8],
        spki: &[u8],
        now: Timestamp,
    ) -> Result<Order, StateError> {
        self.write(Commit::Quick, |db| {
            let order = one_order(db, id, now)?;
            account::open(db, &order.account)?;
            if order.status != OrderStatus::Ready {
                return Ok(Err(order.status));
            }
            if !all_valid(db, &order.authorizations, now)? {
                let failed = order.status.after(OrderEvent::Fail)?;
                set_order(db, id, failed, None)?;
                return Ok(Err(failed));
            }
            let status = order.status.after(OrderEvent::Finalize)?;
            run(
                db,
                "UPDATE acme_orders SET status = ?2, csr = ?3, spki_sha256 = ?4,
                     finalized_at = ?5, runner = ?6 WHERE id = ?1",
                params![
                    id.as_str(),
                    status.as_str(),
                    csr,
                    HEXLOWER.encode(digest(&SHA256, spki).as_ref()),
                    now.unix_timestamp(),
                    self.number()
                ],
            )?;
            one_order(db, id, now).map(Ok)
        })?
        .map_err(StateError::NotReady)
    }

    /// Makes an order valid whose certificate is in the inventory, with this serial
    /// number and end of validity. Once more with the same certificate is no error.
    pub fn finish_order(
        &self,
        id: &OrderId,
        serial: &[u8],
        not_after: Timestamp,
        now: Timestamp,
    ) -> Result<Order, StateError> {
        self.write(Commit::Quick, |db| finish(db, id, serial, not_after, now))
    }

    /// Makes an order invalid: its certificate could not be issued.
    pub fn fail_order(
        &self,
        id: &OrderId,
        problem: &Problem,
        now: Timestamp,
    ) -> Result<Order, StateError> {
        self.write(Commit::Quick, |db| {
            let order = one_order(db, id, now)?;
            set_order(db, id, order.status.after(OrderEvent::Fail)?, Some(problem))?;
            one_order(db, id, now)
        })
    }

    /// Finishes orders that nobody is at and whose certificate is in the inventory, and
    /// takes those that have none: the caller, and nobody else, is to sign these.
    ///
    /// A certificate is an order's when it has its key and its names, was issued since
    /// the order was finalized, and is no other order's.
    pub fn recover(&self, now: Timestamp) -> Result<Recovered, StateError> {
        let (finished, unissued) = self.settle(self.processing(None)?, now)?;
        Ok(Recovered {
            finished,
            interrupted: self.adopt(&unissued, now)?,
        })
    }

    /// Finishes orders that this runner is at and whose certificate is in the inventory.
    pub fn finish_issued(&self, now: Timestamp) -> Result<(), StateError> {
        self.settle(self.processing(self.runner)?, now).map(drop)
    }

    /// Finishes those of these orders whose certificate is in the inventory; gives them,
    /// and the others.
    fn settle(
        &self,
        processing: Vec<(OrderId, String)>,
        now: Timestamp,
    ) -> Result<(Vec<OrderId>, Vec<OrderId>), StateError> {
        let (mut finished, mut unissued) = (Vec::new(), Vec::new());
        for (id, spki) in processing {
            let order = self.order(&id, now)?;
            match self.find_issued(&order, &spki)? {
                Some(entry) => {
                    self.finish_order(&id, &entry.serial, entry.not_after, now)?;
                    finished.push(id);
                }
                None => unissued.push(id),
            }
        }
        Ok((finished, unissued))
    }

    /// The order that a certificate came of, if it came of one that is remembered.
    pub fn order_of_certificate(
        &self,
        serial: &[u8],
    ) -> Result<Option<OrderOfCertificate>, StateError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(OF_CERTIFICATE)?;
            let mut found = rows(&mut statement, [serial_to_hex(serial)], |row| {
                Ok(OrderOfCertificate {
                    order: order_id_at(row, "id")?,
                    account: id_at(row, "account_id")?,
                })
            })?;
            Ok(found.pop())
        })
    }

    fn find_issued(&self, order: &Order, spki: &str) -> Result<Option<Entry>, StateError> {
        let names: Result<Vec<Identifier>, _> = order
            .identifiers
            .iter()
            .map(AskedIdentifier::identifier)
            .collect();
        let mut names = names.map_err(|_| damaged("the identifiers of an order are none"))?;
        names.sort();
        let filter = Filter {
            name: names.first().cloned(),
            role: Some(Role::Leaf),
            ..Filter::default()
        };
        let mut candidates = Vec::new();
        self.held().ledger.for_each(&filter, |entry| {
            let mut own = entry.names.clone();
            own.sort();
            let since = order.finalized_at.is_some_and(|at| entry.issued_at >= at);
            if own == names && entry.spki_sha256 == spki && since {
                candidates.push(entry);
            }
        })?;
        for candidate in candidates {
            if self.order_of_certificate(&candidate.serial)?.is_none() {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }
}

fn finish(
    db: &Connection,
    id: &OrderId,
    serial: &[u8],
    not_after: Timestamp,
    now: Timestamp,
) -> Result<Order, StateError> {
    let order = one_order(db, id, now)?;
    let hex = serial_to_hex(serial);
    if order.status == OrderStatus::Valid
        && order.serial.as_deref().map(serial_to_hex).as_ref() == Some(&hex)
    {
        return Ok(order);
    }
    let status = order.status.after(OrderEvent::Issue)?;
    let owner = db
        .prepare_cached(OF_CERTIFICATE)?
        .query_row([&hex], |_| Ok(()))
        .optional()?;
    if owner.is_some() {
        return Err(StateError::CertificateTaken(hex));
    }
    // It is kept as long as the certificate: for the download, for whoever replaces
    // it, and for its account to revoke it.
    run(
        db,
        "UPDATE acme_orders SET status = ?2, serial = ?3,
             keep_until = max(keep_until, ?4) WHERE id = ?1",
        params![
            id.as_str(),
            status.as_str(),
            hex,
            not_after.unix_timestamp()
        ],
    )?;
    one_order(db, id, now)
}

pub(super) const OF_CERTIFICATE: &str = "SELECT o.id, a.id AS account_id FROM acme_orders o
    JOIN acme_accounts a ON a.number = o.account
    WHERE o.serial = ?1 AND o.serial IS NOT NULL";
