//! What a running directory issues, refuses and publishes, and how that is seen from
//! outside. The client is certmint itself.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use certmint::bundle::Certificate;
use serde_json::Value;

use super::{ca_serve, plain, ready, root};
use crate::support::pebble::free_port;
use crate::support::{Run, Server, TestEnv};

/// A directory, and a client of it on another machine, as it were.
struct Lab {
    ca: TestEnv,
    client: TestEnv,
    server: Server,
    url: String,
    /// Where challenges are looked at.
    port: u16,
}

impl Lab {
    fn start(args: &[&str]) -> Self {
        let (ca, client, port) = (TestEnv::with_ca(), TestEnv::new(), free_port());
        let mut server = ca_serve(&ca, &["--allow-loopback", "--http01-port"])
            .arg(port.to_string())
            .args(args)
            .spawn();
        let address = ready(&mut server);
        let url = format!("https://localhost:{}/directory", address.port());
        Self {
            ca,
            client,
            server,
            url,
            port,
        }
    }

    /// `certmint acme issue` by http-01.
    fn issue(&self, args: &[&str]) -> Run {
        let http = format!("127.0.0.1:{}", self.port);
        self.client
            .certmint(["acme", "issue", "--directory", &self.url, "--ca-file"])
            .arg(root(&self.ca))
            .args(["--challenge", "http-01", "--http", &http])
            .args(args)
    }

