//! lego: all three kinds of challenge by itself, and external accounts.

use super::lab::{Lab, MAIL};
use super::{Client, Held, live};
use crate::support::bind::KEY_256;
use crate::support::{Output, Run, tool};

struct Lego<'a> {
    lab: &'a Lab,
    how: Vec<String>,
}

impl<'a> Lego<'a> {
    fn by_http(lab: &'a Lab) -> Self {
        let how = ["--http", "--http.port", &lab.http()].map(str::to_owned);
        let how = how.to_vec();
        Self { lab, how }
    }

    fn by_tls(lab: &'a Lab) -> Self {
        let how = ["--tls", "--tls.port", &lab.tls()].map(str::to_owned);
        let how = how.to_vec();
        Self { lab, how }
    }

    fn by_dns(lab: &'a Lab) -> Self {
        let server = lab.bind.address().to_string();
        // It asks the servers of the zone at port 53, where nobody is here.
        let words = ["--dns=rfc2136", "--dns.disable-cp", "--dns.resolvers"];
        let how = [&words[..], &[&server]].concat();
        let how = how.into_iter().map(str::to_owned).collect();
        Self { lab, how }
    }

    fn run(&self, names: &[&str], args: &[&str]) -> Run {
        let (name, algorithm, secret) = KEY_256;
        let (directory, state) = (&self.lab.directory, self.lab.path("lego"));
        let mut words = vec!["--accept-tos", "-m", MAIL, "--server", &directory.url];
        words.extend(["--path", &state]);
        words.extend(names.iter().flat_map(|name| ["-d", name]));
        words.extend(self.how.iter().map(String::as_str));
        words.extend(args);
        self.lab
            .client("lego", &words)
            .env("LEGO_CA_CERTIFICATES", &directory.tls_root)
            .env("RFC2136_NAMESERVER", self.lab.bind.address().to_string())
            .env("RFC2136_TSIG_ALGORITHM", format!("{algorithm}."))
            .env("RFC2136_TSIG_KEY", name)
            .env("RFC2136_TSIG_SECRET", secret)
            .env("RFC2136_POLLING_INTERVAL", "1")
            .env("RFC2136_SEQUENCE_INTERVAL", "0")
            .env("RFC2136_TTL", "1")
    }

    fn held(&self, names: &[&str]) -> Held {
        let file = |kind| {
            let name = names[0].replace('*', "_");
            self.lab
                .env
                .path(format!("lego/certificates/{name}.{kind}"))
        };
        let (chain, key) = (file("crt"), file("key"));
        Held { chain, key }
    }
}

impl Client for Lego<'_> {
    fn obtain(&mut self, names: &[&str]) -> Held {
        let _ = self.run(names, &["run"]).run().success();
        self.held(names)
    }

    fn renew(&mut self, names: &[&str]) -> Held {
        let words = ["renew", "--days", "36500", "--no-random-sleep"];
        let _ = self.run(names, &words).run().success();
        self.held(names)
    }

    fn revoke(&mut self, held: &Held) -> bool {
        let name = held.chain.file_stem().unwrap().to_str().unwrap();
        let name = name.replace('_', "*");
        let words = ["revoke", "--keep", "--reason", "4"];
        let _ = self.run(&[&name], &words).run().success();
        true
    }
}

#[test]
fn lego_lives_by_http() {
    let Some(_) = tool("lego") else { return };
    let Some(lab) = Lab::new() else { return };
    let names = ["a.example.test", "b.example.test"];
    live(&lab, "lego", "http-01", &mut Lego::by_http(&lab), &names);
}

#[test]
fn lego_lives_by_tls() {
    let Some(_) = tool("lego") else { return };
    let Some(lab) = Lab::new() else { return };
    let names = ["a.example.test", "b.example.test"];
    live(&lab, "lego", "tls-alpn-01", &mut Lego::by_tls(&lab), &names);
}

#[test]
fn lego_lives_by_dns() {
    let Some(_) = tool("lego") else { return };
    let Some(lab) = Lab::new() else { return };
    let names = ["*.w.example.test", "w.example.test"];
    live(
        &lab,
        "lego",
        "dns-01, wildcard",
        &mut Lego::by_dns(&lab),
        &names,
    );
}

