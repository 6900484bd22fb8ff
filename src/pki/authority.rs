//! The public side of a CA on disk: what is there, without unlocking any key.
//!
//! Opening checks that everything fits together: roots sign themselves, each
//! intermediate is signed by a root, each cross-certificate carries the name and
//! key of its root and is signed by the root before.

use std::path::{Path, PathBuf};

use super::config::CaConfig;
use super::crl::{self, Crl, CrlError};
use super::error::CaError;
use super::init;
use super::key_file::PUBLIC_MODE;
use super::ledger::{Ledger, LedgerError};
use super::paths::{self, CaPaths};
use crate::bundle::{self, Certificate};
use crate::clock::{Duration, Timestamp};
use crate::key::PrivateKey;
use crate::store::{Lock, StoreError, disk};

use super::policy::DEFAULT_LIFETIME;

/// A CA in a state directory.
#[derive(Debug, Clone)]
pub struct Authority {
    paths: CaPaths,
    config: CaConfig,
    roots: Vec<Root>,
    intermediates: Vec<Intermediate>,
}

/// One generation of the root.
#[derive(Debug, Clone)]
pub struct Root {
    /// `R1`, `R2` and so on.
    pub name: String,
    /// The self-signed certificate.
    pub certificate: Certificate,
    /// Where its key is.
    pub key: KeyLocation,
    /// The directory that holds it.
    pub path: PathBuf,
    /// Its name and key, signed by the root before it; `None` for the first.
    pub cross: Option<Certificate>,
    /// Clients no longer install it.
    pub retired: bool,
}

/// One generation of the intermediate.
#[derive(Debug, Clone)]
pub struct Intermediate {
    /// `I1`, `I2` and so on.
    pub name: String,
    /// The certificate, signed by a root.
    pub certificate: Certificate,
    /// Where its key is.
    pub key: KeyLocation,
    /// The directory that holds it.
    pub path: PathBuf,
    /// The root that signed it, such as `R1`.
    pub issuer: String,
}

/// Where the key of a CA certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLocation {
    /// Beside the certificate.
    Here {
        /// The file.
        path: PathBuf,
        /// Whether a passphrase is needed.
        encrypted: bool,
    },
    /// Not on this machine, as far as the CA knows.
    Elsewhere,
}

impl KeyLocation {
    /// Whether a passphrase is needed; unknown, thus no, when the key is elsewhere.
    pub fn is_encrypted(&self) -> bool {
        matches!(
            self,
            Self::Here {
                encrypted: true,
                ..
            }
        )
    }
}

impl Authority {
    /// Opens the CA in the state directory `home`.
    ///
    /// [`CaError::NotInitialised`] when there is none. An `init` that crashed after
    /// everything was written is completed first. Dates are not looked at: an
    /// expired CA can be shown.
    pub fn open(home: &Path) -> Result<Self, CaError> {
        let paths = CaPaths::new(home);
        if !init::exists(&paths)? && init::is_complete(&paths.staging())? {
            let _lock = Lock::acquire(&paths.locks(), CaPaths::LOCK)?;
            init::roll_forward(&paths)?;
        }
        Self::read(paths)
    }

    pub(super) fn read(paths: CaPaths) -> Result<Self, CaError> {
        let Some(text) = disk::read_if_exists(&paths.config())? else {
            return Err(CaError::NotInitialised {
                home: paths.home().to_owned(),
            });
        };
        let config = CaConfig::from_json(&text).map_err(|e| damaged(&paths.config(), e))?;
        let roots = read_roots(&paths, &config)?;
        let intermediates = generations(&paths.intermediates(), 'I')?
            .into_iter()
            .map(|(name, path)| read_intermediate(name, path, &roots))
            .collect::<Result<Vec<_>, _>>()?;
        if intermediates.is_empty() {
            return Err(damaged(&paths.intermediates(), "there is no intermediate"));
        }
        Ok(Self {
            paths,
            config,
            roots,
            intermediates,
        })
    }

    /// Where everything lies.
    pub fn paths(&self) -> &CaPaths {
        &self.paths
    }

    /// What the CA was told when it was made.
    pub fn config(&self) -> &CaConfig {
        &self.config
    }

    /// The roots, oldest first; at least one.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// The intermediates, oldest first; at least one.
    pub fn intermediates(&self) -> &[Intermediate] {
        &self.intermediates
    }

