//! What a file, a directory or a live server shows of certificates, and what is
//! wrong with it.
//!
//! Rules kept here: looking changes nothing and sends no application data; every
//! input has a cap and every wait a deadline; what cannot be reached or read is an
//! error, what can be read and is bad is a finding.

mod contents;
mod directory;
mod endpoint;
mod judge;
mod model;
mod roots;
pub mod status;
mod target;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

pub use model::{
    Cert, CertState, ChainInfo, Connection, Constraints, Crl, Item, Key, Overall, Report, Request,
    Sans, TargetKind, Verification,
};
pub use roots::Roots;
pub use target::{Endpoint, Host, Target, TargetError};

use crate::bundle::Certificate;
use crate::clock::Timestamp;
use crate::finding::words;
use crate::identifier::{Identifier, quoted};
use crate::key::Passphrase;
use contents::Contents;

/// Largest file read.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

/// How to look.
#[derive(Debug, Clone)]
pub struct Options {
    /// Roots to verify against.
    pub roots: Roots,
    /// Opens encrypted keys and PKCS#12 files; they are described without it too.
    pub passphrase: Option<Passphrase>,
    /// Sent as SNI, and expected in the certificate, instead of the host.
    pub server_name: Option<Identifier>,
    /// Our state directory: keys in it must be its owner's alone.
    pub home: Option<PathBuf>,
    /// How commands in fixes begin: `certmint`, with `--home` when it is not the default.
    pub program: String,
    /// What the server at the endpoint should be sending, and where it lies.
    pub on_disk: Option<(PathBuf, Certificate)>,
    /// Offered by ALPN, in this order; nothing is offered when empty.
    pub alpn: Vec<String>,
    /// For resolving, connecting and the handshake together.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            roots: Roots::default(),
            passphrase: None,
            server_name: None,
            home: None,
            program: "certmint".to_owned(),
            on_disk: None,
            alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
            deadline: Duration::from_secs(10),
        }
    }
}

/// Looks at `target`. `stdin` is read only when the target is `-`.
pub async fn inspect(
    target: &Target,
    stdin: &mut (dyn Read + Send),
    options: &Options,
    now: Timestamp,
) -> Result<Report, InspectError> {
    match target {
        Target::File(path) => file(path, options, now),
        Target::Directory(path) => directory::directory(path, options, now),
        Target::Stdin => {
            let bytes = read_capped(stdin, "standard input")?;
            bytes_of(&bytes, options, now)
        }
        Target::Endpoint(server) => endpoint::endpoint(server, options, now).await,
    }
}

/// Looks at one file.
fn file(path: &Path, options: &Options, now: Timestamp) -> Result<Report, InspectError> {
    let place = words::path(path);
    let found = directory::open(path, options)?.ok_or_else(|| InspectError::NotRecognised {
        place: place.clone(),
    })?;
    let items = judge::judge(&[found], options, now);
    Ok(Report::new(
        place,
        TargetKind::File,
        items,
        None,
        Vec::new(),
        now,
    ))
}

/// Looks at what came in on standard input.
fn bytes_of(bytes: &[u8], options: &Options, now: Timestamp) -> Result<Report, InspectError> {
    let contents = Contents::read(bytes, "-", options.passphrase.as_ref()).ok_or_else(|| {
        InspectError::NotRecognised {
            place: "standard input".to_owned(),
        }
    })?;
    let found = judge::Found {
        path: None,
        mode: None,
        contents,
    };
    let items = judge::judge(&[found], options, now);
    Ok(Report::new(
        "-".to_owned(),
        TargetKind::Stdin,
        items,
        None,
        Vec::new(),
        now,
    ))
}

/// Reads at most [`MAX_FILE`] bytes; the buffer may hold keys and is wiped.
fn read_capped(reader: impl Read, place: &str) -> Result<Zeroizing<Vec<u8>>, InspectError> {
    // Keys fit at once: growing would leave copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let read = reader.take(MAX_FILE + 1).read_to_end(&mut bytes);
    match read {
        Ok(length) if length as u64 > MAX_FILE => Err(InspectError::TooLarge {
            place: place.to_owned(),
        }),
        Ok(_) => Ok(bytes),
        Err(source) => Err(InspectError::Read {
            path: PathBuf::from(place),
            source,
        }),
    }
}

/// Why nothing could be seen.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The operating system refused.
    #[error("could not read `{}`", words::path(path))]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// More than [`MAX_FILE`].
    #[error("`{place}` has more than {max} MiB", max = MAX_FILE / (1024 * 1024))]
    TooLarge {
        /// What was read.
        place: String,
    },
    /// Neither PEM nor DER of a kind that we know.
    #[error("`{place}` holds no certificate, key, request or revocation list")]
    NotRecognised {
        /// What was read.
        place: String,
    },
    /// A file given for its roots that has none.
    #[error("there is no certificate in `{}`", words::path(.0))]
    NoRoots(PathBuf),
    /// A directory without anything of ours.
    #[error("`{}` holds no file with a certificate, key, request or revocation list", words::path(.0))]
    NothingInDirectory(PathBuf),
    /// The name has no address.
    #[error("could not resolve `{host}`")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// Nobody answers there.
    #[error("could not connect to `{endpoint}`")]
    Connect {
        /// The server.
        endpoint: String,
        /// What the last of its addresses answered.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("`{endpoint}` did not {stage} within {seconds} s")]
    Timeout {
        /// The server.
        endpoint: String,
        /// What was waited for.
        stage: &'static str,
        /// The whole deadline.
        seconds: u64,
    },
    /// The handshake failed before a certificate was seen.
    #[error("the TLS handshake with `{endpoint}` failed")]
    Handshake {
        /// The server.
        endpoint: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The TLS library refused our own settings.
    #[error("could not prepare the handshake")]
    Prepare(#[source] rustls::Error),
    /// `--servername` is no host.
    #[error("`{}` is not a host name", quoted(&.0.to_string()))]
    ServerName(Identifier),
}

impl InspectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        use rustls::{AlertDescription as Alert, Error as Tls};
        let text = match self {
            Self::Read { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => "run as a user who may read it",
                std::io::ErrorKind::NotFound => "check the path",
                _ => return None,
            },
            Self::NotRecognised { .. } => {
                "PEM, DER and PKCS#12 are understood; `file` may tell what it is"
            }
            Self::NothingInDirectory(_) => "name the file itself, or a directory above or below",
            Self::Resolve { .. } => "check the spelling, or give an address and `--servername`",
            Self::Connect { .. } => "check that the server runs and that no firewall is between",
            Self::Timeout { .. } => "check the port, and that a firewall does not drop packets",
            Self::Handshake { source, .. } => {
                match source.get_ref().and_then(|e| e.downcast_ref::<Tls>()) {
                    Some(Tls::InvalidMessage(_)) => {
                        "the port answers, but not in TLS; is it the right one?"
                    }
                    Some(Tls::AlertReceived(Alert::UnrecognisedName)) => {
                        "the server does not know this name; ask for another with `--servername`"
                    }
                    Some(Tls::AlertReceived(Alert::ProtocolVersion) | Tls::PeerIncompatible(_)) => {
                        "the server speaks only versions or ciphers that clients of today refuse"
                    }
                    _ => "the server ended it; its log may say why",
                }
            }
            Self::TooLarge { .. } | Self::NoRoots(_) | Self::Prepare(_) | Self::ServerName(_) => {
                return None;
            }
        };
        Some(text.to_owned())
    }
}
