//! `certmint ca issue`: names, keys, copies, and what is refused.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::ca::{Ca, assert_private, contains, extension, json, mode, openssl, tree, verify};
use crate::support::{TestEnv, tool};

#[test]
fn every_kind_of_name_stands_in_the_certificate_as_openssl_reads_it() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let table: [(&str, &str, &str, &str); 9] = [
        ("a.test", "", "a.test", "DNS:a.test"),
        ("*.a.test", "", "_wildcard.a.test", "DNS:*.a.test"),
        (
            "BÜCHER.example",
            "",
            "xn--bcher-kva.example",
            "DNS:xn--bcher-kva.example",
        ),
        ("192.0.2.7", "", "192.0.2.7", "IP Address:192.0.2.7"),
        ("2001:db8::7", "", "", "IP Address:2001:DB8:0:0:0:0:0:7"),
        ("[::1]", "", "", "IP Address:0:0:0:0:0:0:0:1"),
        ("ada@example.com", "--client", "", "email:ada@example.com"),
        (
            "spiffe://example.org/ns/a",
            "--both",
            "",
            "URI:spiffe://example.org/ns/a",
        ),
        (
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "--client",
            "",
            "URI:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        ),
    ];
    for (name, usage, id, san) in table {
        let run = ca.ca(["issue", "--json", name]);
        let run = if usage.is_empty() {
            run
        } else {
            run.arg(usage)
        };
        let report = json(&run.run().success(), "certmint.issue/1");
        if !id.is_empty() {
            assert_eq!(report["id"], id);
        }
        let dir = Path::new(report["path"].as_str().unwrap());
        assert_eq!(extension(&ca, &dir.join("cert.pem"), "subjectAltName"), san);
        assert_eq!(report["serial"], ca.serial(&dir.join("cert.pem")));
        let _ = verify(&ca, dir, &ca.roots()).run().success();
    }
    // All in one, in the order given, each once.
    let dir = ca.issue(&["localhost", "127.0.0.1", "::1", "LOCALHOST", "*.a.test"]);
    assert_eq!(
        extension(&ca, &dir.join("cert.pem"), "subjectAltName"),
        "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:*.a.test"
    );
    let first = dir.join("cert.pem");
    let check = ["x509", "-noout", "-checkhost", "x.a.test", "-in"];
    let out = openssl(&ca, &check).arg(first).run().success();
    assert!(out.stdout().contains("does match"), "{}", out.stdout());
}

#[test]
fn what_is_no_name_is_refused_with_a_reason_and_nothing_is_written() {
    let ca = Ca::new();
    let before = tree(&ca.state());
    let long_label = format!("{}.test", "a".repeat(64));
    let long = format!("{}.b", [&*"a".repeat(50); 5].join("."));
    assert!(long.len() > 253);
    let table = [
        ("../../evil", "not a path"),
        ("..", "empty label"),
        ("/etc/passwd", "not a path"),
        ("a..test", "empty label"),
        (".test", "empty label"),
        ("a.test.", "leave the last dot away"),
        (&long_label, "a label has 64 characters"),
        (&long, "256 characters, a host name at most 253"),
        ("1.2.3.4:80", "leave the port away: `1.2.3.4`"),
        ("a.test:443", "leave the port away: `a.test`"),
        ("1.2.3.400", "last label is a number"),
        ("::ffff:1.2.3.4", "write it as `1.2.3.4`"),
        ("a\u{1b}[31mb.test", "control character \\u{1b}"),
        ("a\nb.test", "control character \\u{a}"),
        ("a\u{202e}b.test", "`a\\u{202e}b.test`"),
        ("a b.test", "white space"),
        ("a_b.test", "`_` may not stand"),
        ("*", "a wildcard is"),
        ("*.*.test", "a wildcard is"),
        ("w*.test", "a wildcard is"),
        ("", "empty"),
        ("@example.com", "before `@`"),
        ("https://u:p@example.com/", "no password"),
        ("data:,x", "may not stand"),
    ];
    for (name, why) in table {
        let out = ca.ca(["issue", "--", name]).run().code(2);
        let said = out.stderr();
        assert!(said.contains(why), "{name:?}: {said}");
        let hidden = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.contains(hidden), "{name:?}: {said:?}");
        assert_eq!(out.stdout(), "");
    }
    let out = ca.ca(["issue"]).run().code(2);
    assert!(out.stderr().contains("--from"), "{}", out.stderr());
    let many: Vec<String> = (0..101).map(|n| format!("n{n}.test")).collect();
    let out = ca.ca(["issue"]).args(&many).run().code(1);
    assert!(out.stderr().contains("101 names are too many"));
    let out = ca.ca(["issue", "ada@example.com"]).run().code(1);
    assert!(out.stderr().contains("--client"), "{}", out.stderr());
    let left: Vec<_> = tree(&ca.state())
        .into_iter()
        .filter(|p| !before.contains(p) && !p.starts_with(ca.state().join("locks")))
        .filter(|p| p.is_file())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!ca.path("evil").exists());
}

