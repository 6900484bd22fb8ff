//! How long one certificate from an ACME CA takes, beside lego and uacme.
//!
//! Each asks a Pebble of its own that validates at once and refuses no nonce, and answer http-01;
//! each figure is of a whole process with an account that exists. The programs take
//! turns in one run. Run with `cargo bench --bench acme`; it needs Pebble, and leaves
//! out a peer that is not installed.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark prepares files, prints, and shares its Pebble with the tests"
)]

#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../tests/it"]
mod it {
    pub(crate) mod support;
}
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use it::support::TestEnv;
use it::support::pebble::{Options, Pebble};
use support::{has, median, millis, timed};

const CERTMINT: &str = env!("CARGO_BIN_EXE_certmint");
const ROUNDS: u32 = 7;
/// lego sleeps for seconds; more rounds would tell nothing more.
const SLOW_ROUNDS: u32 = 2;
const MANY: u32 = 100;

fn main() {
    let env = TestEnv::new();
    let Some(ours) = Lab::start(&env) else {
        return;
    };
    let theirs = [Lab::start(&env), Lab::start(&env)].map(Option::unwrap);
    let peers: Vec<Peer<'_>> = [
        Some(("certmint acme issue", ROUNDS, certmint_one(&ours))),
        uacme(&theirs[0]).map(|issue| ("uacme", ROUNDS, issue)),
        lego(&theirs[1]).map(|issue| ("lego", SLOW_ROUNDS, issue)),
    ]
    .into_iter()
    .flatten()
    .collect();
    one_name(&peers);
    ten_names(&ours);
    many_certificates(&ours);
}

/// A CA, and room for who asks it.
struct Lab<'a> {
    env: &'a TestEnv,
    pebble: Pebble,
}

impl<'a> Lab<'a> {
    fn start(env: &'a TestEnv) -> Option<Self> {
        let pebble = Pebble::start(env, Options::default())?;
        Some(Self { env, pebble })
    }

    fn http_port(&self) -> u16 {
        self.pebble.options.http_port
    }
}

/// A program's name, how often it is run, and what makes it obtain a certificate.
type Peer<'a> = (&'static str, u32, Box<dyn Fn(u32) + 'a>);

fn one_name(peers: &[Peer<'_>]) {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); peers.len()];
    for round in 0..ROUNDS {
        for ((_, rounds, issue), times) in peers.iter().zip(&mut times) {
            if round < *rounds {
                times.push(timed(|| issue(round)));
            }
        }
    }
    println!("one name by http-01, median of processes in turn");
    let ours = median(&mut times[0]);
    for ((name, rounds, _), times) in peers.iter().zip(&mut times) {
        let median = median(times);
        let ratio = ours.as_secs_f64() / median.as_secs_f64();
        println!(
            "  {name:<20} {:>8.1} ms ({rounds} runs)   certmint takes {ratio:.2} of it",
            millis(median)
        );
    }
}

fn ten_names(lab: &Lab<'_>) {
    let names: Vec<String> = (0..10).map(|n| format!("ten{n}.bench.test")).collect();
    let run = || timed(|| certmint(lab).arg("--force").args(&names).finish());
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| run()).collect();
    println!(
        "ten names in one order: {:.1} ms",
        millis(median(&mut times))
    );
}

fn many_certificates(lab: &Lab<'_>) {
    let list: String = (0..MANY).map(|n| format!("many{n}.bench.test\n")).collect();
    let list = lab.env.write("list", list);
    let took = timed(|| certmint(lab).arg("--from").arg(&list).finish());
    let each = took / MANY;
    println!(
        "{MANY} certificates in one command: {:.1} s, {:.1} ms each",
        took.as_secs_f64(),
        millis(each)
    );
}

fn certmint(lab: &Lab<'_>) -> Command {
    let mut command = Command::new(CERTMINT);
    command
        .env("CERTMINT_HOME", lab.env.path("certmint"))
        .args(["-q", "acme", "issue", "--agree-tos", "--challenge"])
        .args(["http-01", "--directory", &lab.pebble.directory_url])
        .arg("--ca-file")
        .arg(&lab.pebble.ca_file)
        .arg(format!("--http=127.0.0.1:{}", lab.http_port()));
    command
}

fn certmint_one<'a>(lab: &'a Lab<'a>) -> Box<dyn Fn(u32) + 'a> {
    let issue = |n: u32| certmint(lab).arg(name("certmint", n)).finish();
    issue(ROUNDS);
    Box::new(issue)
}

fn lego<'a>(lab: &'a Lab<'a>) -> Option<Box<dyn Fn(u32) + 'a>> {
    has("lego").then_some(())?;
    let dir = lab.env.path("lego");
    let issue = move |n: u32| {
        Command::new("lego")
            .env("LEGO_CA_CERTIFICATES", &lab.pebble.ca_file)
            .args(["--accept-tos", "--email", "bench@example.test", "--path"])
            .arg(&dir)
            .args(["--server", &lab.pebble.directory_url, "--http"])
            .arg(format!("--http.port=:{}", lab.http_port()))
            .args(["--domains", &name("lego", n), "run"])
            .finish();
    };
    issue(ROUNDS);
    Some(Box::new(issue))
}

/// uacme trusts the system's roots alone: it is given others in a mount namespace.
fn uacme<'a>(lab: &'a Lab<'a>) -> Option<Box<dyn Fn(u32) + 'a>> {
    (has("uacme") && rustix::process::geteuid().is_root()).then_some(())?;
    let (dir, web) = (lab.env.path("uacme"), lab.env.path("uacme-web"));
    std::fs::create_dir_all(&web).expect("a directory");
    serve(web.clone(), lab.http_port());
    let hook = lab.env.write("uacme-hook", hook(&web));
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&hook, executable).expect("a file of ours");
    let under = format!(
        "mount --bind {} /etc/ssl/certs/ca-certificates.crt && exec \"$@\"",
        lab.pebble.ca_file.display()
    );
    let run = move |arguments: &[&str]| {
        Command::new("unshare")
            .args(["-m", "sh", "-c", &under, "sh", "uacme", "-y", "-c"])
            .arg(&dir)
            .args(["-a", &lab.pebble.directory_url, "-o", "-t", "EC", "-h"])
            .arg(&hook)
            .args(arguments)
            .finish();
    };
    run(&["new"]);
    Some(Box::new(move |n| run(&["issue", &name("uacme", n)])))
}

/// What uacme calls to put a token into `web` and to take it away.
fn hook(web: &Path) -> String {
    format!(
        "#!/bin/sh\n[ \"$2\" = http-01 ] || exit 1\n\
         case $1 in begin) printf %s \"$5\" >{0}/\"$4\";; *) rm -f {0}/\"$4\";; esac\n",
        web.display()
    )
}

/// Serves the files of `dir`, whatever directory is asked for.
fn serve(dir: PathBuf, port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let mut line = String::new();
            let read = BufReader::new(&peer).read_line(&mut line);
            let path = line.split(' ').nth(1).filter(|_| read.is_ok());
            let file = path.and_then(|path| path.rsplit('/').next());
            let body = file.and_then(|file| std::fs::read(dir.join(file)).ok());
            let body = body.unwrap_or_default();
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            // A CA that hung up is not waiting.
            let _ = peer.write_all(&[head.as_bytes(), &body].concat());
        }
    });
}

fn name(program: &str, n: u32) -> String {
    format!("{program}{n}.bench.test")
}

trait Finish {
    fn finish(&mut self);
}

impl Finish for Command {
    fn finish(&mut self) {
        let status = self.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.is_ok_and(|s| s.success()), "{self:?} failed");
    }
}
