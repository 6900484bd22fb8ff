//! The command line itself: help, variables, codes, colour, and the entry as a
//! function.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use certmint::cli::{Environment, Host, SystemClock, Terminals, run};

use crate::ca::{Ca, json};
use crate::support::TestEnv;

/// A stream whose bytes can be looked at afterwards.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// One run in this process: its code, and both streams.
fn in_process(env: &TestEnv, args: &[&str], variables: &[(&str, &str)]) -> (u8, String, String) {
    let (stdout, stderr) = (Shared::default(), Shared::default());
    let state = env.state().to_str().unwrap().to_owned();
    let home = [("CERTMINT_HOME".to_owned(), state)];
    let others = variables
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    let code = run(Host {
        args: std::iter::once("certmint")
            .chain(args.iter().copied())
            .map(Into::into)
            .collect(),
        environment: Environment::new(home.into_iter().chain(others)),
        clock: Arc::new(SystemClock),
        stdin: Box::new(std::io::empty()),
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        terminals: Terminals::default(),
        hostname: "host".to_owned(),
        euid: 1000,
        sockets: Vec::new(),
    });
    (code, stdout.text(), stderr.text())
}

#[test]
fn the_entry_is_a_function_that_can_be_called_again() {
    let env = TestEnv::new();
    let (code, out, _) = in_process(&env, &["ca", "init"], &[]);
    assert_eq!(code, 0);
    assert!(out.contains("host CA Root R1"), "{out}");
    for name in ["a.test", "b.test"] {
        let (code, out, err) = in_process(&env, &["ca", "issue", name], &[]);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(name), "{out}");
    }
    let (code, out, _) = in_process(&env, &["ca", "list"], &[]);
    assert_eq!((code, out.lines().count()), (0, 3));
    let (code, out, err) = in_process(&env, &["ca", "lst"], &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("'list'"), "{err}");
    assert_eq!(in_process(&env, &["ca", "issue", "../x"], &[]).0, 2);
    assert_eq!(in_process(&env, &["ca", "revoke", "absent.test"], &[]).0, 1);
    assert_eq!(in_process(&env, &["--version"], &[]).0, 0);
}

/// Every command with its help, found through the help itself.
fn commands(env: &TestEnv) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![Vec::<String>::new()];
    while let Some(path) = pending.pop() {
        let out = env.certmint(&path).arg("--help").run().success();
        let help = out.stdout().to_owned();
        let listed = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
        for line in listed.lines().take_while(|line| !line.trim().is_empty()) {
            let name = line.split_whitespace().next().unwrap();
            // A name stands two columns in; what is wrapped stands further.
            if line.starts_with("  ") && !line.starts_with("   ") {
                let sub = path.iter().cloned().chain([name.to_owned()]).collect();
                pending.push(sub);
            }
        }
        found.insert(path.join(" "), help);
    }
    found
}

#[test]
fn every_command_documents_codes_and_every_setting_its_variable() {
    /// What acts once, and must be typed.
    const ACTIONS: [&str; 14] = [
        "all",
        "allow-remote",
        "check-config",
        "csr-only",
        "dry-run",
        "finish",
        "force",
        "help",
        "init",
        "none",
        "revoke-certificates",
        "verbose",
        "version",
        "yes",
    ];
    let env = TestEnv::new();
    let commands = commands(&env);
    assert!(commands.len() >= 24, "{:?}", commands.keys());
    for (command, help) in &commands {
        let text = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("Exit codes: 0 done"), "{command}: {help}");
        let options: Vec<&str> = help
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix('-').map(|_| line))
            .filter_map(|line| line.split_once("--"))
            .map(|(_, rest)| rest.split([' ', '<', '.', '=']).next().unwrap())
            .filter(|name| !name.is_empty() && !ACTIONS.contains(name))
            .collect();
        for option in options {
            let global = ["home", "quiet", "color", "log-format"].contains(&option);
            let prefix = if global { "" } else { command };
            let name = format!("CERTMINT {prefix} {option}")
                .to_uppercase()
                .replace('-', "_");
            let name = name.split_whitespace().collect::<Vec<_>>().join("_");
            assert!(
                text.contains(&format!("[env: {name}")),
                "{command} --{option}: {name}\n{help}"
            );
        }
    }
}

