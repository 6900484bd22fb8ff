//! `certmint acme …`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{CopyArgs, PassphraseArgs};
use crate::cli::values;
use crate::identifier::{CertId, EmailAddress, Identifier};
use crate::issuer::{ChallengeKind, Directory};
use crate::key::KeyType;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AcmeCommand {
    /// Obtain a certificate for names, and keep what it takes to renew it
    Issue(Box<AcmeIssueArgs>),
    /// Look after the accounts at CAs: one for each directory
    #[command(subcommand)]
    Account(AccountCommand),
    /// Have a certificate revoked by the CA that issued it
    Revoke(AcmeRevokeArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AcmeIssueArgs {
    /// DNS names, wildcards or IP addresses, all in one certificate; the first gives the id
    #[arg(value_name = "NAME", value_parser = values::identifier)]
    pub(in crate::cli) names: Vec<Identifier>,
    /// Obtain one certificate for each line of FILE, several at a time: `name[,name…]`; `-` is
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "id", "csr"])]
    pub(in crate::cli) from: Option<PathBuf>,
    /// Obtain a certificate for the names and the key of a signing request, PEM or DER; it is
    /// printed or written to --out, and not renewed
    #[arg(long, value_name = "FILE", conflicts_with_all =
        ["names", "id", "reuse_key", "deploy_hook", "force"])]
    pub(in crate::cli) csr: Option<PathBuf>,
    /// Obtain a certificate also when the one there is still good for the same names
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
    #[command(flatten)]
    pub(in crate::cli) ca: IssuingCaArgs,
    #[command(flatten)]
    pub(in crate::cli) account: RegistrationArgs,
    #[command(flatten)]
    pub(in crate::cli) proof: ProofArgs,
    #[command(flatten)]
    pub(in crate::cli) kept: KeptArgs,
    #[command(flatten, next_help_heading = "Copies")]
    pub(in crate::cli) copies: CopyArgs,
}

/// Which CA issues, and what.
#[derive(Debug, Args)]
#[command(next_help_heading = "CA")]
pub(in crate::cli) struct IssuingCaArgs {
    /// The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own), or
    /// the https URL of its directory; without it, the one that NAME's certificate came from, as
    /// it was asked then
    #[arg(long, value_name = "DIRECTORY", value_parser = values::directory)]
    pub(in crate::cli) directory: Option<Directory>,
    #[command(flatten)]
    pub(in crate::cli) asked: AskedOfCaArgs,
}

