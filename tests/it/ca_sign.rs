//! `certmint ca sign` and `certmint ca list`.

use crate::ca::{Ca, extension, json, openssl};
use crate::support::tool;

/// Makes `csr.pem` with OpenSSL: its subject, and its extensions.
fn request(ca: &Ca, subject: &str, extensions: &[&str]) {
    let mut args = vec![
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "csr.key",
    ];
    args.extend(["-out", "csr.pem", "-subj", subject]);
    for extension in extensions {
        args.extend(["-addext", extension]);
    }
    let _ = openssl(ca, &args).run().success();
}

#[test]
fn only_names_and_key_of_a_request_count() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    request(
        &ca,
        "/O=Evil Corp/CN=a.test",
        &[
            "subjectAltName=DNS:a.test,IP:10.0.0.1",
            "keyUsage=keyEncipherment",
            "extendedKeyUsage=codeSigning",
        ],
    );
    let out = ca.ca(["sign", "csr.pem", "--days", "30"]).run().success();
    assert_eq!(out.stdout().matches("BEGIN CERTIFICATE").count(), 2);
    assert!(
        out.stderr().contains("signed a.test +1"),
        "{}",
        out.stderr()
    );
    assert!(
        out.stderr().contains("left out"),
        "what is not taken is said: {}",
        out.stderr()
    );
    let chain = ca.write("chain.pem", out.stdout());
    assert_eq!(extension(&ca, &chain, "basicConstraints"), "CA:FALSE");
    assert_eq!(extension(&ca, &chain, "keyUsage"), "Digital Signature");
    assert_eq!(
        extension(&ca, &chain, "extendedKeyUsage"),
        "TLS Web Server Authentication"
    );
    assert_eq!(
        extension(&ca, &chain, "subjectAltName"),
        "DNS:a.test, IP Address:10.0.0.1"
    );
    let subject = openssl(&ca, &["x509", "-noout", "-subject", "-in", "chain.pem"]).run();
    assert_eq!(subject.success().stdout().trim(), "subject=CN = a.test");
    let public = |args: &[&str]| openssl(&ca, args).run().success().stdout().to_owned();
    assert_eq!(
        public(&["x509", "-noout", "-pubkey", "-in", "chain.pem"]),
        public(&["pkey", "-pubout", "-in", "csr.key"])
    );
    let _ = openssl(&ca, &["verify", "-x509_strict", "-CAfile"])
        .arg(ca.roots())
        .args(["-untrusted", "chain.pem", "chain.pem"])
        .run()
        .success();
    // In the inventory like any other, without an id.
    let listed = json(
        &ca.ca(["list", "--json"]).run().success(),
        "certmint.list/1",
    );
    let row = &listed["certificates"][0];
    assert_eq!(row["serial"], ca.serial(&chain));
    assert_eq!(row["id"], serde_json::Value::Null);
    assert_eq!(row["key_type"], "rsa2048");
    let status = ca.ca(["status"]).run().success();
    assert!(status.stdout().contains("by hand"), "{}", status.stdout());
}

#[test]
fn a_request_comes_from_file_or_stdin_and_the_operator_may_name_it() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    request(&ca, "/CN=a.test", &["subjectAltName=DNS:a.test"]);
    let der = [
        "req", "-in", "csr.pem", "-outform", "DER", "-out", "csr.der",
    ];
    let _ = openssl(&ca, &der).run().success();
    let pem = ca.read("csr.pem");
    let _ = ca.ca(["sign", "-", "--client"]).stdin(pem).run().success();
    let args = [
        "sign",
        "csr.der",
        "--name",
        "b.test,c.test",
        "--name",
        "10.0.0.9",
    ];
    let out = ca.ca(args).args(["--out", "b.pem", "-q"]).run().success();
    assert_eq!((out.stdout(), out.stderr()), ("", ""));
    let cert = ca.path("b.pem");
    assert_eq!(
        extension(&ca, &cert, "subjectAltName"),
        "DNS:b.test, DNS:c.test, IP Address:10.0.0.9"
    );
}

#[test]
fn what_is_no_sound_request_is_refused() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::with(["--permit", "test"]);
    ca.write("garbage", "hello");
    ca.write("empty", "");
    request(&ca, "/CN=a.example", &["subjectAltName=DNS:a.example"]);
    for (file, said) in [
        ("garbage", "not a"),
        ("empty", "not a"),
        ("absent", "absent"),
        ("csr.pem", "outside what this CA may issue for"),
        ("csr.key", "not a"),
    ] {
        let out = ca.ca(["sign", file, "--out", "never.pem"]).run().code(1);
        assert!(out.stderr().contains(said), "{file}: {}", out.stderr());
        assert_eq!(out.stdout(), "");
    }
    let ca_csr = [
        "subjectAltName=DNS:a.test",
        "basicConstraints=critical,CA:TRUE",
    ];
    request(&ca, "/CN=a.test", &ca_csr);
    let out = ca.ca(["sign", "csr.pem"]).run().code(1);
    assert!(out.stderr().contains("asks to be a CA"), "{}", out.stderr());
    // A signature that is not of the key inside.
    let script = "openssl req -in csr.pem -outform DER | \
        python3 -c 'import sys;b=bytearray(sys.stdin.buffer.read());b[-1]^=1;sys.stdout.buffer.write(b)' > forged.der";
    let forged = ca.command("/bin/sh", ["-c", script]).run();
    if forged.status().success() {
        let out = ca
            .ca(["sign", "forged.der", "--name", "a.test"])
            .run()
            .code(1);
        assert!(out.stderr().contains("sign"), "{}", out.stderr());
    }
    let weak = [
        "req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", "w.key", "-out", "w.pem",
    ];
    let weak = openssl(&ca, &weak).args(["-subj", "/CN=a.test"]).run();
    let _ = weak.success();
    let out = ca.ca(["sign", "w.pem", "--name", "a.test"]).run().code(1);
    assert!(out.stderr().contains("1024"), "{}", out.stderr());
    assert!(!ca.path("never.pem").exists());
    let out = ca.ca(["list"]).run().success();
    assert!(out.stderr().contains("no certificate matches"));
}

