//! Rules about private keys and the files they lie in.

use std::path::Path;

use super::super::{Finding, Severity, words};

/// Whether a key's file is one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHome {
    /// In certmint's own state directory, where nobody else has any business.
    Ours,
    /// Anywhere else, such as a Kubernetes Secret.
    Elsewhere,
}

/// `key-mismatch`: `key` lies where the key of `certificate` should, and is another's.
///
/// Both are what a person calls them, paths as a rule.
pub fn key_mismatch(key: &str, certificate: &str) -> Finding {
    let message =
        format!("the private key `{key}` does not belong to the certificate `{certificate}`");
    Finding::new("key-mismatch", Severity::Critical, message)
        .with_fix("put the key back that the certificate was made for, or make both anew")
}

/// `key-mode`: others than its owner can read, or change, the key.
///
/// `mode` holds the permission bits. A group that may read is common (Debian's
/// `ssl-cert`) and merely told, outside our own directory.
pub fn key_mode(path: &Path, mode: u32, home: KeyHome) -> Option<Finding> {
    const OTHERS: u32 = 0o007;
    const GROUP_WRITE: u32 = 0o020;
    const GROUP: u32 = 0o070;
    if mode & (OTHERS | GROUP) == 0 {
        return None;
    }
    let wide = mode & (OTHERS | GROUP_WRITE) != 0;
    let severity = match (home, wide) {
        (KeyHome::Ours, _) => Severity::Critical,
        (KeyHome::Elsewhere, true) => Severity::Warn,
        (KeyHome::Elsewhere, false) => Severity::Info,
    };
    let who = if mode & OTHERS != 0 {
        "everybody"
    } else {
        "its group"
    };
    let message = format!(
        "the private key `{}` is open to {who} (mode {:04o})",
        words::path(path),
        mode & 0o7777
    );
    let file = path.to_string_lossy();
    Some(
        Finding::new("key-mode", severity, message)
            .with_fix(words::command("chmod", ["600", &file])),
    )
}
