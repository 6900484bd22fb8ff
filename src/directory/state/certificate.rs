//! From an order to its certificate, and back from a certificate to its order.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::problem::Problem;
use super::account::id_at;
use super::challenge::all_valid;
use super::order::{one_order, order_id_at, set_order};
use super::status::{OrderEvent, OrderStatus};
use super::{
    AccountId, Commit, Order, OrderId, State, StateError, account, damaged, moment, rows, run,
};
use crate::clock::{Duration, Timestamp};
use crate::pki::ledger::{self, Entry, Ledger, serial_from_hex, serial_to_hex};

/// For how long after the end of a certificate it is known, at least, whose order it came
/// of: as long as people ask why it was not renewed.
pub const ORIGIN_KNOWN: Duration = Duration::days(30);

/// Which order a certificate came of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderOfCertificate {
    /// The order.
    pub order: OrderId,
    /// Its account, which may revoke the certificate.
    pub account: AccountId,
}

/// A leaf that is not kept under an id of this machine: as much of it as tells which of
/// several counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its place in the order of issuance.
    pub number: i64,
    /// The serial number, big endian, without leading zeros.
    pub serial: Vec<u8>,
    /// The account whose order it came of; none when it was signed by hand.
    pub account: Option<AccountId>,
    /// Which of the CA's certificates signed it, such as `I1`.
    pub issuer: String,
    /// Its names, one a line, sorted.
    pub names: String,
    /// Start of validity, inclusive.
    pub not_before: Timestamp,
    /// End of validity, inclusive.
    pub not_after: Timestamp,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// SHA-256 over the public key, lower-case hex.
    pub spki_sha256: String,
    /// Whether it was revoked.
    pub is_revoked: bool,
}

impl Signed {
    /// The same set of names is the same text.
    pub fn names_key<N: ToString>(names: impl IntoIterator<Item = N>) -> String {
        let mut names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
        names.sort_unstable();
        names.join("\n")
    }

    /// Reads by position: this may be done a million times.
    fn read(row: &Row<'_>) -> Result<Self, StateError> {
        let (serial, names): (String, String) = (row.get(1)?, row.get(3)?);
        let account: Option<String> = row.get(9)?;
        let account =
            account.map(|id| AccountId::parse(&id).ok_or_else(|| damaged("an id is none")));
        Ok(Self {
            number: row.get(0)?,
            serial: serial_from_hex(&serial).ok_or_else(|| damaged("a serial is none"))?,
            account: account.transpose()?,
            issuer: row.get(2)?,
            names: Self::names_key(names.lines()),
            not_before: moment(row.get(4)?)?,
            not_after: moment(row.get(5)?)?,
            issued_at: moment(row.get(6)?)?,
            spki_sha256: row.get(7)?,
            is_revoked: row.get(8)?,
        })
    }
}

/// Calls `visit` with each leaf in the inventory that has not ended at `moment` and is not
/// kept under an id here. None is held in memory but the one visited, and none is parsed.
///
/// The directory's tables need not be there, and are not made.
pub fn visit_signed(
    ledger: &Ledger,
    moment: Timestamp,
    mut visit: impl FnMut(Signed),
) -> Result<(), StateError> {
    let mut read = || {
        let db = ledger.connection();
        let has_orders = db
            .query_row(HAS_ORDERS, [], |_| Ok(()))
            .optional()?
            .is_some();
        let sql = if has_orders { SIGNED } else { SIGNED_BY_HAND };
        let mut statement = db.prepare(sql)?;
        let mut rows = statement.query([moment.unix_timestamp()])?;
        while let Some(row) = rows.next()? {
            visit(Signed::read(row)?);
        }
        Ok(())
    };
    read().map_err(|error: StateError| error.at("read", ledger.path()))
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
    // It is kept as long as the certificate: for the download, for whoever replaces it, and
    // for its account to revoke it; and then for as long as somebody looks what ended.
    run(
        db,
        "UPDATE acme_orders SET status = ?2, serial = ?3,
             keep_until = max(keep_until, ?4) WHERE id = ?1",
        params![
            id.as_str(),
            status.as_str(),
            serial_to_hex(&entry.serial),
            (entry.not_after + ORIGIN_KNOWN).unix_timestamp()
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

const HAS_ORDERS: &str =
    "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'acme_orders'";

/// What [`Signed::read`] reads, in its order.
pub(super) const SIGNED: &str = "SELECT c.number, c.serial, c.issuer, c.names, c.not_before,
    c.not_after, c.issued_at, c.spki_sha256, c.revoked_at IS NOT NULL, a.id
    FROM certificates c INDEXED BY certificates_by_role
    LEFT JOIN acme_orders o ON o.serial = c.serial AND o.serial IS NOT NULL
    LEFT JOIN acme_accounts a ON a.number = o.account
    WHERE c.role = 'leaf' AND c.not_after >= ?1 AND c.id IS NULL";

const SIGNED_BY_HAND: &str = "SELECT c.number, c.serial, c.issuer, c.names, c.not_before,
    c.not_after, c.issued_at, c.spki_sha256, c.revoked_at IS NOT NULL, NULL
    FROM certificates c INDEXED BY certificates_by_role
    WHERE c.role = 'leaf' AND c.not_after >= ?1 AND c.id IS NULL";