#[test]
fn a_variable_sets_what_a_flag_would_and_a_flag_overrules_it() {
    let env = TestEnv::new();
    let elsewhere = env.path("elsewhere");
    let init = |args: &[&str]| {
        env.certmint(["ca", "init", "--force"])
            .args(args)
            .env("CERTMINT_HOME", &elsewhere)
            .env("CERTMINT_CA_INIT_NAME", "From Variable")
            .env("CERTMINT_CA_INIT_PERMIT", "home.arpa,10.0.0.0/8")
            .env("CERTMINT_CA_INIT_JSON", "1")
            .env("CERTMINT_CA_INIT_ORG", "")
            .run()
            .success()
    };
    let report = json(&init(&[]), "certmint.ca-init/1");
    assert_eq!(report["name"], "From Variable");
    let root = report["root"]["path"].as_str().unwrap().to_owned();
    assert!(root.starts_with(elsewhere.to_str().unwrap()), "{root}");
    let report = json(&init(&["--name", "From Flag"]), "certmint.ca-init/1");
    assert_eq!(report["name"], "From Flag");
    let home = env.path("flag-home");
    let report = json(
        &init(&["--home", home.to_str().unwrap()]),
        "certmint.ca-init/1",
    );
    let root = report["root"]["path"].as_str().unwrap();
    assert!(root.starts_with(home.to_str().unwrap()));
    let status = env
        .certmint(["ca", "status", "--json", "--home"])
        .arg(&home)
        .run();
    let status = json(&status.success(), "certmint.ca-status/1");
    assert_eq!(status["ca"]["name_constraints"][1], "10.0.0.0/8");
}

#[test]
fn a_flag_overrules_a_variable_that_contradicts_it() {
    let ca = Ca::new();
    let list = ca.write("list", "from-list.test\n");
    let with = |args: &[&str], variables: &[(&str, &str)]| {
        let run = ca.ca(["issue"]).args(args);
        variables
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value))
            .run()
    };
    let from = ("CERTMINT_CA_ISSUE_FROM", list.to_str().unwrap());
    // The variable alone is enough; a name that is typed wins over it.
    let _ = with(&[], &[from]).success();
    assert!(ca.current("from-list.test").exists());
    let out = with(&["typed.test"], &[from]).success();
    assert!(out.stdout().contains("typed.test"), "{}", out.stdout());
    let both = ("CERTMINT_CA_ISSUE_BOTH", "true");
    let _ = with(&["c.test", "--client"], &[both]).success();
    let listed = json(
        &ca.ca(["list", "--json", "--name", "c.test"])
            .run()
            .success(),
        "certmint.list/1",
    );
    assert_eq!(listed["certificates"][0]["usage"], "client");
    // What needs another option takes it from a variable, too.
    let _ = with(
        &["--csr-only", "d.test"],
        &[("CERTMINT_CA_ISSUE_OUT", "out")],
    )
    .success();
    assert!(ca.path("out/request.csr").exists());
    let out = ca
        .ca(["init", "--force", "--json"])
        .env("CERTMINT_CA_INIT_IF_MISSING", "yes")
        .run()
        .success();
    assert_eq!(json(&out, "certmint.ca-init/1")["created"], true);
    let env = TestEnv::new();
    let out = env
        .certmint(["serve-custom"])
        .env("CERTMINT_SERVE_CUSTOM_CERT", "absent.pem")
        .env("CERTMINT_SERVE_CUSTOM_KEY", "absent.key")
        .run();
    assert!(out.stderr().contains("absent."), "{}", out.stderr());
}

#[test]
fn a_bad_variable_is_named() {
    let env = TestEnv::new();
    for (variable, value, flag) in [
        ("CERTMINT_CA_INIT_ROOT_DAYS", "many", "--root-days"),
        ("CERTMINT_CA_INIT_JSON", "perhaps", "--json"),
        ("CERTMINT_CA_INIT_PERMIT", "a..b", "--permit"),
        ("CERTMINT_COLOR", "pink", "--color"),
    ] {
        let out = env
            .certmint(["ca", "init"])
            .env(variable, value)
            .run()
            .code(2);
        assert!(out.stderr().contains(flag), "{}", out.stderr());
        assert!(out.stderr().contains(variable), "{}", out.stderr());
    }
    assert!(!env.state().exists());
    let out = env
        .certmint(["ca", "init", "--root-days", "many"])
        .run()
        .code(2);
    assert!(!out.stderr().contains("CERTMINT_CA_INIT_ROOT_DAYS"));
    let help = env
        .certmint(["ca", "init", "--help"])
        .env("CERTMINT_CA_INIT_NAME", "Now")
        .run()
        .success();
    assert!(
        help.stdout().contains("CERTMINT_CA_INIT_NAME=Now"),
        "{}",
        help.stdout()
    );
}

