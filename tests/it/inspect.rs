//! What `inspect` sees of files and servers that OpenSSL made.

use std::io::empty;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certmint::bundle::Certificate;
use certmint::clock::{Clock, SystemClock};
use certmint::finding::Severity;
use certmint::inspect::{InspectError, Options, Report, Roots, Target, inspect};

use crate::support::{Server, TestEnv, tool};

/// A root, an intermediate and leaves, all made by OpenSSL.
struct Pki {
    env: TestEnv,
    openssl: PathBuf,
}

impl Pki {
    fn new() -> Option<Self> {
        let openssl = tool("openssl")?;
        let pki = Self {
            env: TestEnv::new(),
            openssl,
        };
        pki.env.write(
            "ext.cnf",
            "[ca]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n\
             subjectKeyIdentifier=hash\n\
             [leaf]\nbasicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n\
             extendedKeyUsage=serverAuth\nsubjectAltName=DNS:a.test,IP:127.0.0.1\n\
             subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
             [inter]\nbasicConstraints=critical,CA:true,pathlen:0\n\
             keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n\
             authorityKeyIdentifier=keyid\n",
        );
        pki.key("root");
        pki.ssl("req -x509 -key root.key -subj /CN=Root -days 3650 -config ext.cnf -extensions ca -out root.pem");
        pki.sign("inter", "root", "/CN=Inter", "inter", "-days 1000");
        pki.sign("a", "inter", "/CN=a.test", "leaf", "-days 90");
        Some(pki)
    }

    fn ssl(&self, args: &str) {
        let words = args.split(' ').filter(|word| !word.is_empty());
        let dir = self.env.path("");
        let _ = self
            .env
            .command(&self.openssl, words)
            .env("OPENSSL_CONF", "/dev/null")
            .current_dir(dir)
            .run()
            .success();
    }

    fn key(&self, name: &str) {
        self.ssl(&format!(
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"
        ));
    }

    /// `name.pem` and `name.key`, signed by `issuer`, with extensions from `section`.
    fn sign(&self, name: &str, issuer: &str, subject: &str, section: &str, dates: &str) {
        self.key(name);
        self.ssl(&format!(
            "req -new -key {name}.key -subj {subject} -out {name}.csr"
        ));
        self.ssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial {dates} \
             -extfile ext.cnf -extensions {section} -out {name}.pem"
        ));
    }

    /// One file made of others.
    fn join(&self, name: &str, parts: &[&str]) -> PathBuf {
        let text: String = parts.iter().map(|part| self.env.read(part)).collect();
        self.env.write(name, text)
    }

    /// `openssl s_server` on a free port.
    fn serve(&self, args: &str) -> (Server, Target) {
        // `-www`, since otherwise it ends with its standard input.
        let command = format!("s_server -accept 127.0.0.1:0 -www {args}");
        let words = command.split(' ').filter(|word| !word.is_empty());
        let mut server = self
            .env
            .command("/bin/sh", ["-c", "exec \"$@\" >&2", "sh"])
            .arg(&self.openssl)
            .args(words)
            .current_dir(self.env.path(""))
            .spawn();
        let address = server.await_address("ACCEPT");
        let target = Target::parse(&address.to_string()).unwrap();
        (server, target)
    }

    fn options(&self) -> Options {
        Options {
            roots: Roots::from_file(&self.env.path("root.pem")).unwrap(),
            ..Options::default()
        }
    }

    /// What is seen of a server started with `args`.
    fn wire(&self, args: &str) -> Report {
        let (_server, target) = self.serve(args);
        look(&target, &self.options()).unwrap()
    }
}

fn look(target: &Target, options: &Options) -> Result<Report, InspectError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let now = SystemClock.now();
    runtime.block_on(inspect(target, &mut empty(), options, now))
}

fn ids(report: &Report) -> Vec<&str> {
    let mut ids: Vec<&str> = report
        .all_findings()
        .filter(|finding| finding.severity > Severity::Info)
        .map(|finding| finding.id)
        .collect();
    ids.sort_unstable();
    ids
}

fn path(target: &Path) -> Target {
    Target::parse(target.to_str().unwrap()).unwrap()
}

