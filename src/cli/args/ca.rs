//! `certmint ca …`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use url::Url;

use super::{
    Beside, CopyArgs, FailOnArgs, LimitArgs, OperationArgs, PassphraseArgs, Span, TlsArgs,
};
use crate::cli::values;
use crate::directory::Profile;
use crate::identifier::{CertId, DnsName, Identifier, Subtree};
use crate::issuer::Usage;
use crate::key::KeyType;
use crate::pki::ledger::Reason;
use crate::pki::{CaName, Country, CrlUrl, Organization, Publication};
use crate::settings::ListenAddr;
use crate::trust::StoreKind;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CaCommand {
    /// Make a root and an intermediate in one go
    Init(InitArgs),
    /// Show the hierarchy and everything issued, worst first
    Status(StatusArgs),
    /// Issue certificates for names, with new keys
    Issue(IssueArgs),
    /// Issue a certificate for a certificate signing request
    Sign(SignArgs),
    /// List the certificates ever issued, soonest to expire first
    List(ListArgs),
    /// Revoke a certificate and sign a fresh CRL
    Revoke(RevokeArgs),
    /// Sign a fresh CRL
    Crl(CrlArgs),
    /// Replace the intermediate or the root, without breaking clients
    #[command(subcommand)]
    Rotate(RotateCommand),
    /// Install the root where programs look for trusted roots
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Be an ACME server: whoever shows control over permitted names obtains certificates
    Serve(Box<DirectoryArgs>),
    /// External account keys, by which the ACME server knows whom it serves
    #[command(subcommand)]
    Eab(EabCommand),
    /// Accounts of the ACME server: who has one, and who may have it no more
    #[command(subcommand)]
    Account(CaAccountCommand),
    /// Copy the CA and its certificates into one archive, while it runs
    Backup(BackupArgs),
    /// Bring a CA back from an archive
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InitArgs {
    /// Name of the CA, as it stands in its certificates [default: the host's name and "CA"]
    #[arg(long, value_parser = values::ca_text::<CaName>)]
    pub(in crate::cli) name: Option<CaName>,
    /// Organisation in the subjects [default: the CA's name]
    #[arg(long, value_name = "ORGANISATION", value_parser = values::ca_text::<Organization>)]
    pub(in crate::cli) org: Option<Organization>,
    /// Country in the subjects, two letters
    #[arg(long, value_name = "CC", value_parser = values::ca_text::<Country>)]
    pub(in crate::cli) country: Option<Country>,
    /// Key type of root and intermediate: p256, p384, ed25519, rsa3072, rsa4096
    #[arg(long, value_name = "TYPE", default_value = "p256", value_parser = values::ca_key_type)]
    pub(in crate::cli) key_type: KeyType,
    /// Life of the root in days
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(in crate::cli) root_days: u32,
    /// Life of the intermediate in days
    #[arg(long, value_name = "DAYS", default_value_t = 1095, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(in crate::cli) intermediate_days: u32,
    /// Constrain the CA to these domains and address ranges; repeatable or with commas
    #[arg(long, value_name = "NAME|RANGE", value_delimiter = ',', value_parser = values::subtree)]
    pub(in crate::cli) permit: Vec<Subtree>,
    /// Where the CRLs are published, for certificates that live over 7 days: a plain http
    /// directory, under which each issuer's list is `<issuer>.crl`
    #[arg(long, value_name = "URL", value_parser = values::ca_text::<CrlUrl>)]
    pub(in crate::cli) crl_url: Option<CrlUrl>,
    /// Encrypt both keys with the passphrase on FILE's first line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) passphrase_file: Option<PathBuf>,
    /// Encrypt the root key with another passphrase than the intermediate's
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) root_passphrase_file: Option<PathBuf>,
    /// Encrypt both keys and ask for the passphrase on the terminal
    #[arg(long, conflicts_with_all = ["passphrase_file", "root_passphrase_file"])]
    pub(in crate::cli) encrypt: bool,
    /// Put the root key into DIR (a removable disk, say) and not into the state directory
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) root_out: Option<PathBuf>,
    /// Do nothing when there is a CA already
    #[arg(long, conflicts_with = "force")]
    pub(in crate::cli) if_missing: bool,
    /// Replace the CA; the old one is moved to backup/
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusArgs {
    /// Count a certificate as due when it expires within N days, whatever its life
    #[arg(long, value_name = "N")]
    pub(in crate::cli) days: Option<u32>,
    /// Show every certificate, also a thousand healthy ones
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Print the status as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) fail_on: FailOnArgs,
}