    /// The newest intermediate: the one that signs.
    pub fn active(&self) -> &Intermediate {
        self.intermediates
            .last()
            .expect("an authority has an intermediate")
    }

    /// The root above the intermediate that signs.
    pub fn active_root(&self) -> &Root {
        self.root(&self.active().issuer)
            .expect("each intermediate was read with its root")
    }

    /// The newest root; while a rotation is incomplete, nothing is under it yet.
    pub fn newest_root(&self) -> &Root {
        self.roots.last().expect("an authority has a root")
    }

    /// The root called `name`.
    pub fn root(&self, name: &str) -> Option<&Root> {
        self.roots.iter().find(|root| root.name == name)
    }

    /// The intermediate called `name`, such as `I1`.
    pub fn intermediate(&self, name: &str) -> Option<&Intermediate> {
        self.intermediates.iter().find(|i| i.name == name)
    }

    /// The intermediate that issued `certificate`.
    pub fn issuer_of(&self, certificate: &Certificate) -> Option<&Intermediate> {
        self.intermediates.iter().find(|i| {
            certificate.names_as_issuer(&i.certificate)
                && certificate.authority_key_id() == i.certificate.subject_key_id()
        })
    }

    /// What is sent after a leaf: the intermediate that signs, then, while an older
    /// root is still in use, the cross-certificates that lead to it.
    ///
    /// One chain serves clients that know only the old root and those that know
    /// only the new one.
    pub fn chain_above_leaf(&self, now: Timestamp) -> Vec<Certificate> {
        self.chain_of(self.active(), now)
    }

    /// What may stand above a leaf of the intermediate `issuer`, such as `I1`: the chain
    /// for everybody first, which during a root rotation leads to the oldest root in
    /// use; then those that end below a newer root, the newest first. Empty when there
    /// is no such intermediate.
    pub fn chains_above(&self, issuer: &str, now: Timestamp) -> Vec<Vec<Certificate>> {
        let Some(intermediate) = self.intermediate(issuer) else {
            return Vec::new();
        };
        let whole = self.chain_of(intermediate, now);
        let shorter = (1..whole.len()).map(|length| whole[..length].to_vec());
        let shorter: Vec<_> = shorter.collect();
        [vec![whole], shorter].concat()
    }

    fn chain_of(&self, intermediate: &Intermediate, now: Timestamp) -> Vec<Certificate> {
        let mut chain = vec![intermediate.certificate.clone()];
        let above = self
            .roots
            .iter()
            .position(|root| root.name == intermediate.issuer);
        let upwards = self.roots.get(..above.map_or(0, |n| n + 1));
        for pair in upwards.unwrap_or_default().windows(2).rev() {
            let [older, newer] = pair else { break };
            match &newer.cross {
                // It ends no later than the older root.
                Some(cross) if !older.retired && cross.not_after() >= now => {
                    chain.push(cross.clone());
                }
                _ => break,
            }
        }
        chain
    }

    /// The revocation list of `intermediate` as it was published last; `None` when there
    /// is none yet.
    pub fn crl(&self, intermediate: &Intermediate) -> Result<Option<Crl>, CrlError> {
        let Intermediate {
            name, certificate, ..
        } = intermediate;
        crl::read(self.paths.dir(), name, certificate)
    }

    /// When [`PrivateCa::publish_crls`](super::PrivateCa::publish_crls) should be called
    /// next: when half of the life of a list that it makes is over, or `now` when one is
    /// missing or damaged; `None` when it makes none.
    ///
    /// A revocation is no reason: whoever revokes publishes.
    pub fn crls_due_at(&self, now: Timestamp) -> Option<Timestamp> {
        let due = |intermediate| match self.crl(intermediate) {
            Ok(Some(crl)) => crl.status.due_at(),
            // What cannot be read is made anew.
            Ok(None) | Err(_) => now,
        };
        self.crl_signers(now).map(|(signer, _)| due(signer)).min()
    }

    /// The intermediates that sign a list, oldest first, with their keys: they have not
    /// expired, and the keys are here.
    pub(super) fn crl_signers(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Intermediate, &Path)> {
        self.intermediates
            .iter()
            .filter(move |intermediate| intermediate.certificate.not_after() > now)
            .filter_map(|intermediate| match &intermediate.key {
                KeyLocation::Here { path, .. } => Some((intermediate, path.as_path())),
                KeyLocation::Elsewhere => None,
            })
    }

    /// Opens the ledger.
    pub fn ledger(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(&self.paths.ledger())
    }