#[test]
fn usage_life_key_and_id_are_what_was_asked_for() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    for (flag, want) in [
        ("", "TLS Web Server Authentication"),
        ("--client", "TLS Web Client Authentication"),
        (
            "--both",
            "TLS Web Server Authentication, TLS Web Client Authentication",
        ),
    ] {
        let run = ca.ca(["issue", "--id", "one", "a.test"]);
        let run = if flag.is_empty() { run } else { run.arg(flag) };
        let _ = run.run().success();
        let cert = ca.current("one").join("cert.pem");
        assert_eq!(extension(&ca, &cert, "extendedKeyUsage"), want);
        assert_eq!(extension(&ca, &cert, "keyUsage"), "Digital Signature");
    }
    assert!(
        ca.current("one").read_link().unwrap().ends_with("3"),
        "one id, three generations"
    );
    for (kind, shown) in [
        ("p256", "prime256v1"),
        ("p384", "secp384r1"),
        ("ed25519", "ED25519 Public-Key"),
        ("rsa2048", "Public-Key: (2048 bit)"),
        ("rsa3072", "Public-Key: (3072 bit)"),
    ] {
        let dir = ca.issue(&["k.test", "--key-type", kind, "--days", "47"]);
        let _ = verify(&ca, &dir, &ca.roots()).run().success();
        let text = openssl(&ca, &["x509", "-noout", "-text", "-in"])
            .arg(dir.join("cert.pem"))
            .run()
            .success();
        assert!(text.stdout().contains(shown), "{kind}");
        let _ = openssl(&ca, &["pkey", "-noout", "-check", "-in"])
            .arg(dir.join("privkey.pem"))
            .run()
            .success();
        let days = |n: u32| {
            openssl(
                &ca,
                &[
                    "x509",
                    "-noout",
                    "-checkend",
                    &(n * 86_400).to_string(),
                    "-in",
                ],
            )
            .arg(dir.join("cert.pem"))
            .run()
            .status()
            .success()
        };
        assert!(days(46) && !days(48), "{kind}");
    }
    for bad in ["0", "826", "-1", "x", ""] {
        let out = ca.ca(["issue", &format!("--days={bad}"), "d.test"]).run();
        assert!(out.code(2).stderr().contains("--days"), "{bad}");
    }
    for bad in ["rsa1024", "p257", "dsa"] {
        let out = ca.ca(["issue", "--key-type", bad, "d.test"]).run().code(2);
        assert!(out.stderr().contains("p256"), "{}", out.stderr());
    }
    for bad in ["../x", "a/b", ".", "", "A b"] {
        let _ = ca.ca(["issue", "--id", bad, "d.test"]).run().code(2);
    }
}

#[test]
fn the_files_of_one_generation_belong_together() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let dir = ca.issue(&["a.test"]);
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let parts = [read("privkey.pem"), read("cert.pem"), read("chain.pem")];
    assert_eq!(read("fullchain.pem"), parts[1..].concat());
    assert_eq!(read("combined.pem"), parts.concat());
    let public = |args: &[&str]| {
        let out = ca
            .command("openssl", args)
            .current_dir(&dir)
            .run()
            .success();
        out.stdout().to_owned()
    };
    assert_eq!(
        public(&["pkey", "-pubout", "-in", "privkey.pem"]),
        public(&["x509", "-pubkey", "-noout", "-in", "cert.pem"])
    );
}

