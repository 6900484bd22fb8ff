//! From an order to its certificate, and back from a certificate to its order.

use rusqlite::{Connection, params};

use super::super::problem::Problem;
use super::account::id_at;
use super::challenge::all_valid;
use super::order::{one_order, order_id_at, set_order};
use super::status::{OrderEvent, OrderStatus};
use super::{AccountId, Commit, Order, OrderId, State, StateError, account, rows, run};
use crate::clock::Timestamp;
use crate::pki::ledger::{self, Entry, serial_to_hex};

/// Which order a certificate came of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderOfCertificate {
    /// The order.
    pub order: OrderId,
    /// Its account, which may revoke the certificate.
    pub account: AccountId,
}

impl State {
    /// Takes an order from `ready` to `processing`, with the CSR (DER) that was checked.
    ///
    /// Atomic: of two who come with a CSR, one goes on to sign, and the other is told
    /// [`StateError::NotReady`]. Looks once more whether account and authorizations are
    /// valid; when one is not, the order is invalid from then on.
    pub fn begin_issuance(
        &self,
        id: &OrderId,
        csr: &[u8],
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
                "UPDATE acme_orders SET status = ?2, csr = ?3, finalized_at = ?4, runner = ?5
                 WHERE id = ?1",
                params![
                    id.as_str(),
                    status.as_str(),
                    csr,
                    now.unix_timestamp(),
                    self.number()
                ],
            )?;
            let csr = Some(csr.to_owned());
            Ok(Ok(Order {
                status,
                csr,
                ..order
            }))
        })?
        .map_err(StateError::NotReady)
    }

    /// Takes certificates down in the inventory, and makes each one's order valid: an
    /// answer each, in the same order. Durable.
    ///
    /// Atomic: no certificate is there without its order, nor the other way round. One
    /// that is refused, because its order is not in `processing` any more, is not taken
    /// down, and may go to nobody.
    pub fn issue<'a>(
        &self,
        certificates: impl IntoIterator<Item = (&'a OrderId, &'a Entry)>,
        now: Timestamp,
    ) -> Result<Vec<Result<Order, StateError>>, StateError> {
        self.write(Commit::Durable, |db| {
            let issued = certificates.into_iter();
            issued
                .map(|(order, entry)| match issue(db, order, entry, now) {
                    Err(error) if error.is_internal() => Err(error),
                    answer => Ok(answer),
                })
                .collect()
        })
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
}

fn issue(
    db: &Connection,
    id: &OrderId,
    entry: &Entry,
    now: Timestamp,
) -> Result<Order, StateError> {
    let order = one_order(db, id, now)?;
    let status = order.status.after(OrderEvent::Issue)?;
    ledger::insert(db, entry)?;
    // It is kept as long as the certificate: for the download, for whoever replaces
    // it, and for its account to revoke it.
    run(
        db,
        "UPDATE acme_orders SET status = ?2, serial = ?3,
             keep_until = max(keep_until, ?4) WHERE id = ?1",
        params![
            id.as_str(),
            status.as_str(),
            serial_to_hex(&entry.serial),
            entry.not_after.unix_timestamp()
        ],
    )?;
    Ok(Order {
        status,
        serial: Some(entry.serial.clone()),
        ..order
    })
}

pub(super) const OF_CERTIFICATE: &str = "SELECT o.id, a.id AS account_id FROM acme_orders o
    JOIN acme_accounts a ON a.number = o.account
    WHERE o.serial = ?1 AND o.serial IS NOT NULL";