#[test]
fn a_good_server_is_described_as_it_speaks() {
    let Some(pki) = Pki::new() else { return };
    let report =
        pki.wire("-cert a.pem -key a.key -cert_chain inter.pem -alpn h2,http/1.1 -groups X25519");
    assert_eq!(ids(&report), [""; 0]);
    assert_eq!(report.worst(), None);
    let connection = report.connection.as_ref().unwrap();
    assert_eq!(connection.protocol.as_deref(), Some("TLS 1.3"));
    assert_eq!(connection.key_exchange.as_deref(), Some("X25519"));
    assert!(
        connection
            .cipher_suite
            .as_deref()
            .unwrap()
            .starts_with("TLS_AES_")
    );
    assert_eq!(connection.alpn.as_deref(), Some("h2"));
    assert!(!connection.ocsp_stapled && !connection.client_certificate_requested);
    assert!(connection.connect_ms < 5_000.0 && connection.handshake_ms > 0.0);
    let verified = connection.verified.as_ref().unwrap();
    assert!(verified.ok);
    assert_eq!(verified.root.as_deref(), Some("Root"));
    let certs = &report.items[0].certificates;
    let names: Vec<&str> = certs.iter().map(|cert| cert.name.as_str()).collect();
    assert_eq!(names, ["a.test", "Inter"]);
    let leaf = Certificate::parse_pem(pki.env.read("a.pem").as_bytes()).unwrap();
    assert_eq!(certs[0].sha256, leaf[0].sha256_hex());
    assert_eq!(certs[0].chain.as_ref().unwrap().path, ["a.test", "Inter"]);
}

#[test]
fn what_is_wrong_with_a_chain_is_named() {
    let Some(pki) = Pki::new() else { return };
    pki.join("wrong-order.pem", &["root.pem", "inter.pem"]);
    pki.sign("old", "inter", "/CN=a.test", "leaf", "-days -1");
    pki.sign("client", "inter", "/CN=a.test", "inter", "-days 90");
    pki.ssl("req -x509 -newkey rsa:2048 -nodes -keyout own.key -subj /CN=a.test -days 30 -config ext.cnf -extensions leaf -out own.pem");
    for (args, expected) in [
        ("-cert a.pem -key a.key", &["missing-intermediate"][..]),
        (
            "-cert a.pem -key a.key -cert_chain wrong-order.pem",
            &["misordered-chain"],
        ),
        ("-cert own.pem -key own.key", &["self-signed", "untrusted"]),
        ("-cert inter.pem -key inter.key", &["ca-as-leaf", "no-san"]),
        (
            "-cert old.pem -key old.key -cert_chain inter.pem",
            &["expired"],
        ),
    ] {
        let report = pki.wire(args);
        let found = ids(&report);
        for id in expected {
            assert!(found.contains(id), "{args}: {found:?}");
        }
        assert!(
            report
                .connection
                .unwrap()
                .verified
                .is_some_and(|v| v.ok == (*expected == ["misordered-chain"])),
            "{args}"
        );
    }
}

#[test]
fn an_old_or_curious_server_is_told_as_it_is() {
    let Some(pki) = Pki::new() else { return };
    let report = pki.wire("-cert a.pem -key a.key -cert_chain inter.pem -tls1_2 -Verify 1");
    let connection = report.connection.as_ref().unwrap();
    assert!(connection.client_certificate_requested);
    assert!(
        connection.error.is_some(),
        "the server insists, but its chain was seen: {connection:?}"
    );
    assert_eq!(report.items[0].certificates.len(), 2);
    let report = pki.wire("-cert a.pem -key a.key -cert_chain inter.pem -tls1_2");
    let connection = report.connection.as_ref().unwrap();
    assert_eq!(connection.protocol.as_deref(), Some("TLS 1.2"));
    assert_eq!(connection.alpn, None);
    assert!(
        report
            .all_findings()
            .any(|f| f.id == "no-tls13" && f.severity == Severity::Info)
    );
    assert_eq!(report.worst(), Some(Severity::Info));
}

#[test]
fn a_stapled_response_is_seen() {
    let Some(pki) = Pki::new() else { return };
    let serial = Certificate::parse_pem(pki.env.read("a.pem").as_bytes()).unwrap()[0].serial_hex();
    let line = format!(
        "V\t350101000000Z\t\t{}\tunknown\t/CN=a.test\n",
        serial.to_uppercase()
    );
    pki.env.write("index.txt", line);
    pki.ssl("ocsp -issuer inter.pem -cert a.pem -reqout req.der");
    pki.ssl("ocsp -index index.txt -rsigner inter.pem -rkey inter.key -CA inter.pem -reqin req.der -respout staple.der");
    let report = pki.wire("-cert a.pem -key a.key -cert_chain inter.pem -status_file staple.der");
    assert!(report.connection.unwrap().ocsp_stapled);
}