#[test]
fn renewing_makes_a_new_key_unless_told_to_reuse_it() {
    let ca = Ca::new();
    for (id, reuse) in [("new.test", false), ("same.test", true)] {
        let mut args = vec![id];
        if reuse {
            args.push("--reuse-key");
        }
        let dir = ca.issue(&args);
        let key = std::fs::read(dir.join("privkey.pem")).unwrap();
        let cert = std::fs::read(dir.join("cert.pem")).unwrap();
        let _ = ca.certmint(["renew", "--force", id]).run().success();
        assert_ne!(std::fs::read(dir.join("cert.pem")).unwrap(), cert);
        let same = std::fs::read(dir.join("privkey.pem")).unwrap() == key;
        assert_eq!(same, reuse, "{id}");
    }
}

#[test]
fn copies_have_the_mode_and_owner_asked_for_now_and_after_renewal() {
    let ca = Ca::new();
    let root = rustix::process::geteuid().is_root();
    let mut args = vec!["a.test", "--out", "copies", "--mode", "0640"];
    if root {
        args.extend(["--owner", "nobody", "--group", "nogroup"]);
    }
    let out = ca.ca(["issue"]).args(&args).run().success();
    let dir = ca.path("copies");
    assert!(
        out.stdout()
            .contains(dir.join("privkey.pem").to_str().unwrap())
    );
    let look = || {
        for (name, want) in [
            ("privkey.pem", 0o640),
            ("combined.pem", 0o640),
            ("fullchain.pem", 0o644),
        ] {
            let path = dir.join(name);
            assert_eq!(mode(&path), want, "{name}");
            if root {
                let found = path.metadata().unwrap();
                assert!(found.uid() != 0 && found.gid() != 0, "{name}");
            }
        }
        ca.read("copies/fullchain.pem")
    };
    let before = look();
    let _ = ca.certmint(["renew", "--force"]).run().success();
    assert_ne!(look(), before);
    let kept = std::fs::read_to_string(ca.current("a.test").join("fullchain.pem")).unwrap();
    assert_eq!(look(), kept);
}

#[test]
fn what_cannot_be_copied_is_said_before_anything_is_issued() {
    let ca = Ca::new();
    ca.write("file", "");
    let table: [&[&str]; 7] = [
        &["--out", "file/dir"],
        &["--out", "o1", "--owner", "no-such-user"],
        &["--out", "o2", "--group", "no-such-group"],
        &["--mode", "0640"],
        &["--out", "o3", "--mode", "rw-r-----"],
        &["--out", "o4", "--mode", "0044"],
        &["--p12", "absent/a.p12", "--p12-passphrase-file", "file"],
    ];
    for args in table {
        let out = ca.ca(["issue", "a.test"]).args(args).run();
        assert!(matches!(out.status().code(), Some(1 | 2)), "{args:?}");
        assert_eq!(out.stdout(), "", "{args:?}");
        assert!(out.stderr().contains("error: "), "{args:?}");
    }
    let out = ca.ca(["list"]).run().success();
    assert!(out.stderr().contains("no certificate matches"));
}

#[test]
fn pkcs12_opens_in_openssl_and_keytool() {
    if !cfg!(feature = "p12") || tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    ca.write("pass", "changeit\n");
    let p12 = ["--p12", "a.p12", "--p12-passphrase-file", "pass"];
    let dir = ca.issue(&[&["a.test"][..], &p12].concat());
    assert_eq!(mode(&ca.path("a.p12")), 0o600);
    let out = openssl(
        &ca,
        &["pkcs12", "-in", "a.p12", "-nodes", "-passin", "file:pass"],
    )
    .run()
    .success();
    assert_eq!(out.stdout().matches("BEGIN CERTIFICATE").count(), 2);
    let key = std::fs::read_to_string(dir.join("privkey.pem")).unwrap();
    assert!(out.stdout().contains(key.trim()));
    let wrong = ["pkcs12", "-in", "a.p12", "-noout", "-passin", "pass:wrong"];
    assert!(!openssl(&ca, &wrong).run().status().success());
    // Without a passphrase there is nobody to ask: an error, and nothing is issued.
    let out = ca.ca(["issue", "b.test", "--p12", "b.p12"]).run().code(2);
    assert!(out.stderr().contains("nobody can be asked"));
    assert!(!ca.path("b.p12").exists() && !ca.current("b.test").exists());
    if tool("keytool").is_none() {
        return;
    }
    let args = [
        "-list",
        "-v",
        "-storetype",
        "PKCS12",
        "-storepass:file",
        "pass",
        "-keystore",
    ];
    let out = ca.command("keytool", args).arg("a.p12").run().success();
    let said = out.stdout();
    assert!(said.contains("PrivateKeyEntry"), "{said}");
    assert!(said.contains("Certificate chain length: 2"), "{said}");
}

