//! What a server is to be: its listeners, and where the certificates of each come from.
//!
//! The settings of one process, whether they were typed or stand in a file. Everything
//! here can be compared, so that a change touches only what differs.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{ServeError, custom, raw_key};
use crate::directory;
use crate::identifier::{CertId, Identifier};
use crate::issuer::{AcmeRef, IssuerRef, Profile};
use crate::key::Passphrase;
use crate::net::roots::Roots;
use crate::on_demand::Settings;
use crate::on_demand::gate::NamePattern;
use crate::renew::hook::Hook;
use crate::renew::issuers::Variables;
use crate::settings::{ListenAddr, ListenerSettings, LogTarget};

/// Where a listener's certificates come from.
#[derive(Debug, Clone)]
pub enum ServeMode {
    /// Nowhere: plain HTTP.
    Insecure {
        /// Others than this machine may connect.
        allow_remote: bool,
    },
    /// The private CA issues and renews one.
    Ca(PrivateLeaf),
    /// A public CA does.
    Acme(Box<PublicLeaf>),
    /// A CA makes them when clients ask for them.
    OnDemand(Box<OnDemand>),
    /// Files that somebody else keeps fresh.
    Custom(CustomFiles),
    /// None: clients know the key (RFC 7250).
    RawKey(RawKeyFile),
    /// The private CA issues and renews one, and the private ACME directory answers
    /// instead of the listener's content; also on the plain port.
    Directory(Box<PrivateDirectory>),
    /// The server signs one for these names itself, to try things out; it is never
    /// written anywhere.
    SelfSigned(Vec<Identifier>),
}

/// A certificate of the private CA, kept in a state directory.
#[derive(Debug, Clone)]
pub struct PrivateLeaf {
    /// The state directory.
    pub home: PathBuf,
    /// Under which it is kept.
    pub id: CertId,
    /// What it is to be.
    pub profile: Profile,
    /// Unlocks the CA's intermediate key.
    pub passphrase: Option<Passphrase>,
}

/// The private CA's own ACME server.
#[derive(Debug, Clone)]
pub struct PrivateDirectory {
    /// Its own certificate, and the state directory of the CA.
    pub leaf: PrivateLeaf,
    /// How it is run.
    pub settings: Arc<directory::Settings>,
    /// The name server that is asked about the names of its clients; `None` for the
    /// system's way.
    pub resolver: Option<SocketAddr>,
}

/// A certificate of a public CA, obtained through this server itself.
#[derive(Clone)]
pub struct PublicLeaf {
    /// The state directory, which holds the account.
    pub home: PathBuf,
    /// The state directory that the certificate is kept in.
    pub cache_dir: PathBuf,
    /// Under which it is kept.
    pub id: CertId,
    /// What it is to be.
    pub profile: Profile,
    /// Which CA, and how it is asked.
    pub issuer: AcmeRef,
    /// Variables that DNS credentials may refer to.
    pub variables: Arc<Variables>,
    /// Whether the terms of service of a CA without an account may be agreed to.
    pub agree_to_terms: bool,
    /// How long a start without a certificate may take.
    pub start_timeout: Duration,
}

impl fmt::Debug for PublicLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicLeaf")
            .field("id", &self.id)
            .field("profile", &self.profile)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Certificates that are made when clients ask for them.
#[derive(Clone)]
pub struct OnDemand {
    /// One for names that are known from the start.
    pub named: Option<NamedLeaf>,
    /// The state directory, which holds the CA or the account.
    pub home: PathBuf,
    /// The state directory that the certificates are kept in.
    pub cache_dir: PathBuf,
    /// What is made, and how much of it.
    pub settings: Settings,
    /// Names that may have one; all when there is none.
    pub allow: Vec<NamePattern>,
    /// Where permission is asked for, and whom its TLS is trusted by.
    pub ask: Option<(Url, Roots)>,
    /// A program that gives permission.
    pub allow_hook: Option<Hook>,
    /// What stands in for a certificate that is being made; `None` makes one.
    pub stand_in: Option<CustomFiles>,
    /// Unlocks the CA's intermediate key.
    pub passphrase: Option<Passphrase>,
    /// Variables that DNS credentials may refer to.
    pub variables: Arc<Variables>,
    /// Whether the terms of service of a CA without an account may be agreed to.
    pub agree_to_terms: bool,
}

