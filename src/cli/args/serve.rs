//! `certmint serve-…`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::{PassphraseArgs, RegistrationArgs, Span};
use crate::cli::values;
use crate::identifier::Identifier;
use crate::issuer::{ChallengeKind, Directory};
use crate::key::KeyType;
use crate::settings::{ListenAddr, Upstream};

/// What is served.
#[derive(Debug, Args)]
pub(in crate::cli) struct ContentArgs {
    /// Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`
    #[arg(long, value_name = "URL", conflicts_with = "root", value_parser = values::upstream)]
    pub(in crate::cli) upstream: Option<Upstream>,
    /// Serve the files below DIR [default: a page that shows the connection's certificate]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeCaArgs {
    /// Names to serve; the first gives the certificate its id
    #[arg(value_name = "NAME", required = true, value_parser = values::identifier)]
    pub(in crate::cli) names: Vec<Identifier>,
    /// Make the CA first when there is none
    #[arg(long)]
    pub(in crate::cli) init: bool,
    /// Address to serve https on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443", value_parser = values::listen)]
    pub(in crate::cli) https: ListenAddr,
    /// Life of the certificate in days
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=825))]
    pub(in crate::cli) days: u32,
    /// Kind of key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096
    #[arg(long, value_name = "TYPE", default_value = "p256", value_parser = values::key_type)]
    pub(in crate::cli) key_type: KeyType,
    #[command(flatten)]
    pub(in crate::cli) content: ContentArgs,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeAcmeArgs {
    /// Names to serve, all in one certificate; the first gives it its id
    #[arg(value_name = "NAME", required = true, value_parser = values::identifier)]
    pub(in crate::cli) names: Vec<Identifier>,
    /// Address to serve https on, and to answer tls-alpn-01 on
    #[arg(long, value_name = "ADDR", default_value = "[::]:443", value_parser = values::listen)]
    pub(in crate::cli) https: ListenAddr,
    /// Address to answer http-01 on, and to send clients to https from; or `off`
    #[arg(long, value_name = "ADDR", default_value = "[::]:80")]
    pub(in crate::cli) http: Beside,
    /// Address that answers /health and /ready in plain http; or `off`
    #[arg(long, value_name = "ADDR", default_value = "off")]
    pub(in crate::cli) admin: Beside,
    /// Keep the certificate in DIR instead of the state directory; the account stays there
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) cache_dir: Option<PathBuf>,
    /// How long a start without a valid certificate may take
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = values::duration)]
    pub(in crate::cli) start_timeout: Span,
    /// Kind of key: p256, p384, rsa2048, rsa3072, rsa4096; some CAs take p521 and ed25519
    #[arg(long, value_name = "TYPE", default_value = "p256", value_parser = values::key_type)]
    pub(in crate::cli) key_type: KeyType,
    #[command(flatten)]
    pub(in crate::cli) content: ContentArgs,
    #[command(flatten)]
    pub(in crate::cli) ca: PublicCaArgs,
    #[command(flatten)]
    pub(in crate::cli) account: RegistrationArgs,
    #[command(flatten)]
    pub(in crate::cli) proof: PublicProofArgs,
}

/// An address to listen on beside the main one, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Beside(pub(in crate::cli) Option<ListenAddr>);

impl FromStr for Beside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => values::listen(text)
                .map(|address| Self(Some(address)))
                .map_err(|error| format!("{error}, or `off`")),
        }
    }
}

/// Which public CA issues, and what.
#[derive(Debug, Args)]
#[command(next_help_heading = "CA")]
pub(in crate::cli) struct PublicCaArgs {
    /// The CA: letsencrypt, letsencrypt-staging, zerossl, google, or the https URL of its
    /// directory
    #[arg(long, value_name = "DIRECTORY", value_parser = values::directory)]
    pub(in crate::cli) directory: Directory,
    /// Trust the directory's own TLS by the roots in FILE, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca_file: Option<PathBuf>,
    /// A second CA, asked when the first issues nothing
    #[arg(long, value_name = "DIRECTORY", value_parser = values::directory)]
    pub(in crate::cli) fallback: Option<Directory>,
    /// One of the CA's profiles
    #[arg(long, value_name = "PROFILE")]
    pub(in crate::cli) profile: Option<String>,
    /// Prefer a chain that holds an issuer with this common name
    #[arg(long, value_name = "CN")]
    pub(in crate::cli) preferred_chain: Option<String>,
}

/// How control over the names is shown, besides by the ports that are served on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Control over the names")]
pub(in crate::cli) struct PublicProofArgs {
    /// http-01, tls-alpn-01 or dns-01 [default: dns-01 with --dns, http-01 with --webroot, else
    /// tls-alpn-01 and then http-01]
    #[arg(long, value_name = "KIND", value_parser = values::challenge)]
    pub(in crate::cli) challenge: Option<ChallengeKind>,
    /// Leave answering http-01 to the web server that serves the files in DIR
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) webroot: Option<PathBuf>,
    /// Show control by dns-01 with the table `[dns.CREDENTIAL]` of --dns-file
    #[arg(long, value_name = "CREDENTIAL")]
    pub(in crate::cli) dns: Option<String>,
    /// File with DNS credentials: tables `[dns.NAME]` with `provider = "rfc2136"`, say; if it has
    /// only one, --dns can be left out
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) dns_file: Option<PathBuf>,
    /// Ask this name server where the zones are, instead of the system's
    #[arg(long, value_name = "ADDR", value_parser = values::name_server)]
    pub(in crate::cli) dns_server: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeCustomArgs {
    /// The certificate with its intermediates, PEM
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) cert: PathBuf,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: PathBuf,
    /// Address to serve https on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443", value_parser = values::listen)]
    pub(in crate::cli) https: ListenAddr,
    #[command(flatten)]
    pub(in crate::cli) content: ContentArgs,
    /// Passphrase of the key: FILE's first line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeInsecureArgs {
    /// Address to serve http on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = values::listen)]
    pub(in crate::cli) http: ListenAddr,
    /// Allow an address that others can reach
    #[arg(long)]
    pub(in crate::cli) allow_remote: bool,
    #[command(flatten)]
    pub(in crate::cli) content: ContentArgs,
}
