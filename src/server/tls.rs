//! The TLS handshake of one connection.
//!
//! The certificate is looked up here, once, between the ClientHello and the rest
//! of the handshake: with it the connection's local address, and the answer to
//! a name that nobody knows, which rustls alone would refuse with another alert.
//!
//! Sessions resume by tickets of this listener alone, and only where anybody may
//! connect: a ticket stands for the client that was verified once, whatever has been
//! revoked since.

mod session;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConfig,
};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, CipherSuite, SupportedCipherSuite};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use super::client_auth::{self, Clients, TrustError};
use super::connection::Connection;
use super::hello;
use super::watch::{Watch, watch_paths};
use crate::certificates::{Answer, Asked, Certificates, Identity, Miss, Served};
use crate::challenge::{ChallengeTable, validation};
use crate::clock::{Clock, Throttle};
use crate::event::Trigger;
use crate::finding::words::causes;
use crate::identifier::quoted;
use crate::settings::{ClientAuth, TlsPolicy};

pub(super) use session::TlsSession;
use session::{Standing, StrictTransport};

/// First byte of a TLS handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// The fatal alert `unrecognized_name` as a record (RFC 6066 §3, RFC 8446 §6).
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 112];

/// The part of a handshake's time that a client may wait for its certificate.
const WAITED: f32 = 0.75;

/// How often it is said that clients are refused for want of a current CRL.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Performs the handshakes of one listener.
#[derive(Debug)]
pub(super) struct Tls {
    trusted: Arc<Trusted>,
    /// Begins with the first connection, and ends with this.
    following: OnceCell<Following>,
    transport: Option<Arc<StrictTransport>>,
    certificates: Arc<dyn Certificates>,
    challenges: Option<Arc<ChallengeTable>>,
    clock: Arc<dyn Clock>,
    unlisted: Throttle,
}

/// The task that follows files; it ends with this.
#[derive(Debug)]
struct Following(#[expect(dead_code, reason = "held until dropped")] AbortOnDropHandle<()>);

/// Whom a listener trusts, as the files have it that say so.
#[derive(Debug)]
struct Trusted {
    now: ArcSwap<Trust>,
    settings: ClientAuth,
    provider: Arc<CryptoProvider>,
}

/// Whom is trusted at one moment, and all that a handshake needs but the certificate,
/// which each connection puts in.
#[derive(Debug)]
struct Trust {
    /// Of the files it was read from.
    digest: [u8; 32],
    clients: Clients,
    config: ServerConfig,
    /// For clients that show a raw public key.
    raw_keys: Option<ServerConfig>,
}

impl Trust {
    fn load(settings: &ClientAuth, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        // First: what is changed meanwhile will be told, and looked at again.
        let digest = client_auth::digest(settings)?;
        let clients = Clients::load(settings, provider)?;
        let raw_keys = clients.raw_keys().cloned();
        Ok(Self {
            digest,
            config: config(clients.certificates().cloned(), provider)?,
            raw_keys: raw_keys.map(|v| config(Some(v), provider)).transpose()?,
            clients,
        })
    }
}

impl Trusted {
    fn load(settings: ClientAuth) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        Ok(Self {
            now: ArcSwap::from_pointee(Trust::load(&settings, &provider)?),
            settings,
            provider,
        })
    }

    async fn follow(self: Arc<Self>, mut changes: Watch) {
        loop {
            changes.changed().await;
            self.reload().await;
        }
    }

    /// Reads anew who may connect; what cannot be read leaves the old in force.
    async fn reload(&self) {
        let (settings, provider) = (self.settings.clone(), Arc::clone(&self.provider));
        // Large lists take time, and network file systems more.
        let load = tokio::task::spawn_blocking(move || Trust::load(&settings, &provider));
        match load.await {
            Ok(Ok(trust)) if trust.digest == self.now.load().digest => {}
            Ok(Ok(trust)) => {
                self.now.store(Arc::new(trust));
                tracing::info!("clients are verified with the changed files");
            }
            Ok(Err(error)) => {
                let (hint, error) = (error.hint(), causes(&error));
                tracing::warn!(
                    error,
                    hint,
                    "the changed files are not usable; clients are verified with the old ones"
                );
            }
            // The runtime is going away.
            Err(_) => {}
        }
    }
}