#[test]
fn a_request_made_here_can_be_signed_here_or_elsewhere() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let names = ["a.test", "*.a.test", "10.0.0.1"];
    let out = ca
        .ca(["issue", "--csr-only", "--out", "req"])
        .args(names)
        .run()
        .success();
    assert!(out.stdout().contains("request.csr"), "{}", out.stdout());
    assert_eq!(mode(&ca.path("req/privkey.pem")), 0o600);
    assert!(!ca.current("a.test").exists(), "nothing is issued");
    let check = [
        "req",
        "-noout",
        "-verify",
        "-text",
        "-in",
        "req/request.csr",
    ];
    let text = openssl(&ca, &check).run().success();
    assert!(
        text.stdout()
            .contains("DNS:a.test, DNS:*.a.test, IP Address:10.0.0.1")
    );
    // A second one does not overwrite the key.
    let key = ca.read("req/privkey.pem");
    let _ = ca
        .ca(["issue", "--csr-only", "--out", "req", "a.test"])
        .run()
        .code(1);
    assert_eq!(ca.read("req/privkey.pem"), key);
    let _ = ca
        .ca(["sign", "req/request.csr", "--out", "req/fullchain.pem"])
        .run()
        .success();
    let _ = openssl(&ca, &["verify", "-x509_strict", "-CAfile"])
        .arg(ca.roots())
        .args(["-untrusted", "req/fullchain.pem", "req/fullchain.pem"])
        .run()
        .success();
    let out = ca.ca(["issue", "--csr-only", "a.test"]).run().code(2);
    assert!(out.stderr().contains("--out"));
    // It needs no CA at all.
    let env = TestEnv::new();
    let _ = env
        .certmint(["ca", "issue", "--csr-only", "--out", "o", "a.test"])
        .run()
        .success();
    assert!(!env.state().exists());
}

#[test]
fn three_hundred_names_from_a_list_are_issued_and_in_the_inventory() {
    let ca = Ca::new();
    let mut list = String::from("# hosts\n\n");
    for n in 0..300 {
        list.push_str(&format!(
            "  h{n}.test , alias{n}.test,10.0.{}.{}\n",
            n / 200,
            n % 200
        ));
    }
    let out = ca
        .ca(["issue", "--from", "-", "--out", "copies", "--json"])
        .stdin(&list)
        .run();
    let report = json(&out.success(), "certmint.issue-many/1");
    assert_eq!(report["issued"].as_array().unwrap().len(), 300);
    let listed = ca.ca(["list", "--json"]).run().success();
    let listed = json(&listed, "certmint.list/1");
    let ids: std::collections::BTreeSet<&str> = listed["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            assert_eq!(row["names"].as_array().unwrap().len(), 3);
            row["id"].as_str().unwrap()
        })
        .collect();
    assert_eq!(ids.len(), 300);
    for n in [0, 150, 299] {
        assert!(ca.path(format!("copies/h{n}.test/fullchain.pem")).is_file());
        if tool("openssl").is_some() {
            let dir = ca.current(&format!("h{n}.test"));
            let _ = verify(&ca, &dir, &ca.roots()).run().success();
        }
    }
    assert_private(&ca.state());
}

