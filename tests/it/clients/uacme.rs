//! uacme: all three kinds of challenge by hooks, tls-alpn-01 with its own `ualpn`, also
//! for addresses; a new account key, and the end of an account.

use super::lab::{Lab, MAIL};
use super::{Client, Held, live};
use crate::support::tools::{skip, tool};
use crate::support::{Output, Server, TestEnv};

struct Uacme<'a> {
    lab: &'a Lab,
    hook: String,
    _responder: Option<Server>,
}

impl<'a> Uacme<'a> {
    fn new(lab: &'a Lab, hook: String) -> Self {
        std::fs::create_dir_all(lab.env.path("uacme/trusted")).unwrap();
        let root = lab.env.path("uacme/trusted/ca.pem");
        std::fs::copy(&lab.directory.tls_root, root).unwrap();
        Self {
            lab,
            hook,
            _responder: None,
        }
    }

    fn registered(self) -> Self {
        let _ = self.run(&["-y", "new", MAIL]).success();
        self
    }

    fn by_http(lab: &'a Lab) -> Self {
        let dir = lab.challenges();
        let body = format!(
            "[ \"$2\" = http-01 ] || exit 1\ncd {}\n\
             case $1 in begin) printf %s \"$5\" >\"$4\";; *) rm \"$4\";; esac\n",
            dir.display()
        );
        let hook = lab.script("uacme-hook", &body);
        Self::new(lab, hook)
    }

    fn by_dns(lab: &'a Lab) -> Self {
        let body = format!(
            "[ \"$2\" = dns-01 ] || exit 1\n{}\
             case $1 in begin) dns add \"$3\" \"$5\";; *) dns delete \"$3\" \"$5\";; esac\n",
            lab.dns_function()
        );
        let hook = lab.script("uacme-hook", &body);
        Self::new(lab, hook)
    }

    fn by_tls(lab: &'a Lab) -> Self {
        let socket = lab.path("ualpn.sock");
        let pid = lab.path("ualpn.pid");
        let at = lab.tls().replace(':', "@");
        // What is no challenge is for a server that nobody asks.
        let words = ["-b", &at, "-c", "127.0.0.1@1", "-n", "1", "-vv"];
        let words = [&words[..], &["-s", &socket, "-p", &pid]].concat();
        let mut responder = lab.client("ualpn", &words).spawn();
        responder.await_line("new worker starting");
        let body = format!(
            "[ \"$2\" = tls-alpn-01 ] || exit 1\n\
             case $1 in begin) line=\"auth $3 $5\";; *) line=\"unauth $3\";; esac\n\
             said=$(echo \"$line\" | ualpn -s {socket}) || :\n[ \"${{said%% *}}\" = OK ]\n"
        );
        let hook = lab.script("uacme-hook", &body);
        Self {
            _responder: Some(responder),
            ..Self::new(lab, hook)
        }
    }

    /// It trusts what the system trusts, and nothing else: so it runs in a mount
    /// namespace of its own, where that is the directory's root.
    fn run(&self, args: &[&str]) -> Output {
        let (conf, trusted) = (self.lab.path("uacme/conf"), self.lab.path("uacme/trusted"));
        let words = ["-a", &self.lab.directory.url, "-c", &conf, "-h", &self.hook];
        let mount = format!("mount --bind {trusted} /etc/ssl/certs && exec \"$@\"");
        self.lab
            .client("uacme", &words)
            .args(["-t", "EC"])
            .args(args)
            .under([
                "unshare",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                &mount,
                "sh",
            ])
            .run()
    }

    fn issue(&self, names: &[&str], more: &[&str]) -> Held {
        let _ = self.run(&[more, &["issue"], names].concat()).success();
        let name = names[0].trim_start_matches("*.");
        let conf = self.lab.env.path("uacme/conf");
        Held {
            chain: conf.join(name).join("cert.pem"),
            key: conf.join("private").join(name).join("key.pem"),
        }
    }
}

impl Client for Uacme<'_> {
    fn obtain(&mut self, names: &[&str]) -> Held {
        self.issue(names, &[])
    }

    fn renew(&mut self, names: &[&str]) -> Held {
        self.issue(names, &["-f"])
    }

    fn revoke(&mut self, held: &Held) -> bool {
        let chain = held.chain.display().to_string();
        let _ = self.run(&["-r", "4", "revoke", &chain]).success();
        true
    }
}

