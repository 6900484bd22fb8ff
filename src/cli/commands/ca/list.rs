//! `certmint ca list`: the inventory, streamed, soonest to expire first.

use serde::Serialize;

use crate::cli::args::ListArgs;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::{Timestamp, rfc3339};
use crate::identifier::{CertId, Identifier, summary};
use crate::pki::Authority;
use crate::pki::ledger::{Entry, Filter, LedgerError, Role};

pub(super) fn run(
    args: ListArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let now = context.now();
    let ledger = Authority::open(&context.home)?.ledger()?;
    let filter = Filter {
        expiring_before: args.expiring.map(|span| now + span),
        not_expired_at: (!args.all).then_some(now),
        revoked: args.revoked.then_some(true),
        name_glob: args.name.map(|glob| glob.to_ascii_lowercase()),
        role: (!args.all).then_some(Role::Leaf),
        limit: args.limit,
        ..Filter::default()
    };
    let mut listing = Listing::start(args.json, now, printer);
    match ledger.try_for_each(&filter, |entry| listing.row(&entry)) {
        Ok(()) | Err(Stop::NobodyReads) => {}
        Err(Stop::Ledger(error)) => return Err(error.into()),
    }
    listing.end();
    Ok(Exit::Done)
}

/// Why a listing ends early.
enum Stop {
    /// The reader went away, as `head` does.
    NobodyReads,
    Ledger(LedgerError),
}

impl From<LedgerError> for Stop {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// Rows as they come: a million certificates are never in memory at once.
struct Listing<'a> {
    json: bool,
    now: Timestamp,
    rows: u64,
    printer: &'a mut Printer,
}

impl<'a> Listing<'a> {
    fn start(json: bool, now: Timestamp, printer: &'a mut Printer) -> Self {
        if json {
            let at = rfc3339(now);
            printer.result(&format!(
                "{{\n  \"schema\": \"certmint.list/1\",\n  \"generated_at\": \"{at}\",\n  \"certificates\": ["
            ));
        }
        Self {
            json,
            now,
            rows: 0,
            printer,
        }
    }

    fn row(&mut self, entry: &Entry) -> Result<(), Stop> {
        if self.json {
            let comma = if self.rows == 0 { "" } else { "," };
            let text = serde_json::to_string(&Row::new(entry, self.now)).unwrap_or_default();
            self.printer.result(&format!("{comma}\n    {text}"));
        } else {
            if self.rows == 0 {
                self.printer.result(&format!(
                    "{:<20}  {:<8}  {:<40}  NAMES\n",
                    "EXPIRES (UTC)", "STATE", "SERIAL"
                ));
            }
            self.printer.result(&format!(
                "{:<20}  {:<8}  {:<40}  {}\n",
                rfc3339(entry.not_after),
                state(entry, self.now),
                entry.serial_hex(),
                if entry.names.is_empty() {
                    entry.subject.clone()
                } else {
                    summary(&entry.names)
                },
            ));
        }
        self.rows += 1;
        if self.printer.is_open() {
            Ok(())
        } else {
            Err(Stop::NobodyReads)
        }
    }

    fn end(self) {
        if self.json {
            let end = if self.rows == 0 {
                "]\n}\n"
            } else {
                "\n  ]\n}\n"
            };
            self.printer.result(end);
        } else if self.rows == 0 {
            self.printer.note("no certificate matches");
        }
    }
}

/// One certificate of `certmint.list/1`; fields are only ever added.
#[derive(Serialize)]
struct Row<'a> {
    serial: String,
    role: &'static str,
    state: &'static str,
    id: Option<&'a CertId>,
    names: &'a [Identifier],
    subject: &'a str,
    issuer: &'a str,
    usage: &'a str,
    key_type: &'a str,
    not_before: String,
    not_after: String,
    issued_at: String,
    revoked_at: Option<String>,
    reason: Option<&'static str>,
    spki_sha256: &'a str,
}

impl<'a> Row<'a> {
    fn new(entry: &'a Entry, now: Timestamp) -> Self {
        Self {
            serial: entry.serial_hex(),
            role: entry.role.as_str(),
            state: state(entry, now),
            id: entry.id.as_ref(),
            names: &entry.names,
            subject: &entry.subject,
            issuer: &entry.issuer,
            usage: &entry.usage,
            key_type: &entry.key_type,
            not_before: rfc3339(entry.not_before),
            not_after: rfc3339(entry.not_after),
            issued_at: rfc3339(entry.issued_at),
            revoked_at: entry.revoked.map(|revocation| rfc3339(revocation.at)),
            reason: entry.revoked.map(|revocation| revocation.reason.as_str()),
            spki_sha256: &entry.spki_sha256,
        }
    }
}

fn state(entry: &Entry, now: Timestamp) -> &'static str {
    if entry.revoked.is_some() {
        "revoked"
    } else if now > entry.not_after {
        "expired"
    } else {
        "valid"
    }
}
