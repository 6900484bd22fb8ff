//! `certmint ca account list|revoke`: who has an account with the private ACME directory,
//! and who may have it no more.
//!
//! Rules kept here: an account that is revoked is so in the CA's database at once, and a
//! directory that runs looks there at each request; nothing that a stranger sent reaches
//! the terminal unescaped; certificates are revoked as `ca revoke` does it, with the CRLs
//! that tell of it.

use std::ops::ControlFlow;

use serde::Serialize;

use super::open_ca;
use super::revoke;
use crate::cli::args::{CaAccountCommand, CaAccountListArgs, CaAccountRevokeArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::{Timestamp, rfc3339};
use crate::directory::state::status::AccountEvent;
use crate::directory::state::{AccountId, AccountStatus, AccountSummary, State, StateError, Trust};
use crate::identifier::quoted;
use crate::pki::Authority;
use crate::pki::ledger::Entry;

pub(super) fn run(
    command: CaAccountCommand,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    match command {
        CaAccountCommand::List(args) => list(&args, context, printer),
        CaAccountCommand::Revoke(args) => revoke(&args, context, printer),
    }
}

fn list(
    args: &CaAccountListArgs,
    context: &Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let authority = Authority::open(&context.home)?;
    let state = State::open(&authority.paths().ledger())?;
    let mut listing = Listing {
        json: args.json,
        rows: 0,
        printer,
    };
    listing.start(context.now());
    state.visit_accounts(args.all, |account| listing.row(&account))?;
    listing.end(args.all);
    Ok(Exit::Done)
}

/// Rows as they come: accounts are never forgotten, so there may be many.
struct Listing<'a> {
    json: bool,
    rows: u64,
    printer: &'a mut Printer,
}

impl Listing<'_> {
    fn start(&mut self, now: Timestamp) {
        if self.json {
            let at = rfc3339(now);
            self.printer.result(&format!(
                "{{\n  \"schema\": \"certmint.accounts/1\",\n  \"generated_at\": \"{at}\",\n  \"accounts\": ["
            ));
        }
    }

    fn row(&mut self, account: &AccountSummary) -> ControlFlow<()> {
        if self.json {
            let comma = if self.rows == 0 { "" } else { "," };
            let text = serde_json::to_string(&Row::new(account)).unwrap_or_default();
            self.printer.result(&format!("{comma}\n    {text}"));
        } else {
            if self.rows == 0 {
                self.printer.result(&format!(
                    "{:<22}  {:<11}  {:<15}  {:<20}  {:>5}  {:<20}  {:<22}  CONTACTS\n",
                    "ACCOUNT", "STATE", "TRUST", "MADE (UTC)", "CERTS", "LAST ISSUED", "KID"
                ));
            }
            self.printer.result(&format!(
                "{:<22}  {:<11}  {:<15}  {:<20}  {:>5}  {:<20}  {:<22}  {}\n",
                account.id.as_str(),
                condition(account),
                account.trust.as_str(),
                rfc3339(account.created_at),
                account.certificates,
                account
                    .last_issued_at
                    .map_or_else(|| "-".to_owned(), rfc3339),
                account.eab_kid.as_deref().unwrap_or("-"),
                contacts(&account.contacts),
            ));
        }
        self.rows += 1;
        // A reader may go away, as `head` does.
        match self.printer.is_open() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }

    fn end(self, all: bool) {
        if self.json {
            let end = if self.rows == 0 {
                "]\n}\n"
            } else {
                "\n  ]\n}\n"
            };
            self.printer.result(end);
        } else if self.rows == 0 {
            self.printer.note(match all {
                true => "nobody has had an account; `certmint ca serve` lets clients make one",
                false => "nobody has an account that may order; see closed ones with `--all`",
            });
        }
    }
}

/// What can be done with it, in a word or two.
fn condition(account: &AccountSummary) -> &'static str {
    match (account.status, &account.eab_revoked_at) {
        (AccountStatus::Valid, Some(_)) => "key revoked",
        (status, _) => status.as_str(),
    }
}

/// The first, and how many more.
pub(super) fn contacts(urls: &[String]) -> String {
    let address = |url: &String| quoted(url.strip_prefix("mailto:").unwrap_or(url));
    match urls {
        [] => "-".to_owned(),
        [only] => address(only),
        [first, rest @ ..] => format!("{} +{}", address(first), rest.len()),
    }
}

