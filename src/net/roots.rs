//! The roots that a TLS client trusts: the system's, or those of one PEM file.
//!
//! The system's roots are read from the bundle file that distributions keep, as Go
//! and OpenSSL do; one broken root in it does not hide the others.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

/// Whom to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those that the operating system keeps.
    #[default]
    System,
    /// Those in this PEM file, and no others.
    File(PathBuf),
}

/// Where distributions keep all their roots in one file; the first that exists counts.
pub const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// Largest bundle read; the usual ones have a quarter of a megabyte.
const MAX_BUNDLE: u64 = 16 * 1024 * 1024;

impl Roots {
    /// Reads them, for rustls.
    pub fn load(&self) -> Result<RootCertStore, RootsError> {
        match self {
            Self::File(path) => read(path),
            Self::System => SYSTEM_BUNDLES
                .iter()
                .find_map(|path| read(Path::new(path)).ok())
                .ok_or(RootsError::NoSystemRoots),
        }
    }
}

fn read(path: &Path) -> Result<RootCertStore, RootsError> {
    let io = |source| RootsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(MAX_BUNDLE).read_to_end(&mut bytes).map_err(io)?;
    let blocks = pem::parse_many(&bytes).unwrap_or_default();
    let mut roots = RootCertStore::empty();
    let certificates = blocks
        .iter()
        .filter(|block| block.tag().contains("CERTIFICATE"))
        .map(|block| CertificateDer::from(block.contents()));
    let (added, _) = roots.add_parsable_certificates(certificates.map(CertificateDer::into_owned));
    if added == 0 {
        return Err(RootsError::Empty(path.to_owned()));
    }
    Ok(roots)
}

/// Why there are no roots.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read.
    #[error("could not read the roots in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no certificate.
    #[error("there is no certificate in `{}`", _0.display())]
    Empty(PathBuf),
    /// The system keeps its roots in no file that we know.
    #[error("the system has no file of trusted roots")]
    NoSystemRoots,
}

impl RootsError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Empty(_) => "name a PEM file with the CA's root",
            Self::NoSystemRoots => {
                "install the package `ca-certificates`, or name a PEM file with the CA's root"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn one_broken_root_does_not_hide_the_others_and_none_at_all_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roots.pem");
        let root = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let load = || Roots::File(path.clone()).load();
        let put = |text: String| {
            let mut file = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.persist(&path)
        };
        put(format!("{broken}{}", root.cert.pem())).unwrap();
        assert_eq!(load().unwrap().len(), 1);
        put(broken.to_owned()).unwrap();
        assert!(matches!(load(), Err(RootsError::Empty(_))));
        let absent = Roots::File(dir.path().join("absent")).load().unwrap_err();
        assert!(absent.to_string().contains("absent"), "{absent}");
    }
}
