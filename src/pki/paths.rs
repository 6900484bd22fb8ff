//! Where the parts of a CA lie below the state directory.

use std::path::{Path, PathBuf};

/// The paths of the CA in one state directory; none of them needs to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaPaths {
    home: PathBuf,
    dir: PathBuf,
}

impl CaPaths {
    /// Name of the lock that whoever changes the CA holds.
    pub const LOCK: &'static str = "ca";
    /// What is being made; becomes the CA, or is swept.
    pub(super) const STAGING: &'static str = ".staging";
    /// The file whose presence means that there is a CA.
    pub(super) const CONFIG: &'static str = "ca.json";

    /// The paths below the state directory `home`.
    pub fn new(home: &Path) -> Self {
        Self::at(home, home.join("ca"))
    }

    fn at(home: &Path, dir: PathBuf) -> Self {
        Self {
            home: home.to_owned(),
            dir,
        }
    }

    /// The same layout inside the staging directory.
    pub(super) fn staging(&self) -> Self {
        Self::at(&self.home, self.dir.join(Self::STAGING))
    }

    /// The state directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The CA's own directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of the state directory's locks.
    pub fn locks(&self) -> PathBuf {
        self.home.join("locks")
    }

    /// Where a CA that was replaced is kept.
    pub fn backups(&self) -> PathBuf {
        self.home.join("backup")
    }

    /// What the CA was told when it was made.
    pub fn config(&self) -> PathBuf {
        self.dir.join(Self::CONFIG)
    }

    /// The record of every certificate issued.
    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ca.sqlite")
    }

    /// Revocation lists.
    pub fn crl(&self) -> PathBuf {
        self.dir.join("crl")
    }

    /// The directory of all roots.
    pub fn roots(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The directory of all intermediates.
    pub fn intermediates(&self) -> PathBuf {
        self.dir.join("intermediate")
    }

    /// What clients install: every root that is not retired.
    pub fn root_export(&self) -> PathBuf {
        self.dir.join("root.pem")
    }

    /// What stands above a leaf: the intermediate that signs, and cross-certificates.
    pub fn chain_export(&self) -> PathBuf {
        self.dir.join("chain.pem")
    }
}

/// The certificate in a generation's directory.
pub(super) fn certificate(generation: &Path) -> PathBuf {
    generation.join("cert.pem")
}

/// The private key in a generation's directory.
pub(super) fn key(generation: &Path) -> PathBuf {
    generation.join("key.pem")
}

/// The certificate over a root's key by the root before it.
pub(super) fn cross(generation: &Path) -> PathBuf {
    generation.join("cross.pem")
}
