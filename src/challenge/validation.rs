//! The handshake by which a CA looks at a tls-alpn-01 answer (RFC 8737 §3).

use std::io;
use std::sync::Arc;

use rustls::server::{ClientHello, NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;

use super::ChallengeTable;

/// The one protocol that a validating CA offers.
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// The certificate to answer with, when `hello` is a validation of an open challenge:
/// it offers `acme-tls/1` and nothing else, for a name that is open.
pub fn asked(hello: &ClientHello<'_>, table: &ChallengeTable) -> Option<Arc<CertifiedKey>> {
    let mut offered = hello.alpn()?;
    if offered.next() != Some(ACME_TLS) || offered.next().is_some() {
        return None;
    }
    table.alpn_certificate(hello.server_name()?)
}

/// Finishes the handshake with `certificate` and closes: no byte of an application is
/// read or written, and no ticket is given. Has no deadline of its own.
pub async fn answer(
    start: StartHandshake<TcpStream>,
    certificate: Arc<CertifiedKey>,
) -> io::Result<()> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let mut stream = start.into_stream(Arc::new(config)).await?;
    stream.shutdown().await
}