#[test]
fn the_name_asked_for_is_held_against_the_certificate() {
    let Some(pki) = Pki::new() else { return };
    let (_server, target) = pki.serve("-cert a.pem -key a.key -cert_chain inter.pem");
    for (name, expected) in [("a.test", &[][..]), ("b.test", &["name-mismatch"])] {
        let options = Options {
            server_name: Some(name.parse().unwrap()),
            ..pki.options()
        };
        let report = look(&target, &options).unwrap();
        assert_eq!(ids(&report), expected, "{name}");
        let connection = report.connection.unwrap();
        assert_eq!(connection.server_name.as_deref(), Some(name));
        assert_eq!(
            connection.verified.unwrap().ok,
            expected.is_empty(),
            "{name}"
        );
    }
    let disk = Certificate::parse_pem(pki.env.read("inter.pem").as_bytes())
        .unwrap()
        .remove(0);
    let options = Options {
        on_disk: Some((pki.env.path("inter.pem"), disk)),
        ..pki.options()
    };
    assert_eq!(ids(&look(&target, &options).unwrap()), ["served-differs"]);
    let strange = Options {
        roots: Roots::system(),
        ..Options::default()
    };
    assert_eq!(ids(&look(&target, &strange).unwrap()), ["untrusted"]);
}

#[test]
fn what_cannot_be_reached_is_an_error_with_advice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let options = Options {
        deadline: Duration::from_millis(300),
        ..Options::default()
    };
    let silent = look(&Target::parse(&address).unwrap(), &options).unwrap_err();
    assert!(matches!(silent, InspectError::Timeout { .. }), "{silent:?}");
    assert!(silent.hint().is_some());
    let talker = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = loop {
            let (stream, peer) = listener.accept().unwrap();
            // The connection that was given up lies in the queue still.
            if stream.peek(&mut [0]).is_ok_and(|n| n > 0) && stream.take_error().is_ok() {
                break (stream, peer);
            }
        };
        stream.write_all(b"220 mail.test ESMTP\r\n").ok();
        std::thread::sleep(Duration::from_millis(100));
    });
    let error = look(&Target::parse(&address).unwrap(), &Options::default()).unwrap_err();
    talker.join().unwrap();
    assert!(error.to_string().contains(&address), "{error}");
    assert!(error.hint().is_some());
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = look(
        &Target::parse(&closed.to_string()).unwrap(),
        &Options::default(),
    )
    .unwrap_err();
    assert!(
        matches!(refused, InspectError::Connect { .. }),
        "{refused:?}"
    );
    let unknown = look(
        &Target::parse("no-such-host.invalid:443").unwrap(),
        &Options::default(),
    )
    .unwrap_err();
    assert!(
        matches!(
            unknown,
            InspectError::Resolve { .. } | InspectError::Timeout { .. }
        ),
        "{unknown:?}"
    );
}

