//! `certmint serve-…`.

use std::path::PathBuf;

use clap::Args;

use super::PassphraseArgs;
use crate::cli::values;
use crate::identifier::Identifier;
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
