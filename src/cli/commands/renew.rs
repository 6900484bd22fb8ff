//! `certmint renew`: for cron and for people.

#[cfg(feature = "acme")]
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use serde::Serialize;

use super::small_runtime;
use crate::cli::args::RenewArgs;
use crate::cli::interrupt::Interrupt;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::{Duration, Timestamp, rfc3339};
#[cfg(feature = "acme")]
use crate::directory::Permit;
use crate::finding::words::{causes, span};
use crate::identifier::{CertId, Identifier, summary};
use crate::key::Passphrase;
use crate::renew::hook::Hook;
use crate::renew::issuers::HomeIssuers;
use crate::renew::runs::Runs;
use crate::renew::{Done, Outcome, Renewal, Request, Trouble, next_wake, random, wait_for_lock};
use crate::store::Plan;
#[cfg(feature = "acme")]
use crate::store::Store as _;
use crate::store::file::FileStore;

/// Never asks anything: what cannot be done without a passphrase fails.
pub(super) fn run(
    args: RenewArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let began = context.now();
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
    // What somebody does by hand tells nothing about when the next run will be.
    let is_scheduled =
        args.ids.is_empty() && !args.dry_run && !args.force && !context.terminals.stderr;
    let request = Request {
        ids: args.ids,
        force: args.force,
        dry_run: args.dry_run,
        leave_served: true,
        deploy_hook: hook,
        hook_timeout: args.hook_timeout.map(Duration::unsigned_abs),
        next_run: None,
    };
    let store = context.store()?;
    let run = Run {
        issuers: issuers(&store, passphrase, context),
        store,
        began,
        splay: args.splay.unwrap_or_default(),
        is_scheduled,
    };
    let (outcomes, stopped) = small_runtime()?.block_on(run.through(request, context, printer))?;
    let report = Report::new(&outcomes, args.dry_run, context.now());
    if args.json {
        printer.json(&report);
    } else {
        print_text(&report, stopped.is_none(), printer);
    }
    match stopped {
        Some(stopped) => Err(stopped),
        None if outcomes.iter().any(Outcome::is_failure) => Ok(Exit::Failed),
        None => Ok(Exit::Done),
    }
}

#[cfg(feature = "acme")]
fn issuers(store: &FileStore, passphrase: Option<Passphrase>, context: &Context) -> HomeIssuers {
    use crate::acme::{Opener, Surroundings};
    use crate::directory::embedded::Embedded;
    let environment = context.environment.clone();
    let (home, clock) = (context.home.clone(), Arc::clone(&context.clock));
    let store = store.clone();
    let unattended = Surroundings::unattended(home.clone(), Arc::clone(&clock));
    let own = {
        let (home, passphrase, clock) = (home.clone(), passphrase.clone(), Arc::clone(&clock));
        move |answers| {
            let embedded = Embedded {
                home: home.clone(),
                passphrase: passphrase.clone(),
                clock: Arc::clone(&clock),
                permit: Permit::Exactly(names_from_ours(&store)),
            };
            embedded.open(answers)
        }
    };
    let opener = Opener::new(Surroundings {
        variables: Arc::new(move |name: &str| environment.get(name).map(str::to_owned)),
        own: Some(Arc::new(own)),
        ..unattended
    });
    HomeIssuers::new(home, passphrase, clock).acme(Arc::new(opener))
}

#[cfg(not(feature = "acme"))]
fn issuers(_: &FileStore, passphrase: Option<Passphrase>, context: &Context) -> HomeIssuers {
    HomeIssuers::new(context.home.clone(), passphrase, Arc::clone(&context.clock))
}

/// The names of all certificates here that our own CA may be asked for by ACME.
#[cfg(feature = "acme")]
fn names_from_ours(store: &FileStore) -> BTreeSet<Identifier> {
    let ids = store.ids().unwrap_or_default().into_iter();
    // Whoever makes those renews them.
    let ids = ids.filter(|id| !id.is_on_demand());
    let ours = ids.filter(|id| {
        let issuer = store.issuer(id);
        issuer.is_some_and(|issuer| issuer.may_be_ours())
    });
    ours.filter_map(|id| store.load(&id).ok()?)
        .flat_map(|stored| stored.record.profile.names)
        .collect()
}