/// A certificate for names that are known from the start.
#[derive(Debug, Clone)]
pub enum NamedLeaf {
    /// Of the private CA.
    Private(PrivateLeaf),
    /// Of a public one.
    Public(Box<PublicLeaf>),
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand")
            .field("named", &self.named)
            .field("settings", &self.settings)
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

/// A certificate and its key in files of the operator's.
#[derive(Debug, Clone)]
pub struct CustomFiles {
    /// Leaf and intermediates, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Unlocks the key.
    pub passphrase: Option<Passphrase>,
}

/// An Ed25519 key in a file of the operator's.
#[derive(Debug, Clone)]
pub struct RawKeyFile {
    /// The private key, PEM.
    pub key: PathBuf,
    /// Unlocks the key.
    pub passphrase: Option<Passphrase>,
}

impl RawKeyFile {
    /// Refuses a file that could not be served.
    pub fn check(&self) -> Result<(), ServeError> {
        raw_key::fingerprint(self).map(drop)
    }
}

/// How a server is looked after: what concerns the whole process, not one listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operation {
    /// Where `/health`, `/ready` and `/metrics` are answered, in plain HTTP.
    pub admin: Option<ListenAddr>,
    /// Unix socket for those who may tell the server what to do.
    pub admin_socket: Option<PathBuf>,
    /// Where each request gets a line.
    pub access_log: Option<LogTarget>,
    /// Where each event gets a line of JSON.
    pub events: Option<LogTarget>,
    /// The user to go on as, once the ports are bound.
    pub user: Option<String>,
}

/// One listener to be served.
#[derive(Debug, Clone)]
pub struct Site {
    /// Where it is written, for messages: a file and a line.
    pub place: Option<String>,
    /// Where its certificates come from.
    pub mode: ServeMode,
    /// Where it listens, and what it serves.
    pub listener: ListenerSettings,
    /// The plain port beside it: http-01, and the way to https.
    pub http: Option<ListenAddr>,
}

/// A server to be put together.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its listeners; at least one.
    pub sites: Vec<Site>,
    /// What concerns them all.
    pub operation: Operation,
    /// What stands in the settings and takes effect at the next start alone, each with
    /// where it is written; of interest in a reload.
    pub for_next_start: Vec<String>,
}

impl ServeMode {
    /// Whether both get the same certificate in the same way.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Insecure { .. }, Self::Insecure { .. }) => true,
            (Self::Ca(one), Self::Ca(other)) => one.is_same_as(other),
            (Self::Acme(one), Self::Acme(other)) => one.is_same_as(other),
            (Self::OnDemand(one), Self::OnDemand(other)) => one.is_same_as(other),
            (Self::Custom(one), Self::Custom(other)) => one.is_same_as(other),
            (Self::RawKey(one), Self::RawKey(other)) => one.key == other.key,
            (Self::SelfSigned(one), Self::SelfSigned(other)) => one == other,
            (Self::Directory(one), Self::Directory(other)) => one.is_same_as(other),
            _ => false,
        }
    }

    /// Whether what was made for it can go on under these settings: who may have
    /// certificates on demand is another matter.
    pub(super) fn goes_on_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::OnDemand(one), Self::OnDemand(other)) => one.goes_on_as(other),
            _ => self.is_same_as(other),
        }
    }

    /// Whether only one of both can be at work at the same time, for the certificate
    /// that both want.
    pub(super) fn rivals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Acme(one), Self::Acme(other)) => one.rivals(other),
            (Self::OnDemand(one), Self::OnDemand(other)) => one.cache_dir == other.cache_dir,
            (Self::OnDemand(one), Self::Acme(other)) | (Self::Acme(other), Self::OnDemand(one)) => {
                matches!(&one.named, Some(NamedLeaf::Public(leaf)) if leaf.rivals(other))
            }
            (Self::Directory(one), Self::Directory(other)) => one.leaf.home == other.leaf.home,
            _ => false,
        }
    }

    /// Under which its certificate is shown.
    pub(super) fn id(&self) -> Option<String> {
        match self {
            Self::Ca(leaf) => Some(leaf.id.to_string()),
            Self::Acme(leaf) => Some(leaf.id.to_string()),
            Self::Directory(directory) => Some(directory.leaf.id.to_string()),
            Self::Custom(files) => Some(custom::id(files)),
            Self::OnDemand(site) => match site.named.as_ref()? {
                NamedLeaf::Private(leaf) => Some(leaf.id.to_string()),
                NamedLeaf::Public(leaf) => Some(leaf.id.to_string()),
            },
            Self::Insecure { .. } | Self::RawKey(_) | Self::SelfSigned(_) => None,
        }
    }

    /// The state directories that are written to while it runs.
    pub(super) fn states(&self) -> Vec<PathBuf> {
        match self {
            Self::Ca(leaf) => vec![leaf.home.clone()],
            Self::Directory(directory) => vec![directory.leaf.home.clone()],
            Self::Acme(leaf) => vec![leaf.home.clone(), leaf.cache_dir.clone()],
            Self::OnDemand(site) => vec![site.home.clone(), site.cache_dir.clone()],
            Self::Insecure { .. } | Self::Custom(_) | Self::RawKey(_) | Self::SelfSigned(_) => {
                Vec::new()
            }
        }
    }
}

