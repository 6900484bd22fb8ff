//! `certmint inspect`: files, directories, standard input and servers.

use std::os::unix::fs::PermissionsExt;

use crate::ca::{Ca, json, openssl};
use crate::support::{TestEnv, tool};

#[test]
fn a_healthy_chain_is_0_in_every_form_it_comes_in() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    ca.write("pass", "changeit\n");
    let p12 = ["--p12", "a.p12", "--p12-passphrase-file", "pass"];
    let with_p12: &[&str] = if cfg!(feature = "p12") { &p12 } else { &[] };
    let dir = ca.issue(&[&["a.test"], with_p12].concat());
    let full = dir.join("fullchain.pem");
    let der = ["x509", "-outform", "DER", "-out", "a.der", "-in"];
    let _ = openssl(&ca, &der).arg(&full).run().success();
    let inspect = |target: &str| ca.certmint(["inspect", target]);
    for target in [full.to_str().unwrap(), "a.der", dir.to_str().unwrap()] {
        let out = inspect(target).run().success();
        assert!(out.stdout().contains("a.test"), "{}", out.stdout());
        assert!(out.stdout().contains("✓ ok"), "{}", out.stdout());
    }
    let pem = std::fs::read(&full).unwrap();
    let _ = inspect("-").stdin(&pem).run().success();
    if cfg!(feature = "p12") {
        let out = inspect("a.p12").args(["--passphrase-file", "pass"]).run();
        assert!(out.success().stdout().contains("a.test"));
        let out = inspect("a.p12").run();
        assert!(out.stderr().contains("passphrase") || out.stdout().contains("passphrase"));
    }
    let roots = ca.roots();
    let out = inspect(full.to_str().unwrap())
        .arg("--ca-file")
        .arg(&roots)
        .run();
    assert!(out.success().stdout().contains("Test Root R1"));
    let _ = ca.ca(["crl"]).run().success();
    for file in [
        "ca/crl/I1.crl",
        "ca/crl/I1.crl.pem",
        "ca/root.pem",
        "ca/chain.pem",
    ] {
        let path = ca.state().join(file);
        let _ = inspect(path.to_str().unwrap()).run().success();
    }
    let report = json(
        &inspect(full.to_str().unwrap())
            .arg("--json")
            .run()
            .success(),
        "certmint.inspect/1",
    );
    assert_eq!(report["overall"], "ok");
    assert_eq!(report["kind"], "file");
    let cert = &report["items"][0]["certificates"][0];
    assert_eq!(cert["role"], "leaf");
    assert_eq!(cert["sans"]["dns"][0], "a.test");
    assert_eq!(cert["serial_hex"], ca.serial(&full));
    assert_eq!(
        report["items"][0]["certificates"][1]["role"],
        "intermediate"
    );
}

