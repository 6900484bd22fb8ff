//! `certmint ca account`: who has an account with the private ACME directory, and how one
//! is shut out while the directory serves.

use std::net::{Ipv4Addr, SocketAddr};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::directory::{Directory, Options};
use crate::support::pebble::free_port;
use crate::support::{Output, TestEnv, tool};

fn account(env: &TestEnv, args: &[&str]) -> Output {
    env.certmint(["ca", "account"]).args(args).run()
}

fn listed(env: &TestEnv, args: &[&str]) -> Vec<Value> {
    let out = account(env, &[&["list", "--json"], args].concat()).success();
    let list: Value = serde_json::from_str(out.stdout()).unwrap();
    assert_eq!(list["schema"], "certmint.accounts/1");
    list["accounts"].as_array().unwrap().clone()
}

fn revoked(env: &TestEnv, args: &[&str]) -> Value {
    let out = account(env, &[&["revoke", "--json"], args].concat()).success();
    let done: Value = serde_json::from_str(out.stdout()).unwrap();
    assert_eq!(done["schema"], "certmint.account-revoke/1");
    done
}

/// A directory that serves accounts with keys, and lego with one.
struct Lab {
    env: TestEnv,
    directory: Directory,
    kid: String,
    hmac: String,
}

impl Lab {
    fn start() -> Option<Self> {
        tool("lego")?;
        let env = TestEnv::new();
        let options = Options {
            http01: free_port(),
            tls_alpn01: free_port(),
            // Nobody is asked: what the key is for is believed.
            dns: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
            web: env.path("web"),
            eab: true,
        };
        let directory = Directory::start(&env, options)?;
        // The operator is the private CA's.
        directory.plain_url.as_ref()?;
        let only = ["--permit", "far.test", "--skip-validation"];
        let (kid, hmac) = directory.eab(&env, &only);
        Some(Self {
            env,
            directory,
            kid,
            hmac,
        })
    }

    /// lego, which keeps its account and certificates below `state`.
    fn lego(&self, state: &str, args: &[&str]) -> Output {
        let state = self.env.path(state).display().to_string();
        let words = ["--accept-tos", "-m", "ada@far.test", "--server"];
        let http = format!("127.0.0.1:{}", self.directory.options.http01);
        self.env
            .command("lego", words)
            .args([&self.directory.url, "--path", &state, "--http"])
            .args(["--http.port", &http, "--eab", "--kid", &self.kid])
            .args(["--hmac", &self.hmac])
            .args(args)
            .env("LEGO_CA_CERTIFICATES", &self.directory.tls_root)
            .run()
    }

    fn obtain(&self, name: &str) -> Output {
        self.lego("lego", &["-d", name, "run"])
    }
}

#[test]
fn an_account_is_shut_out_of_a_directory_that_serves_and_its_certificates_are_revoked() {
    let Some(lab) = Lab::start() else { return };
    let env = &lab.env;
    assert_eq!(listed(env, &["--all"]), Vec::<Value>::new());
    let _ = lab.obtain("a.far.test").success();
    let _ = lab.obtain("b.far.test").success();
    let [one] = &listed(env, &[])[..] else {
        panic!("one account")
    };
    let id = one["id"].as_str().unwrap();
    for (field, value) in [
        ("status", json!("valid")),
        ("contacts", json!(["mailto:ada@far.test"])),
        ("eab_kid", json!(lab.kid)),
        ("eab_revoked_at", Value::Null),
        ("trust", json!("skip-validation")),
        ("certificates", json!(2)),
    ] {
        assert_eq!(one[field], value, "{one}");
    }
    assert!(one["last_issued_at"].as_str().unwrap() >= one["created_at"].as_str().unwrap());
    let out = account(env, &["list"]).success();
    let row = out.stdout().lines().nth(1).unwrap();
    let words: Vec<_> = row.split_whitespace().collect();
    let made = one["created_at"].as_str().unwrap();
    let last = one["last_issued_at"].as_str().unwrap();
    let all = [
        id,
        "valid",
        "skip-validation",
        made,
        "2",
        last,
        &lab.kid,
        "ada@far.test",
    ];
    assert_eq!(words, all);

    let out = account(env, &["revoke", id]).success();
    assert_eq!(out.stdout(), format!("{id}  revoked\n"));
    for words in [
        "that stay valid: 2;",
        "--revoke-certificates",
        "--require-eab",
    ] {
        assert!(out.stderr().contains(words), "{}", out.stderr());
    }
    let refused = lab.obtain("c.far.test").code(1);
    assert!(
        refused
            .stderr()
            .contains("urn:ietf:params:acme:error:unauthorized"),
        "{}",
        refused.stderr()
    );
    // Its key is used up: who lost the account does not get another.
    let _ = lab.lego("again", &["-d", "c.far.test", "run"]).code(1);
    assert_eq!(listed(env, &[]), Vec::<Value>::new());
    let [closed] = &listed(env, &["--all"])[..] else {
        panic!("one account")
    };
    assert_eq!(
        (&closed["id"], &closed["status"]),
        (&one["id"], &json!("revoked"))
    );

    let issued = env.certmint(["ca", "list", "--name", "*.far.test", "--json"]);
    let issued: Value = serde_json::from_str(issued.run().success().stdout()).unwrap();
    let mut serials: Vec<_> = issued["certificates"].as_array().unwrap().iter().collect();
    serials.sort_by_key(|one| one["names"][0].to_string());
    let serials: Vec<_> = serials
        .iter()
        .map(|one| one["serial"].as_str().unwrap())
        .collect();
    for serial in &serials {
        assert!(!lab.directory.is_revoked(env, &serial.to_uppercase()));
    }
    let done = revoked(env, &[id, "--revoke-certificates"]);
    assert_eq!(
        (&done["account"], &done["already"]),
        (&one["id"], &json!(true))
    );
    let lines = done["revoked"].as_array().unwrap();
    let found: Vec<_> = lines
        .iter()
        .map(|line| line["serial"].as_str().unwrap())
        .collect();
    assert_eq!(found, serials);
    assert!(
        lines
            .iter()
            .all(|line| line["reason"] == "privilegeWithdrawn")
    );
    // The server publishes what another process has signed.
    for serial in &serials {
        assert!(lab.directory.is_revoked(env, &serial.to_uppercase()));
    }
    let done = revoked(env, &[id, "--revoke-certificates"]);
    assert_eq!(done["revoked"], json!([]));
    assert_eq!(done["crls"].as_array().unwrap().len(), 1);
    let out = account(env, &["revoke", id]).success();
    assert_eq!(out.stdout(), format!("{id}  was revoked before\n"));
    assert!(!out.stderr().contains("stay valid"), "{}", out.stderr());
}