impl OnDemand {
    /// Whether a CA issues that serves the public, which has to be spared.
    pub fn is_public(&self) -> bool {
        matches!(self.settings.issuer, IssuerRef::Acme(_))
    }

    fn is_same_as(&self, other: &Self) -> bool {
        let gate = (&self.allow, &self.ask, &self.allow_hook);
        gate == (&other.allow, &other.ask, &other.allow_hook) && self.goes_on_as(other)
    }

    /// Whether both are the same but for who may have a certificate.
    fn goes_on_as(&self, other: &Self) -> bool {
        let Self {
            named,
            home,
            cache_dir,
            settings,
            allow: _,
            ask: _,
            allow_hook: _,
            stand_in,
            passphrase: _,
            variables: _,
            agree_to_terms,
        } = self;
        let named = match (named, &other.named) {
            (None, None) => true,
            (Some(NamedLeaf::Private(one)), Some(NamedLeaf::Private(other))) => {
                one.is_same_as(other)
            }
            (Some(NamedLeaf::Public(one)), Some(NamedLeaf::Public(other))) => one.is_same_as(other),
            _ => false,
        };
        let stand_in = match (stand_in, &other.stand_in) {
            (Some(one), Some(other)) => one.is_same_as(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let places = (home, cache_dir) == (&other.home, &other.cache_dir);
        named
            && stand_in
            && places
            && (settings, agree_to_terms) == (&other.settings, &other.agree_to_terms)
    }
}

impl PrivateDirectory {
    /// Settings that were given once are the same; others take effect at the next start.
    fn is_same_as(&self, other: &Self) -> bool {
        self.leaf.is_same_as(&other.leaf)
            && Arc::ptr_eq(&self.settings, &other.settings)
            && self.resolver == other.resolver
    }
}

impl PrivateLeaf {
    fn is_same_as(&self, other: &Self) -> bool {
        (&self.home, &self.id, &self.profile) == (&other.home, &other.id, &other.profile)
    }
}

impl PublicLeaf {
    /// Whether only one of both can be obtained.
    fn rivals(&self, other: &Self) -> bool {
        (&self.cache_dir, &self.id) == (&other.cache_dir, &other.id)
    }

    fn is_same_as(&self, other: &Self) -> bool {
        let Self {
            home,
            cache_dir,
            id,
            profile,
            issuer,
            variables: _,
            agree_to_terms,
            start_timeout,
        } = self;
        (home, cache_dir, id) == (&other.home, &other.cache_dir, &other.id)
            && (profile, issuer) == (&other.profile, &other.issuer)
            && (agree_to_terms, start_timeout) == (&other.agree_to_terms, &other.start_timeout)
    }
}

impl CustomFiles {
    fn is_same_as(&self, other: &Self) -> bool {
        (&self.cert, &self.key) == (&other.cert, &other.key)
    }

    /// Refuses files that could not be served.
    pub fn check(&self) -> Result<(), ServeError> {
        custom::check(self).map(drop)
    }
}

impl Plan {
    /// Refuses what must not be served.
    pub(super) fn check(&self) -> Result<(), ServeError> {
        if self.sites.is_empty() {
            return Err(ServeError::NoListener);
        }
        let mut sites = self.sites.iter();
        sites.try_for_each(|site| {
            let checked = site.check();
            checked.map_err(|error| told_of(site, self.sites.len(), error))
        })
    }
}

impl Site {
    /// Refuses what must not be served.
    pub fn check(&self) -> Result<(), ServeError> {
        check_address(&self.mode, self.listener.address)
    }
}

/// Plain HTTP to other machines needs to be wanted.
fn check_address(mode: &ServeMode, address: ListenAddr) -> Result<(), ServeError> {
    match mode {
        ServeMode::Insecure {
            allow_remote: false,
        } if !address.0.ip().is_loopback() => Err(ServeError::Remote(address)),
        _ => Ok(()),
    }
}

/// Names the listener where there are several.
pub(super) fn told_of(site: &Site, sites: usize, error: ServeError) -> ServeError {
    if sites == 1 && site.place.is_none() {
        return error;
    }
    ServeError::Listener {
        address: site.listener.address,
        place: site.place.clone(),
        source: Box::new(error),
    }
}
