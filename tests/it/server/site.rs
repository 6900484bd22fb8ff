//! A server running inside the test, and ways to talk to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use certmint::bundle::{CertBundle, Certificate};
use certmint::certificates::{CertificateTable, SourceId};
use certmint::challenge::ChallengeTable;
use certmint::clock::{Clock, SystemClock};
use certmint::key::KeyType;
use certmint::server::{Application, Ended, Listener, Security, Server, Shutdown, Telemetry};
use certmint::settings::{Content, Limits, ListenerSettings};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::pki::Pki;
use crate::support::{Output, TestEnv, tool};

/// Longer than anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) table: Arc<CertificateTable>,
    pub(crate) leaf: Certificate,
    pub(crate) pki: Arc<Pki>,
    pub(crate) root_pem: PathBuf,
    tls: bool,
    thread: Option<JoinHandle<Ended>>,
}

/// The source of the default certificate.
pub(crate) fn source() -> SourceId {
    SourceId::new("default")
}

/// On a free port of the loopback address, with what is said by default.
pub(crate) fn anywhere(content: Content) -> ListenerSettings {
    ListenerSettings::new("127.0.0.1:0".parse().unwrap(), content)
}

impl Site {
    /// TLS for `localhost`, which is also the default, and the built-in page.
    pub(crate) fn page(env: &TestEnv) -> Self {
        Self::tls(env, Content::Page, Limits::default())
    }

    pub(crate) fn tls(env: &TestEnv, content: Content, limits: Limits) -> Self {
        let settings = ListenerSettings {
            limits,
            ..anywhere(content)
        };
        Self::tls_with(env, settings)
    }

    pub(crate) fn tls_with(env: &TestEnv, settings: ListenerSettings) -> Self {
        Self::tls_with_pki(env, &Arc::new(Pki::new()), settings)
    }

    /// One that clients of another site of the same issuer trust as well.
    pub(crate) fn tls_with_pki(env: &TestEnv, pki: &Arc<Pki>, settings: ListenerSettings) -> Self {
        let bundle = pki.leaf(KeyType::P256, &["localhost", "127.0.0.1"]);
        let table = CertificateTable::with_default(source());
        table
            .replace(source(), std::slice::from_ref(&bundle))
            .unwrap();
        Self::with_table(env, Arc::clone(pki), table, &bundle, settings)
    }

    pub(crate) fn with_table(
        env: &TestEnv,
        pki: impl Into<Arc<Pki>>,
        table: CertificateTable,
        bundle: &CertBundle,
        settings: ListenerSettings,
    ) -> Self {
        let pki = pki.into();
        let root_pem = env.write("root.pem", pki.root.to_pem());
        let table = Arc::new(table);
        let certificates = Arc::<CertificateTable>::clone(&table);
        let security = Security::Tls(certificates);
        let leaf = bundle.leaf().clone();
        Self::start(security, settings, table, leaf, pki, root_pem)
    }

    /// TLS for `localhost` that answers tls-alpn-01 validations of `challenges`.
    pub(crate) fn challenged(
        env: &TestEnv,
        settings: ListenerSettings,
        challenges: Arc<ChallengeTable>,
    ) -> Self {
        let pki = Arc::new(Pki::new());
        let bundle = pki.leaf(KeyType::P256, &["localhost", "127.0.0.1"]);
        let root_pem = env.write("root.pem", pki.root.to_pem());
        let table = Arc::new(CertificateTable::with_default(source()));
        let leaf = bundle.leaf().clone();
        table.replace(source(), &[bundle]).unwrap();
        let security = Security::TlsWithChallenges {
            certificates: Arc::<CertificateTable>::clone(&table),
            challenges,
        };
        Self::start(security, settings, table, leaf, pki, root_pem)
    }

    /// TLS for `localhost`, with an application behind it.
    pub(crate) fn application(
        env: &TestEnv,
        settings: ListenerSettings,
        application: Arc<dyn Application>,
    ) -> Self {
        let pki = Arc::new(Pki::new());
        let bundle = pki.leaf(KeyType::P256, &["localhost"]);
        let root_pem = env.write("root.pem", pki.root.to_pem());
        let table = Arc::new(CertificateTable::with_default(source()));
        let leaf = bundle.leaf().clone();
        table.replace(source(), &[bundle]).unwrap();
        let security = Security::Application {
            application,
            certificates: Some(Arc::<CertificateTable>::clone(&table)),
        };
        Self::start(security, settings, table, leaf, pki, root_pem)
    }

