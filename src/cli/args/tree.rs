//! The command tree with the environment worked into it.
//!
//! Every setting has a variable, `CERTMINT_<COMMAND>_<FLAG>`; what only acts
//! once, such as `--force`, has none. clap could read the process's environment
//! itself, but then parsing would depend on more than its arguments.

use clap::builder::{BoolishValueParser, StyledStr};
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, CommandFactory, Id};

use super::Cli;
use crate::cli::environment::Environment;

/// Flags that act rather than set: they must be typed.
const ACTIONS: [&str; 13] = [
    "all",
    "allow-remote",
    "check-config",
    "csr-only",
    "dry-run",
    "finish",
    "force",
    "help",
    "version",
    "init",
    "none",
    "revoke-certificates",
    "yes",
];

/// Stands at the end of every help text.
const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 the operation failed · 2 usage or configuration · \
3 something needs attention soon · 4 something is expired, invalid or missing";

/// What every variable begins with.
const PREFIX: &str = "CERTMINT";

/// The tree for help texts, man pages and completions.
pub(in crate::cli) fn documented() -> Command {
    command(&Environment::default())
}

/// What was typed, completed from `environment`. What is typed wins, also over a
/// variable of another flag that contradicts it.
pub(super) fn matches(
    args: &[std::ffi::OsString],
    environment: &Environment,
) -> Result<ArgMatches, clap::Error> {
    let mut tree = command(environment);
    let parsed = tree.try_get_matches_from_mut(args);
    let matches = parsed.map_err(|error| naming_the_variable(error, args, environment))?;
    let mut overruled = Vec::new();
    contradicted(&tree, &matches, PREFIX, &mut overruled);
    if overruled.is_empty() {
        return Ok(matches);
    }
    command(&environment.without(&overruled)).try_get_matches_from(args)
}

fn command(environment: &Environment) -> Command {
    with_variables(Cli::command(), PREFIX, environment)
}

fn with_variables(command: Command, prefix: &str, environment: &Environment) -> Command {
    // A variable is not an argument to clap: where one answers for a group, none of its
    // arguments is needed.
    let answered = |group: &&ArgGroup| {
        let mut args = command.get_arguments();
        args.any(|arg| {
            let is_set = |v: String| environment.get_set(&v).is_some();
            group.get_args().any(|id| id == arg.get_id())
                && variable(arg, prefix).is_some_and(is_set)
        })
    };
    let answered = command.get_groups().filter(answered);
    let answered: Vec<Id> = answered.map(|group| group.get_id().clone()).collect();
    let command = answered.into_iter().fold(command, |command, id| {
        command.mut_group(id, |group| group.required(false))
    });
    let command = command
        .after_help(EXIT_CODES)
        .mut_args(|arg| with_variable(arg, prefix, environment));
    let names: Vec<String> = command
        .get_subcommands()
        .map(|s| s.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        let prefix = format!("{prefix}_{}", variable_part(&name));
        command.mut_subcommand(name, |sub| with_variables(sub, &prefix, environment))
    })
}

fn with_variable(arg: Arg, prefix: &str, environment: &Environment) -> Arg {
    let Some(variable) = variable(&arg, prefix) else {
        return arg;
    };
    let Some(value) = environment.get_set(&variable) else {
        let help = arg
            .get_help()
            .map(|help| format!("{help} [env: {variable}]"));
        return arg.help(help.unwrap_or_default());
    };
    let help = arg.get_help().map(|help| {
        let value = crate::identifier::quoted(value);
        format!("{help} [env: {variable}={value}]")
    });
    let switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = arg
        .help(help.unwrap_or_default())
        .default_value(value.to_owned())
        .required(false);
    if switch {
        arg.value_parser(BoolishValueParser::new())
    } else {
        arg.hide_default_value(true)
    }
}

/// The variable of a setting; actions and what is hidden have none.
fn variable(arg: &Arg, prefix: &str) -> Option<String> {
    let long = arg.get_long()?;
    let settable = matches!(
        arg.get_action(),
        ArgAction::Set | ArgAction::Append | ArgAction::SetTrue
    );
    let documented = settable && !ACTIONS.contains(&long) && !arg.is_hide_set();
    let prefix = if arg.is_global_set() { PREFIX } else { prefix };
    documented.then(|| format!("{prefix}_{}", variable_part(long)))
}

fn variable_part(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// Collects the variables of flags that conflict with one that was typed.
fn contradicted(command: &Command, matches: &ArgMatches, prefix: &str, found: &mut Vec<String>) {
    let source = |arg: &Arg| matches.value_source(arg.get_id().as_str());
    let mut look = |typed: &Arg, other: &Arg| {
        if source(typed) == Some(ValueSource::CommandLine)
            && source(other) == Some(ValueSource::DefaultValue)
        {
            found.extend(variable(other, prefix));
        }
    };
    for arg in command.get_arguments() {
        for other in command.get_arg_conflicts_with(arg) {
            look(arg, other);
            look(other, arg);
        }
    }
    let Some((name, below)) = matches.subcommand() else {
        return;
    };
    if let Some(sub) = command.find_subcommand(name) {
        let prefix = format!("{prefix}_{}", variable_part(name));
        contradicted(sub, below, &prefix, found);
    }
}

/// A value that nobody typed is blamed on the variable that it comes from.
fn naming_the_variable(
    mut error: clap::Error,
    args: &[std::ffi::OsString],
    environment: &Environment,
) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let (Some(flag), Some(value)) = (
        text(ContextKind::InvalidArg),
        text(ContextKind::InvalidValue),
    ) else {
        return error;
    };
    let flag = flag.split([' ', '=']).next().unwrap_or_default();
    let typed = args.iter().any(|arg| {
        let arg = arg.to_string_lossy();
        arg == flag || arg.starts_with(&format!("{flag}="))
    });
    let Some(long) = flag.strip_prefix("--").filter(|_| !typed) else {
        return error;
    };
    let ending = format!("_{}", variable_part(long));
    let variable = environment
        .names()
        .find(|name| name.ends_with(&ending) && environment.get(name).is_some_and(|v| v == value));
    if let Some(variable) = variable {
        let tip = StyledStr::from(format!("the value comes from the variable {variable}"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}
