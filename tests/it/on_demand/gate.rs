//! Who may have a certificate: patterns, a program, and what a reload makes of them.

use rustix::process::Signal;

use super::{Scene, has};
use crate::support::{TestEnv, tool};

#[test]
fn a_program_says_yes_with_0_and_no_with_1() {
    let hook = r#"/bin/sh -c 'test "$CERTMINT_HOOK_CLIENT" = 127.0.0.1 || exit 3; case $CERTMINT_HOOK_NAME in yes*) exit 0;; no*) exit 1;; esac; exit 2'"#;
    let Some(scene) = Scene::start(&["--allow-hook", hook, "--allow", "**.test"]) else {
        return;
    };
    assert!(scene.client("yes.a.test").connect().is_ok());
    for (name, decision) in [
        ("no.a.test", "refused_denied"),
        ("odd.a.test", "refused_no_answer"),
        ("yes.other", "refused_not_listed"),
    ] {
        has(&scene.s_client(name, &[]), &["unrecognized name"]);
        assert_eq!(scene.decisions(decision), 1, "{name}");
    }
}

#[test]
fn a_gate_is_compulsory_where_others_issue_and_its_settings_mean_something() {
    let env = TestEnv::with_ca();
    let acme = [
        "serve-acme",
        "--directory",
        "https://ca.test/dir",
        "--agree-tos",
    ];
    for (args, words) in [
        (&["serve-ca"][..], "--on-demand"),
        (
            &["serve-ca", "a.test", "--allow", "*.test"],
            "add `--on-demand`",
        ),
        (
            &["serve-ca", "--on-demand", "--default-key", "k.pem"],
            "`--default-cert`",
        ),
        (
            &["serve-ca", "--on-demand", "--allow", "**"],
            "no pattern of names",
        ),
        (
            &["serve-ca", "--on-demand", "--allow", "a.*"],
            "let everybody in",
        ),
        (
            &["serve-ca", "--on-demand", "--ask", "http://a.test/"],
            "http://127.0.0.1:",
        ),
        (
            &["serve-ca", "--on-demand", "--ask", "https://u:p@a.test/"],
            "seen by everybody",
        ),
        (&["serve-ca", "--on-demand", "--allow-hook", "'"], "quotes"),
        (&["serve-ca", "--on-demand", "--max-queue", "0"], "0"),
    ] {
        let out = env.certmint(args).run().code(2);
        has(out.stderr(), &[words]);
    }
    let out = env.certmint(acme).arg("--on-demand").run();
    let words = match cfg!(feature = "acme") {
        true => "`--ask URL`",
        false => "without ACME",
    };
    has(out.stderr(), &[words]);
    let out = env.certmint(["renew", "--dry-run"]).run();
    let _ = out.success();
}

#[test]
fn the_ca_and_a_second_server_are_looked_at_before_anything_is_served() {
    let env = TestEnv::new();
    let out = env
        .certmint(["serve-ca", "--on-demand", "--https", "127.0.0.1:0"])
        .run();
    has(out.code(1).stderr(), &["certmint ca init"]);
    let Some(scene) = Scene::start(&[]) else {
        return;
    };
    let second = super::private(&scene.env).run().code(1);
    has(
        second.stderr(),
        &["another server makes certificates on demand", "--cache-dir"],
    );
}

#[test]
fn a_reload_changes_who_may_have_one_and_nothing_that_is_served() {
    let env = TestEnv::with_ca();
    let config = |allow: &str, more: &str| {
        format!(
            "[[listener]]\nmode = \"ca\"\non-demand = true\nallow = [{allow}]\n{more}\
             https = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n"
        )
    };
    env.write("certmint.toml", config("\"a.test\"", ""));
    let run = env.certmint(["serve", "--config", "certmint.toml"]);
    if tool("openssl").is_none() {
        return;
    }
    let mut scene = Scene::of(run, env);
    let serial = scene.client("a.test").serial();
    has(&scene.s_client("b.test", &[]), &["unrecognized name"]);
    let reload = |scene: &mut Scene, text: String, said: &str| {
        scene.env.write("certmint.toml", text);
        scene.server.signal(Signal::HUP);
        scene.server.await_line(said);
    };
    let done = "the settings are read again";
    reload(&mut scene, config("\"*.test\"", ""), done);
    assert!(scene.client("b.test").connect().is_ok());
    assert_eq!(scene.client("a.test").serial(), serial);
    // Back again: what is served is served on, and new names are refused.
    reload(&mut scene, config("\"a.test\"", ""), done);
    has(&scene.s_client("c.test", &[]), &["unrecognized name"]);
    assert_eq!(scene.client("a.test").serial(), serial);
    let later = "takes effect at the next start";
    reload(&mut scene, config("\"a.test\"", "max-queue = 9\n"), later);
    assert_eq!(scene.client("a.test").serial(), serial);
    reload(&mut scene, config("\"a.*\"", ""), "let everybody in");
    assert_eq!(scene.client("a.test").serial(), serial);
}
