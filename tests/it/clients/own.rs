//! certmint itself: all three kinds of challenge, addresses, external accounts, a new
//! account key, the end of an account, and renewal when the directory says so.

use super::lab::{Lab, MAIL};
use super::{Client, Held, live};
use crate::acme_issue::private;
use crate::ca::extension;
use crate::support::bind::KEY_256;
use crate::support::{Output, Run};

struct Own<'a> {
    lab: &'a Lab,
    how: Vec<String>,
}

impl<'a> Own<'a> {
    fn by_http(lab: &'a Lab) -> Self {
        let how = ["--http", &lab.http()].map(str::to_owned).to_vec();
        Self { lab, how }
    }

    fn by_tls(lab: &'a Lab) -> Self {
        let how = ["--https", &lab.tls()].map(str::to_owned).to_vec();
        Self { lab, how }
    }

    fn by_dns(lab: &'a Lab) -> Self {
        let (server, (name, algorithm, secret)) = (lab.bind.address().to_string(), KEY_256);
        let text = format!(
            "[dns.lab]\nprovider = \"rfc2136\"\nserver = \"{server}\"\nkey-name = \"{name}\"\n\
             algorithm = \"{algorithm}\"\nsecret = \"{secret}\"\n"
        );
        let file = private(&lab.env, "own-dns.toml", &text);
        let how = ["--dns-file", &file, "--dns-server", &server].map(str::to_owned);
        let how = how.to_vec();
        Self { lab, how }
    }

    /// With a state directory of its own, far from the CA's.
    fn certmint(&self, args: &[&str]) -> Run {
        let run = self.lab.env.certmint(args);
        run.env("CERTMINT_HOME", self.lab.env.path("own"))
    }

    fn issue(&self, names: &[&str], more: &[&str]) -> Run {
        self.issue_as("it", names).args(more)
    }

    fn issue_as(&self, id: &str, names: &[&str]) -> Run {
        let directory = &self.lab.directory;
        self.certmint(&["acme", "issue", "--agree-tos", "--email", MAIL])
            .args(["--id", id, "--directory", &directory.url, "--ca-file"])
            .arg(&directory.tls_root)
            .args(&self.how)
            .args(names)
    }

    fn account(&self, what: &str, more: &[&str]) -> Output {
        self.certmint(&["acme", "account", what])
            .args(["--directory", &self.lab.directory.url, "--ca-file"])
            .arg(&self.lab.directory.tls_root)
            .args(more)
            .run()
    }

    fn held(&self) -> Held {
        let current = self.lab.env.path("own/certs/it/current");
        Held {
            chain: current.join("fullchain.pem"),
            key: current.join("privkey.pem"),
        }
    }
}

impl Client for Own<'_> {
    fn obtain(&mut self, names: &[&str]) -> Held {
        let _ = self.issue(names, &[]).run().success();
        self.held()
    }

    fn renew(&mut self, _: &[&str]) -> Held {
        let _ = self.certmint(&["renew", "--force"]).run().success();
        self.held()
    }

    fn revoke(&mut self, _: &Held) -> bool {
        let words = ["acme", "revoke", "it", "--reason", "superseded"];
        let _ = self.certmint(&words).run().success();
        true
    }
}

#[test]
fn certmint_lives_by_http() {
    let Some(lab) = Lab::new() else { return };
    let names = ["a.example.test", "b.example.test", "127.0.0.1"];
    live(
        &lab,
        "certmint",
        "http-01, address",
        &mut Own::by_http(&lab),
        &names,
    );
}

#[test]
fn certmint_lives_by_tls() {
    let Some(lab) = Lab::new() else { return };
    let names = ["a.example.test", "b.example.test", "127.0.0.1"];
    live(
        &lab,
        "certmint",
        "tls-alpn-01, address",
        &mut Own::by_tls(&lab),
        &names,
    );
}

#[test]
fn certmint_lives_by_dns() {
    let Some(lab) = Lab::new() else { return };
    let names = ["*.w.example.test", "w.example.test"];
    live(
        &lab,
        "certmint",
        "dns-01, wildcard",
        &mut Own::by_dns(&lab),
        &names,
    );
}