    pub(crate) fn plain(content: Content) -> Self {
        Self::plain_with(content, Limits::default())
    }

    pub(crate) fn plain_with(content: Content, limits: Limits) -> Self {
        Self::plain_settings(ListenerSettings {
            limits,
            ..anywhere(content)
        })
    }

    pub(crate) fn plain_settings(settings: ListenerSettings) -> Self {
        let pki = Arc::new(Pki::new());
        let leaf = pki.root.clone();
        let table = Arc::new(CertificateTable::strict());
        let none = PathBuf::from("/dev/null");
        Self::start(Security::Plain, settings, table, leaf, pki, none)
    }

    fn start(
        security: Security,
        settings: ListenerSettings,
        table: Arc<CertificateTable>,
        leaf: Certificate,
        pki: Arc<Pki>,
        root_pem: PathBuf,
    ) -> Self {
        let tls = !matches!(security, Security::Plain);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let shutdown = Shutdown::new();
        let listener = Listener { settings, security };
        let server = Server::bind(
            vec![listener],
            &clock,
            shutdown.clone(),
            &Telemetry::default(),
        )
        .unwrap();
        let address = server.addresses()[0];
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(server.run()).unwrap()
        });
        Self {
            address,
            shutdown,
            table,
            leaf,
            pki,
            root_pem,
            tls,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://localhost:{}{path}", self.address.port())
    }

    /// A connection without TLS, whatever the server speaks.
    pub(crate) fn connect(&self) -> TcpStream {
        self.connect_from([127, 0, 0, 1])
    }

    /// A connection without TLS from this address of the loopback network.
    pub(crate) fn connect_from(&self, client: [u8; 4]) -> TcpStream {
        let stream = connect_from(client, self.address);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends `request` without TLS and reads until the server closes.
    pub(crate) fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        read_to_close(&mut stream)
    }

    /// A TLS connection by rustls that has done its handshake.
    pub(crate) fn handshake(
        &self,
        name: &str,
        alpn: &str,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, std::io::Error> {
        self.handshake_with(&Arc::new(self.client(alpn)), name)
    }

    pub(crate) fn handshake_with(
        &self,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, std::io::Error> {
        self.handshake_by(client, name, self.connect())
    }

    /// The same by a stream that is there.
    pub(crate) fn handshake_by(
        &self,
        client: &Arc<ClientConfig>,
        name: &str,
        mut stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, std::io::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::clone(client), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// How rustls connects, trusting the test's root alone.
    pub(crate) fn client(&self, alpn: &str) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.pki.root.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        client
    }

    /// Waits for the server to end; the test asked it to.
    pub(crate) fn ended(mut self) -> Ended {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.force();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

/// A connection from this address of the loopback network: a client of its own.
pub(crate) fn connect_from(client: [u8; 4], server: SocketAddr) -> TcpStream {
    try_connect_from(client, server).unwrap()
}

/// The same, where it may be refused.
pub(crate) fn try_connect_from(client: [u8; 4], server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let local = SocketAddr::from((client, 0));
    socket.bind(&local.into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// Reads until the other side closes, however it does.
pub(crate) fn read_to_close(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("not closed; so far: {}", String::from_utf8_lossy(&bytes))
            }
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `needle` has come.
pub(crate) fn read_until(stream: &mut impl Read, needle: &str) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&bytes).contains(needle) {
        let count = stream.read(&mut chunk).unwrap();
        let so_far = String::from_utf8_lossy(&bytes);
        assert!(count > 0, "closed before `{needle}`; so far: {so_far}");
        bytes.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// curl with these arguments, trusting the site's root.
pub(crate) fn curl(env: &TestEnv, site: &Site, args: &[&str]) -> Output {
    let curl = tool("curl").unwrap();
    let root = site.root_pem.to_str().unwrap();
    let trusting = ["-sS", "--max-time", "50", "--cacert", root];
    env.command(curl, trusting.iter().chain(args)).run()
}
