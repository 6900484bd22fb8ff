//! `certmint acme issue` against Pebble: what is obtained, kept, refused, and left
//! behind.

use std::any::Any;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::ca::{assert_private, contains, extension, json, mode, openssl, tree, verify};
use crate::support::bind::{Bind, KEY_256, KEY_384, KEY_512, Key};
use crate::support::pebble::{Options, Pebble, free_port};
use crate::support::{Output, Run, Server, TestEnv, tool};

/// How long a program that was told to stop may clean up.
const CLEANING: Duration = Duration::from_secs(30);

/// An environment with a Pebble, and what certmint must be told of it.
pub(crate) struct Lab {
    pub(crate) env: TestEnv,
    pub(crate) pebble: Pebble,
}

impl Lab {
    pub(crate) fn new() -> Option<Self> {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Option<Self> {
        let env = TestEnv::new();
        let pebble = Pebble::start(&env, options)?;
        Some(Self { env, pebble })
    }

    /// `certmint acme …`.
    pub(crate) fn acme(&self, args: &[&str]) -> Run {
        self.env.certmint(["acme"]).args(args)
    }

    /// The directory, and what its TLS is checked by.
    pub(crate) fn directory(&self) -> [String; 4] {
        let (url, file) = (&self.pebble.directory_url, self.pebble.ca_file.display());
        let words = ["--directory", url, "--ca-file", &file.to_string()];
        words.map(str::to_owned)
    }

    /// `acme issue` of this directory, with its terms agreed to.
    pub(crate) fn ask(&self, args: &[&str]) -> Run {
        let run = self.acme(&["issue", "--agree-tos"]).args(self.directory());
        run.args(args)
    }

    /// The same by http-01, where Pebble looks.
    pub(crate) fn issue(&self, args: &[&str]) -> Run {
        let http = self.http();
        self.ask(args).args(["--http", &http])
    }

    pub(crate) fn http(&self) -> String {
        format!("127.0.0.1:{}", self.pebble.options.http_port)
    }

    pub(crate) fn current(&self, id: &str) -> PathBuf {
        self.env.state().join("certs").join(id).join("current")
    }

    pub(crate) fn record(&self, id: &str) -> Value {
        let text = fs::read(self.current(id).join("cert.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// The stored chain is one that OpenSSL trusts by Pebble's root.
    #[track_caller]
    fn assert_verifies(&self, id: &str) {
        let root = self.pebble.root(&self.env);
        let roots = self.env.write("pebble-root.pem", root);
        let out = verify(&self.env, &self.current(id), &roots).run();
        let _ = out.success();
    }

    /// The file with the credential `lab`.
    fn dns_file(&self, bind: &Bind, key: Key) -> String {
        let (name, algorithm, secret) = key;
        let text = format!(
            "[dns.lab]\nprovider = \"rfc2136\"\nserver = \"{}\"\nkey-name = \"{name}\"\n\
             algorithm = \"{algorithm}\"\nsecret = \"{secret}\"\n",
            bind.address()
        );
        private(&self.env, &format!("{name}.toml"), &text)
    }

    fn dns(&self, bind: &Bind, key: Key, args: &[&str]) -> Run {
        let (file, server) = (self.dns_file(bind, key), bind.address().to_string());
        let run = self.ask(args).args(["--dns-file", &file]);
        run.args(["--dns-server", &server])
    }
}

/// Writes a file that only its owner can read, and returns its path.
pub(crate) fn private(env: &TestEnv, name: &str, text: &str) -> String {
    let path = env.write(name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// The same command with a terminal at all its ends, and `typed` into it.
pub(crate) fn on_terminal(env: &TestEnv, words: &[&str], typed: &str) -> Option<Output> {
    let script = tool("script")?;
    let line = format!("{} {}", env!("CARGO_BIN_EXE_certmint"), words.join(" "));
    let run = env.command(script, ["-qec", &line, "/dev/null"]);
    let run = run.env("CERTMINT_HOME", env.state()).env("TERM", "xterm");
    Some(run.stdin(typed).run())
}

fn lab_with_bind() -> Option<(Lab, Bind)> {
    let bind = Bind::start()?;
    let options = Options {
        dns_server: Some(bind.address()),
        ..Options::default()
    };
    Some((Lab::with(options)?, bind))
}

fn report(out: &Output) -> Value {
    json(out, "certmint.issue/1")
}

#[test]
fn by_http_and_by_tls_a_certificate_is_obtained_and_kept_with_its_settings() {
    let Some(lab) = Lab::new() else { return };
    let https = format!("127.0.0.1:{}", lab.pebble.options.tls_port);
    let mail = ["--email", "ada@example.com"];
    let out = lab.issue(&["a.test"]).args(mail).run().success();
    let current = lab.current("a.test");
    assert!(out.stdout().starts_with("issued a.test, valid until 2"));
    for file in ["privkey.pem", "fullchain.pem"] {
        let path = current.join(file).display().to_string();
        assert!(out.stdout().contains(&path), "{}", out.stdout());
    }
    assert!(out.stderr().contains("agreed to the terms of service at "));
    assert!(out.stderr().contains("registered an account at "));
    assert!(out.stderr().contains("certmint renew"), "{}", out.stderr());
    lab.assert_verifies("a.test");

    let args = ["b.test", "127.0.0.1", "B.test", "--https", &https, "--json"];
    let out = lab.ask(&args).run().success();
    let report = report(&out);
    assert_eq!(report["names"].as_array().unwrap().len(), 2);
    assert_eq!(report["result"], "issued");
    assert_eq!(report["directory"], lab.pebble.directory_url);
    lab.assert_verifies("b.test");
    // The account is made once.
    assert!(!out.stderr().contains("registered"), "{}", out.stderr());

    let record = lab.record("a.test");
    let issuer = &record["issuer"];
    assert_eq!(issuer["directory"], lab.pebble.directory_url);
    assert_eq!(issuer["ca-file"], lab.pebble.ca_file.display().to_string());
    assert_eq!(issuer["challenge"], "http-01");
    assert_eq!(issuer["http"], lab.http());
    assert_eq!(issuer["contact"][0], "ada@example.com");
    assert_eq!(record["obtained"]["account"], report["account"]);
    assert_eq!(lab.record("b.test")["issuer"]["challenge"], "tls-alpn-01");
    assert_private(&lab.env.state());
}

#[test]
fn every_kind_of_key_and_many_names_in_one_order() {
    let Some(lab) = Lab::new() else { return };
    for (kind, shown) in [
        ("p256", "prime256v1"),
        ("p384", "secp384r1"),
        ("rsa2048", "(2048 bit)"),
        ("rsa3072", "(3072 bit)"),
    ] {
        let args = ["a.test", "--id", kind, "--key-type", kind];
        let _ = lab.issue(&args).run().success();
        let out = openssl(&lab.env, &["x509", "-noout", "-text", "-in"]);
        let out = out.arg(lab.current(kind).join("cert.pem")).run().success();
        assert!(out.stdout().contains(shown), "{kind}: {}", out.stdout());
        lab.assert_verifies(kind);
    }
    let names: Vec<String> = (0..30).map(|n| format!("n{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let _ = lab.issue(&names).run().success();
    let cert = lab.current("n0.test").join("cert.pem");
    let found = extension(&lab.env, &cert, "subjectAltName");
    assert_eq!(found.matches("DNS:").count(), 30, "{found}");
}

#[test]
fn what_is_there_and_good_is_kept_and_the_ca_is_asked_only_for_something_else() {
    let Some(lab) = Lab::new() else { return };
    let first = report(&lab.issue(&["a.test", "--json"]).run().success());
    // Nobody is asked: there is no such CA any more.
    let gone = lab.pebble.ca_file.with_extension("gone");
    fs::rename(&lab.pebble.ca_file, &gone).unwrap();
    fs::copy(&gone, &lab.pebble.ca_file).unwrap();
    let out = lab.issue(&["a.test"]).run().success();
    assert!(out.stdout().starts_with("kept a.test, still good"));
    assert!(out.stderr().contains("--force"), "{}", out.stderr());
    assert_eq!(lab.record("a.test")["generation"], 1);

    // Only what is done with it changes: it is done, and nothing is asked for.
    let copies = lab.env.path("copies");
    let hook = format!("touch {}", lab.env.path("hooked").display());
    let more = ["--out", copies.to_str().unwrap(), "--deploy-hook", &hook];
    let out = lab.issue(&["a.test", "--json"]).args(more).run().success();
    let set = report(&out);
    assert_eq!(
        (&set["result"], &set["serial"]),
        (&"set".into(), &first["serial"])
    );
    assert!(copies.join("privkey.pem").exists() && lab.env.path("hooked").exists());

    // A name more, said with nothing else: asked for as it was before.
    let out = lab.acme(&["issue", "a.test", "b.test", "--json"]).run();
    let wider = report(&out.success());
    assert_eq!(wider["result"], "issued");
    assert_eq!(wider["names"].as_array().unwrap().len(), 2);
    let record = lab.record("a.test");
    assert_eq!(record["deploy-hook"], hook);
    assert_eq!(record["exports"][0]["dir"], copies.display().to_string());
    assert_eq!(
        fs::read(copies.join("cert.pem")).unwrap(),
        fs::read(lab.current("a.test").join("cert.pem")).unwrap()
    );

    // The order of names means nothing; force does.
    let again = |args: &[&str]| {
        let run = lab.acme(&["issue", "--id", "a.test", "--json"]).args(args);
        report(&run.run().success())
    };
    let swapped = again(&["b.test", "a.test"]);
    assert_eq!(swapped["serial"], wider["serial"]);
    let forced = again(&["--force"]);
    assert_eq!(forced["result"], "issued");
    assert_ne!(forced["serial"], wider["serial"]);

    // The key is new each time, unless it is to be kept.
    let key = || fs::read(lab.current("a.test").join("privkey.pem")).unwrap();
    let before = key();
    let _ = again(&["--force", "--reuse-key"]);
    assert_eq!(key(), before);
    let _ = again(&["--force", "--key-type", "p384"]);
    assert_ne!(key(), before);
}

#[test]
fn what_cannot_work_is_refused_before_anybody_is_asked() {
    let env = TestEnv::new();
    let url = "https://127.0.0.1:1/dir";
    let several = private(
        &env,
        "dns.toml",
        "[dns.one]\nprovider = \"manual\"\n[dns.two]\nprovider = \"manual\"\n",
    );
    let root = env.path("tmp").display().to_string();
    let table: &[(&[&str], &str)] = &[
        (&[], "no name was given"),
        (&["*.a.test"], "wildcard, which needs dns-01"),
        (
            &["*.a.test", "--http", "127.0.0.1:80"],
            "needs dns-01, not http-01",
        ),
        (&["10.0.0.1", "--challenge", "dns-01"], "no DNS record"),
        (
            &["*.a.test", "10.0.0.1"],
            "no address can be shown control of",
        ),
        (&["ada@example.com"], "neither a host name nor an address"),
        (&["spiffe://a.test/x"], "neither a host name nor an address"),
        (&["a.test", "--http", "127.0.0.1:0"], "on port 0"),
        (&["a.test", "--challenge", "dns-01"], "--dns-file FILE"),
        (&["a.test", "--dns", "lab"], "--dns-file FILE"),
        (
            &["a.test", "--dns-file", &several],
            "name one with `--dns`: one, two",
        ),
        (
            &["a.test", "--challenge", "tls-alpn-01", "--webroot", &root],
            "`--webroot` is for http-01",
        ),
        (
            &[
                "a.test",
                "--challenge",
                "http-01",
                "--https",
                "127.0.0.1:443",
            ],
            "`--https` is for tls-alpn-01",
        ),
        (
            &["a.test", "--webroot", &root, "--http", "127.0.0.1:80"],
            "give one of them",
        ),
        (
            &["a.test", "--webroot", "/nowhere/at/all"],
            "is not a directory",
        ),
        (
            &["a.test", "--challenge", "http-02"],
            "is not a kind of challenge",
        ),
        (&["a.test", "--eab-kid", "k"], "--eab-hmac-file"),
        (&["a.test", "--mode", "0640"], "`--out DIR`"),
        (&["a.test", "--fallback", url], "the second CA is the first"),
        (&["a.test", "--csr", "x"], "cannot be used with"),
        (&["a.test", "--email", "nobody"], "it has no `@`"),
    ];
    for (args, why) in table {
        let run = env.certmint(["acme", "issue", "--directory", url]);
        let out = run.args(*args).run().code(2);
        assert!(out.stderr().contains(why), "{args:?}: {}", out.stderr());
        assert_eq!(out.stdout(), "");
        assert!(!env.state().exists(), "{args:?}");
    }
    let out = env.certmint(["acme", "issue", "a.test"]).run().code(2);
    assert!(out.stderr().contains("no CA was named"), "{}", out.stderr());
    assert!(out.stderr().contains("letsencrypt-staging"));
    let run = env.certmint(["acme", "issue", "a.test", "--directory"]);
    let out = run.arg("http://ca.test/dir").run().code(2);
    assert!(out.stderr().contains("only https"), "{}", out.stderr());
    let list = env.write(
        "list",
        "a.test\n*.b.test\nc.test, ada@example.com\na.test\n",
    );
    let run = env.certmint(["acme", "issue", "--directory", url, "--from"]);
    let out = run.arg(&list).run().code(2);
    assert!(out.stderr().contains("line 4: `a.test` stands in line 1"));
    let list = env.write("list", "a.test\n*.b.test\nc.test, ada@example.com\n");
    let run = env.certmint(["acme", "issue", "--directory", url, "--from"]);
    let out = run.arg(&list).run().code(2);
    let said = out.stderr();
    assert!(
        said.contains("line 2:") && said.contains("line 3:"),
        "{said}"
    );
    assert!(!env.state().exists());
}

#[test]
fn an_id_of_another_issuer_is_refused_before_anybody_is_asked() {
    let env = TestEnv::with_ca();
    let _ = env.certmint(["ca", "issue", "a.test"]).run().success();
    for directory in [&["--directory", "https://127.0.0.1:1/dir"][..], &[]] {
        let run = env.certmint(["acme", "issue", "a.test"]).args(directory);
        let out = run.run();
        let said = out.stderr();
        assert!(!out.status().success());
        assert!(
            said.contains("--id") || said.contains("--directory"),
            "{said}"
        );
        assert!(!said.contains("could not"), "{said}");
    }
    let run = env.certmint(["acme", "issue", "a.test"]);
    let out = run.args(["--directory", "https://127.0.0.1:1/dir"]).run();
    let out = out.code(1);
    assert!(out.stderr().contains("already belongs to the private CA"));
}

#[test]
fn wildcard_apex_and_delegated_names_are_proven_by_dns() {
    let Some((lab, bind)) = lab_with_bind() else {
        return;
    };
    let names = ["*.example.test", "example.test", "--json"];
    let out = lab.dns(&bind, KEY_256, &names).run().success();
    assert_eq!(report(&out)["id"], "_wildcard.example.test");
    lab.assert_verifies("_wildcard.example.test");
    // Written through a CNAME into another zone, and through two.
    let names = ["delegated.example.test", "chain.example.test"];
    let _ = lab.dns(&bind, KEY_384, &names).run().success();
    lab.assert_verifies("delegated.example.test");
    for name in [
        "_acme-challenge.example.test",
        "delegated.validation.test",
        "chain.validation.test",
    ] {
        assert!(bind.txt(name).is_empty(), "{name}");
    }
    let issuer = lab.record("_wildcard.example.test")["issuer"].clone();
    assert_eq!(
        (&issuer["dns"], &issuer["challenge"]),
        (&"lab".into(), &"dns-01".into())
    );
    assert!(issuer["dns-file"].as_str().unwrap().starts_with('/'));
    assert_eq!(issuer["dns-server"], bind.address().to_string());
    for path in tree(&lab.env.state()) {
        let bytes = fs::read(&path).unwrap_or_default();
        for (_, _, secret) in [KEY_256, KEY_384] {
            assert!(!contains(&bytes, secret.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn what_dns_refuses_is_said_clearly_and_leaves_nothing() {
    let Some((lab, bind)) = lab_with_bind() else {
        return;
    };
    let wrong: Key = ("key-256", "hmac-sha256", "d3Jvbmc=");
    for (key, name, why) in [
        (wrong, "a.example.test", "_acme-challenge.a.example.test"),
        (KEY_512, "a.example.test", "_acme-challenge.a.example.test"),
        (KEY_384, "frozen.example.test", "frozen.readonly.test"),
        (KEY_256, "loop.example.test", "loop"),
        (KEY_256, "a.elsewhere.test", "elsewhere.test"),
    ] {
        let out = lab.dns(&bind, key, &[name]).run().code(1);
        let said = out.stderr();
        assert!(said.contains(&format!("no certificate for {name} from ")));
        assert!(said.contains(why), "{said}");
        assert!(said.lines().count() < 8, "{said}");
        assert!(!said.contains(key.2), "{said}");
        assert_eq!(out.stdout(), "");
        assert!(bind.txt(&format!("_acme-challenge.{name}")).is_empty());
        // What was refused is not there: nobody is to remove it later.
        assert!(!said.contains("clean up"), "{said}");
        let left = tree(&lab.env.state().join("acme/presented"));
        assert!(left.len() < 2, "{left:?}");
        assert!(!lab.current(name).exists());
    }
    // The CA looks for a name that is not there.
    let out = lab.issue(&["nxdomain.readonly.test"]).run().code(1);
    let said = out.stderr();
    assert!(
        said.contains("could not verify `nxdomain.readonly.test`"),
        "{said}"
    );
    assert!(said.contains("could not resolve"), "{said}");
}

#[test]
fn a_web_server_answers_from_its_files() {
    let Some(lab) = Lab::new() else { return };
    let Some(nginx) = tool("nginx") else { return };
    let root = lab.env.path("www");
    fs::create_dir(&root).unwrap();
    let config = format!(
        "daemon off; pid {dir}/nginx.pid; error_log stderr; events {{}} http {{ access_log off;
         client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
         uwsgi_temp_path {dir}; scgi_temp_path {dir};
         server {{ listen {}; root {}; }} }}\n",
        lab.http(),
        root.display(),
        dir = lab.env.path("tmp").display(),
    );
    let config = lab.env.write("nginx.conf", config);
    let user = format!("user {};", whoami(&lab.env));
    let run = lab.env.command(nginx, ["-e", "stderr", "-g", &user, "-c"]);
    let _server = run.arg(config).spawn();
    await_port(lab.pebble.options.http_port);
    let names = ["a.test", "b.test", "--webroot", "www"];
    let run = lab.ask(&names).current_dir(root.parent().unwrap());
    let _ = run.run().success();
    lab.assert_verifies("a.test");
    assert!(tree(&root).is_empty(), "{:?}", tree(&root));
    let webroot = lab.record("a.test")["issuer"]["webroot"].clone();
    assert_eq!(webroot, root.display().to_string());
}

fn whoami(env: &TestEnv) -> String {
    let out = env.command("/usr/bin/id", ["-un"]).run().success();
    out.stdout().trim().to_owned()
}

fn await_port(port: u16) {
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < until, "nothing listens on port {port}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_external_account_is_asked_for_by_its_flags_and_its_key_stays_in_its_file() {
    let options = Options {
        eab: true,
        ..Options::default()
    };
    let Some(lab) = Lab::with(options) else {
        return;
    };
    let out = lab.issue(&["a.test"]).run().code(2);
    let said = out.stderr();
    assert!(
        said.contains("--eab-kid") && said.contains("--eab-hmac-file"),
        "{said}"
    );
    let hmac = private(&lab.env, "hmac", Pebble::EAB_HMAC);
    let wrong = private(&lab.env, "wrong", &Pebble::EAB_HMAC.replace('z', "a"));
    let open = lab.env.write("open", Pebble::EAB_HMAC);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    for (file, code, why) in [
        ("absent", 2, "absent"),
        (open.to_str().unwrap(), 2, "can be read by others"),
        (wrong.as_str(), 1, "refused to register"),
    ] {
        let eab = ["--eab-kid", Pebble::EAB_KID, "--eab-hmac-file", file];
        let out = lab.issue(&["a.test"]).args(eab).run().code(code);
        assert!(out.stderr().contains(why), "{file}: {}", out.stderr());
    }
    let eab = ["--eab-kid", Pebble::EAB_KID, "--eab-hmac-file", &hmac];
    let out = lab.issue(&["a.test"]).args(eab).run().success();
    assert!(!out.stderr().contains(Pebble::EAB_HMAC));
    let issuer = lab.record("a.test")["issuer"].clone();
    assert_eq!(issuer["eab"]["kid"], Pebble::EAB_KID);
    assert_eq!(issuer["eab"]["hmac-file"], hmac);
    for path in tree(&lab.env.state()) {
        let bytes = fs::read(&path).unwrap_or_default();
        assert!(!contains(&bytes, Pebble::EAB_HMAC.as_bytes()));
    }
    // The account is there now.
    let _ = lab.issue(&["b.test"]).run().success();
}

#[test]
fn a_signing_request_gets_its_chain_and_nothing_is_kept() {
    let Some(lab) = Lab::new() else { return };
    let csr = |name: &str, more: &[&str]| {
        let (key, out) = (lab.env.path("csr.key"), lab.env.path(name));
        let words = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout"];
        let run = openssl(&lab.env, &words).arg(&key).arg("-out").arg(&out);
        let _ = run.args(["-subj", "/CN=a.test"]).args(more).run().success();
        out
    };
    let san = ["-addext", "subjectAltName=DNS:a.test,DNS:b.test"];
    let out_dir = lab.env.path("chain");
    for (name, more) in [
        ("csr.pem", &san[..]),
        ("csr.der", &[san[0], san[1], "-outform", "DER"]),
    ] {
        let csr = csr(name, more);
        let run = lab
            .issue(&["--mode", "0640", "--csr", csr.to_str().unwrap()])
            .arg("--out");
        let out = run.arg(&out_dir).run().success();
        assert!(out.stdout().starts_with("issued a.test +1, valid until"));
        assert!(
            out.stderr().contains("nothing renews it"),
            "{}",
            out.stderr()
        );
        let cert = out_dir.join("cert.pem");
        let names = extension(&lab.env, &cert, "subjectAltName");
        assert!(
            names.contains("DNS:a.test") && names.contains("DNS:b.test"),
            "{names}"
        );
        let public = |args: &[&str], path: &Path| {
            let out = openssl(&lab.env, args).arg(path).run().success();
            out.stdout().to_owned()
        };
        assert_eq!(
            public(&["pkey", "-pubout", "-in"], &lab.env.path("csr.key")),
            public(&["x509", "-noout", "-pubkey", "-in"], &cert)
        );
        assert_eq!(mode(&cert), 0o644);
        assert!(!out_dir.join("privkey.pem").exists());
    }
    let root = lab.env.write("root.pem", lab.pebble.root(&lab.env));
    let _ = verify(&lab.env, &out_dir, &root).run().success();
    // Without a directory, into a pipe.
    let good = csr("csr.pem", &san);
    let out = lab.issue(&["--csr", "-"]).stdin(fs::read(&good).unwrap());
    let out = out.run().success();
    assert!(out.stdout().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(!lab.env.state().join("certs").exists());
    // What is broken or says nothing is refused.
    let mut bytes = fs::read(csr("csr.der", &[san[0], san[1], "-outform", "DER"])).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    for (bytes, why) in [
        (bytes, "signature"),
        (fs::read(csr("bare.pem", &[])).unwrap(), "subjectAltName"),
        (b"nonsense".to_vec(), "request"),
    ] {
        let out = lab.issue(&["--csr", "-"]).stdin(bytes).run().code(1);
        let said = out.stderr();
        assert!(said.contains(why), "{why}: {said}");
        assert_eq!(out.stdout(), "");
    }
}

#[test]
fn a_list_is_asked_for_at_once_through_one_port_and_one_failure_hinders_none() {
    let Some(lab) = Lab::new() else { return };
    let mut lines: Vec<String> = (0..20).map(|n| format!("n{n}.test, m{n}.test")).collect();
    lines.insert(7, "x.blocked".to_owned());
    let list = lab.env.write("list", lines.join("\n"));
    let list = list.to_str().unwrap();
    let copies = lab.env.path("copies");
    let args = ["--from", list, "--json", "--out", copies.to_str().unwrap()];
    let out = lab.issue(&args).run().code(1);
    let many = json(&out, "certmint.issue-many/1");
    assert_eq!(many["issued"].as_array().unwrap().len(), 20);
    assert_eq!(many["failed"][0]["id"], "x.blocked");
    assert!(
        out.stderr().contains("1 of 21 certificates failed"),
        "{}",
        out.stderr()
    );
    let copied = fs::read(copies.join("n3.test/cert.pem")).unwrap();
    assert_eq!(
        copied,
        fs::read(lab.current("n3.test").join("cert.pem")).unwrap()
    );
    lab.assert_verifies("n19.test");
    let record = lab.record("n3.test");
    assert_eq!(record["issuer"]["http"], lab.http());
    // The second run asks for nothing but the one.
    let out = lab.issue(&args).run().code(1);
    let again = json(&out, "certmint.issue-many/1");
    assert_eq!(again["kept"].as_array().unwrap().len(), 20);
    assert_eq!(again["issued"].as_array().unwrap().len(), 0);
    TcpListener::bind(lab.http()).unwrap();
}

#[test]
fn copies_have_their_mode_and_a_failing_hook_is_told_and_harms_nothing() {
    let Some(lab) = Lab::new() else { return };
    let copies = lab.env.path("copies");
    let seen = lab.env.path("seen");
    let hook = format!("sh -c 'env > {}; exit 3'", seen.display());
    let more = ["--mode", "0640", "--deploy-hook", &hook, "--out"];
    let run = lab.issue(&["a.test", "b.test"]).args(more).arg(&copies);
    let out = run.run().code(1);
    assert!(
        out.stdout().starts_with("issued a.test"),
        "{}",
        out.stdout()
    );
    assert!(out.stderr().contains("`sh`"), "{}", out.stderr());
    assert_eq!(mode(&copies.join("privkey.pem")), 0o640);
    assert_eq!(mode(&copies.join("fullchain.pem")), 0o644);
    let seen = fs::read_to_string(seen).unwrap();
    assert!(
        seen.contains("CERTMINT_HOOK_NAMES=a.test,b.test\n"),
        "{seen}"
    );
    lab.assert_verifies("a.test");
    let record = lab.record("a.test");
    assert_eq!(record["exports"][0]["mode"], 0o640);
}

#[test]
fn a_failure_leaves_what_is_in_use_as_it_was() {
    let Some(lab) = Lab::new() else { return };
    let _ = lab.issue(&["a.test"]).run().success();
    let files = || {
        let of = |path: &PathBuf| fs::read(path).ok().map(|bytes| (path.clone(), bytes));
        let certs = lab.env.state().join("certs");
        tree(&certs).iter().filter_map(of).collect::<Vec<_>>()
    };
    let before = files();
    let out = lab.issue(&["a.test", "x.blocked", "--json"]).run().code(1);
    assert_eq!(out.stdout(), "");
    assert!(out.stderr().contains("no certificate for a.test +1 from "));
    assert_eq!(files(), before);
    // Somebody else listens: said with a remedy, and free again at once.
    let taken = TcpListener::bind(lab.http()).unwrap();
    let out = lab.issue(&["a.test", "--force"]).run().code(1);
    assert!(out.stderr().contains("ss -ltnp"), "{}", out.stderr());
    assert_eq!(files(), before);
    drop(taken);
    let _ = lab.issue(&["a.test", "--force"]).run().success();
}

#[test]
fn terms_are_agreed_to_by_flag_or_on_a_terminal_and_nobody_waits_without_one() {
    let Some(lab) = Lab::new() else { return };
    let http = lab.http();
    let directory = lab.directory();
    let words = ["acme", "issue", "a.test", "--http", &http];
    let words: Vec<&str> = words
        .into_iter()
        .chain(directory.iter().map(String::as_str))
        .collect();
    let out = lab.env.certmint(&words).run().code(2);
    let said = out.stderr();
    assert!(
        said.contains("terms of service") && said.contains("--agree-tos"),
        "{said}"
    );
    assert!(!lab.env.state().join("acme").exists());
    let Some(no) = on_terminal(&lab.env, &words, "n\n") else {
        return;
    };
    let said = no.code(1);
    assert!(
        said.stdout().contains("Do you agree to them? [y/N]"),
        "{}",
        said.stdout()
    );
    assert!(!lab.env.state().join("acme").exists());
    let yes = on_terminal(&lab.env, &words, "y\n").unwrap().success();
    assert!(yes.stdout().contains("issued a.test"), "{}", yes.stdout());
}

#[test]
fn a_record_made_by_hand_needs_somebody_at_a_terminal() {
    let Some((lab, bind)) = lab_with_bind() else {
        return;
    };
    let file = private(&lab.env, "dns.toml", "[dns.me]\nprovider = \"manual\"\n");
    let server = bind.address().to_string();
    let args = [
        "a.example.test",
        "--dns-file",
        &file,
        "--dns-server",
        &server,
    ];
    let out = lab.ask(&args).run().code(1);
    let said = out.stderr();
    assert!(said.contains("nobody is at a terminal"), "{said}");
    assert!(said.contains("_acme-challenge.a.example.test"), "{said}");
    // On a terminal the record is shown; who goes away is not waited for.
    let directory = lab.directory();
    let words = ["acme", "issue", "--agree-tos"]
        .iter()
        .chain(&args)
        .copied();
    let words: Vec<&str> = words.chain(directory.iter().map(String::as_str)).collect();
    let Some(out) = on_terminal(&lab.env, &words, "") else {
        return;
    };
    let out = out.code(1);
    let shown = out.stdout();
    assert!(
        shown.contains("_acme-challenge.a.example.test. TXT \""),
        "{shown}"
    );
    assert!(shown.contains("press Enter"), "{shown}");
}

/// A command that is at work: its challenge is presented, and the CA looks.
struct Pending {
    lab: Lab,
    work: Server,
    // What the CA talks to, and gets no answer from.
    _silence: Box<dyn Any>,
}

impl Pending {
    /// The CA looks for http-01 where nobody answers; the files or the port are ours.
    fn http(args: impl Fn(&Lab) -> Vec<String>) -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = Options {
            http_port: listener.local_addr().unwrap().port(),
            ..Options::default()
        };
        let lab = Lab::with(options)?;
        let args = args(&lab);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let work = lab.ask(&args).spawn();
        let (stream, _) = listener.accept().unwrap();
        let _silence = Box::new((listener, stream));
        Some(Self {
            lab,
            work,
            _silence,
        })
    }

    /// The CA asks a name server that does not answer.
    fn dns(bind: &Bind) -> Option<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let options = Options {
            dns_server: socket.local_addr().ok(),
            ..Options::default()
        };
        let lab = Lab::with(options)?;
        let work = lab.dns(bind, KEY_256, &["a.example.test"]).spawn();
        let mut query = [0; 512];
        while !contains(&query, b"_acme-challenge") {
            socket.recv_from(&mut query).unwrap();
        }
        let _silence = Box::new(socket);
        Some(Self {
            lab,
            work,
            _silence,
        })
    }

    /// Sends `signal`; the environment, and what the program said.
    fn stop(self, signal: Signal) -> (Lab, Output) {
        self.work.signal(signal);
        let out = self.work.wait(CLEANING);
        (self.lab, out)
    }
}

#[test]
fn whoever_stops_it_leaves_no_listener_no_file_and_no_record() {
    let port = free_port();
    let listen = |_: &Lab| {
        let words = ["a.test".to_owned(), "--http".to_owned()];
        [&words[..], &[format!("127.0.0.1:{port}")]].concat()
    };
    let Some(pending) = Pending::http(listen) else {
        return;
    };
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    let (lab, out) = pending.stop(Signal::INT);
    let out = out.code(1);
    assert!(
        out.stderr().contains("error: stopped by SIGINT"),
        "{}",
        out.stderr()
    );
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    assert!(!lab.env.state().join("certs/a.test/current").exists());

    let Some(pending) = Pending::http(webroot) else {
        return;
    };
    let root = pending.lab.env.path("www");
    assert!(tree(&root).iter().any(|path| path.is_file()));
    let (_lab, out) = pending.stop(Signal::TERM);
    let _ = out.code(1);
    assert!(tree(&root).is_empty(), "{:?}", tree(&root));

    let Some(bind) = Bind::start() else { return };
    let Some(pending) = Pending::dns(&bind) else {
        return;
    };
    let name = "_acme-challenge.a.example.test";
    assert_eq!(bind.txt(name).len(), 1);
    let (_lab, out) = pending.stop(Signal::INT);
    let _ = out.code(1);
    assert!(bind.txt(name).is_empty());
}

fn webroot(lab: &Lab) -> Vec<String> {
    let root = lab.env.path("www");
    fs::create_dir(&root).unwrap();
    let root = root.display().to_string();
    vec!["a.test".to_owned(), "--webroot".to_owned(), root]
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_one() {
    let Some(pending) = Pending::http(webroot) else {
        return;
    };
    let root = pending.lab.env.path("www");
    let (lab, _) = pending.stop(Signal::KILL);
    assert!(tree(&root).iter().any(|path| path.is_file()));
    let again = Pebble::start(&lab.env, Options::default()).unwrap();
    let lab = Lab {
        pebble: again,
        ..lab
    };
    let _ = lab.issue(&["b.test"]).run().success();
    let out = lab.ask(&["c.test", "--webroot", root.to_str().unwrap()]);
    // Nobody serves these files; they are cleaned up before anything else is.
    let _ = out.run().code(1);
    assert!(tree(&root).is_empty(), "{:?}", tree(&root));

    let Some(bind) = Bind::start() else { return };
    let Some(pending) = Pending::dns(&bind) else {
        return;
    };
    let name = "_acme-challenge.a.example.test";
    let (lab, _) = pending.stop(Signal::KILL);
    assert_eq!(bind.txt(name).len(), 1);
    let options = Options {
        dns_server: Some(bind.address()),
        ..Options::default()
    };
    let again = Pebble::start(&lab.env, options).unwrap();
    let lab = Lab {
        pebble: again,
        ..lab
    };
    let out = lab.dns(&bind, KEY_256, &["b.example.test"]).run().success();
    assert!(out.stderr().contains(name), "{}", out.stderr());
    assert!(bind.txt(name).is_empty());
}
