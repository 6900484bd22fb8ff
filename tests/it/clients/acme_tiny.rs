//! acme-tiny: http-01 by files, for a signing request that openssl made. It neither
//! keeps anything nor revokes.

use super::lab::Lab;
use super::{Client, Held, live};
use crate::support::tool;

struct AcmeTiny<'a> {
    lab: &'a Lab,
}

impl<'a> AcmeTiny<'a> {
    fn new(lab: &'a Lab) -> Self {
        let args = ["genrsa", "-out", &lab.path("account.key"), "2048"];
        let _ = lab.env.command("openssl", args).run().success();
        Self { lab }
    }
}

impl Client for AcmeTiny<'_> {
    fn obtain(&mut self, names: &[&str]) -> Held {
        let lab = self.lab;
        let (key, csr) = (lab.path("tiny.key"), lab.path("tiny.csr"));
        // As its manual does: a name in the subject alone, and others beside it.
        let (first, others) = names.split_first().unwrap();
        let subject = format!("/CN={first}");
        let others: Vec<String> = others.iter().map(|name| format!("DNS:{name}")).collect();
        let others = format!("subjectAltName={}", others.join(","));
        let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let what = ["-subj", &subject, "-addext", &others, "-nodes"];
        let args = [&["req"], &new[..], &what, &["-keyout", &key, "-out", &csr]].concat();
        let _ = lab.env.command("openssl", args).run().success();
        let account = lab.path("account.key");
        let args = ["--account-key", &account, "--csr", &csr, "--disable-check"];
        let out = lab
            .client("acme-tiny", &args)
            .args(["--directory-url", &lab.directory.url, "--acme-dir"])
            .arg(lab.challenges())
            .env("SSL_CERT_FILE", &lab.directory.tls_root)
            .run()
            .success();
        Held {
            chain: lab.env.write("tiny.pem", out.stdout()),
            key: key.into(),
        }
    }

    fn renew(&mut self, names: &[&str]) -> Held {
        self.obtain(names)
    }

    fn revoke(&mut self, _: &Held) -> bool {
        false
    }
}

#[test]
fn acme_tiny_lives_by_http() {
    let Some(_) = tool("acme-tiny") else { return };
    let Some(lab) = Lab::with_web() else { return };
    let names = ["a.example.test", "b.example.test"];
    live(
        &lab,
        "acme-tiny",
        "http-01",
        &mut AcmeTiny::new(&lab),
        &names,
    );
}
