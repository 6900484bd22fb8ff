//! certbot: http-01 by its own server, dns-01 by hooks, external accounts, and the end
//! of an account.

use std::path::PathBuf;

use super::lab::{Lab, MAIL};
use super::{Client, Held, live};
use crate::support::{Output, tool};

struct Certbot<'a> {
    lab: &'a Lab,
    how: Vec<String>,
}

impl<'a> Certbot<'a> {
    fn by_http(lab: &'a Lab) -> Self {
        let port = lab.directory.options.http01.to_string();
        let words = ["--standalone", "--http-01-address", "127.0.0.1"];
        let how = [&words[..], &["--http-01-port", &port]].concat();
        let how = how.into_iter().map(str::to_owned).collect();
        Self { lab, how }
    }

    fn by_dns(lab: &'a Lab) -> Self {
        let functions = lab.dns_function();
        let body = format!("{functions}dns \"$1\" \"$CERTBOT_DOMAIN\" \"$CERTBOT_VALIDATION\"\n");
        let hook = lab.script("certbot-hook", &body);
        let how = [
            "--manual",
            "--preferred-challenges=dns",
            &format!("--manual-auth-hook={hook} add"),
            &format!("--manual-cleanup-hook={hook} delete"),
        ];
        let how = how.map(str::to_owned).to_vec();
        Self { lab, how }
    }

    fn run(&self, args: &[&str]) -> Output {
        let dirs = ["config", "work", "logs"].map(|dir| {
            [
                format!("--{dir}-dir"),
                self.lab.path(&format!("certbot/{dir}")),
            ]
        });
        let run = self.lab.client("certbot", args).args(dirs.as_flattened());
        run.args(["--non-interactive", "--server", &self.lab.directory.url])
            .env("REQUESTS_CA_BUNDLE", &self.lab.directory.tls_root)
            .run()
    }

    fn certonly(&self, names: &[&str], more: &[&str]) -> Held {
        let mut args = vec!["certonly", "--agree-tos", "--cert-name=it", "-m", MAIL];
        args.extend(names.iter().flat_map(|name| ["-d", name]));
        args.extend(self.how.iter().map(String::as_str));
        args.extend(more);
        let _ = self.run(&args).success();
        self.held()
    }

    fn held(&self) -> Held {
        let live = self.lab.env.path("certbot/config/live/it");
        let [chain, key]: [PathBuf; 2] = ["fullchain.pem", "privkey.pem"].map(|f| live.join(f));
        Held { chain, key }
    }
}

impl Client for Certbot<'_> {
    fn obtain(&mut self, names: &[&str]) -> Held {
        self.certonly(names, &[])
    }

    fn renew(&mut self, _: &[&str]) -> Held {
        let _ = self
            .run(&["renew", "--force-renewal", "--no-random-sleep-on-renew"])
            .success();
        self.held()
    }

    fn revoke(&mut self, _: &Held) -> bool {
        let why = ["--reason", "superseded", "--no-delete-after-revoke"];
        let run = self.run(&[&["revoke", "--cert-name", "it"], &why[..]].concat());
        let _ = run.success();
        true
    }
}

#[test]
fn certbot_lives_by_http() {
    let Some(_) = tool("certbot") else { return };
    let Some(lab) = Lab::new() else { return };
    let names = ["a.example.test", "b.example.test"];
    live(
        &lab,
        "certbot",
        "http-01",
        &mut Certbot::by_http(&lab),
        &names,
    );
}

#[test]
fn certbot_lives_by_dns() {
    let Some(_) = tool("certbot") else { return };
    let Some(lab) = Lab::new() else { return };
    let names = ["*.w.example.test", "w.example.test"];
    live(
        &lab,
        "certbot",
        "dns-01, wildcard",
        &mut Certbot::by_dns(&lab),
        &names,
    );
}

/// What is revoked by the certificate's key needs no account.
#[test]
fn certbot_revokes_with_the_key_of_the_certificate_and_ends_its_account() {
    let Some(_) = tool("certbot") else { return };
    let Some(lab) = Lab::new() else { return };
    let certbot = Certbot::by_http(&lab);
    let names = ["a.example.test"];
    let held = certbot.certonly(&names, &[]);
    let serial = lab.served(&held, &names);
    let [accounts, kept] = ["certbot/config/accounts", "kept"].map(|dir| lab.path(dir));
    let copy = |from: &str, to: &str| {
        let args = ["-a", &format!("{from}/."), to];
        let _ = lab.env.command("cp", args).run().success();
    };
    copy(&accounts, &kept);
    let _ = certbot.run(&["unregister"]).success();
    let (chain, key) = (
        held.chain.display().to_string(),
        held.key.display().to_string(),
    );
    let words = ["--cert-path", &chain, "--key-path", &key];
    let why = ["--reason", "keycompromise", "--no-delete-after-revoke"];
    let run = certbot.run(&[&["revoke"], &words[..], &why].concat());
    let _ = run.success();
    assert!(lab.is_revoked(&serial));
    // It forgets an account that it has ended.
    copy(&kept, &accounts);
    let out = certbot.run(&["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
    assert!(out.code(1).stderr().contains("unauthorized"));
}

#[test]
fn certbot_is_bound_to_an_external_account() {
    let Some(_) = tool("certbot") else { return };
    let Some(lab) = Lab::with(|options| options.eab = true) else {
        return;
    };
    let (kid, hmac) = lab.directory.eab(&lab.env, &[]);
    let certbot = Certbot::by_http(&lab);
    let names = ["a.example.test"];
    let held = certbot.certonly(&names, &["--eab-kid", &kid, "--eab-hmac-key", &hmac]);
    let _ = lab.served(&held, &names);
}