/// Whether it can be run here at all.
#[track_caller]
fn there() -> bool {
    let programs = ["uacme", "ualpn", "unshare", "mount"];
    if programs.iter().any(|program| tool(program).is_none()) {
        return false;
    }
    let args = ["--map-root-user", "--mount", "true"];
    let tried = TestEnv::new().command("unshare", args).run();
    let is_there = tried.status().success();
    if !is_there {
        skip("a mount namespace");
    }
    is_there
}

#[test]
fn uacme_lives_by_http() {
    if !there() {
        return;
    }
    let Some(lab) = Lab::with_web() else { return };
    let names = ["a.example.test", "b.example.test"];
    live(
        &lab,
        "uacme",
        "http-01",
        &mut Uacme::by_http(&lab).registered(),
        &names,
    );
}

#[test]
fn uacme_lives_by_dns() {
    if !there() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    let names = ["*.w.example.test", "w.example.test"];
    live(
        &lab,
        "uacme",
        "dns-01, wildcard",
        &mut Uacme::by_dns(&lab).registered(),
        &names,
    );
}

#[test]
fn uacme_lives_by_tls() {
    if !there() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    let names = ["a.example.test", "b.example.test"];
    live(
        &lab,
        "uacme",
        "tls-alpn-01",
        &mut Uacme::by_tls(&lab).registered(),
        &names,
    );
}

#[test]
fn uacme_obtains_for_an_address_by_http() {
    if !there() {
        return;
    }
    let Some(lab) = Lab::with_web() else { return };
    live(
        &lab,
        "uacme",
        "http-01, address",
        &mut Uacme::by_http(&lab).registered(),
        &["127.0.0.1"],
    );
}

#[test]
fn uacme_obtains_for_an_address_by_tls() {
    if !there() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    live(
        &lab,
        "uacme",
        "tls-alpn-01, address",
        &mut Uacme::by_tls(&lab).registered(),
        &["127.0.0.1"],
    );
}

/// With a new key the account goes on, and once it is at its end nothing does.
#[test]
fn uacme_changes_the_key_of_its_account_and_ends_it() {
    if !there() {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    let mut uacme = Uacme::by_dns(&lab).registered();
    let names = ["a.example.test"];
    let old = lab.env.read("uacme/conf/private/key.pem");
    let _ = uacme.run(&["newkey"]).success();
    assert_ne!(lab.env.read("uacme/conf/private/key.pem"), old);
    let held = uacme.obtain(&names);
    let serial = lab.served(&held, &names);
    let _ = uacme.run(&["update", "grace@example.test"]).success();
    let new = lab.env.read("uacme/conf/private/key.pem");
    // The old key is nobody's any more.
    lab.env.write("uacme/conf/private/key.pem", old);
    let _ = uacme.run(&["-n", "-f", "issue", names[0]]).code(2);
    lab.env.write("uacme/conf/private/key.pem", new);
    let _ = uacme.run(&["deactivate"]).success();
    let _ = uacme.run(&["-n", "-f", "issue", names[0]]).code(2);
    assert!(!lab.is_revoked(&serial));
}

#[test]
fn uacme_is_bound_to_an_external_account() {
    if !there() {
        return;
    }
    let Some(lab) = Lab::with(|options| options.eab = true) else {
        return;
    };
    let (kid, hmac) = lab.directory.eab(&lab.env, &[]);
    let mut uacme = Uacme::by_dns(&lab);
    let _ = uacme.run(&["-y", "new", MAIL]).code(2);
    let wrong = format!("{kid}:{}", hmac.chars().rev().collect::<String>());
    let _ = uacme.run(&["-y", "-e", &wrong, "new", MAIL]).code(2);
    let eab = format!("{kid}:{hmac}");
    let _ = uacme.run(&["-y", "-e", &eab, "new", MAIL]).success();
    let names = ["a.example.test"];
    let held = uacme.obtain(&names);
    let _ = lab.served(&held, &names);
}