#[test]
fn wrong_usage_is_2_with_advice_and_without_a_trace_of_escapes() {
    let env = TestEnv::new();
    let table: [(&[&str], &str); 9] = [
        (&[], "Usage: certmint"),
        (&["ca"], "Usage: certmint ca"),
        (&["ca", "isue"], "'issue'"),
        (&["ca", "issue", "--dayz", "3", "a.test"], "'--days'"),
        (&["ca", "issue", "a.test", "--days"], "--days"),
        (&["--colour", "always"], "--color"),
        (&["-q", "-v", "ca", "list"], "cannot be used with"),
        (&["ca", "is\u{1b}[31mue\n"], "\\u{1b}"),
        (&["ca", "issue", "--x\u{1b}]0;y\u{7}"], "\\u{7}"),
    ];
    for (args, said) in table {
        let out = env.certmint(args).run().code(2);
        assert!(out.stderr().contains(said), "{args:?}: {}", out.stderr());
        assert!(
            !out.stderr().contains(|c: char| c.is_control() && c != '\n'),
            "{args:?}"
        );
        assert_eq!(out.stdout(), "", "{args:?}");
    }
    assert!(!env.state().exists());
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let ca = Ca::new();
    let colored = |args: &[&str], variables: &[(&str, &str)]| {
        let run = variables
            .iter()
            .fold(ca.certmint(args), |run, (name, value)| run.env(name, value));
        let out = run.run();
        (
            out.stdout().contains('\u{1b}'),
            out.stderr().contains('\u{1b}'),
        )
    };
    let failing: &[&str] = &["ca", "revoke", "absent.test"];
    assert_eq!(colored(&["ca", "status"], &[]), (false, false));
    assert_eq!(colored(failing, &[]), (false, false));
    assert_eq!(
        colored(&["ca", "status", "--color", "always"], &[]),
        (true, false)
    );
    assert_eq!(
        colored(&[failing, &["--color=always"]].concat(), &[]),
        (false, true)
    );
    let no_color = ("NO_COLOR", "1");
    assert_eq!(colored(&["ca", "status"], &[no_color]), (false, false));
    let always = ("CERTMINT_COLOR", "always");
    assert_eq!(colored(&["ca", "status"], &[always]), (true, false));
    assert_eq!(
        colored(&["ca", "status", "--color", "never"], &[always]),
        (false, false)
    );
    assert!(!colored(&["ca", "status", "--json", "--color", "always"], &[]).0);
}

#[test]
fn quiet_keeps_results_and_errors_only() {
    let env = TestEnv::new();
    let out = env.certmint(["-q", "ca", "init"]).run().success();
    assert!(
        out.stdout().contains("Root R1") && out.stderr().is_empty(),
        "{}",
        out.stderr()
    );
    let out = env.certmint(["ca", "list", "--quiet"]).run().success();
    assert_eq!((out.stdout(), out.stderr()), ("", ""));
    let out = env
        .certmint(["ca", "revoke", "x.test"])
        .env("CERTMINT_QUIET", "1")
        .run()
        .code(1);
    assert!(out.stderr().contains("error: "), "{}", out.stderr());
}

#[test]
fn results_that_cannot_be_written_are_a_failure() {
    let ca = Ca::new();
    for args in ["ca list --all", "ca status", "completions bash"] {
        let script = format!("exec {} {args} > /dev/full", env!("CARGO_BIN_EXE_certmint"));
        let out = ca
            .command("/bin/sh", ["-c", &script])
            .env("CERTMINT_HOME", ca.state())
            .run()
            .code(1);
        assert!(
            out.stderr().contains("could not write the result"),
            "{}",
            out.stderr()
        );
    }
}

#[test]
fn without_a_ca_every_command_says_how_to_make_one_and_leaves_nothing() {
    let env = TestEnv::new();
    env.write("csr", "x");
    for args in [
        &["ca", "status"][..],
        &["ca", "list"],
        &["ca", "issue", "a.test"],
        &["ca", "sign", "csr"],
        &["ca", "revoke", "a.test"],
        &["ca", "crl"],
        &["ca", "rotate", "intermediate"],
        &["ca", "rotate", "root"],
        &["ca", "rotate", "root", "--finish"],
        &["ca", "trust", "status"],
        &["ca", "backup", "archive"],
    ] {
        let out = env.certmint(args).run().code(1);
        assert!(
            out.stderr().contains("there is no CA in"),
            "{args:?}: {}",
            out.stderr()
        );
        assert!(
            out.stderr().contains("certmint ca init"),
            "{args:?}: {}",
            out.stderr()
        );
        assert!(!env.state().exists(), "{args:?}");
    }
}