/// How a CA is asked, whichever it is.
#[derive(Debug, Args)]
pub(in crate::cli) struct AskedOfCaArgs {
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

/// What an account is made with.
#[derive(Debug, Args)]
#[command(next_help_heading = "Account")]
pub(in crate::cli) struct RegistrationArgs {
    /// Where the CA may write to; repeatable or with commas
    #[arg(long = "email", value_name = "EMAIL", value_delimiter = ',', value_parser = values::email)]
    pub(in crate::cli) emails: Vec<EmailAddress>,
    /// Agree to the CA's terms of service, which it is asked for when it has no account yet
    #[arg(long)]
    pub(in crate::cli) agree_tos: bool,
    /// Key id of the external account that the CA requires
    #[arg(long, value_name = "KID")]
    pub(in crate::cli) eab_kid: Option<String>,
    /// File with the external account's HMAC key in base64url, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) eab_hmac_file: Option<PathBuf>,
}

/// How control over the names is shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Control over the names")]
pub(in crate::cli) struct ProofArgs {
    /// http-01, tls-alpn-01 or dns-01 [default: what the other settings here are for, else
    /// tls-alpn-01 and then http-01]
    #[arg(long, value_name = "KIND", value_parser = values::challenge)]
    pub(in crate::cli) challenge: Option<ChallengeKind>,
    /// Answer http-01 here [default: [::]:80; the private CA looks at any port of this machine]
    #[arg(long, value_name = "ADDR", value_parser = values::listen_socket)]
    pub(in crate::cli) http: Option<SocketAddr>,
    /// Answer tls-alpn-01 here [default: [::]:443; the private CA looks at any port of this
    /// machine]
    #[arg(long, value_name = "ADDR", value_parser = values::listen_socket)]
    pub(in crate::cli) https: Option<SocketAddr>,
    #[command(flatten)]
    pub(in crate::cli) elsewhere: ElsewhereArgs,
}

/// How it is shown without a port of ours.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ElsewhereArgs {
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

/// As what the certificate is kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Certificate")]
pub(in crate::cli) struct KeptArgs {
    /// Kind of key: p256, p384, rsa2048, rsa3072, rsa4096; some CAs take p521 and ed25519
    /// [default: p256]
    #[arg(long, value_name = "TYPE", value_parser = values::key_type)]
    pub(in crate::cli) key_type: Option<KeyType>,
    /// Keep it under this id instead of the first name
    #[arg(long, value_parser = values::cert_id)]
    pub(in crate::cli) id: Option<CertId>,
    /// Renew with the same key instead of a new one
    #[arg(long)]
    pub(in crate::cli) reuse_key: bool,
    /// Command to run now and after each renewal, split like a shell line but run without a
    /// shell; it gets CERTMINT_HOOK_ID, CERTMINT_HOOK_PATH and CERTMINT_HOOK_NAMES
    #[arg(long, value_name = "CMD", value_parser = values::command_line)]
    pub(in crate::cli) deploy_hook: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AccountCommand {
    /// Show the accounts kept here, or what a CA says of one
    Show(AccountShowArgs),
    /// Make an account, or find again the one that is there
    Register(AccountRegisterArgs),
    /// Replace the addresses that the CA may write to
    Contact(AccountContactArgs),
    /// Replace the account's key
    Rollover(AccountArgs),
    /// End an account for good
    Deactivate(AccountDeactivateArgs),
}

/// Which account.
#[derive(Debug, Args)]
pub(in crate::cli) struct AccountArgs {
    /// The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own), or
    /// the https URL of its directory
    #[arg(long, value_name = "DIRECTORY", value_parser = values::directory)]
    pub(in crate::cli) directory: Option<Directory>,
    /// Trust the directory's own TLS by the roots in FILE [default: those that certificates from
    /// there were obtained with, else the system's]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca_file: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AccountShowArgs {
    #[command(flatten)]
    pub(in crate::cli) account: AccountArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AccountRegisterArgs {
    #[command(flatten)]
    pub(in crate::cli) account: AccountArgs,
    #[command(flatten)]
    pub(in crate::cli) registration: RegistrationArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AccountContactArgs {
    /// The new addresses
    #[arg(value_name = "EMAIL", value_parser = values::email)]
    pub(in crate::cli) emails: Vec<EmailAddress>,
    /// Leave the CA no address
    #[arg(long, conflicts_with = "emails")]
    pub(in crate::cli) none: bool,
    #[command(flatten)]
    pub(in crate::cli) account: AccountArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AccountDeactivateArgs {
    /// Do not ask
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) account: AccountArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AcmeRevokeArgs {
    /// A certificate kept here, by id or first name
    #[arg(value_name = "ID", value_parser = values::cert_id, conflicts_with = "cert")]
    pub(in crate::cli) id: Option<CertId>,
    /// The certificate in FILE (PEM; its first) instead of one kept here
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) cert: Option<PathBuf>,
    /// Ask as the holder of the certificate's private key, in FILE, instead of by the account
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: Option<PathBuf>,
    /// Why (RFC 5280 §5.3.1)
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    pub(in crate::cli) reason: RevocationReason,
    #[command(flatten)]
    pub(in crate::cli) account: AccountArgs,
}

/// `--reason` for a public CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum RevocationReason {
    /// None given.
    Unspecified,
    /// Others have, or may have, the private key; the next renewal makes a new one.
    #[value(name = "keyCompromise", alias = "key-compromise")]
    KeyCompromise,
    /// The names changed hands.
    #[value(name = "affiliationChanged", alias = "affiliation-changed")]
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// The service is no more; it is not renewed again.
    #[value(name = "cessationOfOperation", alias = "cessation-of-operation")]
    CessationOfOperation,
}
