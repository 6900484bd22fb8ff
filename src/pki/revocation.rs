//! Publishing revocation lists: one for each intermediate that still has valid leaves.
//!
//! Each stands by itself: the key of an old intermediate that cannot be opened any more
//! keeps no revocation from the list of the one that issues.

use std::path::{Path, PathBuf};

use super::authority::{Authority, Intermediate};
use super::crl::{self, CrlIssuer, CrlStatus};
use super::error::CaError;
use super::issue::PrivateCa;
use super::key_file;
use crate::clock::Duration;
use crate::key::PrivateKey;

/// A list that was signed and written.
#[derive(Debug, Clone)]
pub struct PublishedCrl {
    /// Whose certificates it lists, such as `I1`.
    pub issuer: String,
    /// The DER file; the PEM lies beside it, with `.pem` after its name.
    pub path: PathBuf,
    /// Its number and dates.
    pub status: CrlStatus,
}

/// What became of the lists.
#[derive(Debug, Default)]
pub struct Published {
    /// Those that were signed and written, of the oldest intermediate first.
    pub lists: Vec<PublishedCrl>,
    /// Why others were not.
    pub failed: Vec<CaError>,
}

impl PrivateCa {
    /// Signs and writes a fresh list for every intermediate, oldest first, that has
    /// not expired and whose key is here. `life` is how long each is good for.
    ///
    /// An intermediate that was replaced goes on signing the list of what it issued;
    /// its key opens with the same passphrase, or that list is not signed.
    pub fn publish_crls(&self, life: Duration) -> Published {
        let now = self.now();
        self.with_active_key(|authority, active| {
            let publish = |(intermediate, path): (&Intermediate, &Path)| {
                let Intermediate {
                    name, certificate, ..
                } = intermediate;
                if *name == authority.active().name {
                    // It need not be unlocked once more, which takes its time.
                    return self.publish_crl(authority, intermediate, active, life);
                }
                let key = key_file::read(name, path, self.passphrase(), certificate)?;
                self.publish_crl(authority, intermediate, &key, life)
            };
            let mut published = Published::default();
            for done in authority.crl_signers(now).map(publish) {
                match done {
                    Ok(list) => published.lists.push(list),
                    Err(error) => published.failed.push(error),
                }
            }
            published
        })
    }

    fn publish_crl(
        &self,
        authority: &Authority,
        intermediate: &Intermediate,
        key: &PrivateKey,
        life: Duration,
    ) -> Result<PublishedCrl, CaError> {
        let Intermediate {
            name, certificate, ..
        } = intermediate;
        let paths = authority.paths();
        let issuer = CrlIssuer {
            home: paths.home(),
            name,
            certificate,
            key,
        };
        let status = issuer.issue(&authority.ledger()?, self.now(), life)?;
        Ok(PublishedCrl {
            issuer: name.clone(),
            path: crl::path(paths.dir(), name)?,
            status,
        })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files by hand")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::key::Passphrase;
    use crate::pki::test_ca::{make, now, open};
    use crate::pki::{RotateIntermediate, rotate_intermediate};
    use crate::store::disk;

    #[test]
    fn lists_are_due_when_one_is_missing_damaged_or_half_of_its_life_is_over() {
        const LIFE: Duration = Duration::days(7);
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let moment = now() + Duration::DAY;
        let due = || ca.authority().crls_due_at(moment);
        assert_eq!(due(), Some(moment));

        let publish = |life| {
            let published = ca.publish_crls(life);
            assert!(published.failed.is_empty(), "{published:?}");
            published.lists
        };
        let first = publish(LIFE);
        let [i1] = first.as_slice() else {
            panic!("{first:?}")
        };
        // From five minutes ago.
        let half = moment + LIFE / 2 - Duration::SECOND * 150;
        assert_eq!(due(), Some(half));
        let authority = ca.authority();
        let published = authority.crl(authority.active()).unwrap().unwrap();
        assert_eq!(published.status, i1.status);
        assert_eq!(published.der, std::fs::read(&i1.path).unwrap());

        rotate_intermediate(dir.path(), &RotateIntermediate::default(), moment).unwrap();
        assert_eq!(due(), Some(moment), "I2 has none");
        assert_eq!(publish(LIFE * 2).len(), 2);
        // The key that is open is not read again.
        let key = ca.authority().active().path.join("key.pem");
        let aside = dir.path().join("aside");
        std::fs::rename(&key, &aside).unwrap();
        assert_eq!(publish(LIFE * 2).len(), 2);
        std::fs::rename(&aside, &key).unwrap();
        assert_eq!(due(), Some(half + LIFE / 2));
        disk::replace(&i1.path, b"damaged", 0o644).unwrap();
        assert_eq!(due(), Some(moment));
        let authority = ca.authority();
        let i1 = authority.intermediate("I1").unwrap();
        authority.crl(i1).unwrap_err();

        // Whoever expired, or whose key is gone, makes none.
        std::fs::remove_file(i1.path.join("key.pem")).unwrap();
        let authority = Authority::open(dir.path()).unwrap();
        assert_eq!(authority.crls_due_at(moment), Some(half + LIFE / 2));
        let later = authority.active().certificate.not_after();
        assert_eq!(authority.crls_due_at(later), None);
    }

    #[test]
    fn a_key_that_does_not_open_keeps_only_its_own_list_from_being_signed() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let passphrase = Passphrase::new("new".to_owned()).unwrap();
        let rotation = RotateIntermediate {
            passphrase: Some(passphrase.clone()),
            ..Default::default()
        };
        rotate_intermediate(dir.path(), &rotation, now() + Duration::DAY).unwrap();
        let i1 = Authority::open(dir.path()).unwrap();
        let key = i1.intermediate("I1").unwrap().path.join("key.pem");
        disk::replace(&key, b"damaged", 0o600).unwrap();
        let clock = Arc::new(ManualClock::new(now() + Duration::DAY));
        let ca = PrivateCa::open(dir.path(), Some(&passphrase), clock).unwrap();
        let published = ca.publish_crls(Duration::WEEK);
        let names: Vec<_> = published.lists.iter().map(|list| &list.issuer).collect();
        assert_eq!(names, ["I2"]);
        let [failed] = published.failed.as_slice() else {
            panic!("{published:?}")
        };
        assert!(failed.to_string().contains("I1"), "{failed}");
    }
}
