//! Every kind of certificate that certmint issues, before three judges: OpenSSL's
//! strict mode, rustls-webpki, and pkilint.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use certmint::bundle::to_pem;
use certmint::clock::{Clock as _, Duration, SystemClock};
use certmint::identifier::Identifier;
use certmint::issuer::Usage;
use certmint::key::{KeyType, PrivateKey};
use certmint::pki::{CsrNames, CsrRequest, PrivateCa, request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::ca::{Ca, openssl, verify};
use crate::support::{TestEnv, tool};

/// The CAs: arguments of `ca init`, and the leaves to issue under each.
const PROFILES: [(&[&str], &[&[&str]]); 5] = [
    (
        &[],
        &[
            &["a.test"],
            &["client.test", "--client"],
            &["both.test", "--both", "--days", "825"],
            &["ada@example.com", "--client", "--id", "email"],
            &["spiffe://example.org/ns/a", "--both", "--id", "uri"],
            &["*.wild.test", "--days", "1"],
            &["192.0.2.1", "2001:db8::1", "--id", "addresses"],
            &["bücher.example", "--id", "idn"],
            &[LONG, "--id", "no-common-name"],
            &[
                "every.test",
                "*.every.test",
                "10.0.0.1",
                "::1",
                "a@every.test",
                "https://every.test/x",
                "--both",
            ],
            &["rsa2048.test", "--key-type", "rsa2048"],
            &["rsa3072.test", "--key-type", "rsa3072", "--client"],
            &["p384.test", "--key-type", "p384"],
            &["p521.test", "--key-type", "p521"],
            &["ed25519.test", "--key-type", "ed25519"],
        ],
    ),
    (
        &[
            "--key-type",
            "p384",
            "--permit",
            "home.arpa,10.0.0.0/8,fd00::/8",
            "--country",
            "CH",
        ],
        &[
            &["a.home.arpa", "10.0.0.1", "fd00::1"],
            &["ada@home.arpa", "--client", "--id", "email"],
        ],
    ),
    (
        &["--key-type", "ed25519", "--permit", "home.arpa"],
        &[
            &["b.home.arpa"],
            &["spiffe://home.arpa/x", "--client", "--id", "uri"],
        ],
    ),
    (
        &["--key-type", "rsa3072", "--crl-url", "http://crl.test/"],
        &[
            &["c.test", "--key-type", "rsa2048"],
            &["short.test", "--days", "6"],
        ],
    ),
    (
        &["--permit", "10.0.0.0/8", "--intermediate-days", "30"],
        &[&["10.1.2.3", "--days", "60"]],
    ),
];

/// Longer than a common name may be.
const LONG: &str = "a-name-that-is-longer-than-sixty-four-characters.department.example.test";

#[test]
fn every_certificate_passes_strict_openssl_webpki_and_pkilint() {
    if tool("openssl").is_none() {
        return;
    }
    let mut judged = Vec::new();
    let mut kept = Vec::new();
    for (init, leaves) in PROFILES {
        let ca = Ca::with(init);
        for args in leaves {
            let id = args.iter().skip_while(|arg| **arg != "--id").nth(1);
            let _ = ca.ca(["issue"]).args(*args).run().success();
            let usual = args[0].replace("*.", "_wildcard.");
            let dir = ca.current(id.copied().unwrap_or(&usual));
            let root = ca.state().join("ca/root/R1/cert.pem");
            check_leaf(&ca, &dir, &root, args);
            judged.push(dir.join("cert.pem"));
        }
        let _ = openssl(&ca, &["verify", "-x509_strict", "-CAfile"])
            .arg(ca.roots())
            .arg(ca.state().join("ca/chain.pem"))
            .run()
            .success();
        judged.extend(["root.pem", "chain.pem"].map(|file| ca.state().join("ca").join(file)));
        kept.push(ca);
    }
    let rotated = Ca::with(["--permit", "rotated.test"]);
    let _ = rotated.ca(["rotate", "root"]).run().success();
    let dir = rotated.issue(&["rotated.test", "--both"]);
    for root in ["R1", "R2"] {
        let root = rotated.state().join("ca/root").join(root).join("cert.pem");
        check_leaf(&rotated, &dir, &root, &["rotated.test", "--both"]);
        judged.push(root);
    }
    judged.push(dir.join("cert.pem"));
    judged.push(published(&rotated));
    judged.extend(
        [
            "root/R2/cross.pem",
            "intermediate/I1/cert.pem",
            "intermediate/I2/cert.pem",
        ]
        .map(|file| rotated.state().join("ca").join(file)),
    );
    kept.push(rotated);
    assert!(judged.len() >= 35, "{}", judged.len());
    pkilint(&judged);
}

/// A certificate that names its issuer's CRL and certificate, made from a request that
/// asks for exact dates.
fn published(ca: &Ca) -> PathBuf {
    let home = ca.state();
    let authority = PrivateCa::open(&home, None, Arc::new(SystemClock)).unwrap();
    let name = Identifier::parse("published.rotated.test").unwrap();
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let start = SystemClock.now() - Duration::MINUTE;
    let wanted = CsrRequest {
        names: CsrNames::Requested,
        usage: Usage::Server,
        lifetime: None,
        not_before: Some(start),
        not_after: Some(start + Duration::days(60)),
        publication: Some("http://ca.test:9080".to_owned().try_into().unwrap()),
    };
    let csr = request(&key, &[name]).unwrap();
    let signed = authority.sign_csr(csr.as_bytes(), &wanted).unwrap();
    let dir = ca.path("published");
    for (file, certificates) in [
        ("cert.pem", &signed.chain[..1]),
        ("chain.pem", &signed.chain[1..]),
        ("fullchain.pem", &signed.chain[..]),
    ] {
        ca.write(dir.join(file), to_pem(certificates));
    }
    for root in ["R1", "R2"] {
        let root = home.join("ca/root").join(root).join("cert.pem");
        check_leaf(ca, &dir, &root, &["published.rotated.test"]);
    }
    let text = openssl(ca, &["x509", "-noout", "-text", "-in"])
        .arg(dir.join("cert.pem"))
        .run()
        .success();
    for line in [
        "CA Issuers - URI:http://ca.test:9080/issuer/I2.crt\n",
        "URI:http://ca.test:9080/crl/I2.crl\n",
    ] {
        assert!(text.stdout().contains(line), "{line} in\n{}", text.stdout());
    }
    let critical = "Authority Information Access: critical";
    assert!(!text.stdout().contains(critical), "{}", text.stdout());
    dir.join("cert.pem")
}

/// OpenSSL and webpki both lead the leaf in `dir` to `root`.
fn check_leaf(ca: &Ca, dir: &Path, root: &Path, args: &[&str]) {
    let client = args.contains(&"--client");
    let purpose = if client { "sslclient" } else { "sslserver" };
    let out = openssl(
        ca,
        &["verify", "-x509_strict", "-purpose", purpose, "-CAfile"],
    )
    .arg(root)
    .arg("-untrusted")
    .arg(dir.join("chain.pem"))
    .arg(dir.join("cert.pem"))
    .run();
    let _ = out.success();
    let _ = verify(ca, dir, root).run().success();

    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_file_iter(dir.join("fullchain.pem"))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let root = CertificateDer::from_pem_file(root).unwrap();
    let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
    let leaf = webpki::EndEntityCert::try_from(&chain[0]).unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let usage = if client {
        webpki::KeyUsage::client_auth()
    } else {
        webpki::KeyUsage::server_auth()
    };
    let now = UnixTime::since_unix_epoch(now);
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    leaf.verify_for_usage(algorithms, &anchors, &chain[1..], now, usage, None, None)
        .unwrap_or_else(|e| panic!("{args:?}: {e}"));
    if let Ok(name) = ServerName::try_from(args[0])
        && !args[0].contains('@')
    {
        leaf.verify_is_valid_for_subject_name(&name)
            .unwrap_or_else(|e| panic!("{args:?}: {e}"));
    }
}

/// No finding of pkilint, at WARNING or above, in any of `files`.
fn pkilint(files: &[PathBuf]) {
    /// The linter's own entry point, once for each file: starting Python is slow.
    const EACH: &str = "import sys\n\
        from pkilint.bin.lint_pkix_cert import main\n\
        for file in sys.argv[1:]:\n\
        \x20   print('==', file)\n\
        \x20   main(['lint', '-s', 'WARNING', file])\n\
        print('judged', len(sys.argv) - 1)\n";
    let Some(linter) = tool("lint_pkix_cert") else {
        return;
    };
    let python = interpreter(&linter);
    let half = files.len().div_ceil(2);
    std::thread::scope(|scope| {
        for part in files.chunks(half) {
            let python = &python;
            scope.spawn(move || {
                let env = TestEnv::new();
                let out = env.command(python, ["-c", EACH]).args(part).run().success();
                let end = format!("judged {}", part.len());
                assert!(out.stdout().trim_end().ends_with(&end), "{}", out.stdout());
                let found = |line: &&str| {
                    let levels = ["(NOTICE)", "(WARNING)", "(ERROR)", "(FATAL)"];
                    levels.iter().any(|level| line.contains(level)) && !is_too_strict(line)
                };
                let found: Vec<&str> = out.stdout().lines().filter(found).collect();
                assert!(found.is_empty(), "{found:#?} in\n{}", out.stdout());
            });
        }
    });
}

/// What this linter of RFC 5280 says of names that later documents allow: wildcards
/// (RFC 6125 §6.4.3), and URIs whose scheme its library does not know (SPIFFE).
fn is_too_strict(line: &str) -> bool {
    line.contains("invalid_domain_name_syntax") && line.contains("\"*.")
        || line.contains("invalid_uri_syntax") && line.contains("\"spiffe://")
}

/// The Python that the linter is installed in.
fn interpreter(linter: &Path) -> PathBuf {
    let text = std::fs::read_to_string(linter).unwrap();
    let first = text.lines().next().unwrap_or_default();
    match first.strip_prefix("#!").map(str::trim) {
        Some(path) if path.contains("python") && !path.contains(' ') => path.into(),
        _ => linter.with_file_name("python3"),
    }
}

#[test]
fn pkilint_would_tell() {
    if tool("openssl").is_none() || tool("lint_pkix_cert").is_none() {
        return;
    }
    let env = TestEnv::new();
    // An empty subject and a subjectAltName that is not critical (RFC 5280 §4.2.1.6).
    let args = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "bad.pem",
    ];
    let more = ["-subj", "/", "-addext", "subjectAltName=DNS:a.test"];
    let _ = openssl(&env, &args).args(more).run().success();
    let bad = [env.path("bad.pem")];
    let judged = std::panic::catch_unwind(|| pkilint(&bad));
    assert!(judged.is_err(), "a bad certificate passed");
}
