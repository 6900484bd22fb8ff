//! `certmint acme issue`: one certificate, one for each line of a list, or one for a
//! signing request.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use super::desk::Desk;
use super::order::{Done, Order, What, existing};
use super::request;
use crate::bundle::{Certificate, to_pem};
use crate::cli::args::AcmeIssueArgs;
use crate::cli::commands::issuing::{
    IssuedJson, Listed, Problems, current_dir, print_issued, read_list,
};
use crate::cli::commands::stop::until_stopped;
use crate::cli::progress::Spinner;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::table::counted;
use crate::clock::rfc3339;
use crate::identifier::{CertId, Identifier, summary};
use crate::issuer::{AcmeRef, Directory, Issuer};
use crate::pki::{self, CaError};
use crate::renew::Issuers as _;
use crate::renew::policy::{self, Life};
use crate::store::{Export, Stored, export};

pub(super) fn run(
    args: &AcmeIssueArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    args.copies.check()?;
    match (&args.from, &args.csr) {
        (Some(list), _) => issue_list(list, args, context, printer),
        (None, Some(csr)) => issue_request(csr, args, context, printer),
        (None, None) => issue_one(args, context, printer),
    }
}

fn issue_one(
    args: &AcmeIssueArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let id = match (&args.kept.id, args.names.first()) {
        (Some(id), _) => id.clone(),
        (None, Some(first)) => CertId::for_name(first),
        (None, None) => {
            return Err(CliError::usage("no name was given").hint(
                "give one or more names, a list of them with `--from FILE`, or a signing \
                 request with `--csr FILE`"
                    .to_owned(),
            ));
        }
    };
    let desk = Desk::new(context)?;
    let (order, met) = plan(args, id, args.names.clone(), args.copies.dir()?, &desk)?;
    let names = &order.record.profile.names;
    desk.prepare_own(order.reference(), names, &args.passphrase, context, printer)?;
    let issuer = open(&desk, &order)?;
    let work = async {
        if met.is_none() {
            let reference = order.reference();
            desk.ensure_accounts(reference, args.account.agree_tos, printer)
                .await?;
            announce(&desk, &order.record.profile.names, reference);
        }
        let _spinner = waiting(&desk, &order);
        desk.fulfil(&order, &*issuer).await
    };
    let done = until_stopped(work, desk.issuers.settle())?;
    print_done(&done, &desk, args.json, printer);
    conclude(done.trouble)
}

/// What is to be obtained, refused when it cannot be, and whether it is there already.
fn plan(
    args: &AcmeIssueArgs,
    id: CertId,
    names: Vec<Identifier>,
    out: Option<PathBuf>,
    desk: &Desk,
) -> Result<(Order, Option<What>), CliError> {
    let old = existing(&desk.store, &id)?;
    let names = match &old {
        // Only its id was said: the names stay as well.
        Some(old) if names.is_empty() => old.record.profile.names.clone(),
        None if names.is_empty() => {
            return Err(
                CliError::usage(format!("there is no certificate `{id}` yet"))
                    .hint("give the names that it is for".to_owned()),
            );
        }
        _ => names,
    };
    let record = request::record(args, names, out, old.as_ref().map(|old| &old.record))?;
    let order = Order {
        id,
        record,
        force: args.force,
    };
    order.check_owner(old.as_ref())?;
    for export in &order.record.exports {
        export::prepare(export)?;
    }
    let met = desk.met(&order, old.as_ref());
    Ok((order, met))
}

/// Reads credentials and roots; what is wrong with them is a matter of configuration.
fn open(desk: &Desk, order: &Order) -> Result<Arc<dyn Issuer>, CliError> {
    Ok(desk.issuers.open(&order.record.issuer)?)
}

fn announce(desk: &Desk, names: &[Identifier], reference: &AcmeRef) {
    if !desk.draws {
        tracing::info!("asking {} for {}", reference.directory, summary(names));
    }
}

fn waiting(desk: &Desk, order: &Order) -> Spinner {
    let names = summary(&order.record.profile.names);
    let directory = &order.reference().directory;
    Spinner::start(format!("asking {directory} for {names}"), desk.draws)
}

/// The first thing that went wrong after the certificate was in place.
fn conclude(trouble: Vec<CliError>) -> Result<Exit, CliError> {
    match trouble.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(Exit::Done),
    }
}

/// `certmint.issue/1`, with what only a public CA has.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    issued: IssuedJson<'a>,
    result: &'static str,
    generation: u64,
    directory: Option<&'a Directory>,
    account: Option<&'a str>,
    renew_after: String,
    trouble: Vec<String>,
}

impl<'a> Report<'a> {
    fn of(done: &'a Done) -> Self {
        let obtained = done.stored.record.obtained.as_ref();
        Self {
            issued: IssuedJson::of(&done.stored),
            result: done.what.as_str(),
            generation: done.stored.generation,
            directory: obtained.map(|obtained| &obtained.directory),
            account: obtained.map(|obtained| obtained.account.as_str()),
            renew_after: rfc3339(due_at(&done.stored)),
            trouble: done.trouble.iter().map(CliError::told).collect(),
        }
    }
}

