//! Turns the process's arguments into an exit code; everything else is the library's.

use std::io::IsTerminal;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use certmint::cli::{Environment, Host, SystemClock, Terminals, run};

fn main() -> ExitCode {
    harden();
    ExitCode::from(run(host()))
}

/// Files are private unless said otherwise, and no key ends up in a core file.
fn harden() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Both fail only where the kernel lacks them; nothing depends on them.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one home of the process's surroundings"
)]
fn host() -> Host {
    let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    Host {
        args: std::env::args_os().collect(),
        environment: Environment::new(std::env::vars_os().filter_map(unicode)),
        clock: Arc::new(SystemClock),
        stdin: Box::new(std::io::stdin()),
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
        terminals: Terminals {
            stdin: std::io::stdin().is_terminal(),
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
            width: rustix::termios::tcgetwinsize(std::io::stdout())
                .ok()
                .map(|size| size.ws_col),
        },
        hostname: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        euid: rustix::process::geteuid().as_raw(),
        sockets: inherited_sockets(),
    }
}

/// The sockets that a service manager has opened for us (`sd_listen_fds(3)`). The crate
/// is the one place that makes descriptors of numbers; what is no TCP socket is left to
/// whoever passed it.
#[expect(
    clippy::disallowed_methods,
    reason = "the one home of the process's surroundings"
)]
fn inherited_sockets() -> Vec<(String, TcpListener)> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut found = listenfd::ListenFd::from_env();
    (0..found.len())
        .filter_map(|place| {
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.map_or_else(|| format!("{}", place + 3), str::to_owned);
            let socket = found.take_tcp_listener(place).ok()??;
            Some((name, socket))
        })
        .collect()
}
