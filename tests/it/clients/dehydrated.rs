//! dehydrated: http-01 by files, dns-01 by a hook, tls-alpn-01 by a hook that hands the
//! certificate to `openssl s_server`; external accounts, and the end of an account.

use super::lab::{Lab, MAIL};
use super::{Client, Held, live};
use crate::support::{Output, tool};

struct Dehydrated<'a> {
    lab: &'a Lab,
    kind: &'static str,
}

impl<'a> Dehydrated<'a> {
    /// Not registered yet.
    fn new(lab: &'a Lab, kind: &'static str, more: &str) -> Self {
        let dir = lab.path("dehydrated");
        let body = format!(
            "{}case $1:${{CHALLENGETYPE:-}} in\n\
             deploy_challenge:dns-01) dns add \"$2\" \"$4\";;\n\
             clean_challenge:dns-01) dns delete \"$2\" \"$4\";;\n\
             deploy_challenge:tls-alpn-01)\n\
               : >{dir}/responder.log\n\
               timeout 50 openssl s_server -accept {} -alpn acme-tls/1 \\\n\
                 -cert \"{dir}/alpn-certs/$2.crt.pem\" -key \"{dir}/alpn-certs/$2.key.pem\" \\\n\
                 >>{dir}/responder.log 2>&1 </dev/null -www &\n\
               echo $! >{dir}/responder.pid\n\
               until grep -q ACCEPT {dir}/responder.log; do kill -0 $!; sleep 0.02; done;;\n\
             clean_challenge:tls-alpn-01) kill \"$(cat {dir}/responder.pid)\";;\n\
             esac\n",
            lab.dns_function(),
            lab.tls()
        );
        let hook = lab.script("dehydrated-hook", &body);
        let config = format!(
            "CA=\"{}\"\nBASEDIR=\"{dir}\"\nWELLKNOWN=\"{}\"\nCURL_OPTS=\"--cacert {}\"\n\
             HOOK=\"{hook}\"\nCONTACT_EMAIL=\"{MAIL}\"\nCHALLENGETYPE=\"{kind}\"\n\
             KEY_ALGO=prime256v1\n{more}",
            lab.directory.url,
            lab.challenges().display(),
            lab.directory.tls_root.display()
        );
        lab.env.write("dehydrated/config", config);
        Self { lab, kind }
    }

    fn registered(lab: &'a Lab, kind: &'static str) -> Self {
        let dehydrated = Self::new(lab, kind, "");
        let _ = dehydrated.register().success();
        dehydrated
    }

    fn register(&self) -> Output {
        self.run(&["--register", "--accept-terms"])
    }

    fn run(&self, args: &[&str]) -> Output {
        let config = self.lab.path("dehydrated/config");
        let run = self.lab.client("dehydrated", &["--config", &config]);
        run.args(args).run()
    }

    fn sign(&self, names: &[&str], more: &[&str]) -> Held {
        let mut args = vec!["--cron", "--alias", "it"];
        args.extend(names.iter().flat_map(|name| ["--domain", name]));
        args.extend(more);
        let _ = self.run(&args).success();
        let dir = self.lab.env.path("dehydrated/certs/it");
        Held {
            chain: dir.join("fullchain.pem"),
            key: dir.join("privkey.pem"),
        }
    }
}

impl Client for Dehydrated<'_> {
    fn obtain(&mut self, names: &[&str]) -> Held {
        self.sign(names, &[])
    }

    fn renew(&mut self, names: &[&str]) -> Held {
        self.sign(names, &["--force"])
    }

    fn revoke(&mut self, _: &Held) -> bool {
        let leaf = self.lab.path("dehydrated/certs/it/cert.pem");
        let _ = self.run(&["--revoke", &leaf]).success();
        true
    }
}

#[test]
fn dehydrated_lives_by_http() {
    let Some(_) = tool("dehydrated") else { return };
    let Some(lab) = Lab::with_web() else { return };
    let mut dehydrated = Dehydrated::registered(&lab, "http-01");
    let names = ["a.example.test", "b.example.test"];
    live(&lab, "dehydrated", dehydrated.kind, &mut dehydrated, &names);
}

#[test]
fn dehydrated_lives_by_dns() {
    let Some(_) = tool("dehydrated") else { return };
    let Some(lab) = Lab::new() else { return };
    let mut dehydrated = Dehydrated::registered(&lab, "dns-01");
    let names = ["*.w.example.test", "w.example.test"];
    live(
        &lab,
        "dehydrated",
        "dns-01, wildcard",
        &mut dehydrated,
        &names,
    );
}

#[test]
fn dehydrated_lives_by_tls() {
    let Some(_) = tool("dehydrated") else { return };
    let Some(lab) = Lab::new() else { return };
    let mut dehydrated = Dehydrated::registered(&lab, "tls-alpn-01");
    let names = ["a.example.test"];
    live(&lab, "dehydrated", dehydrated.kind, &mut dehydrated, &names);
}

#[test]
fn dehydrated_is_bound_to_an_external_account_and_ends_it() {
    let Some(_) = tool("dehydrated") else { return };
    let Some(lab) = Lab::with(|options| options.eab = true) else {
        return;
    };
    let out = Dehydrated::new(&lab, "dns-01", "").register().code(1);
    let said = "requires an external account but no EAB_KID";
    let (out, err) = (out.stdout(), out.stderr());
    assert!(out.contains(said) || err.contains(said), "{out}{err}");
    let (kid, hmac) = lab.directory.eab(&lab.env, &[]);
    let eab = format!("EAB_KID={kid}\nEAB_HMAC_KEY={hmac}\n");
    let mut dehydrated = Dehydrated::new(&lab, "dns-01", &eab);
    let _ = dehydrated.register().success();
    let names = ["a.example.test"];
    let held = dehydrated.obtain(&names);
    let _ = lab.served(&held, &names);
    let _ = dehydrated.run(&["--deactivate"]).success();
    // It would not ask again by itself.
    let dir = lab.env.path("dehydrated/accounts");
    for account in std::fs::read_dir(dir).unwrap() {
        std::fs::remove_file(account.unwrap().path().join("deactivated")).unwrap();
    }
    let out = dehydrated.run(&["-c", "-x", "--alias", "it", "-d", names[0]]);
    let out = out.code(1);
    assert!(out.stderr().contains("unauthorized"), "{}", out.stderr());
}