    /// Why `leaf` should be replaced before its time: the CA has moved to another
    /// root, whose clients cannot verify it. The old intermediate of the same root
    /// is as good as the new one.
    pub fn superseded(&self, leaf: &Certificate) -> Option<String> {
        let root = &self.active().issuer;
        match self.issuer_of(leaf) {
            None => Some(format!("`{}` is not this CA", leaf.issuer())),
            Some(issuer) if issuer.issuer != *root => Some(format!(
                "its issuer {} is under {}, and the CA has moved to {root}",
                issuer.name, issuer.issuer
            )),
            Some(_) => None,
        }
    }

    /// Whether the intermediate should be replaced: less than a fifth of its life,
    /// or less than two lives of a leaf are left; never before half of it is over.
    pub fn rotation_due(&self, now: Timestamp) -> bool {
        now >= self.rotation_due_at()
    }

    /// When [`Authority::rotation_due`] begins to hold.
    pub fn rotation_due_at(&self) -> Timestamp {
        let certificate = &self.active().certificate;
        let left = Duration::max(certificate.lifetime() / 5, DEFAULT_LIFETIME * 2);
        certificate.not_after() - left.min(certificate.lifetime() / 2)
    }

    /// Whether the root should be replaced: an intermediate made now would end
    /// early, with its root; never before half of the root's life is over.
    pub fn root_rotation_due(&self, now: Timestamp) -> bool {
        let certificate = &self.newest_root().certificate;
        let left = Duration::days(self.config.intermediate_days.into());
        now >= certificate.not_after() - left.min(certificate.lifetime() / 2)
    }

    /// The text of `root.pem`: every root that clients should know, newest first.
    pub fn roots_pem(&self, now: Timestamp) -> String {
        let newest = self.newest_root();
        let known: Vec<Certificate> = self
            .roots
            .iter()
            .rev()
            .filter(|root| !root.retired)
            .filter(|root| root.certificate.not_after() >= now || root.name == newest.name)
            .map(|root| root.certificate.clone())
            .collect();
        bundle::to_pem(&known)
    }

    /// Writes `root.pem` and `chain.pem` where they differ from what is right.
    /// The caller holds the CA's lock.
    pub(super) fn write_exports(&self, now: Timestamp) -> Result<(), CaError> {
        for (path, text) in self.exports(now) {
            if disk::read_if_exists(&path)?.as_deref() != Some(text.as_bytes()) {
                disk::replace(&path, text.as_bytes(), PUBLIC_MODE)?;
            }
        }
        Ok(())
    }

    /// Whether the exports are what [`Authority::write_exports`] would write.
    pub(super) fn exports_are_current(&self, now: Timestamp) -> bool {
        self.exports(now).into_iter().all(|(path, text)| {
            matches!(disk::read_if_exists(&path), Ok(Some(there)) if there == text.as_bytes())
        })
    }

    fn exports(&self, now: Timestamp) -> [(PathBuf, String); 2] {
        let chain = bundle::to_pem(&self.chain_above_leaf(now));
        [
            (self.paths.root_export(), self.roots_pem(now)),
            (self.paths.chain_export(), chain),
        ]
    }
}

impl KeyLocation {
    fn of(generation: &Path) -> Result<Self, StoreError> {
        let path = paths::key(generation);
        Ok(
            match disk::read_if_exists(&path)?.map(zeroize::Zeroizing::new) {
                Some(text) => Self::Here {
                    encrypted: PrivateKey::is_encrypted(&text),
                    path,
                },
                None => Self::Elsewhere,
            },
        )
    }
}

/// The generations in `dir`, oldest first: directories called `prefix` and a number.
pub(super) fn generations(dir: &Path, prefix: char) -> Result<Vec<(String, PathBuf)>, CaError> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::io("read", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("read", dir))?;
        if let Some(name) = entry.file_name().to_str()
            && let Some(number) = number(name, prefix)
        {
            found.push((number, name.to_owned(), entry.path()));
        }
    }
    found.sort();
    Ok(found
        .into_iter()
        .map(|(_, name, path)| (name, path))
        .collect())
}

/// The number in `R7`; other spellings of it are not ours.
pub(super) fn number(name: &str, prefix: char) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    let number: u32 = digits.parse().ok()?;
    (number > 0 && number.to_string() == digits).then_some(number)
}