/// One account of `certmint.accounts/1`; fields are only ever added.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a AccountId,
    status: AccountStatus,
    contacts: &'a [String],
    created_at: String,
    eab_kid: Option<&'a str>,
    eab_revoked_at: Option<String>,
    trust: Trust,
    /// Those that are remembered: until a month after their end.
    certificates: u64,
    last_ordered_at: Option<String>,
    last_issued_at: Option<String>,
}

impl<'a> Row<'a> {
    fn new(account: &'a AccountSummary) -> Self {
        Self {
            id: &account.id,
            status: account.status,
            contacts: &account.contacts,
            created_at: rfc3339(account.created_at),
            eab_kid: account.eab_kid.as_deref(),
            eab_revoked_at: account.eab_revoked_at.map(rfc3339),
            trust: account.trust,
            certificates: account.certificates,
            last_ordered_at: account.last_ordered_at.map(rfc3339),
            last_issued_at: account.last_issued_at.map(rfc3339),
        }
    }
}

fn revoke(
    args: &CaAccountRevokeArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    // Opened first: a revocation that no CRL can tell of would be half done.
    let ca = match args.revoke_certificates {
        true => Some(open_ca(context, &args.passphrase)?),
        false => None,
    };
    let state = State::open(&Authority::open(&context.home)?.paths().ledger())?;
    let unknown = || {
        let words = format!("no account has the id `{}`", quoted(&args.id));
        CliError::failed(anyhow::Error::msg(words))
            .hint("look for it with `certmint ca account list --all`".to_owned())
    };
    let id = AccountId::parse(&args.id).ok_or_else(unknown)?;
    let closed = match close(&state, &id) {
        Err(StateError::NotFound(_)) => return Err(unknown()),
        closed => closed?,
    };
    let Some(ca) = ca else {
        let held = held(&state, &id, context.now())?;
        if args.json {
            printer.json(&closed.json());
            return Ok(Exit::Done);
        }
        closed.tell(printer);
        if !held.is_empty() {
            printer.note(&format!(
                "certificates that it has and that stay valid: {}; revoke them with `certmint ca \
                 account revoke {id} --revoke-certificates`",
                held.len()
            ));
        }
        return Ok(Exit::Done);
    };
    let held = held(&state, &id, context.now())?;
    let done = revoke::each(&ca, &held, args.reason, context.now())?;
    if args.json {
        let mut json = closed.json();
        json["revoked"] = serde_json::to_value(&done.lines).map_err(CliError::failed)?;
        json["crls"] = done.crls();
        printer.json(&json);
    } else {
        closed.tell(printer);
        done.tell(printer);
    }
    revoke::end(done.published)
}

/// An account that may do nothing any more.
struct Closed {
    id: AccountId,
    status: AccountStatus,
    /// It was so before.
    already: bool,
}

impl Closed {
    fn tell(&self, printer: &mut Printer) {
        let id = &self.id;
        match (self.already, self.status) {
            (false, _) => {
                printer.result(&format!("{id}  revoked\n"));
                printer.note(
                    "each request of it is refused from now on; unless the directory runs with \
                     `--require-eab`, whoever held it may make another with a new key",
                );
            }
            (true, AccountStatus::Deactivated) => {
                printer.result(&format!("{id}  was deactivated before, by its holder\n"));
            }
            (true, _) => printer.result(&format!("{id}  was revoked before\n")),
        }
    }

    /// `certmint.account-revoke/1`; fields are only ever added.
    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "schema": "certmint.account-revoke/1",
            "account": self.id,
            "status": self.status,
            "already": self.already,
            "revoked": [],
            "crls": [],
        })
    }
}

/// Revokes the account, unless it is closed already.
fn close(state: &State, id: &AccountId) -> Result<Closed, StateError> {
    let (status, already) = match state.close_account(id, AccountEvent::Revoke) {
        Ok(account) => (account.status, false),
        Err(StateError::Impossible(_)) => (state.account(id)?.status, true),
        Err(error) => return Err(error),
    };
    Ok(Closed {
        id: id.clone(),
        status,
        already,
    })
}

/// The account's certificates that are valid, oldest first.
fn held(state: &State, id: &AccountId, now: Timestamp) -> Result<Vec<Entry>, StateError> {
    let mut held = Vec::new();
    for serial in state.certificates_of(id)? {
        let entry = state.certificate(&serial)?;
        held.extend(entry.filter(|entry| entry.revoked.is_none() && entry.not_after >= now));
    }
    Ok(held)
}
