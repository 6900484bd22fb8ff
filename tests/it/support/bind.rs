//! BIND on loopback: a name server that takes signed updates, as a resolver and as
//! the authoritative server at once.
//!
//! Zones: `example.test` takes anything from [`KEY_256`] and TXT records from
//! [`KEY_384`], with a wildcard address 127.0.0.1 and CNAMEs of every kind;
//! `validation.test` takes TXT records from [`KEY_384`] and [`KEY_512`]; `lagging.test`
//! takes them from [`KEY_256`] and has a second name server on 127.0.0.2, which nobody starts;
//! `readonly.test` takes nothing, and has CAA records. The root is empty, so that no question leaves this
//! machine.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use certmint::net::dns::{Dns, DomainName};

use super::{Server, TestEnv, tool};

/// A running BIND; killed when dropped.
#[derive(Debug)]
pub(crate) struct Bind {
    _server: Server,
    _env: TestEnv,
    address: SocketAddr,
}

/// A key that BIND knows: its name, algorithm and secret.
pub(crate) type Key = (&'static str, &'static str, &'static str);

/// May change anything in `example.test`.
pub(crate) const KEY_256: Key = (
    "key-256",
    "hmac-sha256",
    "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
);

/// May change TXT records in `example.test` and `validation.test`.
pub(crate) const KEY_384: Key = (
    "key-384",
    "hmac-sha384",
    "MjIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
);

/// May change TXT records in `validation.test`.
pub(crate) const KEY_512: Key = (
    "key-512",
    "hmac-sha512",
    "MzIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
);

impl Bind {
    /// A server that answers, or `None` after saying that the test is skipped.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let named = tool("named")?;
        let named = named.to_str().unwrap();
        // Between finding a free port and BIND's taking it another may be quicker.
        for _ in 0..5 {
            let env = TestEnv::new();
            let address = free_address();
            let identity = env.home().display().to_string();
            let config = configure(&env, address, &identity);
            let words = ["-g", "-n", "1", "-c", config.as_str()];
            let mut server = env.command(named, words).spawn();
            server.await_line("all zones loaded");
            let bind = Self {
                _server: server,
                _env: env,
                address,
            };
            if bind.txt("identity.example.test").contains(&identity) {
                return Some(bind);
            }
        }
        panic!("BIND found no port");
    }

    /// Where it listens, over UDP and TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The texts at `name`, as this server has them.
    pub(crate) fn txt(&self, name: &str) -> BTreeSet<String> {
        let (address, name) = (self.address, DomainName::parse(name).unwrap());
        let ask = async || Dns::new(None).txt_at(address, &name).await;
        // A thread of its own: a test may be inside a runtime already.
        let answer = std::thread::scope(|scope| {
            let block_on = || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_all().build().unwrap().block_on(ask())
            };
            scope.spawn(block_on).join().unwrap()
        });
        answer.unwrap_or_default().into_iter().collect()
    }
}

fn free_address() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// Writes the configuration and the zones, and returns the former's path.
fn configure(env: &TestEnv, address: SocketAddr, identity: &str) -> String {
    let example = format!(
        "{ZONE_HEAD}identity TXT \"{identity}\"\n* A 127.0.0.1\n\
         www A 127.0.0.1\ndelegated A 127.0.0.1\nchain A 127.0.0.1\n\
         _acme-challenge.delegated CNAME delegated.validation.test.\n\
         _acme-challenge.chain CNAME hop.example.test.\n\
         hop CNAME chain.validation.test.\n\
         _acme-challenge.loop CNAME loop2\nloop2 CNAME _acme-challenge.loop\n\
         _acme-challenge.frozen CNAME frozen.readonly.test.\n"
    );
    let mut zones = String::new();
    for (zone, text, policy) in [
        (
            "example.test",
            example.as_str(),
            "grant key-256 zonesub ANY; grant key-384 zonesub TXT;",
        ),
        (
            "validation.test",
            ZONE_HEAD,
            "grant key-512 zonesub TXT; grant key-384 zonesub TXT;",
        ),
        (
            "lagging.test",
            &format!("{ZONE_HEAD}@ NS ns2\nns2 A 127.0.0.2\n"),
            "grant key-256 zonesub TXT;",
        ),
        ("readonly.test", &format!("{ZONE_HEAD}{CAA}"), ""),
        (".", ZONE_HEAD, ""),
    ] {
        let file = env.write(format!("dns/{}zone", zone.replace('.', "_")), text);
        let policy = match policy {
            "" => String::new(),
            policy => format!("update-policy {{ {policy} }};"),
        };
        writeln!(
            zones,
            "zone \"{zone}\" {{ type primary; file \"{}\"; {policy} }};",
            file.display()
        )
        .unwrap();
    }
    for (name, algorithm, secret) in [KEY_256, KEY_384, KEY_512] {
        writeln!(
            zones,
            "key \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};"
        )
        .unwrap();
    }
    let config = format!(
        "options {{ directory \"{dir}\"; listen-on port {port} {{ 127.0.0.1; }};
           listen-on-v6 {{ none; }}; pid-file none; session-keyfile \"{dir}/session.key\";
           recursion yes; allow-query {{ 127.0.0.0/8; }}; notify no;
           dnssec-validation no; empty-zones-enable no; }};
         controls {{}};\n{zones}",
        dir = env.path("dns").display(),
        port = address.port(),
    );
    env.write("dns/named.conf", config).display().to_string()
}

const ZONE_HEAD: &str = "$TTL 1\n@ SOA ns1 hostmaster 1 60 60 600 1\n@ NS ns1\nns1 A 127.0.0.1\n";

/// Who may issue below `readonly.test`; nobody answers for `broken`.
const CAA: &str = "caa CAA 0 issue \"ca.test; validationmethods=dns-01\"\n\
    caa CAA 0 issuewild \";\"\ncaa-alias CNAME caa\n\
    caa-strange CAA 0 issue \"ca.test\"\ncaa-strange CAA 128 future \"x\"\n\
    broken NS ns.nowhere.\n";
