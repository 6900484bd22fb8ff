//! `certmint acme account …` against Pebble.

use std::fs;

use serde_json::Value;

use crate::acme_issue::{Lab, on_terminal};
use crate::ca::{assert_private, json};
use crate::support::{Output, Run, TestEnv};

impl Lab {
    /// `acme account COMMAND` at this directory.
    fn account(&self, args: &[&str]) -> Run {
        let run = self.acme(&["account"]).args(args);
        run.args(self.directory())
    }

    fn saved(&self) -> Value {
        let text = fs::read(self.account_file()).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn account_file(&self) -> std::path::PathBuf {
        let dirs = fs::read_dir(self.env.state().join("acme")).unwrap();
        let mut files = dirs.map(|dir| dir.unwrap().path().join("account.json"));
        files.find(|file| file.exists()).unwrap()
    }
}

/// The one account told of.
fn only(out: &Output) -> Value {
    let report = json(out, "certmint.acme-accounts/1");
    let accounts = report["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 1, "{report}");
    accounts[0].clone()
}

#[test]
fn an_account_is_made_once_shown_and_changed() {
    let Some(lab) = Lab::new() else { return };
    let out = lab.account(&["register"]).run().code(2);
    assert!(out.stderr().contains("--agree-tos"), "{}", out.stderr());
    let out = lab.account(&["show"]).run().code(1);
    assert!(
        out.stderr().contains("there is no account"),
        "{}",
        out.stderr()
    );
    assert!(out.stderr().contains("acme account register --directory"));

    let args = [
        "register",
        "--agree-tos",
        "--json",
        "--email",
        "ada@example.com,bob@example.com",
    ];
    let made = only(&lab.account(&args).run().success());
    assert_eq!(made["status"], "valid");
    assert_eq!(made["contact"][1], "mailto:bob@example.com");
    assert_eq!(made["directory"], lab.pebble.directory_url);
    let again = lab.account(&["register", "--json"]).run().success();
    assert!(again.stderr().contains("already"), "{}", again.stderr());
    assert_eq!(only(&again)["url"], made["url"]);
    assert_private(&lab.env.state());

    let out = lab.account(&["contact"]).run().code(2);
    assert!(out.stderr().contains("--none"), "{}", out.stderr());
    let out = lab.account(&["contact", "eve@example.com", "--json"]).run();
    assert_eq!(only(&out.success())["contact"][0], "mailto:eve@example.com");
    let out = lab.account(&["contact", "--none", "--json"]).run();
    assert_eq!(only(&out.success())["contact"], Value::Array(Vec::new()));

    let before = lab.saved();
    let _ = lab.account(&["rollover"]).run().success();
    let after = lab.saved();
    assert_eq!(before["url"], after["url"]);
    assert_ne!(before["key"], after["key"]);
    let shown = lab.account(&["show", "--json"]).run().success();
    assert_eq!(only(&shown)["status"], "valid");
    assert_private(&lab.env.state());

    // Without a directory: all there are, and nobody is asked.
    let out = lab.acme(&["account", "show"]).run().success();
    let text = out.stdout();
    assert!(text.starts_with(&format!("{}\n  account ", lab.pebble.directory_url)));
    assert!(text.contains(made["url"].as_str().unwrap()) && text.contains("contact   none"));
    assert!(!text.contains("PRIVATE KEY"));
    let listed = only(&lab.acme(&["account", "show", "--json"]).run().success());
    assert_eq!(
        (&listed["url"], &listed["status"]),
        (&made["url"], &Value::Null)
    );
    // The new key is the one that orders.
    let _ = lab.issue(&["a.test"]).run().success();
}

#[test]
fn the_end_of_an_account_is_confirmed_and_checked() {
    let Some(lab) = Lab::new() else { return };
    let _ = lab.issue(&["a.test"]).run().success();
    let out = lab.account(&["deactivate"]).run().code(2);
    assert!(out.stderr().contains("--yes"), "{}", out.stderr());
    let url = lab.pebble.directory_url.clone();
    // What the certificates from there were obtained with is known.
    let words = ["acme", "account", "deactivate", "--directory", &url];
    let Some(no) = on_terminal(&lab.env, &words, "\n") else {
        return;
    };
    let no = no.code(1);
    assert!(
        no.stdout().contains("1 certificate will not be renewed"),
        "{}",
        no.stdout()
    );
    let old = lab.saved();
    let yes = on_terminal(&lab.env, &words, "y\n").unwrap().success();
    assert!(
        yes.stdout().contains("deactivated the account at "),
        "{}",
        yes.stdout()
    );
    let out = lab.acme(&["account", "show"]).run().success();
    assert_eq!(out.stdout(), "");
    assert!(
        out.stderr().contains("there is no account"),
        "{}",
        out.stderr()
    );

    // It is gone for good: the next certificate makes another.
    let out = lab.acme(&["issue", "a.test", "--force"]).run().code(2);
    assert!(out.stderr().contains("--agree-tos"), "{}", out.stderr());
    let _ = lab.issue(&["a.test", "--force"]).run().success();
    assert_ne!(lab.saved()["url"], old["url"]);
    let out = lab.account(&["deactivate", "--yes", "--json"]).run();
    assert_eq!(only(&out.success())["status"], "deactivated");
}

#[test]
fn a_damaged_account_and_a_ca_that_is_away_are_told() {
    let env = TestEnv::new();
    let file = env.write("state/acme/ca.test-0/account.json", "{\"key\": \"secret\"");
    let out = env.certmint(["acme", "account", "show"]).run().success();
    assert_eq!(out.stdout(), "");
    let out = env.certmint(["acme", "account", "rollover"]).run().code(2);
    assert!(out.stderr().contains("--directory"), "{}", out.stderr());
    fs::remove_file(file).unwrap();
    let run = env.certmint(["acme", "account", "register", "--directory"]);
    let out = run.args(["https://127.0.0.1:1/dir", "--agree-tos"]).run();
    let out = out.code(1);
    assert!(
        out.stderr().contains("could not read the directory"),
        "{}",
        out.stderr()
    );
}
