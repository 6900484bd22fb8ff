//! Which certificates were revoked from here, and why: what was revoked must not be
//! left in use until it is due, and not every CA has renewal information that says so.
//!
//! One small file for each in `<home>/acme/revoked/`, named by the certificate's hash,
//! so that the note goes out of force by itself when the certificate is replaced.

use std::path::{Path, PathBuf};

use super::revoke::Reason;
use crate::bundle::Certificate;
use crate::clock::Timestamp;
use crate::store::{StoreError, disk};

/// The revocations noted in one state directory.
#[derive(Debug, Clone)]
pub struct Revocations {
    dir: PathBuf,
}

/// One that was asked for, and that the CA took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// The form on disk.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Note {
    serial: String,
    #[serde(with = "time::serde::rfc3339")]
    at: Timestamp,
    reason: String,
    #[serde(with = "time::serde::rfc3339")]
    not_after: Timestamp,
}

impl Revocations {
    const MODE: u32 = 0o600;

    /// Those noted in the state directory `home`.
    pub fn new(home: &Path) -> Self {
        Self {
            dir: home.join("acme").join("revoked"),
        }
    }

    /// Notes that `certificate` was revoked, and forgets what has expired since.
    pub fn note(&self, certificate: &Certificate, revoked: &Revocation) -> Result<(), StoreError> {
        let note = Note {
            serial: certificate.serial_hex(),
            at: revoked.at,
            reason: revoked.reason.to_string(),
            not_after: certificate.not_after(),
        };
        let text = serde_json::to_vec_pretty(&note).expect("a note has only texts");
        disk::create_dir(&self.dir)?;
        disk::replace(&self.path(certificate), &text, Self::MODE)?;
        self.sweep(revoked.at);
        Ok(())
    }

    /// What is noted about `certificate`. A note that cannot be read counts as a
    /// revocation without a reason, of just now: better one renewal too many.
    pub fn of(&self, certificate: &Certificate, now: Timestamp) -> Option<Revocation> {
        let path = self.path(certificate);
        let unreadable = || {
            tracing::warn!("`{}` cannot be read", path.display());
            Revocation {
                at: now,
                reason: Reason::default(),
            }
        };
        match disk::read_if_exists(&path) {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(read(&bytes).unwrap_or_else(unreadable)),
            Err(_) => Some(unreadable()),
        }
    }

    fn path(&self, certificate: &Certificate) -> PathBuf {
        self.dir.join(format!("{}.json", certificate.sha256_hex()))
    }

    /// What cannot be swept is left for the next time.
    fn sweep(&self, now: Timestamp) {
        let files = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for path in files.map(|file| file.path()) {
            let bytes = disk::read_if_exists(&path).unwrap_or_default();
            let note = serde_json::from_slice::<Note>(&bytes.unwrap_or_default());
            if note.is_ok_and(|note| note.not_after < now) {
                let _ = disk::remove_file(&path);
            }
        }
    }
}

fn read(bytes: &[u8]) -> Option<Revocation> {
    let note: Note = serde_json::from_slice(bytes).ok()?;
    Some(Revocation {
        at: note.at,
        reason: note.reason.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> Certificate {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Certificate::from_der(made.cert.der()).unwrap()
    }

    #[test]
    fn a_note_is_about_one_certificate_and_goes_when_that_has_expired() {
        let home = tempfile::tempdir().unwrap();
        let revocations = Revocations::new(home.path());
        let (one, other) = (certificate("a.test"), certificate("a.test"));
        let now = one.not_before();
        assert_eq!(revocations.of(&one, now), None);
        let revoked = Revocation {
            at: now,
            reason: Reason::KeyCompromise,
        };
        revocations.note(&one, &revoked).unwrap();
        assert_eq!(revocations.of(&one, now), Some(revoked.clone()));
        assert_eq!(revocations.of(&other, now), None);

        let later = Revocation {
            at: one.not_after() + crate::clock::Duration::DAY,
            ..revoked
        };
        revocations.note(&other, &later).unwrap();
        assert_eq!(revocations.of(&one, now), None);

        std::fs::read_dir(home.path().join("acme/revoked"))
            .unwrap()
            .for_each(|file| disk::replace(&file.unwrap().path(), b"{", 0o600).unwrap());
        let doubtful = revocations.of(&other, now);
        assert!(
            doubtful.is_none(),
            "swept, since it had expired: {doubtful:?}"
        );
        revocations
            .note(
                &one,
                &Revocation {
                    at: now,
                    reason: Reason::Superseded,
                },
            )
            .unwrap();
        disk::replace(&revocations.path(&one), b"{", 0o600).unwrap();
        assert_eq!(
            revocations.of(&one, now).unwrap().reason,
            Reason::Unspecified
        );
    }
}