fn due_at(stored: &Stored) -> crate::clock::Timestamp {
    policy::due_at(Life::of(stored.bundle.leaf()))
}

fn print_done(done: &Done, desk: &Desk, json: bool, printer: &mut Printer) {
    let stored = &done.stored;
    if json {
        printer.json(&Report::of(done));
        return;
    }
    let leaf = stored.bundle.leaf();
    let names = summary(leaf.names());
    if done.what != What::Issued {
        printer.result(&format!(
            "kept {names}, still good until {}\n  {:<12} {}\n",
            rfc3339(leaf.not_after()),
            "certificate",
            current_dir(stored).join("fullchain.pem").display()
        ));
        printer.note(match done.what {
            What::Set => "the new settings are stored, copies and hook are done; no CA was asked",
            _ => "nothing was done; `--force` obtains another all the same",
        });
        return;
    }
    warn_of_stand_in(stored, printer);
    print_issued(stored, done.trouble.is_empty(), &[], printer);
    printer.note(&format!(
        "`{} renew` renews it from {} on; let a timer run that once a day",
        desk.program,
        rfc3339(due_at(stored))
    ));
}

/// That another CA issued is no failure, but nothing to discover by chance.
fn warn_of_stand_in(stored: &Stored, printer: &mut Printer) {
    let asked = &stored.record.issuer;
    let Some(obtained) = &stored.record.obtained else {
        return;
    };
    if obtained.directory.to_string() != asked.to_string() {
        printer.warn(&format!(
            "it comes from the second CA, {}: {asked} issued nothing",
            obtained.directory
        ));
    }
}

/// `--csr`: the chain for somebody else's key.
fn issue_request(
    csr: &Path,
    args: &AcmeIssueArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let input = context.read_input(csr)?;
    let csr = read_request(&input)?;
    let reference = request::reference(args, &csr.names, None)?;
    let copy = args.copies.exports(args.copies.dir()?).into_iter().next();
    if let Some(copy) = &copy {
        export::prepare(copy)?;
    }
    let desk = Desk::new(context)?;
    desk.prepare_own(&reference, &csr.names, &args.passphrase, context, printer)?;
    let issuer = desk.opener.open(&reference)?;
    let work = async {
        desk.ensure_accounts(&reference, args.account.agree_tos, printer)
            .await?;
        announce(&desk, &csr.names, &reference);
        let names = summary(&csr.names);
        let what = format!("asking {} for {names}", reference.directory);
        let _spinner = Spinner::start(what, desk.draws);
        let issued = issuer.issue_request(&csr.names, &csr.der, &csr.spki);
        Ok(issued.await?)
    };
    let chain = until_stopped(work, desk.issuers.settle())?;
    if let Some(copy) = &copy {
        export::write_chain(&chain, copy)?;
    }
    print_chain(&chain, copy.as_ref(), args.json, printer)
}

