//! `certmint ca rotate`: clients of the old root and of the new one at every step.

use std::path::{Path, PathBuf};

use crate::ca::{Ca, json, openssl, verify};
use crate::support::tool;

/// The root of one generation, in a file of its own.
fn only(ca: &Ca, generation: &str) -> PathBuf {
    ca.state().join("ca/root").join(generation).join("cert.pem")
}

#[test]
fn clients_of_either_root_verify_through_the_whole_rotation() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let dir = ca.issue(&["a.test"]);
    let out = ca.ca(["rotate", "root"]).run().success();
    assert!(out.stdout().contains("R2") && out.stdout().contains("I2"));
    assert!(out.stderr().contains("certmint renew"), "{}", out.stderr());
    // What was issued before goes on working for clients of the old root, and for
    // those who took the new file, which holds both.
    for roots in [only(&ca, "R1"), ca.roots()] {
        let _ = verify(&ca, &dir, &roots).run().success();
    }
    let roots = ca.read("state/ca/root.pem");
    assert_eq!(roots.matches("BEGIN CERTIFICATE").count(), 2);
    // `renew` replaces it at once, because its issuer is no longer the one that signs.
    let dry = ca.certmint(["renew", "--dry-run"]).run().success();
    assert!(
        dry.stdout().contains("a.test  would be renewed"),
        "{}",
        dry.stdout()
    );
    let out = ca.certmint(["renew"]).run().success();
    assert!(out.stdout().contains("a.test  renewed"), "{}", out.stdout());
    let chain = std::fs::read_to_string(dir.join("fullchain.pem")).unwrap();
    assert_eq!(
        chain.matches("BEGIN CERTIFICATE").count(),
        3,
        "leaf, I2, R2 by R1"
    );
    for roots in [only(&ca, "R1"), only(&ca, "R2"), ca.roots()] {
        let _ = verify(&ca, &dir, &roots).run().success();
    }
    let again = ca.certmint(["renew"]).run().success();
    assert_eq!(again.stdout(), "", "once is enough");
    let status = ca.ca(["status"]).run().success();
    assert!(status.stdout().contains("R2") && status.stdout().contains("R1"));

    let out = ca.ca(["rotate", "root", "--finish"]).run().success();
    assert!(out.stdout().contains("R2"), "{}", out.stdout());
    assert_eq!(
        ca.read("state/ca/root.pem"),
        std::fs::read_to_string(only(&ca, "R2")).unwrap()
    );
    let dir = ca.issue(&["b.test"]);
    let chain = std::fs::read_to_string(dir.join("fullchain.pem")).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    let _ = verify(&ca, &dir, &ca.roots()).run().success();
    let out = verify(&ca, &dir, &only(&ca, "R1")).run();
    assert!(!out.status().success(), "the old root is history");
    let out = ca.ca(["rotate", "root", "--finish"]).run().code(1);
    assert!(out.stderr().contains("no root rotation to finish"));
    let _ = ca.ca(["status"]).run().success();
}

#[test]
fn a_rotated_intermediate_changes_nothing_for_clients() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let old = ca.issue(&["old.test"]);
    let out = ca.ca(["rotate", "intermediate"]).run().success();
    assert!(out.stdout().contains("I2 signs from now on"));
    let new = ca.issue(&["new.test"]);
    for dir in [&old, &new] {
        let _ = verify(&ca, dir, &ca.roots()).run().success();
    }
    assert_ne!(issuer(&ca, &old), issuer(&ca, &new));
    // Both generations go on revoking, each with a list of its own.
    for name in ["old.test", "new.test"] {
        let _ = ca.ca(["revoke", name]).run().success();
    }
    for (dir, crl) in [(&old, "I1"), (&new, "I2")] {
        let out = openssl(&ca, &["verify", "-crl_check", "-CAfile"])
            .arg(ca.roots())
            .arg("-untrusted")
            .arg(dir.join("chain.pem"))
            .arg("-CRLfile")
            .arg(ca.state().join(format!("ca/crl/{crl}.crl.pem")))
            .arg(dir.join("cert.pem"))
            .run()
            .code(2);
        assert!(
            out.stderr().contains("certificate revoked"),
            "{}",
            out.stderr()
        );
    }
}

#[test]
fn rotations_can_be_repeated_and_keep_constraints() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::with(["--permit", "test"]);
    for _ in 0..2 {
        let _ = ca.ca(["rotate", "root"]).run().success();
        let _ = ca.ca(["rotate", "intermediate"]).run().success();
    }
    let dir = ca.issue(&["a.test"]);
    for root in ["R2", "R3"] {
        let _ = verify(&ca, &dir, &only(&ca, root)).run().success();
    }
    let out = ca.ca(["issue", "a.example"]).run().code(1);
    assert!(out.stderr().contains("outside"));
    for root in ["R2/cert.pem", "R3/cert.pem", "R3/cross.pem"] {
        let cert = ca.state().join("ca/root").join(root);
        assert!(crate::ca::extension(&ca, &cert, "nameConstraints").contains("DNS:test"));
    }
    let listed = json(
        &ca.ca(["list", "--all", "--json"]).run().success(),
        "certmint.list/1",
    );
    let rows = listed["certificates"].as_array().unwrap();
    let count = |role: &str| rows.iter().filter(|row| row["role"] == role).count();
    assert_eq!(
        (count("root"), count("cross"), count("intermediate")),
        (3, 2, 5)
    );
}

#[test]
fn a_server_that_runs_serves_the_new_chain_after_a_rotation_and_a_renewal() {
    let (Some(curl), Some(_)) = (tool("curl"), tool("openssl")) else {
        return;
    };
    let ca = Ca::new();
    let serve = ["serve-ca", "localhost", "--https", "127.0.0.1:0"];
    let mut server = ca.certmint(serve).spawn();
    let address = server.await_address("https://");
    let url = format!("https://localhost:{}/", address.port());
    let resolve = format!("localhost:{}:127.0.0.1", address.port());
    let get = |root: &Path| {
        ca.command(
            &curl,
            [
                "-sS",
                "--fail",
                "-o",
                "/dev/null",
                "--resolve",
                &resolve,
                "--cacert",
            ],
        )
        .arg(root)
        .arg(&url)
        .run()
    };
    let _ = get(&only(&ca, "R1")).success();
    // The CLI works beside the server: its ledger is shared.
    let _ = ca.issue(&["other.test"]);
    let _ = ca.ca(["revoke", "other.test"]).run().success();
    let _ = ca.ca(["status"]).run().code(4);
    let _ = ca.ca(["rotate", "root"]).run().success();
    let _ = get(&only(&ca, "R1")).success();
    let _ = ca.certmint(["renew"]).run().success();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !get(&only(&ca, "R2")).status().success() {
        assert!(
            std::time::Instant::now() < until,
            "the new chain is not served"
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let _ = get(&only(&ca, "R1")).success();
    let _ = server.terminate().success();
}

fn issuer(ca: &Ca, dir: &Path) -> String {
    let out = openssl(ca, &["x509", "-noout", "-issuer", "-in"])
        .arg(dir.join("cert.pem"))
        .run()
        .success();
    out.stdout().to_owned()
}
