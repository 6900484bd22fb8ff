//! `certmint renew`, as cron runs it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Output, Run, TestEnv, faketime, tool};

pub(crate) fn issue(env: &TestEnv, args: &[&str]) {
    let _ = env.certmint(["ca", "issue"]).args(args).run().success();
}

pub(crate) fn renew(env: &TestEnv, args: &[&str]) -> Run {
    env.certmint(["renew"]).args(args)
}

/// `renew --json`, whose clock is moved: its outcome by id.
pub(crate) fn renew_at(env: &TestEnv, moved: &str, code: i32, args: &[&str]) -> Option<Outcomes> {
    let run = renew(env, args).arg("--json").under(faketime(moved)?);
    Some(Outcomes::of(&run.run().code(code)))
}

pub(crate) struct Outcomes(pub(crate) Value);

impl Outcomes {
    pub(crate) fn of(output: &Output) -> Self {
        let report: Value = serde_json::from_str(output.stdout()).unwrap();
        assert_eq!(report["schema"], "certmint.renew/1");
        Self(report)
    }

    #[track_caller]
    pub(crate) fn line(&self, id: &str) -> &Value {
        let lines = self.0["certificates"].as_array().unwrap();
        lines
            .iter()
            .find(|line| line["id"] == id)
            .unwrap_or_else(|| panic!("no `{id}` in {}", self.0))
    }

    #[track_caller]
    pub(crate) fn is(&self, id: &str, result: &str) -> &Self {
        assert_eq!(self.line(id)["result"], result, "{}", self.0);
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, id: &str, field: &str, words: &str) -> &Self {
        let text = self.line(id)[field].to_string();
        assert!(text.contains(words), "no `{words}` in {}", self.0);
        self
    }
}

pub(crate) fn current(env: &TestEnv, id: &str) -> PathBuf {
    env.state().join("certs").join(id).join("current")
}

fn key(env: &TestEnv, id: &str) -> String {
    fs::read_to_string(current(env, id).join("privkey.pem")).unwrap()
}

pub(crate) fn generation(env: &TestEnv, id: &str) -> String {
    let target = fs::read_link(current(env, id)).unwrap();
    target.to_str().unwrap().to_owned()
}

/// Everything below `dir`: names, modes, links and bytes.
pub(crate) fn tree(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(dir) = ahead.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap();
            let bytes = if kind.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                target.into_os_string().into_encoded_bytes()
            } else if kind.is_dir() {
                ahead.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path, (kind.mode(), bytes));
        }
    }
    found
}

