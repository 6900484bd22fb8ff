//! The servers that are compared: certmint first, and those that are installed.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const CERTMINT: &str = env!("CARGO_BIN_EXE_certmint");

/// Size of the large file, in bytes.
pub(crate) const LARGE: usize = 100_000_000;

/// What servers are given to serve.
pub(crate) struct Files {
    pub(crate) dir: PathBuf,
    /// Leaf and intermediate.
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) root: PathBuf,
}

impl Files {
    /// Issues a certificate, and makes a large file.
    pub(crate) fn write(dir: &Path) -> Self {
        let home = dir.join("home");
        let out = dir.join("out");
        fs::create_dir_all(dir.join("www")).expect("a directory of ours");
        fs::write(dir.join("www/large"), vec![b'x'; LARGE]).expect("room for a file");
        for args in [&["ca", "init"][..], &["ca", "issue", "localhost", "--out"]] {
            let mut command = Command::new(CERTMINT);
            command.env("CERTMINT_HOME", &home).args(args);
            if args.len() > 2 {
                command.arg(&out);
            }
            let done = command.output().expect("certmint was built");
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{said}");
        }
        Self {
            dir: dir.to_owned(),
            chain: out.join("fullchain.pem"),
            key: out.join("privkey.pem"),
            root: home.join("ca/root.pem"),
        }
    }
}

/// What the servers answer with.
pub(crate) enum Content {
    /// Something small of their own.
    Page,
    /// The files.
    Root,
    /// What an HTTP server says.
    Upstream(SocketAddr),
}

/// A running server; killed when dropped.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // nginx ends its workers itself when it is asked to.
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").arg(&pid).status();
        if asked.is_ok_and(|status| status.success()) {
            let until = Instant::now() + Duration::from_secs(3);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                sleep(Duration::from_millis(10));
            }
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Peer {
    fn start(name: &'static str, address: SocketAddr, command: &mut Command) -> Self {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("taskset is installed");
        let peer = Self {
            name,
            address,
            child,
        };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "{name} does not listen");
            sleep(Duration::from_millis(20));
        }
        peer
    }

    /// Itself and its workers.
    fn processes(&self) -> Vec<u32> {
        let parent = self.child.id();
        let listed = fs::read_dir("/proc").expect("Linux");
        let pids = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| pid == parent || stat(pid, 1) == Some(u64::from(parent)))
            .collect()
    }

    /// CPU time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        // What is under way ends.
        sleep(Duration::from_millis(100));
        const TICKS_PER_SECOND: u64 = 100;
        let ticks = |pid| stat(pid, 11).unwrap_or(0) + stat(pid, 12).unwrap_or(0);
        let ticks: u64 = self.processes().into_iter().map(ticks).sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    /// Memory of its own, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        sleep(Duration::from_millis(300));
        let own = |pid: u32| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let field = |name: &str| {
                let line = rollup.lines().find(|line| line.starts_with(name))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            };
            Some((field("Private_Dirty:")? + field("Private_Clean:")?) * 1024)
        };
        self.processes().into_iter().filter_map(own).sum()
    }

    /// Waits for connections that were closed to be noticed.
    pub(crate) fn settle(&self) {
        sleep(Duration::from_secs(1));
    }
}

/// A field of `/proc/PID/stat`, counted from the one after the name.
fn stat(pid: u32, field: usize) -> Option<u64> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = line.rsplit_once(") ")?;
    rest.split(' ').nth(field)?.parse().ok()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// On the first core.
fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", program]);
    command
}

fn has(program: &str) -> bool {
    let there = crate::support::has(program);
    if !there {
        println!("{program} is not installed: left out");
    }
    there
}

/// certmint, then the others.
pub(crate) fn start(files: &Files, content: &Content) -> Vec<Peer> {
    let mut peers = vec![certmint(files, content)];
    if has("nginx") {
        peers.push(nginx(files, content));
    }
    if has("haproxy") && !matches!(content, Content::Root) {
        peers.push(haproxy(files, content));
    }
    if has("caddy") {
        peers.push(caddy(files, content));
    }
    peers
}

fn certmint(files: &Files, content: &Content) -> Peer {
    let address = free_address();
    let mut command = pinned(CERTMINT);
    command
        .args(["-q", "serve-custom", "--https", &address.to_string()])
        .arg("--cert")
        .arg(&files.chain)
        .arg("--key")
        .arg(&files.key);
    match content {
        Content::Page => {}
        Content::Root => {
            command.arg("--root").arg(files.dir.join("www"));
        }
        Content::Upstream(upstream) => {
            command.arg(format!("--upstream=http://{upstream}"));
        }
    }
    Peer::start("certmint", address, &mut command)
}