#[test]
fn who_is_not_there_is_not_revoked() {
    let env = TestEnv::new();
    let none = account(&env, &["list"]).code(1);
    assert!(
        none.stderr().contains("certmint ca init"),
        "{}",
        none.stderr()
    );
    assert!(!env.state().exists());
    let env = TestEnv::with_ca();
    let out = account(&env, &["list"]).success();
    assert_eq!(out.stdout(), "");
    assert!(out.stderr().contains("--all"), "{}", out.stderr());
    for id in ["-nobodys", "AAAAAAAAAAAAAAAAAAAAAA", "\u{1b}[2J"] {
        for args in [
            &["revoke", id][..],
            &["revoke", id, "--revoke-certificates"],
        ] {
            let out = account(&env, args).code(1);
            assert!(
                out.stderr().contains("certmint ca account list --all"),
                "{}",
                out.stderr()
            );
            assert!(!out.stderr().contains('\u{1b}'), "{}", out.stderr());
        }
    }
    let id = "AAAAAAAAAAAAAAAAAAAAAA";
    let alone = account(&env, &["revoke", id, "--reason", "superseded"]).code(2);
    assert!(
        alone.stderr().contains("--revoke-certificates"),
        "{}",
        alone.stderr()
    );
}

/// The directory takes e-mail addresses alone, and yet nothing depends on it here.
#[test]
fn contacts_stay_on_their_line_of_the_terminal() {
    let env = TestEnv::with_ca();
    let _ = account(&env, &["list"]).success();
    let db = Connection::open(env.state().join("ca/ca.sqlite")).unwrap();
    let long = "x".repeat(5000);
    for (n, contacts) in [
        json!(["mailto:\u{1b}[2J\n\u{9b}31m\u{202e}\u{7f}"]),
        json!([long, "mailto:b@home.test", "mailto:c@home.test"]),
        json!([]),
    ]
    .iter()
    .enumerate()
    {
        let row = (format!("{n:022}"), n.to_string(), contacts.to_string());
        db.execute(
            "INSERT INTO acme_accounts (id, thumbprint, jwk, status, contacts, terms_agreed,
                 created_at) VALUES (?1, ?2, '{}', 'valid', ?3, 1, 0)",
            row,
        )
        .unwrap();
    }
    let out = account(&env, &["list"]).success();
    let lines: Vec<_> = out.stdout().lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let hidden = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!lines.iter().any(|line| line.contains(hidden)), "{lines:?}");
    assert!(lines.iter().all(|line| line.len() < 300), "{lines:?}");
    assert!(lines[2].ends_with("… +2"), "{lines:?}");
    assert!(lines[3].ends_with("  -"), "{lines:?}");
    assert_eq!(listed(&env, &[]).len(), 3);
}