/// A program that appends what it was called with to `<name>.log`.
pub(crate) fn hook(env: &TestEnv, name: &str, then: &str) -> String {
    let log = env.path(format!("{name}.log"));
    let log = log.to_str().unwrap();
    let script = format!(
        "#!/bin/sh\n{{ echo \"called\"; printf 'arg %s\\n' \"$@\"; env | sort; }} >> {log}\n{then}\n"
    );
    let path = env.write(name, script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// How often a [`hook`] was called.
pub(crate) fn calls(env: &TestEnv, name: &str) -> usize {
    let log = fs::read_to_string(env.path(format!("{name}.log"))).unwrap_or_default();
    log.lines().filter(|line| *line == "called").count()
}

#[test]
fn what_is_not_due_is_left_alone_and_its_moment_is_said() {
    let env = TestEnv::with_ca();
    let out = renew(&env, &[]).run().success();
    assert!(
        out.stderr().contains("nothing to renew"),
        "{}",
        out.stderr()
    );
    issue(&env, &["a.test"]);
    let out = renew(&env, &[]).run().success();
    assert_eq!(out.stdout(), "");
    assert!(
        out.stderr().contains("a.test  not due before 20"),
        "{}",
        out.stderr()
    );
    assert_eq!(generation(&env, "a.test"), "1");
    let quiet = renew(&env, &["-q"]).run().success();
    assert_eq!((quiet.stdout(), quiet.stderr()), ("", ""));
}

#[test]
fn due_is_a_share_of_life() {
    let env = TestEnv::with_ca();
    issue(&env, &["ninety.test"]);
    issue(&env, &["seven.test", "--days", "7"]);
    let Some(early) = renew_at(&env, "+3d", 0, &["--dry-run"]) else {
        return;
    };
    early
        .is("seven.test", "not-due")
        .is("ninety.test", "not-due");
    let half = renew_at(&env, "+84h", 0, &[]).unwrap();
    half.is("seven.test", "renewed")
        .says("seven.test", "reason", "due since")
        .is("ninety.test", "not-due");
    let before = renew_at(&env, "+1438h", 0, &["--dry-run", "ninety.test"]).unwrap();
    before.is("ninety.test", "not-due");
    let third = renew_at(&env, "+60d", 0, &["ninety.test"]).unwrap();
    third.is("ninety.test", "renewed");
    assert_eq!(third.line("ninety.test")["generation"], 2);
    // Long after its end it is renewed all the same.
    let late = renew_at(&env, "+400d", 0, &["seven.test"]).unwrap();
    late.says("seven.test", "reason", "expired at");
    let again = renew_at(&env, "+400d", 0, &["seven.test"]).unwrap();
    again.is("seven.test", "not-due");
    let due_at = again.line("seven.test")["due_at"].clone();
    assert_eq!(again.0["next_wake"], due_at);
}

#[test]
fn a_dry_run_says_what_and_when_and_changes_nothing() {
    let env = TestEnv::with_ca();
    let out = env.path("out");
    issue(&env, &["a.test", "--out", out.to_str().unwrap()]);
    issue(&env, &["b.test", "--days", "300"]);
    issue(&env, &["c.test", "--days", "400"]);
    let _ = env.certmint(["ca", "revoke", "c.test"]).run().success();
    fs::remove_file(out.join("cert.pem")).unwrap();
    let before = tree(&env.path("."));
    let Some(later) = faketime("+61d") else {
        return;
    };
    let shown = renew(&env, &["--dry-run"]).under(later).run().success();
    assert!(
        shown
            .stdout()
            .contains("a.test  would be renewed: due since 20")
            && shown
                .stdout()
                .contains("c.test  would be renewed: revoked since"),
        "{}",
        shown.stdout()
    );
    assert!(
        shown.stderr().contains("b.test  not due before"),
        "{}",
        shown.stderr()
    );
    let planned = renew_at(&env, "+61d", 0, &["--dry-run", "--force"]).unwrap();
    planned
        .is("a.test", "would-renew")
        .is("b.test", "would-renew");
    assert_eq!(planned.0["next_wake"], planned.0["generated_at"]);
    let marker = hook(&env, "hook", "exit 0");
    let before = {
        let mut before = before;
        let path = PathBuf::from(&marker);
        let text = fs::read(&path).unwrap();
        let mode = path.metadata().unwrap().mode();
        before.insert(env.path("./hook"), (mode, text));
        before
    };
    let _ = renew_at(&env, "+61d", 0, &["--dry-run", "--deploy-hook", &marker]).unwrap();
    assert_eq!(before, tree(&env.path(".")));
}

#[test]
fn a_renewal_makes_a_new_key_unless_told_to_keep_it() {
    let env = TestEnv::with_ca();
    issue(&env, &["new.test"]);
    issue(&env, &["kept.test", "--reuse-key"]);
    let keys = || (key(&env, "new.test"), key(&env, "kept.test"));
    let before = keys();
    let _ = renew(&env, &["--force"]).run().success();
    let after = keys();
    assert_ne!(before.0, after.0);
    assert_eq!(before.1, after.1);
    // A key that somebody else has is not kept, whatever the record says.
    let revoke = ["ca", "revoke", "kept.test", "--reason", "keyCompromise"];
    let _ = env.certmint(revoke).run().success();
    let out = renew(&env, &["--json"]).run().success();
    Outcomes::of(&out)
        .says("kept.test", "reason", "keyCompromise")
        .is("new.test", "not-due");
    assert_ne!(after.1, key(&env, "kept.test"));
}

#[test]
fn a_revoked_certificate_and_one_of_an_older_root_are_due_at_once() {
    let env = TestEnv::with_ca();
    issue(&env, &["a.test"]);
    issue(&env, &["b.test"]);
    let _ = env.certmint(["ca", "revoke", "a.test"]).run().success();
    let out = renew(&env, &[]).run().success();
    assert!(out.stdout().contains("a.test  renewed"), "{}", out.stdout());
    assert!(!out.stdout().contains("b.test"), "{}", out.stdout());
    let again = renew(&env, &[]).run().success();
    assert_eq!(again.stdout(), "");
    let _ = env.certmint(["ca", "rotate", "root"]).run().success();
    let out = renew(&env, &["--json"]).run().success();
    Outcomes::of(&out)
        .is("a.test", "renewed")
        .is("b.test", "renewed")
        .says("b.test", "reason", "moved to R2");
    let again = renew(&env, &[]).run().success();
    assert_eq!(again.stdout(), "");
}

#[test]
fn an_unknown_id_fails_and_the_others_asked_for_are_renewed() {
    let env = TestEnv::with_ca();
    issue(&env, &["a.test"]);
    issue(&env, &["*.w.test", "w.test"]);
    issue(&env, &["other.test"]);
    let args = ["--force", "--json", "nope.test", "a.test", "*.w.test"];
    let out = renew(&env, &args).run().code(1);
    Outcomes::of(&out)
        .is("nope.test", "failed")
        .says("nope.test", "hint", "certmint renew --dry-run")
        .is("a.test", "renewed")
        .is("_wildcard.w.test", "renewed");
    assert_eq!(generation(&env, "other.test"), "1");
    let text = renew(&env, &["nope.test"]).run().code(1);
    assert!(
        text.stderr()
            .contains("there is no certificate `nope.test`")
            && text.stderr().contains("hint: "),
        "{}",
        text.stderr()
    );
    assert!(!env.state().join("certs/nope.test").exists());
    let _ = renew(&env, &["../a.test"]).run().code(2);
}

#[test]
fn a_certificate_may_be_called_like_a_lock_of_ours() {
    let env = TestEnv::with_ca();
    for name in ["renew", "ca", "crl"] {
        issue(&env, &[name]);
    }
    let out = renew(&env, &["--force"])
        .deadline(Duration::from_secs(20))
        .run()
        .success();
    assert_eq!(out.stdout().lines().count(), 3, "{}", out.stdout());
}

#[test]
fn a_hook_is_no_shell_line_and_runs_only_after_a_change() {
    let env = TestEnv::with_ca();
    issue(&env, &["a.test", "b.test"]);
    let line = format!("{} one 'two words' $HOME;id *", hook(&env, "hook", ""));
    let run = |args: &[&str]| {
        renew(&env, args)
            .args(["--deploy-hook", &line])
            .env("SECRET", "s3cret")
            .run()
            .success()
    };
    let _ = run(&[]);
    assert_eq!(calls(&env, "hook"), 0);
    let _ = run(&["--force"]);
    let _ = run(&[]);
    assert_eq!(calls(&env, "hook"), 1);
    let log = env.read("hook.log");
    let (args, variables): (Vec<&str>, Vec<&str>) = log
        .lines()
        .skip(1)
        .partition(|line| line.starts_with("arg "));
    assert_eq!(
        args,
        ["arg one", "arg two words", "arg $HOME;id", "arg *"],
        "{log}"
    );
    // What the shell that runs the script sets by itself.
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let names: Vec<&str> = variables
        .iter()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .filter(|name| !own.contains(name))
        .collect();
    assert_eq!(
        names,
        [
            "CERTMINT_HOOK_ID",
            "CERTMINT_HOOK_NAMES",
            "CERTMINT_HOOK_PATH",
            "PATH"
        ]
    );
    let path = env.state().join("certs/a.test/2");
    for line in [
        "CERTMINT_HOOK_ID=a.test".to_owned(),
        "CERTMINT_HOOK_NAMES=a.test,b.test".to_owned(),
        format!("CERTMINT_HOOK_PATH={}", path.display()),
    ] {
        assert!(variables.contains(&line.as_str()), "no {line} in {log}");
    }
    let _ = renew(&env, &["--deploy-hook", "a 'b"]).run().code(2);
}

#[test]
fn a_hook_that_fails_or_hangs_fails_the_run_but_not_the_renewal() {
    let env = TestEnv::with_ca();
    let own = hook(&env, "own", "echo no such unit >&2; exit 7");
    issue(&env, &["a.test", "--deploy-hook", &own]);
    issue(&env, &["b.test"]);
    let last = hook(&env, "last", "");
    let args = ["--force", "--json", "--deploy-hook", &last];
    let out = renew(&env, &args).run().code(1);
    let outcomes = Outcomes::of(&out);
    outcomes
        .is("a.test", "renewed")
        .says("a.test", "trouble", "no such unit")
        .is("b.test", "renewed");
    assert_eq!((calls(&env, "own"), calls(&env, "last")), (1, 2));
    assert_eq!(generation(&env, "a.test"), "2");

    let hanging = hook(&env, "hanging", "sleep 600 & wait");
    let args = ["b.test", "--force", "--hook-timeout", "1s"];
    let out = renew(&env, &args)
        .args(["--deploy-hook", &hanging])
        .deadline(Duration::from_secs(30))
        .run()
        .code(1);
    assert!(
        out.stderr().contains("was ended after 1 seconds"),
        "{}",
        out.stderr()
    );
    assert_eq!(generation(&env, "b.test"), "3");
}

#[test]
fn copies_keep_their_mode_and_owner_and_damaged_ones_are_made_again() {
    let env = TestEnv::with_ca();
    let out = env.path("etc/tls");
    let is_root = env.path(".").metadata().unwrap().uid() == 0;
    let group = if is_root {
        65534
    } else {
        env.path(".").metadata().unwrap().gid()
    };
    let own = hook(&env, "hook", "");
    let args = [
        "a.test",
        "--out",
        out.to_str().unwrap(),
        "--mode",
        "640",
        "--group",
        &group.to_string(),
        "--deploy-hook",
        &own,
    ];
    issue(&env, &args);
    let files = [
        ("privkey.pem", 0o640),
        ("combined.pem", 0o640),
        ("fullchain.pem", 0o644),
        ("chain.pem", 0o644),
        ("cert.pem", 0o644),
    ];
    let check = || {
        for (name, mode) in files {
            let copy = out.join(name);
            let found = copy.metadata().unwrap();
            assert_eq!(found.mode() & 0o7777, mode, "{name}");
            assert_eq!(found.gid(), group, "{name}");
            let original = current(&env, "a.test").join(name);
            assert_eq!(fs::read(copy).unwrap(), fs::read(original).unwrap());
        }
    };
    check();
    let _ = renew(&env, &["--force"]).run().success();
    check();
    assert_eq!(calls(&env, "hook"), 1);
    // As a crash between two renames leaves them, and as a careless hand does.
    fs::write(out.join("fullchain.pem"), "half").unwrap();
    fs::remove_file(out.join("cert.pem")).unwrap();
    fs::set_permissions(out.join("privkey.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let mended = renew(&env, &["--json"]).run().success();
    Outcomes::of(&mended).is("a.test", "redeployed");
    check();
    assert_eq!(calls(&env, "hook"), 2, "whoever reads the copies is told");
    let quiet = renew(&env, &["--json"]).run().success();
    Outcomes::of(&quiet).is("a.test", "not-due");
    assert_eq!(calls(&env, "hook"), 2);

    // A copy that cannot be written fails the run, not the certificate.
    fs::remove_dir_all(&out).unwrap();
    fs::write(&out, "a file in the way").unwrap();
    let failed = renew(&env, &["--json", "--force"]).run().code(1);
    Outcomes::of(&failed)
        .is("a.test", "renewed")
        .says("a.test", "trouble", "etc/tls");
    let failed = renew(&env, &["--json"]).run().code(1);
    Outcomes::of(&failed).says("a.test", "trouble", "etc/tls");
    fs::remove_file(&out).unwrap();
    let mended = renew(&env, &["--json"]).run().success();
    Outcomes::of(&mended).is("a.test", "redeployed");
    check();
}

#[test]
fn broken_certificates_are_all_reported_and_never_stop_the_others() {
    let env = TestEnv::with_ca();
    for name in ["cut.test", "exposed.test", "good.test", "zapped.test"] {
        issue(&env, &[name]);
    }
    fs::write(current(&env, "cut.test").join("fullchain.pem"), "cut").unwrap();
    let exposed = current(&env, "exposed.test").join("privkey.pem");
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(current(&env, "zapped.test").join("cert.json")).unwrap();
    let out = renew(&env, &["--force", "--json"]).run().code(1);
    Outcomes::of(&out)
        .is("cut.test", "failed")
        .says("cut.test", "error", "fullchain.pem")
        .says("cut.test", "hint", "certmint ca issue --id cut.test")
        .is("exposed.test", "failed")
        .says("exposed.test", "error", "mode 0644")
        .says("exposed.test", "hint", "chmod 600")
        .is("zapped.test", "failed")
        .is("good.test", "renewed");
    let text = renew(&env, &[]).run().code(1);
    for id in ["cut.test", "exposed.test", "zapped.test"] {
        let line = format!("warning: {id}  not renewed: ");
        assert!(text.stderr().contains(&line), "{}", text.stderr());
    }
    // What the hints say helps.
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["cut.test", "zapped.test"] {
        issue(&env, &[name, "--id", name]);
    }
    let _ = renew(&env, &[]).run().success();
}

#[test]
fn an_older_generation_stands_in_for_a_damaged_one_until_it_is_replaced() {
    let env = TestEnv::with_ca();
    issue(&env, &["a.test"]);
    let _ = renew(&env, &["--force"]).run().success();
    fs::write(current(&env, "a.test").join("cert.pem"), "cut").unwrap();
    let out = renew(&env, &["--json"]).run().success();
    Outcomes::of(&out)
        .is("a.test", "renewed")
        .says("a.test", "reason", "damaged")
        .says("a.test", "trouble", "cert.pem");
    assert_eq!(generation(&env, "a.test"), "3");
    let again = renew(&env, &["--json"]).run().success();
    let outcomes = Outcomes::of(&again);
    assert_eq!(
        outcomes.is("a.test", "not-due").line("a.test")["trouble"],
        Value::Array(vec![])
    );
}

#[test]
fn two_runs_at_once_renew_once() {
    let Some(mkfifo) = tool("mkfifo") else { return };
    let env = TestEnv::with_ca();
    let gate = env.path("gate");
    let _ = env.command(mkfifo, [&gate]).run().success();
    let hook = format!("/bin/cat {}", gate.display());
    issue(&env, &["a.test", "--deploy-hook", &hook]);
    issue(&env, &["b.test"]);
    let Some(later) = faketime("+61d") else {
        return;
    };
    let first = renew(&env, &["--json"]).under(&later).spawn();
    // Opens once the first run stands in its hook, with its locks.
    let mut open = fs::OpenOptions::new().write(true).open(&gate).unwrap();
    let second = renew(&env, &["--json"]).under(&later).spawn();
    open.write_all(b"go").unwrap();
    drop(open);
    let first = first.wait(Duration::from_secs(60)).success();
    let second = second.wait(Duration::from_secs(60)).success();
    for (output, result) in [(first, "renewed"), (second, "not-due")] {
        Outcomes::of(&output)
            .is("a.test", result)
            .is("b.test", result);
    }
    assert_eq!(generation(&env, "a.test"), "2");
}

#[test]
fn what_a_killed_run_left_undone_is_done_by_the_next() {
    let Some(mkfifo) = tool("mkfifo") else { return };
    let env = TestEnv::with_ca();
    let gate = env.path("gate");
    let _ = env.command(mkfifo, [&gate]).run().success();
    let path = gate.display();
    let hook = hook(&env, "hook", &format!("[ ! -p {path} ] || cat {path}"));
    issue(&env, &["a.test", "--deploy-hook", &hook]);
    let killed = renew(&env, &["--force"]).spawn();
    // Opens once the run stands in its hook.
    let open = fs::OpenOptions::new().write(true).open(&gate).unwrap();
    killed.signal(rustix::process::Signal::KILL);
    let _ = killed.wait(Duration::from_secs(30));
    fs::remove_file(&gate).unwrap();
    drop(open);
    let next = renew(&env, &["--json"]).run().success();
    Outcomes::of(&next).is("a.test", "redeployed");
    let last = renew(&env, &["--json"]).run().success();
    Outcomes::of(&last).is("a.test", "not-due");
    assert_eq!(calls(&env, "hook"), 2);
    assert_eq!(generation(&env, "a.test"), "2");
}

#[test]
fn an_encrypted_ca_key_is_never_asked_for() {
    let env = TestEnv::new();
    let secret = env.write("secret", "correct horse\n");
    let secret = secret.to_str().unwrap();
    let unlock = ["--passphrase-file", secret];
    let _ = env.certmint(["ca", "init"]).args(unlock).run().success();
    issue(&env, &["a.test", "--passphrase-file", secret]);
    let _ = renew(&env, &[]).run().success();
    let out = renew(&env, &["--force", "--json"]).run().code(1);
    Outcomes::of(&out)
        .is("a.test", "failed")
        .says("a.test", "hint", "--passphrase-file");
    if let Some(script) = tool("script") {
        let binary = env!("CARGO_BIN_EXE_certmint");
        let line = format!("{binary} renew --force");
        let out = env
            .command(script, ["-qec", &line, "/dev/null"])
            .env("CERTMINT_HOME", env.state())
            .deadline(Duration::from_secs(20))
            .run()
            .code(1);
        assert!(
            out.stdout().contains("--passphrase-file"),
            "{}",
            out.stdout()
        );
    }
    let wrong = env.write("wrong", "battery staple\n");
    let wrong = ["--force", "--passphrase-file", wrong.to_str().unwrap()];
    let out = renew(&env, &wrong).run().code(1);
    assert!(out.stderr().contains("not renewed"), "{}", out.stderr());
    assert_eq!(generation(&env, "a.test"), "1");
    let _ = renew(&env, &["--force"]).args(unlock).run().success();
    assert_eq!(generation(&env, "a.test"), "2");
}