#[test]
fn files_of_every_form_are_told_apart_by_what_they_hold() {
    let Some(pki) = Pki::new() else { return };
    pki.ssl("x509 -in a.pem -outform DER -out a.bin");
    pki.ssl("pkcs8 -topk8 -in a.key -passout pass:x -out locked.pem");
    pki.ssl("ec -in a.key -out sec1.pem");
    pki.ssl("pkey -in a.key -outform DER -out key.bin");
    pki.ssl("dhparam -dsaparam -out dh.pem 512");
    for file in ["a.key", "locked.pem", "sec1.pem", "key.bin"] {
        std::fs::set_permissions(
            pki.env.path(file),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
    }
    let shape = |file: &str| {
        let report = look(&path(&pki.env.path(file)), &Options::default()).unwrap();
        let item = &report.items[0];
        (
            item.format,
            item.certificates.len(),
            item.keys.len(),
            item.requests.len(),
            item.other.len(),
        )
    };
    assert_eq!(shape("a.pem"), ("PEM", 1, 0, 0, 0));
    assert_eq!(shape("a.bin"), ("DER", 1, 0, 0, 0));
    assert_eq!(shape("a.key"), ("PEM", 0, 1, 0, 0));
    assert_eq!(shape("locked.pem"), ("PEM", 0, 1, 0, 0));
    assert_eq!(shape("sec1.pem"), ("PEM", 0, 1, 0, 0));
    assert_eq!(shape("key.bin"), ("DER", 0, 1, 0, 0));
    assert_eq!(shape("a.csr"), ("PEM", 0, 0, 1, 0));
    assert_eq!(shape("dh.pem"), ("PEM", 0, 0, 0, 1));
    pki.join("all.pem", &["a.key", "a.pem", "inter.pem", "a.csr"]);
    assert_eq!(shape("all.pem"), ("PEM", 2, 1, 1, 0));
    pki.env.write("notes.txt", "nothing here");
    let error = look(&path(&pki.env.path("notes.txt")), &Options::default()).unwrap_err();
    assert!(
        matches!(error, InspectError::NotRecognised { .. }),
        "{error:?}"
    );
    let broken = pki.env.read("a.pem").replace("MII", "MI!");
    pki.env
        .write("broken.pem", broken + &pki.env.read("inter.pem"));
    let report = look(&path(&pki.env.path("broken.pem")), &Options::default()).unwrap();
    assert_eq!(ids(&report), ["malformed"], "one bad block hides no other");
    assert_eq!(report.items[0].certificates.len(), 1);
}

#[cfg(feature = "p12")]
#[test]
fn a_pkcs12_store_is_opened_with_its_passphrase_and_named_without() {
    use certmint::key::Passphrase;
    let Some(pki) = Pki::new() else { return };
    pki.ssl(
        "pkcs12 -export -inkey a.key -in a.pem -certfile inter.pem -passout pass:secret -out a.p12",
    );
    let file = pki.env.path("a.p12");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let open = |passphrase: Option<&str>| {
        let options = Options {
            passphrase: passphrase.map(|text| Passphrase::new(text.to_owned()).unwrap()),
            ..pki.options()
        };
        look(&path(&file), &options).unwrap()
    };
    let report = open(Some("secret"));
    let item = &report.items[0];
    assert_eq!(item.format, "PKCS#12");
    let names: Vec<&str> = item.certificates.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a.test", "Inter"]);
    assert_eq!(item.keys[0].matches, Some(true));
    assert_eq!(ids(&report), [""; 0]);
    for wrong in [None, Some("wrong")] {
        let report = open(wrong);
        let item = &report.items[0];
        assert_eq!((item.certificates.len(), item.keys.len()), (0, 0));
        assert!(
            item.other[0].contains("PKCS#12") && item.other[0].contains("passphrase"),
            "{item:?}"
        );
    }
}

#[test]
fn a_revoked_certificate_is_found_in_the_crl_beside_it() {
    let Some(pki) = Pki::new() else { return };
    pki.env.write(
        "ca.cnf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n\
         default_crl_days=30\n",
    );
    pki.env.write("index.txt", "");
    pki.env.write("number", "07\n");
    pki.ssl("ca -config ca.cnf -cert inter.pem -keyfile inter.key -revoke a.pem -crl_reason keyCompromise");
    pki.ssl("ca -config ca.cnf -cert inter.pem -keyfile inter.key -gencrl -out list.crl");
    let dir = pki.env.path("shop");
    std::fs::create_dir(&dir).unwrap();
    for file in ["a.pem", "inter.pem", "list.crl"] {
        std::fs::copy(pki.env.path(file), dir.join(file)).unwrap();
    }
    let report = look(&path(&dir), &Options::default()).unwrap();
    assert_eq!(ids(&report), ["revoked"]);
    let found = report.all_findings().find(|f| f.id == "revoked").unwrap();
    assert!(
        found.message.contains("`a.test`") && found.message.contains("keyCompromise"),
        "{found:?}"
    );
    let crl = report
        .items
        .iter()
        .find_map(|item| item.crls.first())
        .unwrap();
    assert_eq!((crl.number.as_deref(), crl.revoked), (Some("7"), 1));
    // A list of the same name that another key signed revokes nothing.
    pki.sign("twin", "root", "/CN=Inter", "inter", "-days 900");
    pki.ssl("ca -config ca.cnf -cert twin.pem -keyfile twin.key -gencrl -out shop/list.crl");
    assert_eq!(
        ids(&look(&path(&dir), &Options::default()).unwrap()),
        [""; 0]
    );
}

#[test]
fn keys_find_their_certificates_in_the_layouts_people_have() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let Some(pki) = Pki::new() else { return };
    pki.key("other");
    let put = |from: &str, to: &str, mode: u32| {
        let to = pki.env.write(to, pki.env.read(from));
        std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // certbot
    put("a.key", "live/privkey.pem", 0o600);
    put("a.pem", "live/cert.pem", 0o644);
    put("inter.pem", "live/chain.pem", 0o644);
    pki.join("live/fullchain.pem", &["a.pem", "inter.pem"]);
    // Kubernetes
    put("a.key", "secret/..2026_11_22/tls.key", 0o644);
    pki.join("secret/..2026_11_22/tls.crt", &["a.pem", "inter.pem"]);
    symlink("..2026_11_22", pki.env.path("secret/..data")).unwrap();
    symlink("..data/tls.key", pki.env.path("secret/tls.key")).unwrap();
    symlink("..data/tls.crt", pki.env.path("secret/tls.crt")).unwrap();
    // Debian
    put("other.key", "ssl/private/www.key", 0o640);
    put("a.pem", "ssl/certs/www.pem", 0o644);
    let seen = |dir: &str| {
        let report = look(&path(&pki.env.path(dir)), &Options::default()).unwrap();
        let ids: Vec<String> = ids(&report).into_iter().map(str::to_owned).collect();
        let keys: Vec<Option<bool>> = report
            .items
            .iter()
            .flat_map(|i| &i.keys)
            .map(|k| k.matches)
            .collect();
        (ids, keys, report)
    };
    let (found, keys, _) = seen("live");
    assert_eq!(
        (found.as_slice(), keys.as_slice()),
        (&[][..], &[Some(true)][..])
    );
    let (found, keys, report) = seen("secret");
    assert_eq!(
        (found, keys),
        (vec!["key-mode".to_owned()], vec![Some(true)])
    );
    let leaf = report
        .items
        .iter()
        .flat_map(|i| &i.certificates)
        .next()
        .unwrap();
    assert_eq!(leaf.key.mode.as_deref(), Some("0644"));
    let (found, keys, report) = seen("ssl");
    assert_eq!(
        (found, keys),
        (vec!["key-mismatch".to_owned()], vec![Some(false)])
    );
    let mismatch = report
        .all_findings()
        .find(|f| f.id == "key-mismatch")
        .unwrap();
    assert!(
        mismatch.message.contains("private/www.key") && mismatch.message.contains("certs/www.pem")
    );
    // The same loose key at home is worse.
    let options = Options {
        home: Some(pki.env.path("secret")),
        ..Options::default()
    };
    let report = look(&path(&pki.env.path("secret")), &options).unwrap();
    assert_eq!(report.worst(), Some(Severity::Critical));
}

#[test]
fn hostile_files_end_in_an_answer() {
    let env = TestEnv::new();
    let dir = env.path("d");
    std::fs::create_dir(&dir).unwrap();
    let fifo = tool("mkfifo").map(|mkfifo| {
        env.command(mkfifo, ["d/pipe.pem"])
            .current_dir(env.path(""))
            .run()
            .success()
    });
    assert!(
        fifo.is_some(),
        "a pipe in the directory would block whoever opens it"
    );
    std::os::unix::fs::symlink("loop.pem", dir.join("loop.pem")).unwrap();
    std::fs::File::create(dir.join("huge.pem"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let report = look(&path(&dir), &Options::default()).unwrap();
    assert_eq!(
        ids(&report),
        ["unreadable", "unreadable"],
        "the loop and the huge one"
    );
    let huge = look(&path(&dir.join("huge.pem")), &Options::default()).unwrap_err();
    assert!(matches!(huge, InspectError::TooLarge { .. }), "{huge:?}");
    let zero = look(&Target::File("/dev/zero".into()), &Options::default()).unwrap_err();
    assert!(matches!(zero, InspectError::TooLarge { .. }), "{zero:?}");
    let many = "-----BEGIN CERTIFICATE-----\n".repeat(20_000);
    let many = env.write("many.pem", many);
    let report = look(&path(&many), &Options::default()).unwrap();
    assert_eq!(report.worst(), Some(Severity::Critical));
    let nested = [&[0x30, 0x80][..]; 50_000].concat();
    let nested = env.write("nested.der", nested);
    assert!(look(&path(&nested), &Options::default()).is_err());
}

#[test]
fn standard_input_is_looked_at_like_a_file() {
    let Some(pki) = Pki::new() else { return };
    let text = pki.env.read("a.pem");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let now = SystemClock.now();
    let report = runtime
        .block_on(inspect(
            &Target::Stdin,
            &mut text.as_bytes(),
            &Options::default(),
            now,
        ))
        .unwrap();
    assert_eq!(report.items[0].certificates[0].name, "a.test");
    assert_eq!(
        serde_json::to_value(&report).unwrap()["schema"],
        "certmint.inspect/1"
    );
}
