//! `certmint ca revoke` and `certmint ca crl`.

use std::path::Path;

use serde::Serialize;

use super::open_ca;
use crate::cli::args::{CrlArgs, RevokeArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::{Duration, Timestamp, rfc3339};
use crate::identifier::{CertId, Identifier, quoted};
use crate::pki::ledger::{Entry, Filter, Ledger, Reason, Revoke, Role, serial_from_hex};
use crate::pki::{PrivateCa, Published, PublishedCrl};
use crate::store::disk;

/// Days until the next CRL is due, when a revocation makes one.
const CRL_DAYS: i64 = 7;
/// Certificates that are revoked in one go at most, so that nobody waits long behind it.
const BATCH: usize = 500;

pub(super) fn revoke(
    args: &RevokeArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    // Opened first: a revocation that no CRL can tell of would be half done.
    let ca = open_ca(context, &args.passphrase)?;
    let ledger = ca.authority().ledger()?;
    let now = context.now();
    let targets = find(&ledger, &args.target, now)?;
    let done = each(&ca, &targets, args.reason, now)?;
    if args.json {
        printer.json(&serde_json::json!({
            "schema": "certmint.revoke/1",
            "revoked": done.lines,
            "crls": done.crls(),
        }));
    } else {
        done.tell(printer);
    }
    end(done.published)
}

/// What was revoked, and the CRLs that tell of it.
pub(super) struct Done {
    pub(super) lines: Vec<Line>,
    pub(super) published: Published,
}

impl Done {
    pub(super) fn crls(&self) -> serde_json::Value {
        let lists = self.published.lists.iter();
        let paths: Vec<_> = lists.map(|crl| &crl.path).collect();
        serde_json::json!(paths)
    }

    pub(super) fn tell(&self, printer: &mut Printer) {
        for line in &self.lines {
            printer.result(&line.text());
        }
        print_crls(&self.published.lists, printer);
    }
}

/// Revokes each of these, and signs fresh CRLs: also when there is none, since those of
/// before may not have got that far.
pub(super) fn each(
    ca: &PrivateCa,
    targets: &[Entry],
    reason: Reason,
    now: Timestamp,
) -> Result<Done, CliError> {
    let ledger = ca.authority().ledger()?;
    let mut lines = Vec::new();
    for batch in targets.chunks(BATCH) {
        let serials: Vec<_> = batch.iter().map(|entry| entry.serial.as_slice()).collect();
        let outcomes = ledger.revoke_all(&serials, reason, now)?;
        lines.extend(
            batch
                .iter()
                .zip(outcomes)
                .map(|(e, done)| Line::new(e, done)),
        );
    }
    Ok(Done {
        lines,
        published: ca.publish_crls(Duration::days(CRL_DAYS)),
    })
}

/// How a command ends that has told of the lists: with the first that was not signed.
pub(super) fn end(published: Published) -> Result<Exit, CliError> {
    match published.failed.into_iter().next() {
        None => Ok(Exit::Done),
        Some(error) => Err(error.into()),
    }
}

/// What a person may mean: one serial number, or all valid certificates of an id
/// or name.
fn find(ledger: &Ledger, target: &str, now: Timestamp) -> Result<Vec<Entry>, CliError> {
    if let Some(entry) = serial_from_hex(target).and_then(|s| ledger.by_serial(&s).transpose()) {
        let entry = entry?;
        return match entry.role {
            Role::Leaf => Ok(vec![entry]),
            _ => Err(
                CliError::usage(format!("`{}` is a CA certificate", quoted(target)))
                    .hint("replace it with `certmint ca rotate`".to_owned()),
            ),
        };
    }
    let id: Option<CertId> = target.parse().ok();
    let name = Identifier::parse(target).ok();
    let mut found = Vec::new();
    let filter = Filter {
        not_expired_at: Some(now),
        role: Some(Role::Leaf),
        name,
        ..Filter::default()
    };
    if filter.name.is_some() {
        ledger.for_each(&filter, |entry| found.push(entry))?;
    }
    if let (true, Some(id)) = (found.is_empty(), id) {
        found.extend(
            ledger
                .newest_by_id(&id)?
                .filter(|entry| entry.not_after >= now),
        );
    }
    if found.is_empty() {
        return Err(CliError::failed(anyhow::anyhow!(
            "no valid certificate has the serial number, name or id `{}`",
            quoted(target)
        ))
        .hint("look for it with `certmint ca list`".to_owned()));
    }
    Ok(found)
}

/// One certificate of `certmint.revoke/1`.
#[derive(Serialize)]
pub(super) struct Line {
    serial: String,
    names: Vec<Identifier>,
    revoked_at: String,
    reason: Reason,
    already: bool,
}

impl Line {
    fn new(entry: &Entry, outcome: Revoke) -> Self {
        let (already, revocation) = match outcome {
            Revoke::Done(revocation) => (false, revocation),
            Revoke::Already(revocation) => (true, revocation),
        };
        Self {
            serial: entry.serial_hex(),
            names: entry.names.clone(),
            revoked_at: rfc3339(revocation.at),
            reason: revocation.reason,
            already,
        }
    }

    pub(super) fn text(&self) -> String {
        let names = crate::identifier::summary(&self.names);
        if self.already {
            return format!(
                "{}  {names}  was revoked before, at {} ({})\n",
                self.serial, self.revoked_at, self.reason
            );
        }
        format!("{}  {names}  revoked ({})\n", self.serial, self.reason)
    }
}

pub(super) fn crl(
    args: &CrlArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    if args.der && args.out.is_none() {
        return Err(CliError::usage("`--der` is for a copy")
            .hint("name its file with `--out FILE`".to_owned()));
    }
    let ca = open_ca(context, &args.passphrase)?;
    let published = ca.publish_crls(Duration::days(i64::from(args.days)));
    let active = ca.authority().active().name.clone();
    let newest = published.lists.iter().find(|crl| crl.issuer == active);
    match (&args.out, newest) {
        (Some(out), Some(crl)) => write_out(out, crl, args.der, printer)?,
        _ => print_crls(&published.lists, printer),
    }
    end(published)
}

/// Copies the newest intermediate's list; those of older ones lie in `ca/crl`.
fn write_out(
    out: &Path,
    crl: &PublishedCrl,
    der: bool,
    printer: &mut Printer,
) -> Result<(), CliError> {
    const READABLE: u32 = 0o644;
    let path = if der {
        crl.path.clone()
    } else {
        crl.path.with_extension("crl.pem")
    };
    let bytes = disk::read(&path)?;
    if out.as_os_str() == "-" {
        printer.result_bytes(&bytes);
        return Ok(());
    }
    Ok(disk::replace(out, &bytes, READABLE)?)
}

fn print_crls(published: &[PublishedCrl], printer: &mut Printer) {
    for crl in published {
        printer.result(&format!(
            "crl of {}  number {}  next due {}  {}\n",
            crl.issuer,
            crl.status.number,
            rfc3339(crl.status.next_update),
            crl.path.display()
        ));
    }
}