/// What rustls offers by default, which is ECDHE and AEAD alone, X25519MLKEM768 first;
/// but AES with 128 bits before 256: as strong as the rest of a handshake, and faster.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // A stable sort: the rest stays in order.
    let slower = |s: &SupportedCipherSuite| !format!("{:?}", s.suite()).contains("AES_128");
    provider.cipher_suites.sort_by_key(slower);
    provider
}

/// Whether a client's favourite is ChaCha20, as that of one is that has no AES in its
/// processor (it may lead with a made-up suite, RFC 8701).
fn prefers_chacha(offered: &[CipherSuite]) -> bool {
    let is_known = |suite: &&CipherSuite| suite.as_str().is_some();
    let first = offered.iter().find(is_known);
    first.is_some_and(|suite| format!("{suite:?}").contains("CHACHA20"))
}

fn config(
    clients: Option<Arc<dyn ClientCertVerifier>>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?;
    let resumes = clients.is_none();
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(NoCertificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets alone: the session store is a small map behind a mutex.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if resumes {
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    } else {
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// What a client is served with.
struct ServedWith {
    /// What it asked for.
    server_name: Option<String>,
    identity: Identity,
    /// It stands in for one that is being made, of which there may be one after this time.
    stands_in: Option<Duration>,
}

/// What a new connection turned out to be.
pub(super) enum Opened {
    Tls(Box<TlsStream<TcpStream>>, TlsSession),
    /// A client that began with an HTTP request.
    PlainHttp(TcpStream),
    /// A CA that looked at a tls-alpn-01 answer; it is closed already.
    Validation,
}

impl Tls {
    /// Reads whom the policy trusts; what it names must be there.
    pub(super) fn new(
        certificates: Arc<dyn Certificates>,
        challenges: Option<Arc<ChallengeTable>>,
        policy: &TlsPolicy,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let transport = policy.hsts.map(|hsts| StrictTransport::new(hsts, clock));
        let trusted = Trusted::load(policy.clients.clone())?;
        client_auth::tell_stale_lists(&policy.clients, clock.now());
        Ok(Self {
            trusted: Arc::new(trusted),
            following: OnceCell::new(),
            transport: transport.map(Arc::new),
            certificates,
            challenges,
            clock: Arc::clone(clock),
            unlisted: Throttle::new(SAY_AGAIN),
        })
    }

    pub(super) fn certificates(&self) -> &Arc<dyn Certificates> {
        &self.certificates
    }

    /// Has changed files taken over from now on; those that changed before, at once.
    async fn follow_trust(&self) {
        let files = client_auth::files(&self.trusted.settings);
        if files.is_empty() {
            return;
        }
        let begin = || async {
            let changes = watch_paths(files);
            self.trusted.reload().await;
            let trusted = Arc::clone(&self.trusted);
            Following(AbortOnDropHandle::new(tokio::spawn(
                trusted.follow(changes),
            )))
        };
        self.following.get_or_init(begin).await;
    }

    /// Takes a connection through its handshake, which is to be over at `deadline`; that
    /// is not enforced here.
    pub(super) async fn open(
        &self,
        stream: TcpStream,
        connection: &Connection,
        deadline: Instant,
    ) -> Result<Opened, HandshakeError> {
        let mut first = [0];
        if stream.peek(&mut first).await.map_err(HandshakeError::Io)? == 0 {
            return Err(HandshakeError::Closed);
        }
        match first[0] {
            HANDSHAKE_RECORD => {}
            b'A'..=b'Z' => return Ok(Opened::PlainHttp(stream)),
            _ => return Err(HandshakeError::NotTls),
        }
        self.follow_trust().await;
        // What each part needs is in a box of its own: together they would be in the way
        // of every handshake that stalls in one of them.
        let hello = Box::pin(hello::read(stream)).await;
        let mut start = Box::new(hello.map_err(HandshakeError::Io)?);
        let challenges = self.challenges.as_deref();
        if let Some(certificate) =
            challenges.and_then(|table| validation::asked(&start.client_hello(), table))
        {
            Box::pin(validation::answer(*start, certificate))
                .await
                .map_err(HandshakeError::Io)?;
            return Ok(Opened::Validation);
        }
        let server_name = start.client_hello().server_name().map(str::to_owned);
        let asked = Asked {
            server_name: server_name.as_deref(),
            local: connection.local.ip(),
        };
        let found = match self.certificates.find(asked) {
            Some(identity) => Some((identity, None)),
            None => self.demand(asked, connection.peer.ip(), deadline).await,
        };
        let Some((identity, stands_in)) = found else {
            // The client may be gone already; there is nobody else to tell.
            let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
            let _ = start.io.shutdown().await;
            return Err(HandshakeError::UnknownName(server_name));
        };
        let served = ServedWith {
            server_name,
            identity,
            stands_in,
        };
        self.accept(start, served).await
    }

    /// Performs the rest of a handshake.
    async fn accept(
        &self,
        start: Box<StartHandshake<TcpStream>>,
        with: ServedWith,
    ) -> Result<Opened, HandshakeError> {
        let ServedWith {
            server_name,
            identity,
            stands_in,
        } = with;
        let trust = self.trusted.now.load_full();
        let prefers_raw = client_auth::prefers_raw_key(start.client_hello().client_cert_types());
        let raw_keys = trust.raw_keys.as_ref().filter(|_| prefers_raw);
        let chooser = Arc::new(Chooser {
            identity,
            chosen: OnceLock::new(),
        });
        let mut config = raw_keys.unwrap_or(&trust.config).clone();
        config.ignore_client_order = !prefers_chacha(start.client_hello().cipher_suites());
        config.cert_resolver = Arc::<Chooser>::clone(&chooser);
        if stands_in.is_some() {
            // Nobody is to come back on the strength of it.
            config.send_tls13_tickets = 0;
            config.ticketer = Arc::new(NoTickets);
        }
        let raw = raw_keys.is_some();
        let accepting = Box::pin(start.into_stream(Arc::new(config)));
        let stream = accepting.await.map_err(|error| self.refused(error))?;
        let client = Standing::new(&stream, raw, trust, &self.trusted, &self.clock);
        let (served, transport) = (chooser.chosen(), self.transport.as_ref());
        let mut session = TlsSession::new(&stream, server_name, served, client, transport);
        session.stands_in = stands_in;
        Ok(Opened::Tls(Box::new(stream), session))
    }

    /// What a client is served with whose name has no certificate yet: the one that was
    /// made meanwhile, or one that stands in for it, with when to come back.
    async fn demand(
        &self,
        asked: Asked<'_>,
        client: IpAddr,
        deadline: Instant,
    ) -> Option<(Identity, Option<Duration>)> {
        let left = deadline.saturating_duration_since(Instant::now());
        let miss = Miss {
            name: asked.server_name?,
            client,
            trigger: Trigger::Tls,
            // The rest is for the handshake itself.
            patience: left.mul_f32(WAITED),
        };
        match self.certificates.demand()?.ask(miss).await {
            Answer::Ready => Some((self.certificates.find(asked)?, None)),
            Answer::Pending {
                stand_in,
                retry_after,
            } => Some((stand_in?, Some(retry_after))),
            Answer::Refused => None,
        }
    }

    /// Notes a failed handshake, and says when the fault is ours: clients would never
    /// tell what is wrong with our revocation lists.
    fn refused(&self, error: io::Error) -> HandshakeError {
        if let Some(rustls::Error::InvalidCertificate(reason)) = tls_error(&error)
            && is_for_want_of_a_list(reason)
            && self.unlisted.admit().is_some()
        {
            tracing::warn!(
                reason = %reason,
                "clients are refused: no current revocation list of their issuer; write a new \
                 one with `certmint ca crl`, or fetch the CA's"
            );
        }
        HandshakeError::Io(error)
    }
}

fn is_for_want_of_a_list(reason: &CertificateError) -> bool {
    matches!(
        reason,
        CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. }
    )
}

/// What the TLS library said, when it was that.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Chooses between the keys of one identity and remembers which it was.
#[derive(Debug)]
struct Chooser {
    identity: Identity,
    chosen: OnceLock<Arc<Served>>,
}

impl Chooser {
    fn chosen(&self) -> &Arc<Served> {
        self.chosen
            .get_or_init(|| Arc::clone(self.identity.choose(&[])))
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.identity.choose(hello.signature_schemes());
        let chosen = self.chosen.get_or_init(|| Arc::clone(chosen));
        Some(Arc::clone(chosen.key()))
    }

    fn only_raw_public_keys(&self) -> bool {
        self.identity.only_raw_public_keys()
    }
}

/// Lets no session be resumed.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Stands in the policy where each connection puts its own.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Why a connection did not get through its handshake.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The client closed without a word, as probes do.
    #[error("closed before the first byte")]
    Closed,
    /// The first byte belongs to neither TLS nor HTTP.
    #[error("neither TLS nor HTTP")]
    NotTls,
    /// No certificate for the name asked for.
    #[error("no certificate for {}", .0.as_deref().map_or_else(|| "a client that names none".to_owned(), quoted))]
    UnknownName(Option<String>),
    /// The transport or the TLS library said so.
    #[error("the handshake failed")]
    Io(#[source] io::Error),
    /// [`crate::settings::Limits::handshake`] passed.
    #[error("the handshake took too long")]
    TimedOut,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl HandshakeError {
    /// One word of a small set, to count by.
    pub(super) fn outcome(&self) -> &'static str {
        let error = match self {
            Self::Closed => return "closed",
            Self::NotTls => return "not_tls",
            Self::UnknownName(_) => return "unknown_name",
            Self::TimedOut => return "timed_out",
            Self::Stopping => return "stopping",
            Self::Io(error) => error,
        };
        match tls_error(error) {
            None => "io_error",
            Some(rustls::Error::NoCertificatesPresented) => "no_client_certificate",
            Some(rustls::Error::InvalidCertificate(_)) => "bad_client_certificate",
            Some(rustls::Error::AlertReceived(_)) => "client_refused",
            Some(rustls::Error::PeerIncompatible(_)) => "incompatible",
            Some(_) => "protocol_error",
        }
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody can say which clients to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The TLS library does not do what is asked.
    #[error("could not set up TLS")]
    Library(#[from] rustls::Error),
}

impl TlsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Trust(error) => error.hint(),
            Self::Library(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chacha_is_preferred_by_those_who_name_it_first() {
        use CipherSuite as Suite;
        let (aes, chacha) = (
            Suite::TLS13_AES_128_GCM_SHA256,
            Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        );
        for (offered, expected) in [
            (&[chacha, aes][..], true),
            (&[Suite::Unknown(0x5a5a), chacha, aes], true),
            (&[aes, chacha], false),
            (&[Suite::Unknown(0x5a5a)], false),
            (&[], false),
        ] {
            assert_eq!(prefers_chacha(offered), expected, "{offered:?}");
        }
    }

    #[test]
    fn the_fastest_suite_of_each_version_comes_first() {
        let suites = provider().cipher_suites;
        let first = |tls13: bool| {
            let suite = suites.iter().find(|s| s.tls13().is_some() == tls13);
            suite.map(SupportedCipherSuite::suite)
        };
        assert_eq!(first(true), Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
        let ecdsa = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
        assert_eq!(first(false), Some(ecdsa));
    }
}
