//! A table of a file, read as the flags that its keys stand for: what a flag takes, its
//! key takes, and what it refuses is refused in the same words.

use std::any::TypeId;
use std::error::Error;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Args, Command, Id};

use crate::identifier::quoted;
use crate::settings::LogTarget;

/// A key with its value.
#[derive(Debug)]
pub(in crate::cli) struct Entry {
    pub(in crate::cli) key: String,
    pub(in crate::cli) line: usize,
    pub(in crate::cli) given: Given,
}

/// The value of a key.
#[derive(Debug)]
pub(in crate::cli) enum Given {
    Text(String),
    Number(String),
    Switch(bool),
    List(Vec<Self>),
    /// What no key takes.
    Other(&'static str),
}

/// What is wrong, and in which line; without one in the whole table.
#[derive(Debug)]
pub(in crate::cli) struct Fault {
    pub(in crate::cli) line: Option<usize>,
    pub(in crate::cli) text: String,
}

/// The keys that stand for the flags and the positional arguments of `A`.
pub(in crate::cli) fn keys<A: Args>() -> Vec<String> {
    command::<A>().get_arguments().map(key).collect()
}

/// Reads `entries` as `A`; paths are taken from `base`. Everything that is wrong is told
/// at once. `unknown` words why a key is not one of `A`.
pub(in crate::cli) fn read<A: Args>(
    entries: &[Entry],
    base: &Path,
    unknown: impl Fn(&str) -> String,
) -> Result<A, Vec<Fault>> {
    let command = command::<A>();
    let mut one_by_one = command.clone().mut_args(|arg| arg.required(false));
    for group in command.get_groups() {
        one_by_one = one_by_one.mut_group(group.get_id(), |group| group.required(false));
    }
    let mut faults = Vec::new();
    let (mut words, mut positional) = (Vec::new(), vec!["--".to_owned()]);
    let mut present: Vec<(&Arg, usize)> = Vec::new();
    for entry in entries {
        let fault = |text| Fault {
            line: Some(entry.line),
            text,
        };
        let Some(arg) = command.get_arguments().find(|arg| key(arg) == entry.key) else {
            faults.push(fault(unknown(&entry.key)));
            continue;
        };
        present.push((arg, entry.line));
        match values(arg, entry, base) {
            Ok(values) => {
                for value in values {
                    let argv = argv(arg, value);
                    if let Err(error) = one_by_one.clone().try_get_matches_from(&argv) {
                        faults.push(fault(format!("`{}`: {}", entry.key, told(&error))));
                    }
                    match argv.as_slice() {
                        [_, value] => positional.push(value.clone()),
                        flags => words.extend_from_slice(flags),
                    }
                }
            }
            Err(text) => faults.push(fault(text)),
        }
    }
    faults.extend(contradictions(&command, &present));
    faults.extend(missing(&command, &present));
    if !faults.is_empty() {
        return Err(faults);
    }
    let matches = command.try_get_matches_from(words.into_iter().chain(positional));
    matches
        .and_then(|matches| A::from_arg_matches(&matches))
        .map_err(|error| {
            let text = told(&error);
            vec![Fault { line: None, text }]
        })
}

fn command<A: Args>() -> Command {
    let bare = Command::new("listener")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true);
    A::augment_args(bare)
}

fn key(arg: &Arg) -> String {
    arg.get_long()
        .unwrap_or_else(|| arg.get_id().as_str())
        .to_owned()
}

/// The texts that a key's value stands for; `None` for the flag alone.
fn values(arg: &Arg, entry: &Entry, base: &Path) -> Result<Vec<Option<String>>, String> {
    let key = &entry.key;
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return match entry.given {
            Given::Switch(true) => Ok(vec![None]),
            Given::Switch(false) => Ok(Vec::new()),
            _ => Err(format!("`{key}` is a switch: write `{key} = true`")),
        };
    }
    let several = matches!(arg.get_action(), ArgAction::Append);
    match &entry.given {
        Given::List(items) if several => items
            .iter()
            .map(|item| value(arg, key, item, base).map(Some))
            .collect(),
        Given::List(_) => Err(format!("`{key}` takes one value, not a list")),
        given => Ok(vec![Some(value(arg, key, given, base)?)]),
    }
}

fn value(arg: &Arg, key: &str, given: &Given, base: &Path) -> Result<String, String> {
    let is_a = |kind: TypeId| arg.get_value_parser().type_id() == kind;
    let is_number = is_a(TypeId::of::<u32>());
    match given {
        Given::Number(number) if is_number => Ok(number.clone()),
        Given::Text(text) if !is_number => {
            let is_path = is_a(TypeId::of::<PathBuf>())
                || is_a(TypeId::of::<LogTarget>()) && !["stdout", "stderr", ""].contains(&&**text);
            Ok(if is_path {
                base.join(text).to_string_lossy().into_owned()
            } else {
                text.clone()
            })
        }
        Given::Number(number) => Err(format!(
            "`{key}` is a text: write `{key} = \"…\"`, not {number}"
        )),
        Given::Text(_) => Err(format!("`{key}` is a number: write it without quotes")),
        Given::Switch(_) => Err(format!("`{key}` is not a switch: it takes a value")),
        Given::List(_) => Err(format!("`{key}` takes no list within a list")),
        Given::Other(kind) => Err(format!("`{key}` takes no {kind}")),
    }
}

/// As it would be typed: `--key=value`, `--key`, or `-- value`.
fn argv(arg: &Arg, value: Option<String>) -> Vec<String> {
    match (arg.get_long(), value) {
        (Some(long), Some(value)) => vec![format!("--{long}={value}")],
        (Some(long), None) => vec![format!("--{long}")],
        (None, value) => vec!["--".to_owned(), value.unwrap_or_default()],
    }
}

fn contradictions(command: &Command, present: &[(&Arg, usize)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (n, (one, line)) in present.iter().enumerate() {
        for (other, earlier) in &present[..n] {
            let conflict = |a: &Arg, b: &Arg| {
                let conflicts = command.get_arg_conflicts_with(a);
                conflicts.iter().any(|c| c.get_id() == b.get_id())
            };
            if conflict(one, other) || conflict(other, one) {
                faults.push(Fault {
                    line: Some(*line.max(earlier)),
                    text: format!(
                        "`{}` and `{}` contradict each other: leave one of them out",
                        key(other),
                        key(one)
                    ),
                });
            }
        }
    }
    faults
}

fn missing(command: &Command, present: &[(&Arg, usize)]) -> Vec<Fault> {
    let here = |id: &Id| present.iter().any(|(p, _)| p.get_id() == id);
    let alone = command.get_arguments().filter(|arg| arg.is_required_set());
    // The first of several that would do is told of.
    let groups = command.get_groups().filter_map(|group| {
        let nobody = group.is_required_set() && !group.get_args().any(here);
        let first = nobody.then(|| group.get_args().next())??;
        command.get_arguments().find(|arg| arg.get_id() == first)
    });
    alone
        .filter(|arg| !here(arg.get_id()))
        .chain(groups)
        .map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Fault {
                line: None,
                text: format!("`{}` is missing: write it ({help})", key(arg)),
            }
        })
        .collect()
}

/// What the parser of one value says, without what it says of command lines.
fn told(error: &clap::Error) -> String {
    if let Some(cause) = error.source() {
        return cause.to_string();
    }
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => quoted(value),
        _ => String::new(),
    };
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) => {
            format!("`{value}` is none of {}", valid.join(", "))
        }
        _ => error.kind().to_string(),
    }
}