#[test]
fn the_list_is_filtered_and_sorted_soonest_first() {
    let ca = Ca::new();
    for (name, days) in [
        ("long.test", "300"),
        ("short.test", "5"),
        ("mid.example", "60"),
    ] {
        let _ = ca.issue(&[name, "--days", days]);
    }
    let _ = ca.ca(["revoke", "mid.example"]).run().success();
    let names = |args: &[&str]| {
        let out = ca.ca(["list", "--json"]).args(args).run().success();
        let list = json(&out, "certmint.list/1");
        let rows = list["certificates"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| {
                let name = row["names"][0].as_str().unwrap_or("-");
                format!("{name} {}", row["state"].as_str().unwrap())
            })
            .collect::<Vec<_>>()
    };
    let all = ["short.test valid", "mid.example revoked", "long.test valid"];
    assert_eq!(names(&[]), all);
    assert_eq!(names(&["--expiring", "30d"]), all[..1]);
    assert_eq!(names(&["--expiring", "90d"]), all[..2]);
    assert_eq!(names(&["--revoked"]), all[1..2]);
    assert_eq!(
        names(&["--name", "*.TEST"]),
        ["short.test valid", "long.test valid"]
    );
    assert_eq!(names(&["--name", "m?d.example"]), all[1..2]);
    assert_eq!(names(&["--name", "nothing*"]), [""; 0]);
    assert_eq!(names(&["--limit", "2"]), all[..2]);
    assert_eq!(names(&["--all"]).len(), 5, "root and intermediate too");
    for bad in [
        ["--expiring", "30"],
        ["--limit", "-1"],
        ["--expiring", "-3d"],
    ] {
        let _ = ca.ca(["list"]).args(bad).run().code(2);
    }
    let text = ca.ca(["list"]).run().success();
    let lines: Vec<&str> = text.stdout().lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("EXPIRES (UTC)"));
    assert!(lines[2].contains("revoked") && lines[2].ends_with("mid.example"));
    // What has expired is history, shown on request.
    if let Some(faketime) = tool("faketime") {
        let later = [faketime.to_str().unwrap(), "-f", "+10d"];
        let out = ca.ca(["list"]).under(later).run().success();
        assert!(!out.stdout().contains("short.test"), "{}", out.stdout());
        let out = ca.ca(["list", "--all"]).under(later).run().success();
        assert!(out.stdout().contains("expired"), "{}", out.stdout());
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let ca = Ca::new();
    let list: String = (0..400)
        .map(|n| format!("host-number-{n}.test\n"))
        .collect();
    let _ = ca.ca(["issue", "--from", "-"]).stdin(list).run().success();
    for args in [
        "ca list",
        "ca list --json",
        "ca status --all",
        "ca status --json",
    ] {
        let script = format!(
            "set -o pipefail; {} {args} | head -1",
            env!("CARGO_BIN_EXE_certmint")
        );
        let out = ca
            .command("/bin/bash", ["-c", &script])
            .env("CERTMINT_HOME", ca.state())
            .run()
            .success();
        assert_eq!(out.stdout().lines().count(), 1);
        assert_eq!(out.stderr(), "", "{args}");
    }
}

#[test]
fn a_revoked_one_is_no_fault_once_another_has_its_names() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let sign = |out: &str| {
        request(&ca, "/CN=a.test", &["subjectAltName=DNS:a.test,DNS:b.test"]);
        let _ = ca.ca(["sign", "csr.pem", "--out", out]).run().success();
        ca.serial(&ca.path(out))
    };
    let first = sign("first.pem");
    let _ = ca.ca(["revoke", &first]).run().success();
    let out = ca.ca(["status"]).run().code(4);
    assert!(out.stdout().contains("revoked"), "{}", out.stdout());
    // For one of the names alone it is none.
    request(&ca, "/CN=a.test", &["subjectAltName=DNS:a.test"]);
    let _ = ca
        .ca(["sign", "csr.pem", "--out", "less.pem"])
        .run()
        .success();
    let _ = ca.ca(["status"]).run().code(4);
    let second = sign("second.pem");
    let out = ca.ca(["status"]).run().success();
    assert!(out.stdout().contains("2 certificates"), "{}", out.stdout());
    let _ = ca.ca(["revoke", &second]).run().success();
    let _ = ca.ca(["status"]).run().code(4);
}
