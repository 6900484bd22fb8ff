//! `certmint serve-…`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, ValueEnum};
use ipnet::IpNet;

use super::{AskedOfCaArgs, ElsewhereArgs, OnDemandArgs, PassphraseArgs, RegistrationArgs, Span};
use crate::cli::values;
use crate::identifier::Identifier;
use crate::issuer::{ChallengeKind, Directory};
use crate::key::KeyType;
use crate::settings::{
    ByteSize, ClientFingerprint, Hsts, Limit, ListenAddr, LogTarget, Rate, Upstream,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeArgs {
    /// File with a table `[[listener]]` for each listener, whose keys are the flags of the
    /// command `serve-…` that `mode` names
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) config: PathBuf,
    /// Say everything that is wrong with the file, and serve nothing
    #[arg(long)]
    pub(in crate::cli) check_config: bool,
    #[command(flatten)]
    pub(in crate::cli) operation: OperationArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeCaArgs {
    /// Make the CA first when there is none
    #[arg(long)]
    pub(in crate::cli) init: bool,
    #[command(flatten)]
    pub(in crate::cli) listener: CaListenerArgs,
    #[command(flatten)]
    pub(in crate::cli) operation: OperationArgs,
}

/// A listener of `serve-ca`, or of a file.
#[derive(Debug, Args)]
#[command(group(needs("a name", &["names", "on_demand"])))]
pub(in crate::cli) struct CaListenerArgs {
    /// Names to serve; the first gives the certificate its id
    #[arg(value_name = "NAME", value_parser = values::identifier)]
    pub(in crate::cli) names: Vec<Identifier>,
    /// Address to serve https on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443", value_parser = values::listen)]
    pub(in crate::cli) https: ListenAddr,
    /// Address to send clients to https from; or `off`
    #[arg(long, value_name = "ADDR", default_value = "off")]
    pub(in crate::cli) http: Beside,
    /// Life of the certificate in days
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=825))]
    pub(in crate::cli) days: u32,
    /// Kind of key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096
    #[arg(long, value_name = "TYPE", default_value = "p256", value_parser = values::key_type)]
    pub(in crate::cli) key_type: KeyType,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
    #[command(flatten)]
    pub(in crate::cli) on_demand: OnDemandArgs,
    #[command(flatten)]
    pub(in crate::cli) site: SiteArgs,
    #[command(flatten)]
    pub(in crate::cli) tls: TlsArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeAcmeArgs {
    #[command(flatten)]
    pub(in crate::cli) listener: AcmeListenerArgs,
    #[command(flatten)]
    pub(in crate::cli) operation: OperationArgs,
}

/// A listener of `serve-acme`, or of a file.
#[derive(Debug, Args)]
#[command(group(needs("a name", &["names", "on_demand"])))]
pub(in crate::cli) struct AcmeListenerArgs {
    /// Names to serve, all in one certificate; the first gives it its id
    #[arg(value_name = "NAME", value_parser = values::identifier)]
    pub(in crate::cli) names: Vec<Identifier>,
    /// Address to serve https on, and to answer tls-alpn-01 on
    #[arg(long, value_name = "ADDR", default_value = "[::]:443", value_parser = values::listen)]
    pub(in crate::cli) https: ListenAddr,
    /// Address to answer http-01 on, and to send clients to https from; or `off`
    #[arg(long, value_name = "ADDR", default_value = "[::]:80")]
    pub(in crate::cli) http: Beside,
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
    pub(in crate::cli) ca: PublicCaArgs,
    #[command(flatten)]
    pub(in crate::cli) account: RegistrationArgs,
    #[command(flatten)]
    pub(in crate::cli) proof: PublicProofArgs,
    #[command(flatten)]
    pub(in crate::cli) on_demand: OnDemandArgs,
    #[command(flatten)]
    pub(in crate::cli) site: SiteArgs,
    #[command(flatten)]
    pub(in crate::cli) tls: TlsArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeCustomArgs {
    #[command(flatten)]
    pub(in crate::cli) listener: CustomListenerArgs,
    #[command(flatten)]
    pub(in crate::cli) operation: OperationArgs,
}

/// A listener of `serve-custom`, or of a file.
#[derive(Debug, Args)]
#[command(
    group(needs("a certificate", &["cert", "raw_key", "self_signed"])),
    group(needs("a key", &["key", "raw_key", "self_signed"])),
)]
pub(in crate::cli) struct CustomListenerArgs {
    /// The certificate with its intermediates, PEM
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: Option<PathBuf>,
    /// No certificate, but this Ed25519 key, PEM, for clients that know it (RFC 7250)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cert", "key", "self_signed"])]
    pub(in crate::cli) raw_key: Option<PathBuf>,
    /// A certificate for NAME that nobody vouches for, made now and never written: to try
    /// things out; can be given again
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cert", "key"], value_parser = values::identifier)]
    pub(in crate::cli) self_signed: Vec<Identifier>,
    /// Passphrase of the key: FILE's first line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) passphrase_file: Option<PathBuf>,
    /// Address to serve https on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443", value_parser = values::listen)]
    pub(in crate::cli) https: ListenAddr,
    /// Address to send clients to https from; or `off`
    #[arg(long, value_name = "ADDR", default_value = "off")]
    pub(in crate::cli) http: Beside,
    #[command(flatten)]
    pub(in crate::cli) site: SiteArgs,
    #[command(flatten)]
    pub(in crate::cli) tls: TlsArgs,
}