    /// What the client has under `id`, with the certificates above it.
    fn chain(&self, id: &str) -> Vec<Certificate> {
        let chain = format!("certs/{id}/current/fullchain.pem");
        let chain = std::fs::read(self.client.state().join(chain)).unwrap();
        Certificate::parse_pem(&chain).unwrap()
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn what_it_issues_refuses_and_revokes_is_seen_and_follows_its_ca() {
    let published = free_port();
    let http = format!("127.0.0.1:{published}");
    let scratch = TestEnv::new();
    let events = scratch.path("events");
    let lab = Lab::start(&[
        "--permit",
        "localhost,127.0.0.0/8",
        "--http",
        &http,
        "--admin",
        "127.0.0.1:0",
        "--events",
        events.to_str().unwrap(),
    ]);
    let admin = lab.server.log().to_owned();
    let admin = admin.lines().find(|line| line.contains("/metrics"));
    let admin = crate::support::address_in(admin.unwrap()).unwrap();
    let _ = lab
        .issue(&["localhost", "--profile", "classic"])
        .run()
        .success();
    let chain = lab.chain("localhost");
    let [leaf, issuer] = &chain[..] else {
        panic!("{} certificates", chain.len())
    };
    assert!(leaf.verify_signed_by(issuer).is_ok());
    assert!(issuer.subject().contains("I1"), "{}", issuer.subject());
    let list = format!("http://localhost:{published}/crl/I1.crl");
    assert_eq!(leaf.crl_urls(), [list]);
    let above = format!("http://localhost:{published}/issuer/I1.crt");
    assert!(contains(leaf.der(), above.as_bytes()));
    // Who issued it and what is revoked can be had in plain HTTP.
    let fetch = |path: &str| {
        let address = http.parse().unwrap();
        let answer = super::plain_bytes(address, "GET", path);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
        answer
    };
    assert!(contains(&fetch("/issuer/I1.crt"), issuer.der()));
    assert!(!contains(&fetch("/crl/I1.crl"), leaf.serial()));

    // The CA moves on under it.
    let _ = lab
        .ca
        .certmint(["ca", "rotate", "intermediate"])
        .run()
        .success();
    let _ = lab.issue(&["127.0.0.1"]).run().success();
    let newer = lab.chain("127.0.0.1");
    assert!(newer[1].subject().contains("I2"), "{}", newer[1].subject());
    assert!(newer[0].verify_signed_by(&newer[1]).is_ok());

    // Names that nobody may have, and one over which control is not shown.
    let refused = lab.issue(&["a.test"]).run().code(1);
    assert!(refused.stderr().contains("a.test"), "{}", refused.stderr());
    let _ = lab.issue(&["127.9.9.9"]).run().code(1);

    let revoke = ["acme", "revoke", "localhost", "--ca-file"];
    let revoke = lab.client.certmint(revoke).arg(root(&lab.ca));
    let _ = revoke.run().success();
    assert!(contains(&fetch("/crl/I1.crl"), leaf.serial()));

    let metrics = plain(admin, "GET", "/metrics");
    for line in [
        "certmint_directory_requests_total{endpoint=\"new-account\",problem=\"none\"} 1\n",
        "certmint_directory_requests_total{endpoint=\"new-order\",problem=\"none\"} 3\n",
        "certmint_directory_requests_total{endpoint=\"new-order\",problem=\"rejectedIdentifier\"} 1\n",
        "certmint_directory_validations_total{challenge=\"http-01\",outcome=\"valid\"} 2\n",
        "certmint_directory_validations_total{challenge=\"http-01\",outcome=\"invalid\"} 1\n",
        "certmint_directory_certificates_total{result=\"issued\"} 2\n",
        "certmint_directory_revocations_total{reason=\"unspecified\"} 1\n",
        // Its own.
        "certmint_issuances_total{result=\"issued\"} 1\n",
    ] {
        assert!(metrics.contains(line), "no `{line}` in {metrics}");
    }
    let ended = lab.server.terminate().success();
    // The log says the same to whoever reads nothing else.
    let serial = leaf.serial_hex();
    for words in [
        "INFO a new account account=".to_owned(),
        "INFO issued a certificate for localhost account=".to_owned(),
        "INFO issued a certificate for 127.0.0.1 account=".to_owned(),
        "WARN http-01 of 127.9.9.9 failed: ".to_owned(),
        "INFO refused: rejectedIdentifier: no certificate is issued for `a.test`: this directory \
         is for `localhost, 127.0.0.0/8` client=127.0.0.1 endpoint=\"new-order\""
            .to_owned(),
        "INFO revoked the certificate of localhost (unspecified) account=".to_owned(),
        format!("serial=\"{serial}\""),
    ] {
        let said = ended.stderr();
        assert!(said.contains(&words), "no `{words}` in {said}");
    }
    let events = std::fs::read_to_string(events).unwrap();
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|e| e["event"] == kind).collect() };
    let issued = of("certificate-issued");
    let issued: Vec<_> = issued
        .iter()
        .filter(|e| e["source"] == "directory")
        .collect();
    assert_eq!(issued.len(), 2);
    assert_eq!(issued[0]["id"], "localhost");
    assert_eq!(issued[0]["serial"], leaf.serial_hex());
    // Who obtained it, and from where.
    let [registered] = of("account-registered")[..] else {
        panic!("{events:?}")
    };
    let account = registered["account"].as_str().unwrap();
    assert_eq!(account.len(), 22);
    for event in [registered, issued[0], issued[1]] {
        assert_eq!(event["account"], account);
        assert_eq!(event["client"], "127.0.0.1");
        assert!(event.get("eab_kid").is_none(), "{event}");
    }
    let own = of("certificate-issued");
    let own = own.iter().find(|e| e["source"] == "private").unwrap();
    assert!(own.get("account").is_none(), "{own}");
    let [failed] = of("validation-failed")[..] else {
        panic!("{events:?}")
    };
    assert_eq!(failed["domain"], "127.9.9.9");
    assert_eq!(failed["challenge"], "http-01");
    assert_eq!(failed["account"], account);
    let [revoked] = of("certificate-revoked")[..] else {
        panic!("{events:?}")
    };
    assert_eq!(revoked["serial"], leaf.serial_hex());
    assert_eq!(revoked["reason"], "unspecified");
    assert_eq!(revoked["client"], "127.0.0.1");
}

