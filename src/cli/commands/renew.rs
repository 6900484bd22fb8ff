//! `certmint renew`: for cron and for people.

use std::sync::Arc;

use serde::Serialize;

use super::small_runtime;
use crate::cli::args::RenewArgs;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::{Timestamp, rfc3339};
use crate::finding::words::causes;
use crate::identifier::{CertId, Identifier, summary};
use crate::renew::hook::Hook;
use crate::renew::issuers::HomeIssuers;
use crate::renew::{Done, Outcome, Renewal, Request, Trouble, next_wake};
use crate::store::Store;

/// Never asks anything: what cannot be done without a passphrase fails.
pub(super) fn run(
    args: RenewArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let passphrase = match &args.passphrase_file {
        Some(path) => Some(context.read_passphrase(path)?),
        None => None,
    };
    let hook = args
        .deploy_hook
        .as_deref()
        .map(Hook::parse)
        .transpose()
        .map_err(CliError::failed)?;
    let request = Request {
        ids: args.ids,
        force: args.force,
        dry_run: args.dry_run,
        deploy_hook: hook,
        hook_timeout: args.hook_timeout.map(time::Duration::unsigned_abs),
    };
    let store = context.store()?;
    let issuers = HomeIssuers::new(context.home.clone(), passphrase, Arc::clone(&context.clock));
    let renewal = Renewal {
        store: &store,
        issuers: &issuers,
        clock: &*context.clock,
    };
    let _alone = if request.dry_run {
        None
    } else {
        Some(store.lock("renew")?)
    };
    let outcomes = small_runtime()?.block_on(renewal.run(&request))?;
    let report = Report::new(&outcomes, request.dry_run, context.now());
    if args.json {
        printer.json(&report);
    } else {
        print_text(&report, printer);
    }
    Ok(if outcomes.iter().any(Outcome::is_failure) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// `certmint.renew/1`; fields are only ever added.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    generated_at: String,
    dry_run: bool,
    /// When to run again at the latest.
    next_wake: Option<String>,
    certificates: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a CertId,
    names: &'a [Identifier],
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// What went wrong beside the renewal itself: damage found, copies, hooks.
    trouble: Vec<String>,
}

impl<'a> Report<'a> {
    fn new(outcomes: &'a [Outcome], dry_run: bool, now: Timestamp) -> Self {
        Self {
            schema: "certmint.renew/1",
            generated_at: rfc3339(now),
            dry_run,
            next_wake: next_wake(outcomes, now).map(rfc3339),
            certificates: outcomes.iter().map(Line::new).collect(),
        }
    }
}

impl<'a> Line<'a> {
    fn new(outcome: &'a Outcome) -> Self {
        let bare = Self {
            id: &outcome.id,
            names: &outcome.names,
            result: "not-due",
            reason: None,
            due_at: None,
            not_after: None,
            generation: None,
            retry_at: None,
            error: None,
            hint: None,
            trouble: outcome.damage.clone(),
        };
        match &outcome.result {
            Done::NotDue { due_at } => Self {
                due_at: Some(rfc3339(*due_at)),
                ..bare
            },
            Done::Redeployed { due_at, trouble } => Self {
                result: "redeployed",
                due_at: Some(rfc3339(*due_at)),
                trouble: bare.with(trouble),
                ..bare
            },
            Done::PutOff { until, error } => Self {
                result: "put-off",
                retry_at: Some(rfc3339(*until)),
                error: Some(error.clone()),
                ..bare
            },
            Done::Withdrawn { why } => Self {
                result: "withdrawn",
                reason: Some(why.clone()),
                ..bare
            },
            Done::WouldRenew(reason) => Self {
                result: "would-renew",
                reason: Some(reason.to_string()),
                ..bare
            },
            Done::Renewed {
                reason,
                stored,
                trouble,
            } => Self {
                result: "renewed",
                reason: Some(reason.to_string()),
                not_after: Some(rfc3339(stored.bundle.leaf().not_after())),
                generation: Some(stored.generation),
                trouble: bare.with(trouble),
                ..bare
            },
            Done::Failed { error, retry_at } => Self {
                result: "failed",
                error: Some(causes(error)),
                hint: error.hint(),
                retry_at: retry_at.map(rfc3339),
                ..bare
            },
        }
    }
}

impl Line<'_> {
    /// Damage found before, and what went wrong afterwards.
    fn with(&self, trouble: &[Trouble]) -> Vec<String> {
        let after = trouble.iter().map(|t| causes(t));
        self.trouble.iter().cloned().chain(after).collect()
    }
}

fn print_text(report: &Report<'_>, printer: &mut Printer) {
    if report.certificates.is_empty() {
        printer.note("there is nothing to renew: no certificate has been issued here");
    }
    for line in &report.certificates {
        let names = summary(line.names);
        match line.result {
            "not-due" => printer.note(&format!(
                "{}  not due before {}",
                line.id,
                text(&line.due_at)
            )),
            "redeployed" => printer.result(&format!("{}  copies and hooks done again\n", line.id)),
            "put-off" => printer.warn(&format!(
                "{}  failed before and is not tried again until {}: {}",
                line.id,
                text(&line.retry_at),
                text(&line.error)
            )),
            "withdrawn" => printer.note(&format!(
                "{}  not renewed any more: {}",
                line.id,
                text(&line.reason)
            )),
            "would-renew" => {
                printer.result(&format!(
                    "{}  would be renewed: {}\n",
                    line.id,
                    text(&line.reason)
                ));
            }
            "renewed" => printer.result(&format!(
                "{}  renewed ({names}), valid until {}\n",
                line.id,
                text(&line.not_after)
            )),
            _ => {
                printer.warn(&format!("{}  not renewed: {}", line.id, text(&line.error)));
                if let Some(hint) = &line.hint {
                    printer.hint(hint);
                }
            }
        }
        for trouble in &line.trouble {
            printer.warn(&format!("{}  {trouble}", line.id));
        }
    }
    if let (true, Some(wake)) = (report.dry_run, &report.next_wake) {
        printer.note(&match *wake == report.generated_at {
            true => "nothing was changed; run it again without `--dry-run`".to_owned(),
            false => format!("nothing was changed; next to be done at {wake}"),
        });
    }
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("-")
}