/// With a new key the account goes on, and once it is at its end nothing does.
#[test]
fn certmint_changes_the_key_of_its_account_and_ends_it() {
    let Some(lab) = Lab::new() else { return };
    let own = Own::by_http(&lab);
    let names = ["a.example.test"];
    let _ = own.issue(&names, &[]).run().success();
    let first = lab.served(&own.held(), &names);
    let _ = own.account("rollover", &[]).success();
    let _ = own.certmint(&["renew", "--force"]).run().success();
    assert_ne!(lab.served(&own.held(), &names), first);
    let _ = own.account("contact", &["grace@example.test"]).success();
    // It forgets an account that it has ended.
    let accounts = lab.env.path("own/acme");
    let mut accounts = std::fs::read_dir(accounts).unwrap().flatten();
    let file = accounts.find_map(|dir| {
        let file = dir.path().join("account.json");
        file.exists().then_some(file)
    });
    let (file, account) = (
        file.as_ref().unwrap(),
        std::fs::read(file.as_ref().unwrap()),
    );
    let _ = own.account("deactivate", &["--yes"]).success();
    assert!(!file.exists());
    private(
        &lab.env,
        file.to_str().unwrap(),
        &String::from_utf8(account.unwrap()).unwrap(),
    );
    let out = own.certmint(&["renew", "--force"]).run().code(1);
    assert!(out.stderr().contains("unauthorized"), "{}", out.stderr());
}

#[test]
fn certmint_is_bound_to_an_external_account() {
    let Some(lab) = Lab::with(|options| options.eab = true) else {
        return;
    };
    let own = Own::by_http(&lab);
    let names = ["a.example.test"];
    let _ = own.issue(&names, &[]).run().code(2);
    let (kid, hmac) = lab.directory.eab(&lab.env, &[]);
    let file = private(&lab.env, "hmac", &hmac);
    let eab = ["--eab-kid", &kid, "--eab-hmac-file", &file];
    let _ = own.issue(&names, &eab).run().success();
    let _ = lab.served(&own.held(), &names);
}

/// RFC 9773: what somebody else had revoked is to be renewed now, long before its time.
#[test]
fn certmint_renews_when_the_directory_says_so() {
    let Some(lab) = Lab::new() else { return };
    let own = Own::by_http(&lab);
    let names = ["a.example.test"];
    let _ = own.issue(&names, &[]).run().success();
    let _ = own.issue_as("other", &["b.example.test"]).run().success();
    let first = lab.served(&own.held(), &names);
    if !lab.directory.revoke(&lab.env, &first) {
        return;
    }
    assert!(lab.is_revoked(&first));
    let out = own.certmint(&["renew"]).run().success();
    assert!(!out.stdout().contains("other  renewed"), "{}", out.stdout());
    let second = lab.served(&own.held(), &names);
    assert_ne!(second, first);
    assert!(!lab.is_revoked(&second));
}

/// What lives longer than a week says where its CRL and its issuer are, and they are there.
#[test]
fn certmint_is_told_in_the_certificate_where_its_crl_is() {
    let Some(lab) = Lab::new() else { return };
    let Some(plain_url) = &lab.directory.plain_url else {
        return;
    };
    let own = Own::by_http(&lab);
    let names = ["a.example.test"];
    let _ = own.issue(&names, &["--profile", "classic"]).run().success();
    let serial = lab.served(&own.held(), &names);
    let leaf = lab.env.path("own/certs/it/current/cert.pem");
    let crl = extension(&lab.env, &leaf, "crlDistributionPoints");
    let issuer = extension(&lab.env, &leaf, "authorityInfoAccess");
    for (path, said) in [("crl/I1.crl", crl), ("issuer/I1.crt", issuer)] {
        let url = format!("URI:{plain_url}/{path}");
        assert!(said.contains(&url), "{said}");
    }
    let _ = own.certmint(&["acme", "revoke", "it"]).run().success();
    assert!(lab.is_revoked(&serial));
}
