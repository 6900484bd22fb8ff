//! A directory, the DNS that it asks, what serves the answers to its challenges, and
//! what judges the outcome.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::Held;
use crate::support::bind::{Bind, KEY_256};
use crate::support::directory::{Directory, Options};
use crate::support::pebble::free_port;
use crate::support::{Run, TestEnv, say};

/// Who accounts are for.
pub(super) const MAIL: &str = "ada@example.test";

#[derive(Debug)]
pub(super) struct Lab {
    pub(super) env: TestEnv,
    pub(super) bind: Bind,
    pub(super) directory: Directory,
}

impl Lab {
    /// A directory that looks for answers where nobody listens yet: at the client itself.
    #[track_caller]
    pub(super) fn new() -> Option<Self> {
        Self::with(|_| ())
    }

    /// The same with a web server for http-01, which serves what is below `web/`.
    #[track_caller]
    pub(super) fn with_web() -> Option<Self> {
        let lab = Self::with(|options| options.http01 = serve_files(options.web.clone()))?;
        std::fs::create_dir_all(lab.challenges()).unwrap();
        Some(lab)
    }

    #[track_caller]
    pub(super) fn with(change: impl FnOnce(&mut Options)) -> Option<Self> {
        let env = TestEnv::new();
        let bind = Bind::start()?;
        let mut options = Options {
            http01: free_port(),
            tls_alpn01: free_port(),
            dns: bind.address(),
            web: env.path("web"),
            eab: false,
        };
        change(&mut options);
        let directory = Directory::start(&env, options)?;
        Some(Self {
            env,
            bind,
            directory,
        })
    }

    /// Where answers to http-01 are served from.
    pub(super) fn challenges(&self) -> PathBuf {
        self.env.path("web/.well-known/acme-challenge")
    }

    /// A file of this environment, as an argument.
    pub(super) fn path(&self, name: &str) -> String {
        self.env.path(name).display().to_string()
    }

    /// A client of the directory, which finds what it keeps below `home/`.
    pub(super) fn client(&self, program: &str, args: &[&str]) -> Run {
        self.env.command(program, args)
    }

    /// Where http-01 is looked at.
    pub(super) fn http(&self) -> String {
        format!("127.0.0.1:{}", self.directory.options.http01)
    }

    /// Where tls-alpn-01 is looked at.
    pub(super) fn tls(&self) -> String {
        format!("127.0.0.1:{}", self.directory.options.tls_alpn01)
    }

    /// Writes a script and returns its path.
    pub(super) fn script(&self, name: &str, body: &str) -> String {
        let path = self.env.write(name, format!("#!/bin/sh\nset -eu\n{body}"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path.display().to_string()
    }

    /// A shell function `dns add|delete NAME VALUE`, by which a hook changes the zone.
    pub(super) fn dns_function(&self) -> String {
        let (name, algorithm, secret) = KEY_256;
        let address = self.bind.address();
        format!(
            "dns() {{ printf 'server {} {}\\nupdate %s _acme-challenge.%s. 1 TXT \"%s\"\\nsend\\n' \
             \"$1\" \"$2\" \"$3\" | nsupdate -y {algorithm}:{name}:{secret}; }}\n",
            address.ip(),
            address.port()
        )
    }

    /// Serves what is held to a client of each of the names that it must be for, which
    /// are all that it is for; returns its serial number.
    #[track_caller]
    pub(super) fn served(&self, held: &Held, names: &[&str]) -> String {
        let (chain, key) = (held.chain.display(), held.key.display());
        let line = format!(
            "exec openssl s_server -accept 127.0.0.1:0 -cert {chain} -cert_chain {chain} \
             -key {key} -www >&2"
        );
        let mut server = self.env.command("/bin/sh", ["-c", &line]).spawn();
        let address = server.await_address("ACCEPT 127.0.0.1:");
        self.seen(address, names)
    }

    /// What a server shows to a client of each of these names; returns its serial number.
    #[track_caller]
    pub(super) fn seen(&self, address: SocketAddr, names: &[&str]) -> String {
        let mut serials: BTreeSet<String> = names
            .iter()
            .map(|name| self.shown(address, name, names))
            .collect();
        assert_eq!(serials.len(), 1, "{serials:?}");
        serials.pop_first().unwrap()
    }

    #[track_caller]
    fn shown(&self, address: SocketAddr, name: &str, names: &[&str]) -> String {
        let one = name.replace('*', "any");
        let (address, root) = (address.to_string(), self.directory.root(&self.env));
        let mut args = vec!["s_client", "-verify_return_error", "-connect", &address];
        match one.parse::<std::net::IpAddr>() {
            Ok(_) => args.extend(["-noservername", "-verify_ip", &one]),
            Err(_) => args.extend(["-servername", &one, "-verify_hostname", &one]),
        }
        let out = self.env.command("openssl", args).arg("-CAfile").arg(root);
        let out = out.run().success();
        let args = ["x509", "-noout", "-serial", "-ext", "subjectAltName"];
        let out = self.env.command("openssl", args).stdin(out.stdout()).run();
        let out = out.success();
        let text = out.stdout();
        let found: BTreeSet<&str> = text
            .split([',', '\n'])
            .filter_map(|word| {
                let word = word.trim();
                word.strip_prefix("DNS:")
                    .or_else(|| word.strip_prefix("IP Address:"))
            })
            .collect();
        assert_eq!(found, names.iter().copied().collect(), "{text}");
        let serial = text.lines().find_map(|line| line.strip_prefix("serial="));
        serial.unwrap().to_owned()
    }

    /// Whether the CRL, or Pebble, says so.
    #[track_caller]
    pub(super) fn is_revoked(&self, serial: &str) -> bool {
        self.directory.is_revoked(&self.env, serial)
    }
}

/// Serves files to whoever asks, at a port of its own, until the process ends.
fn serve_files(dir: PathBuf) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Who goes away early has no answer.
            serve_one(&stream, &dir).ok();
        }
    });
    port
}

fn serve_one(mut stream: &TcpStream, dir: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = BufReader::new(stream).lines().map_while(Result::ok);
    let first = head.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default();
    head.find(String::is_empty);
    let (status, body) = match std::fs::read(dir.join(path.trim_start_matches('/'))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

/// One row of the matrix: obtained, renewed, revoked.
pub(super) fn note(who: &str, how: &str, steps: [Option<Duration>; 3]) {
    let mut line = format!("{who:<11} {how:<24}");
    for step in steps {
        let cell = step.map_or_else(
            || "-".to_owned(),
            |step| format!("{:.1} s", step.as_secs_f32()),
        );
        line.push_str(&format!(" {cell:>7}"));
    }
    say(&line);
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/acme-clients.txt");
    let file = OpenOptions::new().append(true).create(true).open(file);
    file.unwrap()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}