#[test]
fn keys_are_made_and_revoked_while_it_serves() {
    let lab = Lab::start(&["--require-eab", "--http", "off"]);
    let refused = lab.issue(&["localhost"]).run().code(2);
    assert!(refused.stderr().contains("eab"), "{}", refused.stderr());
    let add = |args: &[&str]| -> (String, PathBuf) {
        let out = lab.ca.certmint(["ca", "eab", "add", "--json"]).args(args);
        let key: Value = serde_json::from_str(out.run().success().stdout()).unwrap();
        let kid = key["kid"].as_str().unwrap().to_owned();
        let secret = key["hmac_key"].as_str().unwrap();
        let file = lab.client.write(format!("{kid}.hmac"), secret);
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        (kid, file)
    };
    // For a machine that nobody reaches.
    let (kid, file) = add(&["--permit", "home.arpa", "--skip-validation"]);
    let known = ["--eab-kid", &kid, "--eab-hmac-file", file.to_str().unwrap()];
    let _ = lab.issue(&["a.home.arpa"]).args(known).run().success();
    assert_eq!(
        lab.chain("a.home.arpa")[0].names()[0].to_string(),
        "a.home.arpa"
    );
    let _ = lab.issue(&["localhost"]).run().code(1);

    let list = lab.ca.certmint(["ca", "eab", "list", "--json"]);
    let list: Value = serde_json::from_str(list.run().success().stdout()).unwrap();
    let key = &list["keys"][0];
    assert_eq!(key["state"], "bound");
    let account = key["account"].as_str().unwrap();
    let out = lab.ca.certmint(["ca", "eab", "remove", &kid]).run();
    let out = out.success();
    for words in [account, "may order no more", "certmint ca revoke"] {
        assert!(out.stderr().contains(words), "{}", out.stderr());
    }
    let _ = lab.issue(&["b.home.arpa"]).run().code(1);
    let _ = lab.server.terminate().success();
}

#[test]
fn one_process_runs_the_directory_of_a_ca() {
    let lab = Lab::start(&["--permit-any", "--http", "off"]);
    let out = ca_serve(&lab.ca, &["--permit-any", "--http", "off"]).run();
    let out = out.code(1);
    for words in [
        "the private ACME directory cannot be run: another process runs the directory of the CA",
        "hint: use the one that runs",
    ] {
        assert!(out.stderr().contains(words), "{}", out.stderr());
    }
    let _ = lab.server.terminate().success();
}

#[test]
fn a_rotation_of_the_root_ends_when_its_clients_have_come() {
    let lab = Lab::start(&["--permit", "localhost,127.0.0.0/8", "--http", "off"]);
    let _ = lab.issue(&["localhost"]).run().success();
    let _ = lab.issue(&["127.0.0.1"]).run().success();
    let rotate = |args: &[&str]| lab.ca.certmint(["ca", "rotate", "root"]).args(args).run();
    let out = rotate(&[]).success();
    assert!(out.stderr().contains("ACME clients"), "{}", out.stderr());
    let out = lab.ca.certmint(["ca", "status"]).run().code(3);
    for said in ["R1", "R2", "old-root", "by its client", "ca account list"] {
        assert!(out.stdout().contains(said), "{said}: {}", out.stdout());
    }
    let out = rotate(&["--finish"]).code(1);
    for said in ["2 certificates", "localhost", "127.0.0.1", "--force"] {
        assert!(out.stderr().contains(said), "{said}: {}", out.stderr());
    }
    let _ = lab.issue(&["localhost", "--force"]).run().success();
    let chain = lab.chain("localhost");
    assert_eq!(chain.len(), 3, "leaf, I2, R2 by R1");
    let out = rotate(&["--finish"]).code(1);
    assert!(out.stderr().contains(": 127.0.0.1"), "{}", out.stderr());
    assert!(!out.stderr().contains("localhost"), "{}", out.stderr());
    // What was revoked waits for nobody.
    let serial = lab.chain("127.0.0.1")[0].serial_hex();
    let _ = lab.ca.certmint(["ca", "revoke", &serial]).run().success();
    let out = rotate(&["--finish"]).success();
    assert!(!out.stderr().contains("old root"), "{}", out.stderr());
    let out = rotate(&["--finish"]).code(1);
    assert!(out.stderr().contains("no root rotation to finish"));
    // Or the operator knows better.
    let _ = rotate(&[]).success();
    let _ = rotate(&["--finish"]).code(1);
    let out = rotate(&["--finish", "--force"]).success();
    assert!(out.stdout().contains("holds only R3"), "{}", out.stdout());
    assert!(
        out.stderr().contains("a certificate that is valid"),
        "{}",
        out.stderr()
    );
}
