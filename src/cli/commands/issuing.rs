//! What `ca issue` and `acme issue` have in common: lists of names, copies for other
//! programs, and what is printed at the end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::args::CopyArgs;
use crate::cli::report::{CliError, Printer};
use crate::cli::resolve::Context;
use crate::clock::rfc3339;
use crate::identifier::{CertId, Identifier, quoted, summary};
use crate::store::{Export, Ownership, Stored};

pub(super) fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(CliError::failed)
}

impl CopyArgs {
    /// Refuses settings of copies that nobody asked for.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let owned = self.mode.is_some() || self.owner.is_some() || self.group.is_some();
        if owned && self.out.is_none() {
            return Err(
                CliError::usage("`--mode`, `--owner` and `--group` are for copies")
                    .hint("name their directory with `--out DIR`".to_owned()),
            );
        }
        Ok(())
    }

    /// The directory of `--out`, whatever the working directory will be later.
    pub(super) fn dir(&self) -> Result<Option<PathBuf>, CliError> {
        self.out.as_deref().map(absolute).transpose()
    }

    /// Copies into `dir`, if there are to be any.
    pub(super) fn exports(&self, dir: Option<PathBuf>) -> Vec<Export> {
        let export = |dir| Export {
            dir,
            ownership: Ownership {
                mode: self.mode,
                owner: self.owner.clone(),
                group: self.group.clone(),
            },
        };
        dir.map(export).into_iter().collect()
    }
}

/// One line of a list: a certificate to be issued.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) line: usize,
    pub(super) id: CertId,
    pub(super) names: Vec<Identifier>,
}

/// Reads `name[,name…]`, one certificate a line; every bad line is named at once.
pub(super) fn read_list(list: &Path, context: &mut Context) -> Result<Vec<Listed>, CliError> {
    let bytes = context.read_input(list)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CliError::usage(format!("`{}` is not UTF-8", list.display())))?;
    let mut listed = Vec::new();
    let mut seen: HashMap<CertId, usize> = HashMap::new();
    let mut problems = Problems::default();
    for (line, text) in (1..).zip(text.lines().map(str::trim)) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match read_line(text) {
            Ok((id, names)) => match seen.insert(id.clone(), line) {
                Some(earlier) => {
                    problems.push(line, format!("`{id}` stands in line {earlier} already"));
                }
                None => listed.push(Listed { line, id, names }),
            },
            Err(problem) => problems.push(line, problem),
        }
    }
    match problems.told(list) {
        Some(message) => Err(CliError::usage(message)),
        None if listed.is_empty() => Err(CliError::usage(format!(
            "there is no name in `{}`",
            quoted(&list.display().to_string())
        ))),
        None => Ok(listed),
    }
}

fn read_line(line: &str) -> Result<(CertId, Vec<Identifier>), String> {
    let names: Vec<Identifier> = line
        .split(',')
        .map(|name| Identifier::parse(name.trim()).map_err(|e| e.to_string()))
        .collect::<Result<_, _>>()?;
    let first = names.first().ok_or("it has no name")?;
    Ok((CertId::for_name(first), names))
}

/// Lines of a list that are reported together when they are wrong.
const PROBLEMS_SHOWN: usize = 20;

/// What is wrong with a list, by line.
#[derive(Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    pub(super) fn push(&mut self, line: usize, problem: impl std::fmt::Display) {
        self.0.push(format!("line {line}: {problem}"));
    }

    /// The lines in one message, unless there are none.
    pub(super) fn told(mut self, list: &Path) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let more = self.0.len().saturating_sub(PROBLEMS_SHOWN);
        self.0.truncate(PROBLEMS_SHOWN);
        if more > 0 {
            self.0.push(format!("… and {more} more"));
        }
        Some(format!(
            "nothing was issued: `{}` has bad lines\n  {}",
            quoted(&list.display().to_string()),
            self.0.join("\n  ")
        ))
    }
}

/// `certmint.issue/1`; fields are only ever added.
#[derive(Serialize)]
pub(super) struct IssuedJson<'a> {
    schema: &'static str,
    id: &'a CertId,
    names: &'a [Identifier],
    serial: String,
    not_before: String,
    not_after: String,
    sha256: String,
    path: PathBuf,
}

impl<'a> IssuedJson<'a> {
    pub(super) fn of(stored: &'a Stored) -> Self {
        let leaf = stored.bundle.leaf();
        Self {
            schema: "certmint.issue/1",
            id: &stored.id,
            names: leaf.names(),
            serial: leaf.serial_hex(),
            not_before: rfc3339(leaf.not_before()),
            not_after: rfc3339(leaf.not_after()),
            sha256: leaf.sha256_hex(),
            path: current_dir(stored),
        }
    }
}

/// Says what was issued and where it lies: in the first copy when `exported`. `more`
/// are further files to name.
pub(super) fn print_issued(
    stored: &Stored,
    exported: bool,
    more: &[(&str, PathBuf)],
    printer: &mut Printer,
) {
    let leaf = stored.bundle.leaf();
    let copy = stored.record.exports.first().filter(|_| exported);
    let dir = copy.map_or_else(|| current_dir(stored), |export| export.dir.clone());
    let mut text = format!(
        "issued {}, valid until {}\n",
        summary(leaf.names()),
        rfc3339(leaf.not_after())
    );
    let files = [
        ("key", dir.join("privkey.pem")),
        ("certificate", dir.join("fullchain.pem")),
    ];
    for (label, path) in files.iter().chain(more) {
        text.push_str(&format!("  {label:<12} {}\n", path.display()));
    }
    printer.result(&text);
}

/// The path that stays the same across renewals.
pub(super) fn current_dir(stored: &Stored) -> PathBuf {
    let generation = stored.path.clone().unwrap_or_default();
    generation
        .parent()
        .map(|dir| dir.join("current"))
        .unwrap_or(generation)
}
