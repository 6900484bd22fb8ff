//! `certmint ca trust install|uninstall|status`.

use std::path::PathBuf;

use crate::cli::args::{StoreArgs, TrustArgs, TrustCommand, TrustStatusArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::inspect::status::TrustInput;
use crate::pki::Authority;
use crate::trust::{
    Anchor, Change, Outcome, Plan, Status, StoreKind, TrustState, TrustTarget, environment, plan,
    status,
};

pub(super) fn run(
    command: TrustCommand,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    match command {
        TrustCommand::Install(args) => change(Change::Install, &args, context, printer),
        TrustCommand::Uninstall(args) => change(Change::Uninstall, &args, context, printer),
        TrustCommand::Status(args) => show(&args, context, printer),
    }
}

fn change(
    change: Change,
    args: &TrustArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let target = target(&args.stores, context);
    let authority = Authority::open(&context.home)?;
    let anchors = anchors(&authority, change);
    let mut exit = Exit::Done;
    // Kind by kind: Debian's system store feeds Java's, so each plan is made late.
    for kind in kinds(&args.stores) {
        for plan in plan(&target, change, &anchors, &[kind]) {
            let place = place(plan.kind, plan.place.as_ref());
            if args.dry_run {
                print_plan(&plan, &place, printer);
                continue;
            }
            match plan.apply(&target) {
                Ok(outcome) => print_outcome(change, &outcome, &place, printer, &mut exit),
                Err(error) => {
                    printer.error(&CliError::from(error));
                    exit = Exit::Failed;
                }
            }
        }
    }
    if let (Change::Install, false) = (change, args.dry_run) {
        print_environment(&authority, printer);
    }
    Ok(exit)
}

fn print_plan(plan: &Plan, place: &str, printer: &mut Printer) {
    match plan.unavailable() {
        Some(reason) => printer.note(&format!("{place}: {reason}")),
        None if plan.steps().is_empty() => printer.note(&format!("{place}: nothing to do")),
        None => printer.result(&format!("{}\n", plan.command_line())),
    }
}

fn print_outcome(
    change: Change,
    outcome: &Outcome,
    place: &str,
    printer: &mut Printer,
    exit: &mut Exit,
) {
    let done = match change {
        Change::Install => "trusts the root",
        Change::Uninstall => "no longer holds the root",
    };
    match outcome {
        Outcome::Done => printer.result(&format!("{place}: {done} now\n")),
        Outcome::Unchanged => printer.result(&format!("{place}: {done} already\n")),
        Outcome::StillTrusted => {
            printer.warn(&format!(
                "{place}: what certmint had installed is removed, but the root is still trusted: \
                 somebody else installed it too, or the store was not rebuilt"
            ));
            *exit = Exit::Failed;
        }
        Outcome::Unavailable(reason) => printer.note(&format!("{place}: {reason}")),
        Outcome::NeedsRoot(command) => {
            printer.warn(&format!("{place}: only root may change it; run"));
            printer.result(&format!("{command}\n"));
            *exit = Exit::Failed;
        }
    }
}

fn print_environment(authority: &Authority, printer: &mut Printer) {
    let roots = authority.paths().root_export();
    let mut text = "programs with roots of their own are told by a variable:".to_owned();
    for (name, path) in environment(&roots) {
        text.push_str(&format!("\n  {name}={}", path.display()));
    }
    printer.note(&text);
}

fn show(
    args: &TrustStatusArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let target = target(&args.stores, context);
    let authority = Authority::open(&context.home)?;
    let anchors = anchors(&authority, Change::Install);
    let rows = status(&target, &anchors, &kinds(&args.stores));
    if args.json {
        printer.json(&serde_json::json!({ "schema": "certmint.trust/1", "stores": rows }));
        return Ok(Exit::Done);
    }
    let several = anchors.len() > 1;
    for row in &rows {
        let place = place(row.store, row.path.as_ref());
        let root = match root_of(&authority, row) {
            Some(root) if several => format!("{root} "),
            _ => String::new(),
        };
        let state = match &row.state {
            TrustState::Trusted => "trusted",
            TrustState::Absent => "not trusted",
            TrustState::Unavailable(reason) => reason,
        };
        printer.result(&format!("{place}: {root}{state}\n"));
    }
    Ok(Exit::Done)
}

/// The root that a row speaks of: there are two while one replaces the other.
fn root_of<'a>(authority: &'a Authority, row: &Status) -> Option<&'a str> {
    let roots = authority.roots().iter();
    let mut found = roots.filter(|root| root.certificate.sha256_hex() == row.sha256);
    found.next().map(|root| root.name.as_str())
}

/// What the system's own store says, for `ca status`; the other stores need
/// programs that take their time.
pub(super) fn system_state(authority: &Authority, context: &Context) -> Vec<TrustInput> {
    let everything = StoreArgs {
        stores: vec![StoreKind::System],
        sysroot: PathBuf::from("/"),
    };
    let anchors = anchors(authority, Change::Install);
    status(&target(&everything, context), &anchors, &everything.stores)
        .into_iter()
        .map(|row| TrustInput {
            store: match root_of(authority, &row) {
                Some(root) if anchors.len() > 1 => format!("{} {root}", row.store),
                _ => row.store.to_string(),
            },
            state: match row.state {
                TrustState::Trusted => "ok".to_owned(),
                TrustState::Absent => "missing".to_owned(),
                TrustState::Unavailable(_) => "absent".to_owned(),
            },
            path: row.path,
        })
        .collect()
}

/// The roots to be trusted; removal takes the retired ones too.
fn anchors(authority: &Authority, change: Change) -> Vec<Anchor> {
    authority
        .roots()
        .iter()
        .filter(|root| change == Change::Uninstall || !root.retired)
        .map(|root| Anchor::new(root.certificate.clone(), root.path.join("cert.pem")))
        .collect()
}

fn kinds(args: &StoreArgs) -> Vec<StoreKind> {
    if args.stores.is_empty() {
        StoreKind::ALL.to_vec()
    } else {
        args.stores.clone()
    }
}

fn target(args: &StoreArgs, context: &Context) -> TrustTarget {
    let variable = |name: &str| context.environment.get_set(name);
    let home = PathBuf::from(variable("HOME").unwrap_or("/"));
    let path =
        variable("PATH").unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    TrustTarget {
        // The programs that own the stores are run from wherever they like.
        sysroot: std::path::absolute(&args.sysroot).unwrap_or_else(|_| args.sysroot.clone()),
        java_home: variable("JAVA_HOME").map(PathBuf::from),
        ..TrustTarget::new(home, path.into(), context.euid)
    }
}

fn place(kind: StoreKind, path: Option<&PathBuf>) -> String {
    match path {
        Some(path) => format!("{kind} ({})", path.display()),
        None => kind.to_string(),
    }
}
