//! Files and directories: which are opened, and in which order.
//!
//! A directory is read one level deep: its files, and those of the directories in
//! it. Links are followed to files, as certbot and Kubernetes lay them out, and
//! one file under two names is read once.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::judge::{Found, judge};
use super::model::{Report, TargetKind};
use super::{InspectError, MAX_FILE, Options, read_capped};
use crate::clock::Timestamp;
use crate::finding::rules::unreadable;
use crate::finding::{Finding, words};

/// Most files looked at in one directory.
const MAX_FILES: usize = 10_000;

/// Looks at every file in `path` that holds something we know.
pub(super) fn directory(
    path: &Path,
    options: &Options,
    now: Timestamp,
) -> Result<Report, InspectError> {
    let mut findings = Vec::new();
    let mut found = Vec::new();
    for file in files(path, &mut findings)? {
        match open_quietly(&file, options) {
            Ok(Some(contents)) => found.push(contents),
            Ok(None) if promises_much(&file) => {
                let reason = "its name promises a certificate or key, but it holds none";
                findings.push(unreadable(&file, reason));
            }
            Ok(None) => {}
            Err(InspectError::TooLarge { .. }) if !promises_much(&file) => {}
            Err(error) => findings.push(unreadable(&file, &reason(&error))),
        }
    }
    if found.is_empty() && findings.is_empty() {
        return Err(InspectError::NothingInDirectory(path.to_owned()));
    }
    let items = judge(&found, options, now);
    let target = words::path(path);
    Ok(Report::new(
        target,
        TargetKind::Directory,
        items,
        None,
        findings,
        now,
    ))
}

/// Opens and reads one file; `None` when it holds nothing we know.
pub(super) fn open(path: &Path, options: &Options) -> Result<Option<Found>, InspectError> {
    let read = |source| InspectError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    let place = words::path(path);
    let bytes = read_capped(file, &place)?;
    let contents = Contents::read(&bytes, &place, options.passphrase.as_ref());
    Ok(contents.map(|contents| Found {
        path: Some(path.to_owned()),
        mode: mode_of(&metadata),
        contents,
    }))
}

/// Pipes and devices have no mode worth a finding.
fn mode_of(metadata: &Metadata) -> Option<u32> {
    metadata.is_file().then(|| metadata.permissions().mode())
}

/// As [`open`], without reading what is too large anyway.
fn open_quietly(path: &Path, options: &Options) -> Result<Option<Found>, InspectError> {
    match path.metadata() {
        Ok(metadata) if metadata.len() > MAX_FILE => Err(InspectError::TooLarge {
            place: words::path(path),
        }),
        _ => open(path, options),
    }
}

fn reason(error: &InspectError) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// The regular files in `path` and in the directories in it, sorted, each once.
fn files(path: &Path, findings: &mut Vec<Finding>) -> Result<Vec<PathBuf>, InspectError> {
    let mut files = Vec::new();
    let mut deeper = Vec::new();
    let mut seen = HashSet::new();
    list(path, &mut files, Some(&mut deeper))?;
    // Our own layout: older generations lie beside the one in use.
    if let Some(current) = deeper
        .iter()
        .find(|d| d.file_name().is_some_and(|n| n == "current"))
    {
        deeper = vec![current.clone()];
    }
    deeper.sort();
    for directory in deeper {
        if let Err(error) = list(&directory, &mut files, None) {
            findings.push(unreadable(&directory, &reason(&error)));
        }
    }
    // Links to one file sort behind it, so that its own name is the one shown.
    files.sort_by_cached_key(|file| {
        (
            file.parent().map(Path::to_owned),
            file.is_symlink(),
            file.clone(),
        )
    });
    files.retain(|file| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
    if files.len() > MAX_FILES {
        let reason = format!(
            "only {MAX_FILES} of its {} files were looked at",
            files.len()
        );
        findings.push(unreadable(path, &reason));
        files.truncate(MAX_FILES);
    }
    Ok(files)
}

/// Sorts the entries of one directory into files and directories.
fn list(
    path: &Path,
    files: &mut Vec<PathBuf>,
    mut deeper: Option<&mut Vec<PathBuf>>,
) -> Result<(), InspectError> {
    let read = |source| InspectError::Read {
        path: path.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(path).map_err(read)? {
        let entry = entry.map_err(read)?;
        // Hidden ones are other programs' business: Kubernetes' `..data` among them.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let entry = entry.path();
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => files.push(entry),
            Ok(metadata) if metadata.is_dir() => {
                if let Some(deeper) = deeper.as_deref_mut() {
                    deeper.push(entry);
                }
            }
            // A broken link is found by its name alone.
            Err(_) if promises_much(&entry) => files.push(entry),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a file's name says that it is one of ours.
fn promises_much(path: &Path) -> bool {
    const EXTENSIONS: [&str; 9] = [
        "pem", "crt", "cer", "der", "key", "p12", "pfx", "csr", "crl",
    ];
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}