/// Reads a request whose names stand where CAs look for them.
fn read_request(input: &[u8]) -> Result<pki::ForeignCsr, CliError> {
    const REMEDY: &str =
        "make it with all its names: `openssl req -new -addext subjectAltName=DNS:NAME …`";
    match pki::read_request(input, &pki::CsrNames::Requested) {
        Ok(csr) if csr.names.is_empty() => Err(CliError::failed(anyhow::anyhow!(
            "the signing request has no alternative names"
        ))
        .hint(REMEDY.to_owned())),
        Ok(csr) => Ok(csr),
        Err(CaError::Csr(error)) if error.is_about_names() => {
            Err(CliError::failed(CaError::Csr(error)).hint(REMEDY.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

fn print_chain(
    chain: &[Certificate],
    copy: Option<&Export>,
    json: bool,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let leaf = chain
        .first()
        .ok_or_else(|| CliError::failed(anyhow::anyhow!("the CA sent no certificate")))?;
    let due = rfc3339(policy::due_at(Life::of(leaf)));
    if json {
        printer.json(&serde_json::json!({
            "schema": "certmint.issue-csr/1",
            "names": leaf.names(),
            "serial": leaf.serial_hex(),
            "not_before": rfc3339(leaf.not_before()),
            "not_after": rfc3339(leaf.not_after()),
            "sha256": leaf.sha256_hex(),
            "path": copy.map(|copy| &copy.dir),
            "renew_after": due,
            "chain": to_pem(chain),
        }));
    } else if let Some(copy) = copy {
        printer.result(&format!(
            "issued {}, valid until {}\n  {:<12} {}\n",
            summary(leaf.names()),
            rfc3339(leaf.not_after()),
            "certificate",
            copy.dir.join("fullchain.pem").display()
        ));
    } else {
        printer.result(&to_pem(chain));
    }
    printer.note(&format!(
        "its key is not held here, so nothing renews it: run this again after {due}"
    ));
    Ok(Exit::Done)
}

/// How many certificates are asked for at the same time.
const AT_ONCE: usize = 10;

/// `--from`: either every line can be asked for, or none is; then one that fails does
/// not hinder the others.
fn issue_list(
    list: &Path,
    args: &AcmeIssueArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let listed = read_list(list, context)?;
    let out = args.copies.dir()?;
    let desk = Desk::new(context)?;
    let mut problems = Problems::default();
    let mut orders = Vec::new();
    for Listed { line, id, names } in listed {
        let out = out.as_ref().map(|dir| dir.join(id.as_str()));
        match plan(args, id, names, out, &desk) {
            Ok(planned) => orders.push(planned),
            Err(problem) => problems.push(line, problem.told_with_hints()),
        }
    }
    if let Some(message) = problems.told(list) {
        return Err(CliError::usage(message));
    }
    for (order, _) in &orders {
        let names = &order.record.profile.names;
        desk.prepare_own(order.reference(), names, &args.passphrase, context, printer)?;
    }
    let total = orders.len();
    let work = async {
        let mut asked: Vec<(Order, Arc<dyn Issuer>)> = Vec::new();
        let mut known: Vec<AcmeRef> = Vec::new();
        for (order, met) in orders {
            let reference = order.reference();
            let issuer = open(&desk, &order)?;
            if met.is_none() && !known.contains(reference) {
                desk.ensure_accounts(reference, args.account.agree_tos, printer)
                    .await?;
                known.push(reference.clone());
            }
            asked.push((order, issuer));
        }
        Ok(obtain_all(asked, &desk, args.json, printer).await)
    };
    let outcomes = until_stopped(work, desk.issuers.settle())?;
    conclude_list(&outcomes, total, args.json, printer)
}

type Outcome = (CertId, Result<Done, CliError>);

async fn obtain_all(
    orders: Vec<(Order, Arc<dyn Issuer>)>,
    desk: &Desk,
    json: bool,
    printer: &mut Printer,
) -> Vec<Outcome> {
    let total = orders.len();
    let spinner = Spinner::start(format!("0 of {total} certificates"), desk.draws);
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(total);
    let each = orders.into_iter().map(|(order, issuer)| async move {
        let done = desk.fulfil(&order, &*issuer).await;
        (order.id, done)
    });
    // In this task: dropping it drops them all at once, so that what they began can be
    // cleaned up.
    let mut finished = stream::iter(each).buffer_unordered(AT_ONCE);
    while let Some(outcome) = finished.next().await {
        spinner.say(format!("{} of {total} certificates", outcomes.len() + 1));
        if !json {
            spinner.aside(|| print_outcome(&outcome, printer));
        }
        outcomes.push(outcome);
    }
    outcomes
}

fn print_outcome((id, outcome): &Outcome, printer: &mut Printer) {
    match outcome {
        Ok(done) => {
            let leaf = done.stored.bundle.leaf();
            let until = rfc3339(leaf.not_after());
            let text = match done.what {
                What::Issued => format!("{id}  issued, valid until {until}\n"),
                What::Kept | What::Set => format!("{id}  kept, still good until {until}\n"),
            };
            printer.result(&text);
            printer.pass_on();
            for trouble in &done.trouble {
                printer.warn(&format!("{id}  {}", trouble.told()));
            }
        }
        Err(error) => {
            printer.warn(&format!("{id}  not issued: {}", error.told()));
            for hint in error.hints() {
                printer.hint(hint);
            }
        }
    }
}

fn conclude_list(
    outcomes: &[Outcome],
    total: usize,
    json: bool,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let failed = outcomes.iter().filter(|(_, outcome)| match outcome {
        Ok(done) => !done.trouble.is_empty(),
        Err(_) => true,
    });
    let failed = failed.count();
    if json {
        printer.json(&list_json(outcomes));
    }
    if failed == 0 {
        return Ok(Exit::Done);
    }
    Err(CliError::failed(anyhow::anyhow!(
        "{failed} of {} failed",
        counted(total, "certificate")
    ))
    .hint("run it again: what is there and still good is not asked for again".to_owned()))
}

/// `certmint.issue-many/1`; fields are only ever added.
fn list_json(outcomes: &[Outcome]) -> serde_json::Value {
    let done = |what: &[What]| -> Vec<&CertId> {
        outcomes
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Ok(done) if what.contains(&done.what)))
            .map(|(id, _)| id)
            .collect()
    };
    let failed = outcomes.iter().filter_map(|(id, outcome)| {
        let error = match outcome {
            Err(error) => error,
            Ok(done) => done.trouble.first()?,
        };
        Some(serde_json::json!({
            "id": id,
            "error": error.told(),
            "hints": error.hints(),
        }))
    });
    serde_json::json!({
        "schema": "certmint.issue-many/1",
        "issued": done(&[What::Issued]),
        "kept": done(&[What::Kept, What::Set]),
        "failed": failed.collect::<Vec<_>>(),
    })
}
