//! Messages of long-running commands: lines on standard error, as text or JSON.

use tracing_subscriber::EnvFilter;

use super::args::LogFormat;
use super::progress;

/// Starts logging for the rest of the process; a second call changes nothing.
pub(super) fn start(verbose: u8, quiet: bool, format: LogFormat, color: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "warn",
        (false, 0) => "certmint=info,warn",
        (false, 1) => "certmint=debug,info",
        (false, _) => "trace",
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(|| progress::Lines)
        .with_ansi(color)
        .with_target(false)
        // It would say so on standard error, and panic when nobody reads that: the
        // end of a log must not be the end of a server.
        .log_internal_errors(false);
    // An earlier call in this process has set the same.
    let _ = match format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
}