fn nginx(files: &Files, content: &Content) -> Peer {
    let address = free_address();
    let location = match content {
        Content::Page => "return 200 page;".to_owned(),
        Content::Root => format!("root {};", files.dir.join("www").display()),
        Content::Upstream(_) => "proxy_pass http://behind; proxy_http_version 1.1; \
             proxy_set_header Connection \"\"; proxy_set_header Host $host; \
             proxy_set_header X-Forwarded-For $remote_addr; \
             proxy_set_header X-Forwarded-Proto $scheme;"
            .to_owned(),
    };
    let behind = match content {
        Content::Upstream(upstream) => format!(
            "upstream behind {{ server {upstream}; keepalive 64; keepalive_requests 1000000; }}"
        ),
        _ => String::new(),
    };
    let server = format!(
        "{behind}
         server {{
           listen {address} ssl;
           ssl_certificate {}; ssl_certificate_key {};
           ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519;
           location / {{ {location} }}
         }}",
        files.chain.display(),
        files.key.display()
    );
    run_nginx(files, "nginx", address, &server)
}

/// Answers with 1 kB in plain HTTP, from a core of its own.
pub(crate) fn upstream(files: &Files) -> Peer {
    let address = free_address();
    let body = "x".repeat(1024);
    let server = format!("server {{ listen {address}; location / {{ return 200 {body}; }} }}");
    run_nginx(files, "upstream", address, &server)
}

fn run_nginx(files: &Files, name: &'static str, address: SocketAddr, server: &str) -> Peer {
    let dir = files.dir.join(format!("{name}-{}", address.port()));
    fs::create_dir_all(&dir).expect("a directory of ours");
    let shown = dir.display();
    let config = format!(
        "daemon off; user root; worker_processes 1; worker_rlimit_nofile 20000;
         pid {shown}/pid; error_log stderr crit;
         events {{ worker_connections 16384; }}
         http {{
           access_log off; keepalive_requests 1000000; sendfile on;
           client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy;
           fastcgi_temp_path {shown}/fastcgi; uwsgi_temp_path {shown}/uwsgi;
           scgi_temp_path {shown}/scgi;
           {server}
         }}"
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config).expect("room for a file");
    let mut command = match name {
        "upstream" => {
            let mut command = Command::new("taskset");
            command.args(["-c", "1", "nginx"]);
            command
        }
        _ => pinned("nginx"),
    };
    Peer::start(name, address, command.arg("-c").arg(&file))
}

fn haproxy(files: &Files, content: &Content) -> Peer {
    let address = free_address();
    let answer = match content {
        Content::Upstream(upstream) => {
            format!(
                "default_backend behind\nbackend behind\n  http-reuse always\n  server one {upstream}\n"
            )
        }
        _ => "http-request return status 200 content-type text/plain string page\n".to_owned(),
    };
    let pem = files.dir.join("haproxy.pem");
    let both = [&files.chain, &files.key].map(|path| fs::read(path).expect("a file of ours"));
    fs::write(&pem, both.concat()).expect("room for a file");
    let config = format!(
        "global\n  nbthread 1\n  maxconn 8000\n\
         defaults\n  mode http\n  option forwardfor\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n\
         frontend own\n  bind {address} ssl crt {} curves X25519 alpn http/1.1\n  {answer}",
        pem.display()
    );
    let file = files.dir.join(format!("haproxy-{}.cfg", address.port()));
    fs::write(&file, config).expect("room for a file");
    let mut command = pinned("haproxy");
    Peer::start("haproxy", address, command.arg("-db").arg("-f").arg(&file))
}

fn caddy(files: &Files, content: &Content) -> Peer {
    let address = free_address();
    let answer = match content {
        Content::Page => "respond page".to_owned(),
        Content::Root => format!("root * {}\nfile_server", files.dir.join("www").display()),
        Content::Upstream(upstream) => format!("reverse_proxy {upstream}"),
    };
    let config = format!(
        "{{\n  admin off\n  auto_https off\n}}\nhttps://localhost:{}, https://127.0.0.1:{0} {{\n  bind 127.0.0.1\n  tls {} {} {{\n    curves x25519\n  }}\n  {answer}\n}}\n",
        address.port(),
        files.chain.display(),
        files.key.display()
    );
    let file = files.dir.join(format!("Caddyfile-{}", address.port()));
    fs::write(&file, config).expect("room for a file");
    let mut command = pinned("caddy");
    command
        .env("HOME", &files.dir)
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(&file);
    Peer::start("caddy", address, &mut command)
}

/// Plain HTTP in front of `upstream`.
pub(crate) fn certmint_plain(_: &Files, upstream: SocketAddr) -> Peer {
    let address = free_address();
    let mut command = pinned(CERTMINT);
    command
        .args(["-q", "serve-insecure", "--http", &address.to_string()])
        .arg(format!("--upstream=http://{upstream}"));
    Peer::start("insecure", address, &mut command)
}

/// TLS by the private CA in front of `upstream`.
pub(crate) fn certmint_private(files: &Files, upstream: SocketAddr) -> Peer {
    let address = free_address();
    let mut command = pinned(CERTMINT);
    command
        .env("CERTMINT_HOME", files.dir.join("home"))
        .args([
            "-q",
            "serve-ca",
            "localhost",
            "--https",
            &address.to_string(),
        ])
        .arg(format!("--upstream=http://{upstream}"));
    Peer::start("private", address, &mut command)
}
