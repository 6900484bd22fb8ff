//! Pebble, the ACME CA for tests, on ports of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use serde_json::json;

use super::dns::Dns;
use super::{Server, TestEnv, tool};

/// How Pebble is to be.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where it looks for http-01 answers.
    pub(crate) http_port: u16,
    /// Where it looks for tls-alpn-01 answers.
    pub(crate) tls_port: u16,
    /// Whom it asks for names; `None` starts [`Dns`].
    pub(crate) dns_server: Option<SocketAddr>,
    /// Percent of good nonces that are refused.
    pub(crate) nonce_reject: u8,
    /// Accounts need the external binding [`Pebble::EAB_KID`].
    pub(crate) eab: bool,
    /// Life of what it issues, in seconds.
    pub(crate) validity: u64,
    /// More of its environment, such as `PEBBLE_ALTERNATE_ROOTS`.
    pub(crate) env: Vec<(&'static str, &'static str)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            http_port: free_port(),
            tls_port: free_port(),
            dns_server: None,
            nonce_reject: 0,
            eab: false,
            validity: 90 * 86_400,
            env: Vec::new(),
        }
    }
}

/// A running Pebble; killed when dropped.
#[derive(Debug)]
pub(crate) struct Pebble {
    /// Its directory.
    pub(crate) directory_url: String,
    /// What its own TLS is to be trusted by.
    pub(crate) ca_file: PathBuf,
    /// Its management interface, without a path.
    pub(crate) management_url: String,
    /// How it was started.
    pub(crate) options: Options,
    /// Whom it asks for names, when the test brought no server.
    pub(crate) dns: Option<Dns>,
    server: Server,
}

impl Pebble {
    /// The external account that it knows, and its key.
    pub(crate) const EAB_KID: &str = "kid-1";
    pub(crate) const EAB_HMAC: &str =
        "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

    /// Starts one in a directory of `env`; `None` after saying that the test is
    /// skipped. Returns once it answers.
    #[track_caller]
    pub(crate) fn start(env: &TestEnv, options: Options) -> Option<Self> {
        let pebble = tool("pebble")?;
        let (acme, management) = (free_port(), free_port());
        let dir = format!("pebble-{acme}");
        let ca_file = tls_pair(env, &dir);
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{acme}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": env.path(&dir).join("leaf.pem"),
            "privateKey": env.path(&dir).join("leaf.key"),
            "httpPort": options.http_port,
            "tlsPort": options.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": options.eab,
            "externalAccountMACKeys": { Self::EAB_KID: Self::EAB_HMAC },
            // Of one label: Pebble panics on names shorter than an entry.
            "domainBlocklist": ["blocked"],
            "certificateValidityPeriod": options.validity,
            // Newer Pebbles read these instead.
            "retryAfter": { "authz": 1, "order": 1 },
            "profiles": {
                "default": { "description": "default", "validityPeriod": options.validity }
            },
        }});
        let config = env.write(format!("{dir}/pebble.json"), config.to_string());
        let dns = options.dns_server.is_none().then(Dns::start);
        let resolver = options
            .dns_server
            .or_else(|| dns.as_ref().map(|dns| dns.address));
        let mut run = env
            .command(pebble, ["-config"])
            .arg(config)
            .args(["-strict=false", "-dnsserver"])
            .arg(resolver.unwrap().to_string())
            // It logs on standard output.
            .under(["/bin/sh", "-c", "exec \"$@\" >&2", "sh"])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", options.nonce_reject.to_string())
            .env("PEBBLE_AUTHZREUSE", "0");
        for (name, value) in &options.env {
            run = run.env(name, value);
        }
        let mut server = run.spawn();
        server.await_line("ACME directory available");
        // It says so just before it listens.
        await_port(acme);
        await_port(management);
        Some(Self {
            directory_url: format!("https://localhost:{acme}/dir"),
            management_url: format!("https://localhost:{management}"),
            ca_file,
            options,
            dns,
            server,
        })
    }

    /// The root that it issues under, as PEM; another one at every start.
    pub(crate) fn root(&self, env: &TestEnv) -> String {
        self.get(env, &format!("{}/roots/0", self.management_url))
    }

    /// What `curl` gets from a URL of its own.
    pub(crate) fn get(&self, env: &TestEnv, url: &str) -> String {
        let curl = tool("curl").expect("Debian's pebble comes with curl in every setup here");
        let out = env
            .command(curl, ["-sSf", "--max-time", "50", "--cacert"])
            .arg(&self.ca_file)
            .arg(url)
            .run();
        out.success().stdout().to_owned()
    }

    /// Its log so far.
    pub(crate) fn log(&mut self) -> &str {
        self.server.said()
    }

    /// How many orders it has had.
    pub(crate) fn orders(&mut self) -> usize {
        self.log().matches("Added order").count()
    }

    /// Stops it, or has it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }

    /// Waits for a line of its log.
    #[track_caller]
    pub(crate) fn await_line(&mut self, needle: &str) -> String {
        self.server.await_line(needle)
    }
}

/// A port of this machine that nothing listens on, and that the system gives to
/// nobody who asks for any port.
pub(crate) fn free_port() -> u16 {
    /// Below Linux's range of ephemeral ports.
    const RANGE: std::ops::Range<u16> = 10_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Tests of other processes begin elsewhere.
        let start = std::process::id() % 2000 * 11;
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let size = u32::from(RANGE.end - RANGE.start);
        let port = RANGE.start + u16::try_from((start + step) % size).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn await_port(port: u16) {
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < until, "nothing listens on port {port}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A CA and a certificate for `localhost` in `dir`; returns the CA's path.
fn tls_pair(env: &TestEnv, dir: &str) -> PathBuf {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Directory CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    env.write(format!("{dir}/leaf.pem"), leaf.pem());
    env.write(format!("{dir}/leaf.key"), key.serialize_pem());
    env.write(format!("{dir}/ca.pem"), ca.pem())
}
