//! `certmint inspect`.

use std::path::Path;

use super::small_runtime;
use crate::cli::args::{FailOn, InspectArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::view;
use crate::finding::Severity;
use crate::identifier::Identifier;
use crate::inspect::{Options, Roots, inspect};

pub(super) fn run(
    args: &InspectArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let options = Options {
        roots: roots(args.ca_file.as_deref())?,
        passphrase: args
            .passphrase_file
            .as_deref()
            .map(|f| context.read_passphrase(f))
            .transpose()?,
        server_name: args.servername.as_deref().map(server_name).transpose()?,
        home: Some(context.home.clone()),
        program: context.program(),
        ..Options::default()
    };
    let now = context.now();
    let runtime = small_runtime()?;
    let report = runtime.block_on(inspect(&args.target, context.stdin(), &options, now))?;
    if args.json {
        printer.json(&report);
    } else {
        let text = view::report(&report, context.screen(printer.out_color));
        printer.result(&text);
    }
    Ok(exit_for(report.worst(), args.fail_on.fail_on))
}

fn roots(file: Option<&Path>) -> Result<Roots, CliError> {
    match file {
        Some(path) => Ok(Roots::from_file(path)?),
        None => Ok(Roots::system()),
    }
}

fn server_name(text: &str) -> Result<Identifier, CliError> {
    Identifier::parse(text).map_err(|e| CliError::usage(e.to_string()))
}

/// The exit code of a report.
pub(super) fn exit_for(worst: Option<Severity>, fail_on: FailOn) -> Exit {
    match (worst, fail_on) {
        (_, FailOn::Never) | (None | Some(Severity::Info), _) => Exit::Done,
        (Some(Severity::Critical), _) => Exit::Critical,
        (Some(Severity::Warn), FailOn::Warn) => Exit::Attention,
        (Some(Severity::Warn), FailOn::Critical) => Exit::Done,
    }
}
