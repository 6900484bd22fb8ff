//! Publishing revocation lists: one for each intermediate that still has valid leaves.

use std::path::PathBuf;

use super::authority::{Intermediate, KeyLocation};
use super::crl::{self, CrlIssuer, CrlStatus};
use super::error::CaError;
use super::issue::PrivateCa;
use super::key_file;
use crate::clock::Duration;

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

impl PrivateCa {
    /// Signs and writes a fresh list for every intermediate, oldest first, that has
    /// not expired and whose key is here. `life` is how long each is good for.
    ///
    /// An intermediate that was replaced goes on signing the list of what it issued;
    /// its key opens with the same passphrase, or the list is an error.
    pub fn publish_crls(&self, life: Duration) -> Result<Vec<PublishedCrl>, CaError> {
        let now = self.now();
        let authority = self.authority();
        authority
            .intermediates()
            .iter()
            .filter(|intermediate| intermediate.certificate.not_after() > now)
            .filter_map(|intermediate| match &intermediate.key {
                KeyLocation::Here { path, .. } => Some((intermediate, path)),
                KeyLocation::Elsewhere => None,
            })
            .map(|(intermediate, key)| self.publish_crl(intermediate, key, life))
            .collect()
    }

    fn publish_crl(
        &self,
        intermediate: &Intermediate,
        key: &std::path::Path,
        life: Duration,
    ) -> Result<PublishedCrl, CaError> {
        let Intermediate {
            name, certificate, ..
        } = intermediate;
        let authority = self.authority();
        let paths = authority.paths();
        let key = key_file::read(name, key, self.passphrase(), certificate)?;
        let issuer = CrlIssuer {
            home: paths.home(),
            name,
            certificate,
            key: &key,
        };
        let status = issuer.issue(&authority.ledger()?, self.now(), life)?;
        Ok(PublishedCrl {
            issuer: name.clone(),
            path: crl::path(paths.dir(), name)?,
            status,
        })
    }
}
