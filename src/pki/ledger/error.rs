//! What can go wrong with the inventory, and what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::BUSY_TIMEOUT;
use crate::store::StoreError;

/// What can go wrong with the inventory.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process wrote for longer than [`BUSY_TIMEOUT`].
    #[error(
        "the inventory `{}` has been locked by another process for {} seconds",
        path.display(), BUSY_TIMEOUT.as_secs()
    )]
    Busy {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Its tables are of a version that this program does not know.
    #[error(
        "the inventory `{}` was made by a newer certmint (its tables are of version {found}, \
         this program knows {known})",
        path.display()
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The version found.
        found: usize,
        /// The newest version known.
        known: usize,
    },
    /// A serial number is in the inventory already.
    #[error("a certificate with the serial number {0} is in the inventory already")]
    Duplicate(String),
    /// No certificate has this serial number.
    #[error("no certificate with the serial number {0} is in the inventory")]
    UnknownSerial(String),
    /// The file is no database, or holds what certmint did not write.
    #[error("the inventory `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong, naming the entry.
        reason: String,
    },
    /// The database refused for another reason.
    #[error("could not {action} the inventory `{}`", path.display())]
    Sqlite {
        /// `open`, `read`, `write`, …
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// SQLite takes file names in Unicode only.
    #[error("the file name `{}` is not Unicode", .0.display())]
    NotUnicode(PathBuf),
    /// A file could not be made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LedgerError {
    pub(crate) fn sqlite(action: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy { path, source }
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged {
                path,
                reason: source.to_string(),
            },
            _ => Self::Sqlite {
                action,
                path,
                source,
            },
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Busy { path, .. } => Some(format!(
                "find the process with `fuser {}`, and run the command again when it is done",
                path.display()
            )),
            Self::NewerSchema { .. } => Some("update certmint on this machine".to_owned()),
            Self::Duplicate(_) => {
                Some("nothing was issued; run the command again for other numbers".to_owned())
            }
            Self::UnknownSerial(_) => Some("`certmint ca list` shows what there is".to_owned()),
            Self::Damaged { .. } => {
                Some("go back to a copy with `certmint ca restore ARCHIVE --force`".to_owned())
            }
            Self::NotUnicode(_) => Some("choose another directory with `--home`".to_owned()),
            Self::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => {
                    Some("free some space and run the command again; nothing was lost".to_owned())
                }
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                    Some(
                        "run as the owner of the state directory, or name another with `--home`"
                            .to_owned(),
                    )
                }
                _ => None,
            },
            Self::Store(error) => error.hint(),
        }
    }
}