fn read_roots(paths: &CaPaths, config: &CaConfig) -> Result<Vec<Root>, CaError> {
    let mut roots: Vec<Root> = Vec::new();
    for (name, path) in generations(&paths.roots(), 'R')? {
        let file = paths::certificate(&path);
        let certificate = read_certificate(&file)?;
        if !certificate.is_ca() || certificate.verify_signed_by(&certificate).is_err() {
            return Err(damaged(&file, "it is not a root"));
        }
        let cross = match disk::read_if_exists(&paths::cross(&path))? {
            Some(_) => Some(read_cross(&path, &certificate, roots.last())?),
            None => None,
        };
        roots.push(Root {
            key: KeyLocation::of(&path)?,
            retired: config.is_retired(&name),
            name,
            certificate,
            path,
            cross,
        });
    }
    if roots.is_empty() {
        return Err(damaged(&paths.roots(), "there is no root"));
    }
    Ok(roots)
}

fn read_cross(
    generation: &Path,
    root: &Certificate,
    before: Option<&Root>,
) -> Result<Certificate, CaError> {
    let file = paths::cross(generation);
    let cross = read_certificate(&file)?;
    if cross.spki() != root.spki() || !root.names_as_issuer(&cross) {
        return Err(damaged(&file, "it is not over this root's name and key"));
    }
    let signed = before.is_some_and(|before| cross.verify_signed_by(&before.certificate).is_ok());
    if !signed {
        return Err(damaged(&file, "the root before did not sign it"));
    }
    Ok(cross)
}

fn read_intermediate(name: String, path: PathBuf, roots: &[Root]) -> Result<Intermediate, CaError> {
    let file = paths::certificate(&path);
    let certificate = read_certificate(&file)?;
    let issuer = roots
        .iter()
        .find(|root| certificate.verify_signed_by(&root.certificate).is_ok())
        .ok_or_else(|| damaged(&file, "none of the CA's roots signed it"))?;
    if !certificate.is_ca() {
        return Err(damaged(&file, "it is not an intermediate"));
    }
    Ok(Intermediate {
        key: KeyLocation::of(&path)?,
        issuer: issuer.name.clone(),
        name,
        certificate,
        path,
    })
}

fn read_certificate(path: &Path) -> Result<Certificate, CaError> {
    let wrap = |source| CaError::Certificate {
        path: path.to_owned(),
        source,
    };
    let mut found = Certificate::parse_pem(&disk::read(path)?).map_err(wrap)?;
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => Err(damaged(path, "it must hold exactly one certificate")),
    }
}

pub(super) fn damaged(path: &Path, reason: impl std::fmt::Display) -> CaError {
    CaError::Damaged {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::test_ca::{make, now};
    use crate::pki::{RotateRoot, rotate_root};

    #[test]
    fn only_our_spelling_of_a_generation_counts() {
        for (name, wanted) in [
            ("R1", Some(1)),
            ("R10", Some(10)),
            ("R0", None),
            ("R01", None),
            ("R+1", None),
            ("R", None),
            ("I1", None),
            ("R1.bak", None),
            ("R99999999999", None),
        ] {
            assert_eq!(number(name, 'R'), wanted, "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        rotate_root(dir.path(), &RotateRoot::default(), now()).unwrap();
        let other = tempfile::tempdir().unwrap();
        make(other.path());
        rotate_root(other.path(), &RotateRoot::default(), now()).unwrap();
        for file in [
            "ca.json",
            "root/R1/cert.pem",
            "root/R2/cert.pem",
            "root/R2/cross.pem",
            "intermediate/I1/cert.pem",
            "intermediate/I2/cert.pem",
        ] {
            let path = dir.path().join("ca").join(file);
            let right = std::fs::read(&path).unwrap();
            let anothers = std::fs::read(other.path().join("ca").join(file)).unwrap();
            for wrong in [&b""[..], b"garbage", &anothers] {
                if file == "ca.json" && wrong == anothers {
                    continue;
                }
                disk::replace(&path, wrong, 0o644).unwrap();
                let error = Authority::open(dir.path()).unwrap_err().to_string();
                assert!(error.contains("is damaged"), "{file}: {error}");
                // Another CA's root is found out by what it should have signed.
                let swapped = file.starts_with("root") && wrong == anothers;
                assert!(swapped || error.contains(file), "{file}: {error}");
            }
            disk::replace(&path, &right, 0o644).unwrap();
            Authority::open(dir.path()).unwrap();
        }
    }
}
