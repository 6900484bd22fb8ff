//! An ACME directory for other people's clients: the private one, or Pebble under
//! `CERTMINT_TEST_DIRECTORY=pebble`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::pebble::{self, Pebble};
use super::{Server, TestEnv, tool};

/// How a directory is to be.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where it looks for http-01 answers.
    pub(crate) http01: u16,
    /// Where it looks for tls-alpn-01 answers.
    pub(crate) tls_alpn01: u16,
    /// Whom it asks for names.
    pub(crate) dns: SocketAddr,
    /// Where a web server, if there is one, finds its files.
    pub(crate) web: PathBuf,
    /// Accounts need an external binding.
    pub(crate) eab: bool,
}

/// A running directory; killed when dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Where a client begins.
    pub(crate) url: String,
    /// What its own TLS is to be trusted by.
    pub(crate) tls_root: PathBuf,
    /// Where CRLs and issuers are, without a path; nowhere with Pebble.
    pub(crate) plain_url: Option<String>,
    /// How it was started.
    pub(crate) options: Options,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Private { _server: Server },
    Pebble(Pebble),
}

impl Directory {
    /// Starts one in `env`, with a CA of its own; `None` after saying that the test is
    /// skipped. Returns once it answers.
    #[track_caller]
    pub(crate) fn start(env: &TestEnv, options: Options) -> Option<Self> {
        tool("openssl")?;
        tool("curl")?;
        tool("nsupdate")?;
        match std::env::var("CERTMINT_TEST_DIRECTORY") {
            Ok(kind) if kind == "pebble" => Self::pebble(env, options),
            _ => Some(Self::private(env, options)),
        }
    }

    fn private(env: &TestEnv, options: Options) -> Self {
        let _ = env
            .certmint(["ca", "init", "--name", "Test"])
            .run()
            .success();
        // The URLs of CRLs stand in certificates: no port that changes is good for them.
        let plain = pebble::free_port();
        let http = format!("127.0.0.1:{plain}");
        let args = ["ca", "serve", "--https", "127.0.0.1:0", "--http", &http];
        let mut run = env
            .certmint(args)
            .args([
                "--admin",
                "off",
                "--permit",
                "test,127.0.0.0/8",
                "--allow-loopback",
            ])
            .args(["--http01-port", &options.http01.to_string()])
            .args(["--tls-alpn01-port", &options.tls_alpn01.to_string()])
            .args(["--dns-server", &options.dns.to_string()]);
        if options.eab {
            run = run.arg("--require-eab");
        }
        let mut server = run.spawn();
        let https = server.await_address("serving https://");
        Self {
            url: format!("https://localhost:{}/directory", https.port()),
            tls_root: env.state().join("ca/root.pem"),
            plain_url: Some(format!("http://localhost:{plain}")),
            options,
            kind: Kind::Private { _server: server },
        }
    }

    fn pebble(env: &TestEnv, options: Options) -> Option<Self> {
        let pebble = Pebble::start(
            env,
            pebble::Options {
                http_port: options.http01,
                tls_port: options.tls_alpn01,
                dns_server: Some(options.dns),
                eab: options.eab,
                ..pebble::Options::default()
            },
        )?;
        Some(Self {
            url: pebble.directory_url.clone(),
            tls_root: pebble.ca_file.clone(),
            plain_url: None,
            options,
            kind: Kind::Pebble(pebble),
        })
    }

    /// The file with the root that it issues under.
    pub(crate) fn root(&self, env: &TestEnv) -> PathBuf {
        match &self.kind {
            Kind::Private { .. } => self.tls_root.clone(),
            Kind::Pebble(pebble) => env.write("pebble-root.pem", pebble.root(env)),
        }
    }

    /// The id and the key of an external account; `more` says what it may have.
    pub(crate) fn eab(&self, env: &TestEnv, more: &[&str]) -> (String, String) {
        match &self.kind {
            Kind::Private { .. } => {
                let out = env.certmint(["ca", "eab", "add", "--json"]).args(more);
                let out = out.run().success();
                let key: serde_json::Value = serde_json::from_str(out.stdout()).unwrap();
                let text = |field: &str| key[field].as_str().unwrap().to_owned();
                (text("kid"), text("hmac_key"))
            }
            Kind::Pebble(_) => (Pebble::EAB_KID.to_owned(), Pebble::EAB_HMAC.to_owned()),
        }
    }

    /// Has the CA itself revoke one; `false` if there is no way to.
    pub(crate) fn revoke(&self, env: &TestEnv, serial: &str) -> bool {
        if matches!(self.kind, Kind::Pebble(_)) {
            return false;
        }
        let _ = env.certmint(["ca", "revoke", serial]).run().success();
        true
    }

    /// Whether the CRL, signed by who issues, has this serial number.
    #[track_caller]
    pub(crate) fn is_revoked(&self, env: &TestEnv, serial: &str) -> bool {
        match &self.kind {
            Kind::Private { .. } => {
                let crl = self.plain(env, "crl/I1.crl");
                let (der, issuer) = (self.plain(env, "issuer/I1.crt"), env.path("tmp/I1.pem"));
                let args = ["x509", "-inform", "DER", "-in"];
                let run = env.command("openssl", args).arg(der).arg("-out");
                let _ = run.arg(&issuer).run().success();
                let args = ["crl", "-inform", "DER", "-noout", "-text", "-in"];
                let out = env.command("openssl", args).arg(crl).arg("-CAfile");
                let out = out.arg(issuer).run().success();
                assert!(out.stderr().contains("verify OK"), "{}", out.stderr());
                let serial = serial.trim_start_matches('0');
                out.stdout().lines().any(|line| {
                    let number = line.trim().strip_prefix("Serial Number: ");
                    number.is_some_and(|number| number.trim_start_matches('0') == serial)
                })
            }
            Kind::Pebble(pebble) => {
                let serial = serial.to_ascii_lowercase();
                let serial = serial.trim_start_matches('0');
                let url = format!("{}/cert-status-by-serial/{serial}", pebble.management_url);
                pebble.get(env, &url).contains("\"Status\":\"Revoked\"")
            }
        }
    }

    /// A file with what curl gets over plain HTTP.
    fn plain(&self, env: &TestEnv, path: &str) -> PathBuf {
        let file = env.path("tmp").join(path.replace('/', "-"));
        let args = ["-sSf", "--max-time", "20", "-o"];
        let run = env.command("curl", args).arg(&file);
        let url = format!("{}/{path}", self.plain_url.as_ref().unwrap());
        let _ = run.arg(url).run().success();
        file
    }
}