/// One run, before it is started.
struct Run {
    store: FileStore,
    issuers: HomeIssuers,
    began: Timestamp,
    splay: Duration,
    /// By cron or a timer, as far as can be told.
    is_scheduled: bool,
}

impl Run {
    /// The outcomes, and the failure to get to the end of all when it was stopped.
    async fn through(
        self,
        mut request: Request,
        context: &Context,
        printer: &mut Printer,
    ) -> Result<(Vec<Outcome>, Option<CliError>), CliError> {
        let mut interrupt = Interrupt::new().map_err(CliError::failed)?;
        let renewal = Renewal {
            store: &self.store,
            issuers: &self.issuers,
            clock: &*context.clock,
        };
        let mut runs = Runs::read(&context.home);
        request.next_run = self.next_run(&runs);
        if !self.splay.is_zero() && renewal.asks_public_ca(&request)? {
            let wait = (self.splay * random()).unsigned_abs();
            printer.note(&waiting(wait));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                name = interrupt.received() => return Ok((Vec::new(), Some(stopped(name)))),
            }
        }
        let _alone = match request.dry_run {
            true => None,
            false => tokio::select! {
                lock = wait_for_lock(&self.store, "renew") => Some(lock?),
                name = interrupt.received() => return Ok((Vec::new(), Some(stopped(name)))),
            },
        };
        if self.is_scheduled {
            self.record(&mut runs, context);
            request.next_run = self.next_run(&runs);
        }
        let mut stop = None;
        let asked_to_stop = async { stop = Some(interrupt.received().await) };
        let outcomes = renewal.run_until(&request, asked_to_stop).await;
        interrupt.settle(self.issuers.settle()).await;
        Ok((outcomes?, stop.map(stopped)))
    }

    /// When to expect the next run, which may wait again.
    fn next_run(&self, runs: &Runs) -> Option<Timestamp> {
        runs.usual_gap().map(|gap| self.began + gap + self.splay)
    }

    /// Without a record the next runs know less, and renew as well.
    fn record(&self, runs: &mut Runs, context: &Context) {
        if let Err(error) = runs.record(&context.home, self.began, context.now()) {
            let error = causes(&error);
            tracing::warn!(error, "this run could not be recorded");
        }
    }
}

fn waiting(wait: StdDuration) -> String {
    let wait = Duration::try_from(wait).unwrap_or(Duration::DAY);
    format!("waiting {} before a public CA is asked", span(wait))
}

fn stopped(name: &str) -> CliError {
    CliError::failed(anyhow::Error::msg(format!(
        "stopped by {name} before the end"
    )))
    .hint("nothing is half done; the next run takes up what is left".to_owned())
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
    /// When its CA would have it renewed (RFC 9773).
    #[serde(skip_serializing_if = "Option::is_none")]
    suggested: Option<Suggested<'a>>,
    /// What went wrong beside the renewal itself: damage found, copies, hooks.
    trouble: Vec<String>,
}

#[derive(Serialize)]
struct Suggested<'a> {
    start: String,
    end: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<&'a str>,
}

impl<'a> Suggested<'a> {
    fn of(plan: &'a Plan) -> Option<Self> {
        let window = plan.window.as_ref()?;
        Some(Self {
            start: rfc3339(window.start),
            end: rfc3339(window.end),
            explanation: window.explanation.as_deref(),
        })
    }
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
            hint: outcome.hint.clone(),
            suggested: outcome.plan.as_ref().and_then(Suggested::of),
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
            Done::Kept => Self {
                result: "kept",
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

fn print_text(report: &Report<'_>, is_whole: bool, printer: &mut Printer) {
    if report.certificates.is_empty() && is_whole {
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
            "put-off" => {
                printer.warn(&format!(
                    "{}  failed before and is not tried again until {}: {}",
                    line.id,
                    text(&line.retry_at),
                    text(&line.error)
                ));
                if let Some(hint) = &line.hint {
                    printer.hint(hint);
                }
            }
            "kept" => printer.note(&format!("{}  kept fresh by a running server", line.id)),
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
                let retry = line.retry_at.as_ref();
                let retry = retry.map(|at| format!("; to be tried again at {at}"));
                printer.warn(&format!(
                    "{}  not renewed: {}{}",
                    line.id,
                    text(&line.error),
                    retry.unwrap_or_default()
                ));
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
