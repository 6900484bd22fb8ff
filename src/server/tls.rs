//! The TLS handshake of one connection.
//!
//! The certificate is looked up here, once, between the ClientHello and the rest
//! of the handshake: with it the connection's local address, and the answer to
//! a name that nobody knows, which rustls alone would refuse with another alert.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rustls::crypto::SupportedKxGroup;
use rustls::server::{
    Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig,
};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificates::{Asked, Certificates, Identity};
use crate::challenge::{ChallengeTable, validation};
use crate::identifier::quoted;

/// First byte of a TLS handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// The fatal alert `unrecognized_name` as a record (RFC 6066 §3, RFC 8446 §6).
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 112];

/// Performs the handshakes of one listener.
#[derive(Debug)]
pub(super) struct Tls {
    /// All but the certificate, which each connection puts in.
    policy: ServerConfig,
    certificates: Arc<dyn Certificates>,
    challenges: Option<Arc<ChallengeTable>>,
}

/// What a new connection turned out to be.
pub(super) enum Opened {
    Tls(Box<TlsStream<TcpStream>>, TlsSession),
    /// A client that began with an HTTP request.
    PlainHttp(TcpStream),
    /// A CA that looked at a tls-alpn-01 answer; it is closed already.
    Validation,
}

/// What was agreed on with the client.
#[derive(Debug)]
pub(super) struct TlsSession {
    pub(super) version: Option<ProtocolVersion>,
    pub(super) cipher_suite: Option<CipherSuite>,
    pub(super) group: Option<NamedGroup>,
    pub(super) alpn: Option<String>,
    pub(super) server_name: Option<String>,
    /// The certificate was sent in an earlier connection, not in this one.
    pub(super) resumed: bool,
    pub(super) certificate: Arc<CertifiedKey>,
}

impl Tls {
    pub(super) fn new(
        certificates: Arc<dyn Certificates>,
        challenges: Option<Arc<ChallengeTable>>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut policy = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoCertificate));
        policy.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Tickets alone: the session store is a small map behind a mutex.
        policy.session_storage = Arc::new(NoServerSessionStorage {});
        policy.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self {
            policy,
            certificates,
            challenges,
        })
    }

    pub(super) fn certificates(&self) -> &Arc<dyn Certificates> {
        &self.certificates
    }

    /// Takes a connection through its handshake. Has no deadline of its own.
    pub(super) async fn open(
        &self,
        stream: TcpStream,
        local: IpAddr,
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
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream)
            .await
            .map_err(HandshakeError::Io)?;
        let challenges = self.challenges.as_deref();
        if let Some(certificate) =
            challenges.and_then(|table| validation::asked(&start.client_hello(), table))
        {
            validation::answer(start, certificate)
                .await
                .map_err(HandshakeError::Io)?;
            return Ok(Opened::Validation);
        }
        let server_name = start.client_hello().server_name().map(str::to_owned);
        let asked = Asked {
            server_name: server_name.as_deref(),
            local,
        };
        let Some(identity) = self.certificates.find(asked) else {
            // The client may be gone already; there is nobody else to tell.
            let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
            let _ = start.io.shutdown().await;
            return Err(HandshakeError::UnknownName(server_name));
        };
        let chooser = Arc::new(Chooser {
            identity,
            chosen: OnceLock::new(),
        });
        let mut config = self.policy.clone();
        config.cert_resolver = Arc::<Chooser>::clone(&chooser);
        let stream = start
            .into_stream(Arc::new(config))
            .await
            .map_err(HandshakeError::Io)?;
        let session = TlsSession::new(&stream, server_name, &chooser);
        Ok(Opened::Tls(Box::new(stream), session))
    }
}

impl TlsSession {
    fn new(stream: &TlsStream<TcpStream>, server_name: Option<String>, chooser: &Chooser) -> Self {
        let (_, tls) = stream.get_ref();
        Self {
            version: tls.protocol_version(),
            cipher_suite: tls.negotiated_cipher_suite().map(|suite| suite.suite()),
            group: tls
                .negotiated_key_exchange_group()
                .map(SupportedKxGroup::name),
            alpn: tls
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            server_name,
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            certificate: Arc::clone(chooser.chosen()),
        }
    }
}

/// Chooses between the keys of one identity and remembers which it was.
#[derive(Debug)]
struct Chooser {
    identity: Identity,
    chosen: OnceLock<Arc<CertifiedKey>>,
}

impl Chooser {
    fn chosen(&self) -> &Arc<CertifiedKey> {
        self.chosen.get_or_init(|| self.identity.choose(&[]))
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.identity.resolve(hello)?;
        Some(Arc::clone(self.chosen.get_or_init(|| chosen)))
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
