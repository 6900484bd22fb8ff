//! `certmint acme revoke` against Pebble, and what follows from it.

use std::fs;

use serde_json::Value;

use crate::acme_issue::Lab;
use crate::ca::{assert_private, json, openssl};
use crate::support::TestEnv;

impl Lab {
    /// What Pebble thinks of the certificate in use.
    fn status(&self, id: &str) -> Value {
        let run = openssl(&self.env, &["x509", "-noout", "-serial", "-in"]);
        let out = run.arg(self.current(id).join("cert.pem")).run().success();
        let serial = out.stdout().trim().trim_start_matches("serial=").to_owned();
        let url = format!(
            "{}/cert-status-by-serial/{}",
            self.pebble.management_url,
            serial.to_ascii_lowercase().trim_start_matches('0')
        );
        serde_json::from_str(&self.pebble.get(&self.env, &url)).unwrap()
    }

    fn key(&self, id: &str) -> String {
        fs::read_to_string(self.current(id).join("privkey.pem")).unwrap()
    }
}

#[test]
fn what_is_revoked_is_replaced_at_the_next_renewal_and_a_known_key_with_it() {
    let Some(lab) = Lab::new() else { return };
    let _ = lab.issue(&["a.test", "--reuse-key"]).run().success();
    let key = lab.key("a.test");
    let out = lab.acme(&["revoke", "a.test", "--reason", "superseded", "--json"]);
    let report = json(&out.run().success(), "certmint.acme-revoke/1");
    assert_eq!(report["revoked_by"], "account");
    assert_eq!(lab.status("a.test")["Status"], "Revoked");
    let out = lab.env.certmint(["renew"]).run().success();
    assert!(out.stdout().contains("a.test  renewed"), "{}", out.stdout());
    assert_eq!(lab.status("a.test")["Status"], "Valid");
    assert_eq!(lab.key("a.test"), key);

    let out = lab.acme(&["revoke", "a.test", "--reason", "keyCompromise"]);
    let out = out.run().success();
    assert!(
        out.stdout()
            .contains("by its certificate key (keyCompromise)")
    );
    assert!(
        out.stderr().contains("certmint renew a.test"),
        "{}",
        out.stderr()
    );
    assert_eq!(lab.status("a.test")["Reason"], 1);
    // Nothing is due, and still it may not stay.
    let out = lab.env.certmint(["renew", "--dry-run"]).run().success();
    assert!(out.stdout().contains("revoked since"), "{}", out.stdout());
    let _ = lab.env.certmint(["renew"]).run().success();
    assert_ne!(lab.key("a.test"), key);
    assert_private(&lab.env.state());

    // The same when it is asked for anew.
    let key = lab.key("a.test");
    let _ = lab
        .acme(&["revoke", "a.test", "--reason", "keyCompromise"])
        .run()
        .success();
    let out = lab.acme(&["issue", "a.test"]).run().success();
    assert!(out.stdout().starts_with("issued"), "{}", out.stdout());
    assert_ne!(lab.key("a.test"), key);

    let end = ["revoke", "a.test", "--reason", "cessationOfOperation"];
    let out = lab.acme(&end).run().success();
    assert!(
        out.stderr().contains("not renewed any more"),
        "{}",
        out.stderr()
    );
    let before = lab.record("a.test")["generation"].clone();
    let _ = lab.env.certmint(["renew"]).run().success();
    assert_eq!(lab.record("a.test")["generation"], before);
}

#[test]
fn whoever_holds_the_key_may_revoke_without_an_account() {
    let Some(lab) = Lab::new() else { return };
    for kind in ["p256", "p384", "rsa2048"] {
        let args = ["a.test", "--id", kind, "--key-type", kind];
        let _ = lab.issue(&args).run().success();
        let file = |name: &str| {
            let bytes = fs::read(lab.current(kind).join(name)).unwrap();
            let path = lab.env.write(format!("{kind}-{name}"), bytes);
            path.display().to_string()
        };
        let (cert, key) = (file("fullchain.pem"), file("privkey.pem"));
        // A home that knows neither the certificate nor the account.
        let other = lab.env.path("other");
        let run = lab
            .acme(&["revoke", "--cert", &cert])
            .env("CERTMINT_HOME", &other);
        let out = run.run().code(2);
        assert!(out.stderr().contains("--directory"), "{}", out.stderr());
        let run = lab.acme(&["revoke", "--cert", &cert]).args(lab.directory());
        let out = run.env("CERTMINT_HOME", &other).run().code(1);
        assert!(
            out.stderr().contains("there is no account"),
            "{}",
            out.stderr()
        );
        let run = lab.acme(&["revoke", "--cert", &cert, "--key", &key]);
        let run = run.args(lab.directory()).env("CERTMINT_HOME", &other);
        let out = run.run().success();
        assert!(
            out.stdout()
                .contains("by its certificate key (unspecified)")
        );
        assert_eq!(lab.status(kind)["Status"], "Revoked");
    }
    // A file that is one of ours needs no more words, and an account that is gone is
    // stood in for by the key.
    let _ = lab.issue(&["b.test"]).run().success();
    let cert = lab.current("b.test").join("cert.pem");
    let gone = ["account", "deactivate", "--yes"];
    let _ = lab.acme(&gone).args(lab.directory()).run().success();
    let out = lab.acme(&["revoke", "--cert"]).arg(&cert).run().success();
    assert!(out.stdout().contains("certificate key"), "{}", out.stdout());
    assert_eq!(lab.status("b.test")["Status"], "Revoked");
}

#[test]
fn what_cannot_be_revoked_is_told_with_a_remedy() {
    let env = TestEnv::with_ca();
    let _ = env.certmint(["ca", "issue", "a.test"]).run().success();
    let certs = env.state().join("certs/a.test/current");
    let cert = certs.join("cert.pem").display().to_string();
    let other = env.write(
        "key.pem",
        rcgen::KeyPair::generate().unwrap().serialize_pem(),
    );
    let other = other.display().to_string();
    let url = "https://127.0.0.1:1/dir";
    let table: &[(&[&str], i32, &str)] = &[
        (&[], 2, "--cert FILE"),
        (&["b.test"], 1, "there is no certificate `b.test`"),
        (&["a.test"], 2, "certmint ca revoke a.test"),
        (&["a.test", "--cert", &cert], 2, "cannot be used with"),
        (&["a.test", "--reason", "boredom"], 2, "keyCompromise"),
        (&["--cert", "/nowhere"], 1, "/nowhere"),
        (
            &["--cert", &other, "--directory", url],
            2,
            "is not a certificate",
        ),
        (
            &["--cert", &cert, "--key", &other, "--directory", url],
            2,
            "is not the certificate's",
        ),
    ];
    for (args, code, why) in table {
        let out = env
            .certmint(["acme", "revoke"])
            .args(*args)
            .run()
            .code(*code);
        assert!(out.stderr().contains(why), "{args:?}: {}", out.stderr());
        assert_eq!(out.stdout(), "");
    }
}