/// One of `args` has to be given.
fn needs(what: &'static str, args: &'static [&'static str]) -> ArgGroup {
    ArgGroup::new(what).args(args).required(true).multiple(true)
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeInsecureArgs {
    #[command(flatten)]
    pub(in crate::cli) listener: InsecureListenerArgs,
    #[command(flatten)]
    pub(in crate::cli) operation: OperationArgs,
}

/// A listener of `serve-insecure`, or of a file.
#[derive(Debug, Args)]
pub(in crate::cli) struct InsecureListenerArgs {
    /// Address to serve http on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = values::listen)]
    pub(in crate::cli) http: ListenAddr,
    /// Allow an address that others can reach
    #[arg(long)]
    pub(in crate::cli) allow_remote: bool,
    #[command(flatten)]
    pub(in crate::cli) site: SiteArgs,
}

/// What every listener has, with TLS or without.
#[derive(Debug, Args)]
pub(in crate::cli) struct SiteArgs {
    #[command(flatten)]
    pub(in crate::cli) content: ContentArgs,
    #[command(flatten)]
    pub(in crate::cli) limits: LimitArgs,
    #[command(flatten)]
    pub(in crate::cli) upstream: UpstreamLimitArgs,
}

/// What is served.
#[derive(Debug, Args)]
#[command(next_help_heading = "Content")]
pub(in crate::cli) struct ContentArgs {
    /// Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`; repeatable:
    /// each goes to the one with the fewest at the time
    #[arg(long, value_name = "URL", conflicts_with = "root", value_parser = values::setting::<Upstream>)]
    pub(in crate::cli) upstream: Vec<Upstream>,
    /// Verify https upstreams by the roots in FILE, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) upstream_ca: Option<PathBuf>,
    /// Pass on what proxies in this network say of their clients (`X-Forwarded-*`, `Forwarded`);
    /// repeatable or with commas
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', value_parser = values::network)]
    pub(in crate::cli) trusted_proxy: Vec<IpNet>,
    /// Serve the files below DIR [default: a page that shows the connection's certificate]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) root: Option<PathBuf>,
    /// Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe
    /// it; repeatable or with commas
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', value_parser = values::network)]
    pub(in crate::cli) proxy_protocol_from: Vec<IpNet>,
}

/// How much of what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(in crate::cli) struct LimitArgs {
    /// Longest body of a request, such as 100MiB; a longer one is answered with 413 [default:
    /// 100MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::setting::<ByteSize>)]
    pub(in crate::cli) max_body: Option<ByteSize>,
    /// Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are
    /// answered with 429 [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = values::setting::<Rate>)]
    pub(in crate::cli) rate_limit: Option<Rate>,
    /// Connections at the same time; more wait [default: 16384]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MOST_CONNECTIONS))]
    pub(in crate::cli) max_connections: Option<u32>,
    /// Connections at the same time of one client; more are closed [default: 4096]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MOST_CONNECTIONS))]
    pub(in crate::cli) max_connections_per_client: Option<u32>,
    /// For the header of a request [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = values::setting::<Limit>)]
    pub(in crate::cli) header_timeout: Option<Limit>,
    /// For a connection without a request [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = values::setting::<Limit>)]
    pub(in crate::cli) idle_timeout: Option<Limit>,
    /// For a transfer that stands still [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = values::setting::<Limit>)]
    pub(in crate::cli) stall_timeout: Option<Limit>,
    /// For requests in flight when the server stops [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = values::setting::<Limit>)]
    pub(in crate::cli) drain_timeout: Option<Limit>,
}

/// How long upstreams may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(in crate::cli) struct UpstreamLimitArgs {
    /// To connect to the upstream [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = values::setting::<Limit>)]
    pub(in crate::cli) upstream_connect_timeout: Option<Limit>,
    /// For the upstream to begin its answer [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = values::setting::<Limit>)]
    pub(in crate::cli) upstream_answer_timeout: Option<Limit>,
}