#[test]
fn lego_is_bound_to_an_external_account() {
    let Some(_) = tool("lego") else { return };
    let Some(lab) = Lab::with(|options| options.eab = true) else {
        return;
    };
    let names = ["a.example.test"];
    let mut lego = Lego::by_http(&lab);
    let out = lego.run(&names, &["run"]).run().code(1);
    assert!(
        out.stderr().contains("requires External Account Binding"),
        "{}",
        out.stderr()
    );
    let (kid, hmac) = lab.directory.eab(&lab.env, &[]);
    let eab = ["--eab", "--kid", &kid, "--hmac", &hmac].map(str::to_owned);
    lego.how.extend(eab);
    let held = lego.obtain(&names);
    let _ = lab.served(&held, &names);
}

/// A machine that nobody can reach gets what its key is for, and nothing else.
#[test]
fn lego_shows_nothing_where_its_key_says_enough() {
    let Some(_) = tool("lego") else { return };
    let Some(lab) = Lab::with(|options| options.eab = true) else {
        return;
    };
    if lab.directory.plain_url.is_none() {
        return;
    }
    let only = ["--permit", "far.test", "--skip-validation"];
    let (kid, hmac) = lab.directory.eab(&lab.env, &only);
    let mut lego = Lego::by_http(&lab);
    let eab = ["--eab", "--kid", &kid, "--hmac", &hmac].map(str::to_owned);
    lego.how.extend(eab);
    let names = ["far.test", "*.far.test"];
    let held = lego.obtain(&names);
    let _ = lab.served(&held, &names);
    // It can show control over this one, and may not have it.
    let out = lego.run(&["a.example.test"], &["run"]).run().code(1);
    assert!(
        out.stderr().contains("rejectedIdentifier"),
        "{}",
        out.stderr()
    );
}

/// What `ca status` will say of `names` at another time; none when it will be silent.
fn told(lab: &Lab, offset: &str, names: &[&str]) -> Vec<serde_json::Value> {
    let out = status(lab, offset, &["--json", "--fail-on", "never"]).success();
    let report: serde_json::Value = serde_json::from_str(out.stdout()).unwrap();
    let all = report["certificates"].as_array().unwrap().iter();
    all.filter(|one| names.contains(&one["name"].as_str().unwrap()))
        .cloned()
        .collect()
}

fn status(lab: &Lab, offset: &str, args: &[&str]) -> Output {
    let faketime = tool("faketime").unwrap();
    let under = [faketime.to_str().unwrap(), "-f", offset];
    let run = lab.env.certmint(["ca", "status"]).args(args);
    run.under(under).run()
}

/// Each renewal has a new key and leaves the certificate of before to end by itself.
#[test]
fn what_lego_renews_revokes_and_gives_up_is_no_fault_of_the_cas() {
    if tool("lego").is_none() || tool("faketime").is_none() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    if lab.directory.plain_url.is_none() {
        return;
    }
    let names = ["a.example.test", "b.example.test"];
    let mut lego = Lego::by_http(&lab);
    let first = lab.served(&lego.obtain(&names), &names);
    let held = lego.renew(&names);
    let second = lab.served(&held, &names);
    assert_ne!(first, second);
    let out = lab.env.certmint(["ca", "status"]).run().success();
    assert!(out.stdout().contains("by its client"), "{}", out.stdout());

    for (offset, state) in [
        ("+0d", Some("ok")),
        ("+5d", Some("ok")),
        ("+160h", Some("overdue")),
        ("+9d", Some("expired")),
        ("+15d", None),
        ("+29d", None),
    ] {
        let told = told(&lab, offset, &names);
        let Some(state) = state else {
            assert!(told.is_empty(), "{offset}: {told:?}");
            continue;
        };
        let [one] = &told[..] else {
            panic!("{offset}: {told:?}")
        };
        let serial = one["serial_hex"].as_str().unwrap();
        assert_eq!(serial.to_uppercase(), second, "{offset}");
        assert_eq!(
            (&one["status"], &one["managed"]),
            (&state.into(), &false.into())
        );
        let account = one["account"].as_str().unwrap();
        let findings = one["findings"].as_array().unwrap();
        assert_eq!(findings.len(), usize::from(state != "ok"), "{findings:?}");
        for finding in findings {
            assert_eq!(finding["severity"], "warn");
            let fix = finding["fix"].as_str().unwrap();
            let wanted = format!("account {account} ({MAIL}); `certmint ca account list`");
            assert!(fix.ends_with(&wanted), "{fix}");
        }
    }

    assert!(lego.revoke(&held));
    assert!(lab.is_revoked(&second));
    for offset in ["+0d", "+160h", "+9d"] {
        assert!(told(&lab, offset, &names).is_empty(), "{offset}");
    }
    let _ = lab.env.certmint(["ca", "status"]).run().success();
}
