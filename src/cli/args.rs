//! What can be typed: the flags, and nothing about what they do.
//!
//! Help texts, `man/` and `completions/` are all rendered from here. Values are
//! combined with the environment and defaults in [`super::resolve`].

mod acme;
mod ca;
mod health;
mod on_demand;
mod serve;
mod table;
mod tree;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::environment::Environment;
use super::values;
use crate::clock::Duration;
use crate::identifier::CertId;
use crate::inspect::Target;

pub(super) use acme::*;
pub(super) use ca::*;
pub(super) use health::{Asked, DEFAULT as HEALTH_DEFAULT, HealthArgs};
pub(super) use on_demand::{OnDemandArgs, OnMissKind};
pub(super) use serve::*;
pub(super) use table::{Entry, Fault, Given, keys, read};
pub(super) use tree::documented;

/// Owns a certificate's whole life on a machine: mints it from a private CA,
/// serves it over TLS, renews it unattended, and tells the truth about it.
#[derive(Debug, Parser)]
#[command(
    name = "certmint",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: GlobalArgs,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub(super) home: Option<PathBuf>,
    /// Say only what went wrong
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    pub(super) quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(super) verbose: u8,
    /// When to use colour; NO_COLOR is honoured
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    pub(super) color: ColorChoice,
    /// How messages of long-running commands look
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Global options"
    )]
    pub(super) log_format: LogFormat,
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal.
    Auto,
    /// Also into a pipe.
    Always,
    /// Never.
    Never,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a private certificate authority
    #[command(subcommand)]
    Ca(CaCommand),
    /// Obtain certificates from a public CA, or any other that speaks ACME
    #[command(subcommand)]
    Acme(AcmeCommand),
    /// Renew every certificate that is due
    Renew(RenewArgs),
    /// Show what a file, a directory or a live endpoint holds, and what is wrong with it
    Inspect(InspectArgs),
    /// Serve what a file says, on any number of listeners
    Serve(ServeArgs),
    /// Serve over TLS with a certificate of the private CA
    ServeCa(Box<ServeCaArgs>),
    /// Serve over TLS with a certificate of a public CA, obtained and renewed by itself
    ServeAcme(Box<ServeAcmeArgs>),
    /// Serve over TLS with a certificate and key from files
    ServeCustom(Box<ServeCustomArgs>),
    /// Serve plain HTTP, for trying things out
    ServeInsecure(Box<ServeInsecureArgs>),
    /// Ask a running server whether it is ready; 0 when it is, 4 when not
    Health(HealthArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Render man pages or completion scripts into a directory
    #[command(hide = true)]
    Generate(GenerateArgs),
}

#[derive(Debug, Args)]
pub(super) struct RenewArgs {
    /// Certificates to look at, by id or first name; all when none is named
    #[arg(value_name = "ID", value_parser = values::cert_id)]
    pub(super) ids: Vec<CertId>,
    /// Say what would be done, and when to look again, without doing it
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Renew also what is not due or was put off after a failure
    #[arg(long)]
    pub(super) force: bool,
    /// Wait once, at random up to this long, before a public CA is asked for anything, so that
    /// not all machines ask at the same moment; nothing waits when none has to be asked
    #[arg(long, value_name = "DURATION", value_parser = values::splay)]
    pub(super) splay: Option<Span>,
    /// Command to run after each renewal, split like a shell line but run without a shell;
    /// it gets CERTMINT_HOOK_ID, CERTMINT_HOOK_PATH and CERTMINT_HOOK_NAMES
    #[arg(long, value_name = "CMD", value_parser = values::command_line)]
    pub(super) deploy_hook: Option<String>,
    /// How long each hook may run before it is ended [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(super) hook_timeout: Option<Span>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a
    /// descriptor is /dev/fd/N; never asked for
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// A PEM, DER or PKCS#12 file, a directory, `-` for standard input, or `host:port`
    #[arg(value_name = "TARGET", value_parser = values::target)]
    pub(super) target: Target,
    /// Name to ask an endpoint for, instead of the host in TARGET
    #[arg(long, value_name = "NAME")]
    pub(super) servername: Option<String>,
    /// Verify an endpoint against the roots in FILE, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Passphrase of an encrypted key or PKCS#12 file: FILE's first line, `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) fail_on: FailOnArgs,
}

/// When a report turns into a failing exit code.
#[derive(Debug, Args)]
pub(super) struct FailOnArgs {
    /// Least severity that gives exit code 3 (warn) or 4 (critical)
    #[arg(long, value_name = "SEVERITY", default_value = "warn")]
    pub(super) fail_on: FailOn,
}

/// `--fail-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// Exit 3 on warnings, 4 on anything critical.
    Warn,
    /// Exit 4 on anything critical.
    Critical,
    /// Exit 0 whatever is found.
    Never,
}

/// Copies for other programs.
#[derive(Debug, Args)]
pub(super) struct CopyArgs {
    /// Copy key and chain into DIR, now and at each renewal (with --from: DIR/<id>)
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Mode of the copied files that hold a key, octal
    #[arg(long, value_name = "MODE", value_parser = values::mode)]
    pub(super) mode: Option<u32>,
    /// Owner of the copied files
    #[arg(long, value_name = "USER")]
    pub(super) owner: Option<String>,
    /// Group of the copied files
    #[arg(long, value_name = "GROUP")]
    pub(super) group: Option<String>,
}

/// How the CA's key is unlocked.
#[derive(Debug, Args)]
pub(super) struct PassphraseArgs {
    /// Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a
    /// descriptor is /dev/fd/N; asked for on a terminal when not given
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: Shell,
}

/// Shells with completion scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// fish.
    Fish,
    /// PowerShell.
    #[value(name = "powershell")]
    Pwsh,
    /// Elvish.
    Elvish,
    /// Nushell.
    Nushell,
}

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// What to render
    pub(super) what: Generated,
    /// Where to put it
    pub(super) dir: PathBuf,
}

/// What `generate` renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Generated {
    /// A man page per command.
    Man,
    /// A completion script per shell.
    Completions,
}

/// A length of time such as `30d` or `12h`, for fields of the structs here.
pub(super) type Span = Duration;

/// Parses `args`, with settings from `environment` where a flag is missing.
pub(super) fn parse(
    args: &[std::ffi::OsString],
    environment: &Environment,
) -> Result<Cli, clap::Error> {
    use clap::FromArgMatches;
    let parsed = tree::matches(args, environment);
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(printable)
}

/// What was typed is repeated in messages: without what a terminal would obey.
fn printable(mut error: clap::Error) -> clap::Error {
    use clap::error::ContextValue;
    let clean = |text: &String| crate::identifier::quoted(text);
    let cleaned: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, ContextValue::String(clean(text)))),
            ContextValue::Strings(all) => {
                let all = all.iter().map(clean).collect();
                Some((kind, ContextValue::Strings(all)))
            }
            _ => None,
        })
        .collect();
    for (kind, value) in cleaned {
        error.insert(kind, value);
    }
    error
}
