//! `certmint ca eab`: who may have an account with the private ACME directory.

use serde_json::Value;

use crate::support::TestEnv;

/// What stands behind `label` on a line of its own.
fn field(text: &str, label: &str) -> String {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no `{label}` in {text}"))
        .trim()
        .to_owned()
}

fn list(env: &TestEnv) -> Vec<Value> {
    let out = env
        .certmint(["ca", "eab", "list", "--json"])
        .run()
        .success();
    let list: Value = serde_json::from_str(out.stdout()).unwrap();
    assert_eq!(list["schema"], "certmint.eab/1");
    list["keys"].as_array().unwrap().clone()
}

#[test]
fn a_key_is_shown_once_in_the_words_of_each_client() {
    let env = TestEnv::with_ca();
    let none = env.certmint(["ca", "eab", "list"]).run().success();
    assert_eq!(none.stdout(), "");
    let add = [
        "ca",
        "eab",
        "add",
        "-vv",
        "--permit",
        "home.arpa,10.0.0.0/8",
    ];
    let out = env.certmint(add).run().success();
    let (kid, hmac) = (field(out.stdout(), "kid"), field(out.stdout(), "hmac key"));
    let secret = data_encoding::BASE64URL_NOPAD.decode(hmac.as_bytes());
    assert_eq!(secret.unwrap().len(), 32);
    for line in [
        format!("certbot   --eab-kid {kid} --eab-hmac-key {hmac}\n"),
        format!("lego      --eab --kid {kid} --hmac {hmac}\n"),
    ] {
        assert!(
            out.stdout().contains(&line),
            "no `{line}` in {}",
            out.stdout()
        );
    }
    assert!(!out.stderr().contains(&hmac), "{}", out.stderr());
    assert!(
        out.stderr().contains("home.arpa, 10.0.0.0/8"),
        "{}",
        out.stderr()
    );
    let trusted = [
        "ca",
        "eab",
        "add",
        "--permit",
        "a.test",
        "--skip-validation",
        "--json",
    ];
    let out = env.certmint(trusted).run().success();
    let second: Value = serde_json::from_str(out.stdout()).unwrap();
    assert_eq!(second["schema"], "certmint.eab-key/1");
    assert_eq!(second["trust"], "skip-validation");
    assert_eq!(out.stderr(), "");

    for args in [&["ca", "eab", "list"][..], &["ca", "eab", "list", "--json"]] {
        let out = env.certmint(args).run().success();
        assert!(out.stdout().contains(&kid), "{}", out.stdout());
        for secret in [hmac.as_str(), second["hmac_key"].as_str().unwrap()] {
            assert!(!out.stdout().contains(secret), "{}", out.stdout());
        }
    }
    let keys = list(&env);
    assert_eq!(keys.len(), 2);
    let key = keys.iter().find(|key| key["kid"] == kid.as_str()).unwrap();
    assert_eq!(key["state"], "free");
    assert_eq!(key["names"], serde_json::json!(["home.arpa", "10.0.0.0/8"]));
    assert_eq!(key["trust"], "validate");
    for missing in ["account", "bound_at", "revoked_at"] {
        assert!(key[missing].is_null(), "{key}");
    }
}

#[test]
fn a_key_is_revoked_and_stays_so() {
    let env = TestEnv::with_ca();
    let out = env.certmint(["ca", "eab", "add"]).run().success();
    let kid = field(out.stdout(), "kid");
    let remove = ["ca", "eab", "remove", &kid];
    let out = env.certmint(remove).run().success();
    assert_eq!(out.stdout(), format!("{kid}  revoked\n"));
    assert!(
        out.stderr().contains("no account was bound"),
        "{}",
        out.stderr()
    );
    let revoked = list(&env);
    assert_eq!(revoked[0]["state"], "revoked");
    let again = env.certmint(remove).run().success();
    assert!(
        again.stdout().contains("revoked before, at "),
        "{}",
        again.stdout()
    );
    assert_eq!(list(&env), revoked);
    // An id may begin with a dash.
    let unknown = ["ca", "eab", "remove", "-nobodys"];
    let out = env.certmint(unknown).run().code(1);
    assert!(out.stderr().contains("`-nobodys`"), "{}", out.stderr());
    assert!(
        out.stderr().contains("certmint ca eab list"),
        "{}",
        out.stderr()
    );
}

#[test]
fn trust_is_given_only_for_names_that_the_ca_may_issue_for() {
    let env = TestEnv::new();
    let none = env.certmint(["ca", "eab", "list"]).run().code(1);
    assert!(
        none.stderr().contains("certmint ca init"),
        "{}",
        none.stderr()
    );
    assert!(!env.state().exists());
    let init = ["ca", "init", "--permit", "home.arpa"];
    let _ = env.certmint(init).run().success();
    for (args, words) in [
        (&["--skip-validation"][..], "--permit"),
        (
            &["--permit", "a.test"],
            "outside what this CA may issue for (`home.arpa`)",
        ),
        (&["--permit", "*.home.arpa"], "without `*`"),
    ] {
        let out = env.certmint(["ca", "eab", "add"]).args(args).run().code(2);
        assert!(out.stderr().contains(words), "{}", out.stderr());
    }
    assert!(list(&env).is_empty());
}
