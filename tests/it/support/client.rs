//! A TLS client by rustls: what a server's users see, with every certificate
//! verified.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use certmint::bundle::Certificate;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Longer than any answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Connects to one server under one name; trusts the roots of one file alone, and
/// resumes nothing, so that each connection shows the certificate of its moment.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    address: SocketAddr,
    name: ServerName<'static>,
}

impl Client {
    pub(crate) fn new(roots_pem: &Path, address: SocketAddr, name: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(roots_pem).unwrap() {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
            address,
            name: name.to_owned().try_into().unwrap(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What an HTTP/2 client of its own needs to connect likewise.
    #[cfg(feature = "acme")]
    pub(crate) fn http2(&self) -> (ClientConfig, ServerName<'static>) {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        (config, self.name.clone())
    }

    /// A connection whose handshake is done and whose certificate is verified.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        self.connect_by(TcpStream::connect(self.address)?)
    }

    /// The same by a stream that is there.
    pub(crate) fn connect_by(&self, mut stream: TcpStream) -> io::Result<Connection> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let config = Arc::clone(&self.config);
        let mut tls = ClientConnection::new(config, self.name.clone()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        let host = self.name.to_str().into_owned();
        Ok(Connection(StreamOwned::new(tls, stream), host))
    }

    /// The serial number of what a new connection is served with.
    #[track_caller]
    pub(crate) fn serial(&self) -> String {
        self.connect().unwrap().serial()
    }
}

/// An open connection, and the host that is asked for on it.
#[derive(Debug)]
pub(crate) struct Connection(StreamOwned<ClientConnection, TcpStream>, String);

impl Connection {
    /// The serial number of the certificate that it was made with.
    pub(crate) fn serial(&self) -> String {
        self.leaf().serial_hex()
    }

    pub(crate) fn leaf(&self) -> Certificate {
        Certificate::from_der(&self.0.conn.peer_certificates().unwrap()[0]).unwrap()
    }

    /// Sends what may be no whole request.
    #[cfg(feature = "acme")]
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// Sends a request and leaves the answer for later.
    pub(crate) fn ask(&mut self, path: &str) -> io::Result<()> {
        write!(
            self.0,
            "GET {path} HTTP/1.1\r\nhost: {}\r\naccept: text/plain\r\n\r\n",
            self.1
        )?;
        self.0.flush()
    }

    /// Reads one answer, head and body, and keeps the connection.
    pub(crate) fn answer(&mut self) -> io::Result<String> {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            text.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&text).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        text.extend(body);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> String {
        self.ask(path).unwrap();
        self.answer().unwrap()
    }
}

/// Sends the first message of a handshake that asks for `name`, and no more.
pub(crate) fn send_hello(mut stream: &TcpStream, name: &str) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    tls.write_tls(&mut stream).unwrap();
}