#[test]
fn bad_lines_of_a_list_are_all_reported_at_once_and_nothing_is_issued() {
    let ca = Ca::with(["--permit", "test"]);
    let list =
        "good.test\n../../evil\ngood2.test,a..b\n# c\ngood.test\nx.test:80\na\u{1b}.test\n,\n";
    ca.write("list", list);
    let out = ca.ca(["issue", "--from", "list"]).run().code(2);
    let said = out.stderr();
    for want in [
        "line 2: `../../evil`",
        "line 3: `a..b`",
        "line 5: `good.test` stands in line 1 already",
        "line 6:",
        "line 7: `a\\u{1b}.test`",
        "line 8:",
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }
    assert!(!said.contains("line 1:") && !said.contains("line 4:") && !said.contains('\u{1b}'));
    // What policy refuses is found before the first is signed, too.
    ca.write("list", "good.test\noutside.example\n10.0.0.1\n");
    let out = ca.ca(["issue", "--from", "list"]).run().code(1);
    assert!(out.stderr().contains("outside.example"), "{}", out.stderr());
    let listed = ca.ca(["list"]).run().success();
    assert!(
        listed.stderr().contains("no certificate matches"),
        "{}",
        listed.stdout()
    );
    ca.write("list", "# only words\n");
    let out = ca.ca(["issue", "--from", "list"]).run().code(2);
    assert!(out.stderr().contains("no name"), "{}", out.stderr());
    let many: String = (0..30).map(|_| "..\n").collect();
    let out = ca.ca(["issue", "--from", "-"]).stdin(many).run().code(2);
    assert!(out.stderr().contains("and 10 more"), "{}", out.stderr());
    let out = ca.ca(["issue", "--from", "absent"]).run().code(1);
    assert!(out.stderr().contains("absent"));
    let out = ca.ca(["issue", "--from", "list", "a.test"]).run().code(2);
    assert!(out.stderr().contains("cannot be used with"));
}

#[test]
fn no_key_is_readable_by_others_for_a_moment_whatever_the_umask() {
    let Some(strace) = tool("strace") else { return };
    let ca = TestEnv::new();
    let trace = ca.path("trace");
    let commands: [&[&str]; 3] = [
        &["ca", "init"],
        &["ca", "issue", "a.test", "--out", "copies"],
        &["renew", "--force"],
    ];
    for args in commands {
        let calls = "trace=open,openat,creat,mkdir,mkdirat,chmod,fchmod,fchmodat";
        let wrap = [
            strace.to_str().unwrap(),
            "-f",
            "-o",
            trace.to_str().unwrap(),
            "-e",
            calls,
        ];
        let _ = ca
            .certmint(args)
            .under(wrap)
            .under(["/bin/sh", "-c", "umask 000; exec \"$@\"", "sh"])
            .run()
            .success();
        let text = ca.read("trace");
        let made = text
            .lines()
            .filter(|l| l.contains("O_CREAT") || l.contains("mkdir"));
        let mut seen = 0;
        for line in made.filter(|l| l.contains("state/") || l.contains("copies")) {
            // What is for all is a certificate; a key has a name that says so.
            let secret = ["key.pem", "privkey", "combined", "sqlite", "mkdir"];
            if secret.iter().any(|s| line.contains(s)) {
                seen += 1;
                let private = [", 0600", ", 0700"].iter().any(|m| line.contains(m));
                assert!(private, "{line}");
            }
        }
        assert!(seen > 0, "{text}");
    }
    assert_private(&ca.state());
    assert_private(&ca.path("copies"));
}

#[test]
fn issuing_again_under_one_id_keeps_what_was_and_numbers_on() {
    let ca = Ca::new();
    let dir = ca.issue(&["a.test"]);
    let first = std::fs::read(dir.join("cert.pem")).unwrap();
    let out = ca.ca(["issue", "a.test", "b.test"]).run().success();
    assert!(out.stdout().contains("a.test +1"), "{}", out.stdout());
    assert_ne!(std::fs::read(dir.join("cert.pem")).unwrap(), first);
    let old = ca.state().join("certs/a.test/1/cert.pem");
    assert_eq!(std::fs::read(old).unwrap(), first);
    let listed = ca.ca(["list", "--json"]).run().success();
    let listed = json(&listed, "certmint.list/1");
    assert_eq!(listed["certificates"].as_array().unwrap().len(), 2);
    let json = ca.state().join("certs/a.test/2/cert.json");
    assert!(!contains(&std::fs::read(json).unwrap(), b"PRIVATE"));
}