#[test]
fn each_fault_of_a_file_has_its_code_and_its_name() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let dir = ca.issue(&["a.test"]);
    let other = ca.issue(&["b.test"]);
    let read = |dir: &std::path::Path, name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let key = |dir, path: &str, mode| {
        let path = ca.write(path, read(dir, "privkey.pem"));
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    ca.write("mismatch/cert.pem", read(&dir, "fullchain.pem"));
    key(&other, "mismatch/privkey.pem", 0o600);
    ca.write("loose/fullchain.pem", read(&dir, "fullchain.pem"));
    key(&dir, "loose/privkey.pem", 0o644);
    let alone = read(&dir, "cert.pem");
    ca.write("two.pem", format!("{alone}{}", read(&other, "cert.pem")));
    ca.write("order.pem", format!("{}{alone}", read(&dir, "chain.pem")));
    ca.write(
        "garbage.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let sha1 = "openssl req -x509 -newkey rsa:1024 -sha1 -nodes -keyout k -out weak.pem -days 9000 -subj /CN=weak.test";
    let _ = ca.command("/bin/sh", ["-c", sha1]).run().success();
    let table = [
        ("mismatch", 4, "key-mismatch"),
        ("loose", 3, "key-mode"),
        ("order.pem", 3, "misordered-chain"),
        ("garbage.pem", 4, "malformed"),
        ("weak.pem", 4, "weak-key"),
    ];
    for (target, code, finding) in table {
        let out = ca.certmint(["inspect", target]).run().code(code);
        assert!(out.stdout().contains(finding), "{target}: {}", out.stdout());
        let _ = ca
            .certmint(["inspect", target, "--fail-on", "never"])
            .run()
            .success();
        let code = if code == 4 { 4 } else { 0 };
        let _ = ca
            .certmint(["inspect", target, "--fail-on", "critical"])
            .run()
            .code(code);
    }
    let out = ca.certmint(["inspect", "two.pem"]).run();
    assert!(
        out.stdout().contains("missing-intermediate"),
        "{}",
        out.stdout()
    );
    let full = dir.join("fullchain.pem");
    if let Some(faketime) = tool("faketime") {
        for (offset, code, finding) in [("+65d", 3, "due"), ("+100d", 4, "expired")] {
            let out = ca
                .certmint(["inspect"])
                .arg(&full)
                .under([faketime.to_str().unwrap(), "-f", offset])
                .run()
                .code(code);
            assert!(out.stdout().contains(finding), "{}", out.stdout());
        }
    }
    // Revoked, when the CRL lies beside it.
    let _ = ca.ca(["revoke", "a.test"]).run().success();
    ca.write("revoked/chain.pem", read(&dir, "fullchain.pem"));
    ca.write(
        "revoked/list.crl",
        std::fs::read(ca.state().join("ca/crl/I1.crl")).unwrap(),
    );
    let out = ca.certmint(["inspect", "revoked"]).run().code(4);
    assert!(out.stdout().contains("revoked"), "{}", out.stdout());
    let untrusted = ca
        .certmint(["inspect", "two.pem", "--ca-file"])
        .arg(ca.roots())
        .run();
    let _ = untrusted.code(4);
}

#[test]
fn what_cannot_be_inspected_is_said_with_exit_code_1_or_2() {
    let env = TestEnv::new();
    env.write("text", "hello\n");
    env.write("empty/readme", "x");
    let table = [
        ("absent", 2, "no file `absent`"),
        ("absent/dir/file.pem", 2, "absent/dir/file.pem"),
        ("text", 1, "no certificate, key, request or revocation list"),
        ("empty", 1, "empty"),
        ("127.0.0.1:1", 1, "could not connect"),
        ("localhost:0", 2, "port"),
        ("localhost:99999", 2, "port"),
        ("ftp://localhost", 2, "ftp"),
        ("https://u:p@localhost/", 2, "password"),
        ("a\u{1b}[31mb", 2, "\\u{1b}"),
        ("", 2, "no file"),
    ];
    for (target, code, said) in table {
        let out = env.certmint(["inspect", target]).run().code(code);
        assert!(out.stderr().contains(said), "{target:?}: {}", out.stderr());
        assert!(!out.stderr().contains('\u{1b}'), "{target:?}");
    }
    let out = env.certmint(["inspect", "-"]).run().code(1);
    assert!(out.stderr().contains("standard input"), "{}", out.stderr());
    let _ = env.certmint(["inspect"]).run().code(2);
}

#[test]
fn nothing_that_a_stranger_wrote_reaches_the_terminal_as_it_is() {
    if tool("openssl").is_none() {
        return;
    }
    let env = TestEnv::new();
    env.write(
        "conf",
        "[req]\ndistinguished_name=dn\nprompt=no\nutf8=yes\nstring_mask=utf8only\nx509_extensions=v3\n\
         [dn]\nCN=\"evil\u{1b}[31m\u{7}\u{9b}red\u{202e}name\"\nO=\"line\\\nbreak\"\n\
         [v3]\nsubjectAltName=DNS:evil\u{1b}[2J.test,email:a\u{1b}]0;x\u{7}@b.test,URI:http://x/\u{1b}[0m\n",
    );
    let args = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "evil.pem",
    ];
    let _ = openssl(&env, &args)
        .args(["-config", "conf", "-days", "9"])
        .run()
        .success();
    for args in [
        &["inspect", "evil.pem"][..],
        &["inspect", "evil.pem", "--json"],
    ] {
        let out = env.certmint(args).run();
        let hidden = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        // JSON escapes what is below U+0020; the rest are characters like others to a parser.
        let shown = if args.len() == 2 {
            out.stdout().contains(hidden)
        } else {
            out.stdout().contains(|c: char| c < ' ' && c != '\n')
        };
        assert!(!shown, "{:?}", out.stdout());
        assert!(!out.stderr().contains(hidden));
    }
}

#[test]
fn a_server_is_judged_by_what_it_sends() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let serve = [
        "serve-ca",
        "localhost",
        "127.0.0.1",
        "--https",
        "127.0.0.1:0",
    ];
    let mut server = ca.certmint(serve).spawn();
    let target = server.await_address("https://").to_string();
    let inspect = |args: &[&str]| {
        ca.certmint(["inspect", &target])
            .arg("--ca-file")
            .arg(ca.roots())
            .args(args)
            .run()
    };
    let out = inspect(&[]).success();
    for said in [
        "TLS 1.3",
        "X25519MLKEM768",
        "localhost",
        "Test Root R1",
        "h2",
    ] {
        assert!(out.stdout().contains(said), "{said}: {}", out.stdout());
    }
    let report = json(&inspect(&["--json"]).success(), "certmint.inspect/1");
    assert_eq!(report["kind"], "endpoint");
    assert_eq!(report["overall"], "ok");
    assert_eq!(
        report["items"][0]["certificates"].as_array().unwrap().len(),
        2
    );
    let out = inspect(&["--servername", "other.test"]).code(4);
    assert!(out.stdout().contains("name-mismatch") || out.stdout().contains("did not end"));
    let out = ca.certmint(["inspect", &target]).run().code(4);
    assert!(out.stdout().contains("untrusted"), "{}", out.stdout());
    let _ = inspect(&["--fail-on", "never", "--servername", "other.test"]).success();
    let _ = server.terminate();
}