/// What the certificate is for; server when nothing is said.
#[derive(Debug, Args)]
pub(in crate::cli) struct UsageArgs {
    /// For a client (mTLS) rather than a server
    #[arg(long, conflicts_with = "both")]
    pub(in crate::cli) client: bool,
    /// For a client and a server
    #[arg(long)]
    pub(in crate::cli) both: bool,
}

impl UsageArgs {
    pub(in crate::cli) fn usage(&self) -> Usage {
        match (self.client, self.both) {
            (_, true) => Usage::Both,
            (true, false) => Usage::Client,
            (false, false) => Usage::Server,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct IssueArgs {
    /// DNS names, wildcards, IP addresses, e-mail addresses or URIs; the first gives the id
    #[arg(value_name = "NAME", value_parser = values::identifier)]
    pub(in crate::cli) names: Vec<Identifier>,
    /// Issue one certificate for each line of FILE: `name[,name…]`; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "id", "csr_only", "p12"])]
    pub(in crate::cli) from: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) usage: UsageArgs,
    /// Life in days, at most 825 [default: 90]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=825))]
    pub(in crate::cli) days: Option<u32>,
    /// Kind of key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096
    #[arg(long, value_name = "TYPE", default_value = "p256", value_parser = values::key_type)]
    pub(in crate::cli) key_type: KeyType,
    /// Keep it under this id instead of the first name
    #[arg(long, value_parser = values::cert_id)]
    pub(in crate::cli) id: Option<CertId>,
    #[command(flatten)]
    pub(in crate::cli) copies: CopyArgs,
    /// Also write key and chain as PKCS#12 to FILE
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) p12: Option<PathBuf>,
    /// Passphrase of the PKCS#12 file: FILE's first line; asked for on a terminal when not given
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) p12_passphrase_file: Option<PathBuf>,
    /// Renew with the same key instead of a new one
    #[arg(long)]
    pub(in crate::cli) reuse_key: bool,
    /// Command to run after each renewal, split like a shell line but run without a shell
    #[arg(long, value_name = "CMD", value_parser = values::command_line)]
    pub(in crate::cli) deploy_hook: Option<String>,
    /// Only make a key and a signing request, in the directory of --out; nothing is issued
    #[arg(long, conflicts_with_all = ["p12", "reuse_key", "deploy_hook"])]
    pub(in crate::cli) csr_only: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SignArgs {
    /// The request, PEM or DER; `-` is standard input
    #[arg(value_name = "CSR")]
    pub(in crate::cli) csr: PathBuf,
    /// Issue for these names instead of those in the request; repeatable or with commas
    #[arg(long = "name", value_name = "NAME", value_delimiter = ',', value_parser = values::identifier)]
    pub(in crate::cli) names: Vec<Identifier>,
    #[command(flatten)]
    pub(in crate::cli) usage: UsageArgs,
    /// Life in days, at most 825 [default: 90]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=825))]
    pub(in crate::cli) days: Option<u32>,
    /// Write the chain to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Only what expires within this time, such as `30d`
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(in crate::cli) expiring: Option<Span>,
    /// Only what was revoked
    #[arg(long)]
    pub(in crate::cli) revoked: bool,
    /// Only certificates with a name like this; `*` and `?` stand for any characters
    #[arg(long, value_name = "GLOB")]
    pub(in crate::cli) name: Option<String>,
    /// Also what has expired
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// At most N rows
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<u64>,
    /// Print the list as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RevokeArgs {
    /// A serial number in hex, or an id or name, which means all its valid certificates
    #[arg(value_name = "NAME|SERIAL")]
    pub(in crate::cli) target: String,
    /// Why (RFC 5280 §5.3.1): unspecified, keyCompromise, affiliationChanged, superseded,
    /// cessationOfOperation, privilegeWithdrawn
    #[arg(long, default_value = "unspecified", value_parser = values::reason)]
    pub(in crate::cli) reason: Reason,
    /// Print the result as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CrlArgs {
    /// Write the CRL to FILE too; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Write DER instead of PEM
    #[arg(long)]
    pub(in crate::cli) der: bool,
    /// Days until the next CRL is due
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub(in crate::cli) days: u32,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RotateCommand {
    /// A new intermediate under the same root
    Intermediate(RotateArgs),
    /// A new root, cross-signed by the old one, and an intermediate under it
    Root(RotateRootArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    /// The root key, when it is kept elsewhere
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) root_key: Option<PathBuf>,
    /// Passphrase of the root key: FILE's first line [default: --passphrase-file]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) root_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateRootArgs {
    #[command(flatten)]
    pub(in crate::cli) rotate: RotateArgs,
    /// End the rotation: stop serving the cross-certificate and drop the old root from root.pem
    #[arg(long)]
    pub(in crate::cli) finish: bool,
    /// End it although certificates that are valid have only the old root above them
    #[arg(long, requires = "finish")]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TrustCommand {
    /// Install the root
    Install(TrustArgs),
    /// Remove every root that certmint installed for this CA
    Uninstall(TrustArgs),
    /// Say where the root is trusted
    Status(TrustStatusArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TrustArgs {
    #[command(flatten)]
    pub(in crate::cli) stores: StoreArgs,
    /// Say what would be done without doing it
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TrustStatusArgs {
    #[command(flatten)]
    pub(in crate::cli) stores: StoreArgs,
    /// Print the status as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StoreArgs {
    /// Trust stores: system, nss, java; repeatable or with commas [default: all that are there]
    #[arg(long = "store", value_name = "STORE", value_delimiter = ',', value_parser = values::store_kind)]
    pub(in crate::cli) stores: Vec<StoreKind>,
    /// Root directory of the system to change
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(in crate::cli) sysroot: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DirectoryArgs {
    /// Names of the directory itself; the first stands in its URLs [default: localhost, 127.0.0.1
    /// and ::1, as far as the CA permits them]
    #[arg(value_name = "NAME", value_parser = values::identifier)]
    pub(in crate::cli) names: Vec<Identifier>,
    /// Address to answer ACME clients on, at /directory; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9443", value_parser = values::listen)]
    pub(in crate::cli) https: ListenAddr,
    /// Address to publish the CRLs, the issuers' certificates and the roots on; or `off`
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9080")]
    pub(in crate::cli) http: Beside,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
    #[command(flatten)]
    pub(in crate::cli) policy: DirectoryPolicyArgs,
    #[command(flatten)]
    pub(in crate::cli) said: DirectorySaidArgs,
    #[command(flatten)]
    pub(in crate::cli) validation: ValidationArgs,
    #[command(flatten)]
    pub(in crate::cli) quotas: QuotaArgs,
    #[command(flatten)]
    pub(in crate::cli) limits: LimitArgs,
    #[command(flatten)]
    pub(in crate::cli) tls: TlsArgs,
    #[command(flatten)]
    pub(in crate::cli) operation: OperationArgs,
}

/// Who obtains what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Policy")]
pub(in crate::cli) struct DirectoryPolicyArgs {
    /// Issue for these domains, with all below them, and address ranges, within the CA's own
    /// constraints; repeatable or with commas [default: the CA's own constraints]
    #[arg(long, value_name = "NAME|RANGE", value_delimiter = ',', value_parser = values::subtree)]
    pub(in crate::cli) permit: Vec<Subtree>,
    /// Issue for any name over which control is shown, although the CA has no constraints
    #[arg(long, conflicts_with = "permit")]
    pub(in crate::cli) permit_any: bool,
    /// Serve only accounts that are bound to a key of `ca eab add`
    #[arg(long)]
    pub(in crate::cli) require_eab: bool,
    /// Life of a certificate in days when its order says nothing (profile `default`)
    #[arg(long, value_name = "DAYS", default_value_t = Profile::DAYS, value_parser = clap::value_parser!(u32).range(1..=825))]
    pub(in crate::cli) days: u32,
}

/// What the directory says about itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Directory")]
pub(in crate::cli) struct DirectorySaidArgs {
    /// What its URLs begin with, when clients reach it in another way than it is served
    /// [default: https and the host that the client asks for]
    #[arg(long, value_name = "URL", value_parser = values::origin)]
    pub(in crate::cli) public_url: Option<Url>,
    /// Where clients of certificates find the CRLs and the issuers, in certificates that live over
    /// 7 days [default: http, the first NAME and the port of --http]
    #[arg(long, value_name = "URL", value_parser = values::ca_text::<Publication>)]
    pub(in crate::cli) publish_url: Option<Publication>,
    /// Terms of service that accounts have to agree to
    #[arg(long, value_name = "URL", value_parser = values::page)]
    pub(in crate::cli) terms_of_service: Option<Url>,
    /// A page about this CA
    #[arg(long, value_name = "URL", value_parser = values::page)]
    pub(in crate::cli) website: Option<Url>,
    /// Name of this CA in CAA records, which are looked at then; repeatable or with commas
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', value_parser = values::domain)]
    pub(in crate::cli) caa_identity: Vec<DnsName>,
}

/// How the directory looks whether a client controls a name.
#[derive(Debug, Args)]
#[command(next_help_heading = "Validation")]
pub(in crate::cli) struct ValidationArgs {
    /// Port to look at http-01 on
    #[arg(long, value_name = "PORT", default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..))]
    pub(in crate::cli) http01_port: u16,
    /// Port to look at tls-alpn-01 on
    #[arg(long, value_name = "PORT", default_value_t = 443, value_parser = clap::value_parser!(u16).range(1..))]
    pub(in crate::cli) tls_alpn01_port: u16,
    /// Connect to loopback and link-local addresses as well
    #[arg(long)]
    pub(in crate::cli) allow_loopback: bool,
    /// Name server to ask [default: the system's]
    #[arg(long, value_name = "ADDR", value_parser = values::name_server)]
    pub(in crate::cli) dns_server: Option<SocketAddr>,
}

/// How much the directory does for whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Quotas")]
pub(in crate::cli) struct QuotaArgs {
    /// New accounts of one client (an IPv4 address, an IPv6 /64) in an hour; more are answered
    /// with 429 [default: 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_accounts_per_client: Option<u32>,
    /// New orders of one account in an hour, each counted once for each of its names
    /// [default: 3000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_orders_per_account: Option<u32>,
    /// New orders of one client, whatever its accounts, in an hour, each counted once for
    /// each of its names [default: 10000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_orders_per_client: Option<u32>,
    /// Unfinished orders of one account [default: 300]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_open_orders: Option<u32>,
    /// Failed validations of one account and name in an hour [default: 20]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_failures_per_name: Option<u32>,
    /// Certificates for one name in an hour; renewals that are due count apart [default: 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_certificates_per_name: Option<u32>,
    /// Validations at the same time [default: 256]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_validations: Option<u32>,
    /// Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe
    /// it; repeatable or with commas
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', value_parser = values::network)]
    pub(in crate::cli) proxy_protocol_from: Vec<IpNet>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum EabCommand {
    /// Make a key, and show it once
    Add(EabAddArgs),
    /// List the keys, without their secrets
    List(EabListArgs),
    /// Revoke a key: it binds no account, and the one that it binds may order no more
    Remove(EabRemoveArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EabAddArgs {
    /// The account may order for these domains, with all below them, and address ranges;
    /// repeatable or with commas [default: what the directory issues to others]
    #[arg(long, value_name = "NAME|RANGE", value_delimiter = ',', value_parser = values::subtree)]
    pub(in crate::cli) permit: Vec<Subtree>,
    /// Believe the account that it controls these names, for machines that the directory cannot
    /// reach
    #[arg(long, requires = "permit")]
    pub(in crate::cli) skip_validation: bool,
    /// Print the key as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EabListArgs {
    /// Print the list as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EabRemoveArgs {
    /// The key's id
    #[arg(value_name = "KID", allow_hyphen_values = true)]
    pub(in crate::cli) kid: String,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CaAccountCommand {
    /// List the accounts, oldest first
    List(CaAccountListArgs),
    /// Shut an account out, for good: from now on each of its requests is refused
    Revoke(CaAccountRevokeArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CaAccountListArgs {
    /// Also those that were deactivated or revoked
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Print the list as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CaAccountRevokeArgs {
    /// The account's id: the last part of its URL
    #[arg(value_name = "ID", allow_hyphen_values = true)]
    pub(in crate::cli) id: String,
    /// Revoke its certificates as well, and sign a fresh CRL
    #[arg(long)]
    pub(in crate::cli) revoke_certificates: bool,
    /// Why its certificates are revoked (RFC 5280 §5.3.1): unspecified, keyCompromise,
    /// affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn
    #[arg(long, default_value = "privilegeWithdrawn", requires = "revoke_certificates", value_parser = values::reason)]
    pub(in crate::cli) reason: Reason,
    /// Print the result as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BackupArgs {
    /// The archive to make (tar, mode 0600); must not exist
    #[arg(value_name = "FILE")]
    pub(in crate::cli) archive: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    /// An archive made by `ca backup`
    #[arg(value_name = "FILE")]
    pub(in crate::cli) archive: PathBuf,
    /// Replace the CA that is there; the old one is moved to backup/
    #[arg(long)]
    pub(in crate::cli) force: bool,
}