/// More than any machine has descriptors for.
const MOST_CONNECTIONS: i64 = 100_000_000;

/// What TLS asks of clients and tells them.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(in crate::cli) struct TlsArgs {
    /// For the TLS handshake [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = values::setting::<Limit>)]
    pub(in crate::cli) handshake_timeout: Option<Limit>,
    /// Tell clients to use https alone for this long: `365d`, or `365d include-subdomains`
    #[arg(long, value_name = "DURATION", value_parser = values::setting::<Hsts>)]
    pub(in crate::cli) hsts: Option<Hsts>,
    /// How clients show who they are [default: they need not]
    #[arg(long, value_name = "HOW")]
    pub(in crate::cli) client_auth: Option<ClientAuthKind>,
    /// Authorities whose client certificates are taken, PEM
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) client_ca: Option<PathBuf>,
    /// Revocation list of such an authority, PEM or DER; repeatable
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) crl: Vec<PathBuf>,
    /// A client's certificate (`SHA256:…`) or raw public key (`ed25519:…`); repeatable or with
    /// commas
    #[arg(long, value_name = "FINGERPRINT", value_delimiter = ',', value_parser = values::setting::<ClientFingerprint>)]
    pub(in crate::cli) allow_fingerprint: Vec<ClientFingerprint>,
}

/// `--client-auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ClientAuthKind {
    /// By a certificate of the client CA; others are refused.
    Require,
    /// By a certificate of the client CA, or not at all.
    Request,
    /// By a certificate or raw public key with an allowed fingerprint.
    Fingerprint,
}

/// What concerns a server as a whole.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Operation")]
pub(in crate::cli) struct OperationArgs {
    /// Address that answers /health, /ready and /metrics in plain http; or `off` [default: off]
    #[arg(long, value_name = "ADDR")]
    pub(in crate::cli) admin: Option<Beside>,
    /// Unix socket for those who may reload it and ask how it is
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) admin_socket: Option<PathBuf>,
    /// Write a line for each request to `stdout`, `stderr` or a file
    #[arg(long, value_name = "TARGET", value_parser = values::setting::<LogTarget>)]
    pub(in crate::cli) access_log: Option<LogTarget>,
    /// Write a line of JSON for each event to `stdout`, `stderr` or a file
    #[arg(long, value_name = "TARGET", value_parser = values::setting::<LogTarget>)]
    pub(in crate::cli) events: Option<LogTarget>,
    /// Go on as this user once the ports are bound
    #[arg(long, value_name = "USER")]
    pub(in crate::cli) user: Option<String>,
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
    #[command(flatten)]
    pub(in crate::cli) asked: AskedOfCaArgs,
}

/// How control over the names is shown, besides by the ports that are served on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Control over the names")]
pub(in crate::cli) struct PublicProofArgs {
    /// http-01, tls-alpn-01 or dns-01 [default: dns-01 with --dns, http-01 with --webroot, else
    /// tls-alpn-01 and then http-01]
    #[arg(long, value_name = "KIND", value_parser = values::challenge)]
    pub(in crate::cli) challenge: Option<ChallengeKind>,
    #[command(flatten)]
    pub(in crate::cli) elsewhere: ElsewhereArgs,
}

/// What stands above the listeners of a file.
#[derive(Debug, Args)]
pub(in crate::cli) struct FileArgs {
    /// State directory
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) home: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) operation: OperationArgs,
}
