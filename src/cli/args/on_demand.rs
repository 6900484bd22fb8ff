//! `--on-demand` of `serve-ca` and `serve-acme`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use url::Url;

use super::Span;
use crate::cli::values;
use crate::on_demand::gate::NamePattern;

/// Certificates that are made when clients ask for them.
#[derive(Debug, Args)]
#[command(next_help_heading = "On demand")]
pub(in crate::cli) struct OnDemandArgs {
    /// Make certificates for names when clients ask for them; NAME may be left out
    #[arg(long)]
    pub(in crate::cli) on_demand: bool,
    /// Names that may have one: `*.example.com`, or `**.example.com` for any depth; repeatable or
    /// with commas
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', value_parser = values::pattern)]
    pub(in crate::cli) allow: Vec<NamePattern>,
    /// Ask here for permission, with `?domain=NAME&client=ADDRESS`: 2xx is a yes, 4xx a no
    #[arg(long, value_name = "URL", value_parser = values::ask_url)]
    pub(in crate::cli) ask: Option<Url>,
    /// Verify the address of --ask by the roots in FILE, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ask_ca: Option<PathBuf>,
    /// Ask this program for permission, with CERTMINT_HOOK_NAME: status 0 is a yes, 1 a no
    #[arg(long, value_name = "CMD", value_parser = values::command_line)]
    pub(in crate::cli) allow_hook: Option<String>,
    /// A program that may have the certificate: it writes key and chain as PEM, or `acme`
    #[arg(long, value_name = "CMD", value_parser = values::command_line)]
    pub(in crate::cli) provision_hook: Option<String>,
    /// What clients see meanwhile [default: placeholder with a public CA, wait with the private one]
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) on_miss: Option<OnMissKind>,
    /// The placeholder with its intermediates, PEM [default: a self-signed one, made at the start]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) default_cert: Option<PathBuf>,
    /// Its private key, PEM [default: in the same file]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) default_key: Option<PathBuf>,
    /// Let go of names that nobody has asked for in so long [default: 30d]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(in crate::cli) forget_after: Option<Span>,
    /// Certificates being made at the same time [default: 8; private CA: 4]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub(in crate::cli) max_in_flight: Option<u32>,
    /// Names that wait for their turn [default: 64; private CA: 256]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub(in crate::cli) max_queue: Option<u32>,
    /// New names in an hour [default: 80; private CA: 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub(in crate::cli) max_names_per_hour: Option<u32>,
    /// New names below a registered domain in seven days [default: 40; private CA: 10000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub(in crate::cli) max_names_per_domain: Option<u32>,
    /// New names that one client may ask for in an hour [default: 20; private CA: 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub(in crate::cli) max_names_per_client: Option<u32>,
}

/// As many moments are remembered.
const MOST: i64 = 1_000_000;

/// `--on-miss`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum OnMissKind {
    /// Another certificate, and 503.
    Placeholder,
    /// Nothing yet, for a few seconds; then the placeholder.
    Wait,
    /// That there is no such site.
    Reject,
}
