//! What a credentials file may say, and what is told of one that is not right.

use super::*;
use crate::clock::SystemClock;

const CANARY: &str = "Y2FuYXJ5LXNlY3JldC1uZXZlci1zaG93bg==";

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        disk::write_new(&path, text.as_bytes(), 0o600).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

fn sources(environment: &dyn Fn(&str) -> Option<String>) -> Sources<'_> {
    Sources { environment }
}

fn rfc2136(secret_line: &str) -> String {
    format!(
        "[dns.home]\nprovider = \"rfc2136\"\nserver = \"127.0.0.1:5353\"\n\
         key-name = \"lab-key\"\nalgorithm = \"hmac-sha512\"\n{secret_line}\n"
    )
}

#[test]
fn a_secret_is_given_by_itself_by_file_and_by_either_reference() {
    let files = Files::new();
    files.write("key", &format!("{CANARY}\n"), 0o600);
    let environment = |name: &str| (name == "KEY").then(|| CANARY.to_owned());
    for (n, line) in [
        format!("secret = \"{CANARY}\""),
        "secret-file = \"key\"".to_owned(),
        "secret = \"file:key\"".to_owned(),
        "secret = \"env:KEY\"".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let path = files.write(&format!("dns-{n}.toml"), &rfc2136(&line), 0o600);
        let credentials = DnsCredentials::read(&path).unwrap();
        let credential = credentials.get("home", sources(&environment)).unwrap();
        assert_eq!(credential.values.text("secret"), CANARY, "{line}");
        assert_eq!(credential.provider_name(), "rfc2136");
        let provider = credential.provider(Arc::new(SystemClock), None).unwrap();
        for shown in [
            format!("{credentials:?}"),
            format!("{credential:?}"),
            format!("{provider:?}"),
        ] {
            assert!(
                !shown.contains(CANARY) && !shown.contains("canary"),
                "{shown}"
            );
        }
    }
}

#[test]
fn a_file_that_others_can_read_may_hold_references_only() {
    let files = Files::new();
    let open = files.write("open.toml", &rfc2136("secret = \"env:KEY\""), 0o644);
    assert!(DnsCredentials::read(&open).is_ok());
    for mode in [0o644, 0o640, 0o602] {
        let name = format!("{mode:o}.toml");
        let exposed = files.write(&name, &rfc2136(&format!("secret = \"{CANARY}\"")), mode);
        let error = DnsCredentials::read(&exposed).unwrap_err();
        assert!(matches!(error, CredentialError::Exposed { .. }), "{error}");
        assert!(error.to_string().contains("dns.home.secret"), "{error}");
        assert!(error.hint().unwrap().starts_with("chmod 600 "));
        assert!(!error.to_string().contains(CANARY), "{error}");
    }
}

#[test]
fn every_problem_of_every_table_is_told_at_once() {
    let files = Files::new();
    let text = format!(
        "stray = 1\n[dns.a]\nprovider = \"rfc2136\"\nsecrets = \"{CANARY}\"\n\
         [dns.b]\nprovider = \"nobody\"\n[dns.c]\nserver = \"x\"\n\
         [dns.d]\nprovider = \"exec\"\ncommand = 5.5\n\
         [dns.e]\nprovider = \"manual\"\nfoo = 1\n\
         [dns.f]\nprovider = \"rfc2136\"\nserver = \"x\"\nkey-name = \"k\"\n\
         secret = \"{CANARY}\"\nsecret-file = \"f\"\n"
    );
    let path = files.write("dns.toml", &text, 0o600);
    let error = DnsCredentials::read(&path).unwrap_err().to_string();
    for part in [
        "`stray` is not known",
        "`dns.a` has no `server`",
        "`dns.a` has no `key-name`",
        "`dns.a` has no `secret`",
        "`dns.a.secrets` is not known: `rfc2136` has server, key-name, algorithm, secret",
        "`dns.b.provider` is `nobody`, which is not known",
        "rfc2136, exec, manual",
        "`dns.c` has no `provider`",
        "`dns.d.command` is not a text",
        "`dns.e.foo` is not known: `manual` has nothing else",
        "`dns.f` has both `secret` and `secret-file`",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    assert!(!error.contains(CANARY), "{error}");
}

#[test]
fn broken_toml_is_told_by_line_and_never_repeated() {
    let files = Files::new();
    for (n, (secret, part)) in [
        (CANARY.to_owned(), "line 3 is no valid TOML"),
        (format!("\"{CANARY}\" x"), "line 3 is no valid TOML"),
        (format!("\"{CANARY}"), "is no valid TOML"),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("[dns.a]\nprovider = \"exec\"\nsecret = {secret}\nx = 1\n");
        let path = files.write(&format!("{n}.toml"), &text, 0o600);
        let error = DnsCredentials::read(&path).unwrap_err();
        let shown = format!("{error} {error:?} {}", error.hint().unwrap_or_default());
        assert!(shown.contains(part), "{shown}");
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

#[test]
fn references_that_lead_nowhere_are_all_told() {
    let files = Files::new();
    files.write("empty", "\n", 0o600);
    let text = "[dns.a]\nprovider = \"rfc2136\"\nserver = \"env:S\"\n\
                key-name = \"file:none\"\nsecret-file = \"empty\"\n";
    let path = files.write("dns.toml", text, 0o644);
    let credentials = DnsCredentials::read(&path).unwrap();
    let error = credentials
        .get("a", sources(&|_| None))
        .unwrap_err()
        .to_string();
    for part in [
        "`dns.a.server`: the environment variable `S` is not set",
        "`dns.a.key-name`: could not read",
        "`dns.a.secret`: it is empty",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    let error = credentials.get("b", sources(&|_| None)).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("there are: a"));
}

#[test]
fn values_that_no_provider_takes_are_told_without_the_secret() {
    let files = Files::new();
    for (n, (from, to, part)) in [
        (
            "127.0.0.1:5353",
            "a b",
            "neither an address nor a host name",
        ),
        ("127.0.0.1:5353", "ns:x", "its port is no number"),
        ("hmac-sha512", "hmac-md5", "not one of hmac-sha256"),
        (CANARY, "not base64 canary", "`secret` is not base64"),
    ]
    .into_iter()
    .enumerate()
    {
        let text = rfc2136(&format!("secret = \"{CANARY}\"")).replace(from, to);
        let path = files.write(&format!("{n}.toml"), &text, 0o600);
        let credentials = DnsCredentials::read(&path).unwrap();
        let credential = credentials.get("home", sources(&|_| None)).unwrap();
        let error = credential
            .provider(Arc::new(SystemClock), None)
            .unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[test]
fn a_command_is_a_list_or_a_line_and_never_a_shell() {
    let files = Files::new();
    let text = "[dns.a]\nprovider = \"exec\"\ncommand = [\"/bin/x\", \"a b\", \"$(id)\"]\n\
                [dns.b]\nprovider = \"exec\"\ncommand = \"/bin/x 'a b' $(id)\"\n";
    let path = files.write("dns.toml", text, 0o600);
    let credentials = DnsCredentials::read(&path).unwrap();
    let words = |name| {
        credentials
            .get(name, sources(&|_| None))
            .unwrap()
            .values
            .words("command")
    };
    assert_eq!(words("a"), ["/bin/x", "a b", "$(id)"]);
    assert_eq!(words("b"), ["/bin/x", "a b", "$(id)"]);
    for (name, text) in [("c", "command = []"), ("d", "command = \"\"")] {
        let text = format!("[dns.x]\nprovider = \"exec\"\n{text}\n");
        let path = files.write(name, &text, 0o600);
        let credential = DnsCredentials::read(&path).unwrap();
        let credential = credential.get("x", sources(&|_| None)).unwrap();
        assert!(credential.provider(Arc::new(SystemClock), None).is_err());
    }
}

#[cfg(feature = "dns-providers")]
#[test]
fn every_hosted_provider_opens_with_its_fields_and_names_the_missing_one() {
    let files = Files::new();
    let mut wants_more = Vec::new();
    for kind in kinds().filter(|kind| matches!(kind.maker, Maker::Hosted(_))) {
        let all: Vec<&Field> = kind.fields.iter().filter(|field| field.required).collect();
        let table = |skip: &str| {
            let mut text = format!("[dns.x]\nprovider = \"{}\"\n", kind.name);
            for field in all.iter().filter(|field| field.name != skip) {
                text += &format!("{} = \"env:{}\"\n", field.name, field.name);
            }
            text
        };
        let path = files.write(&format!("{}-all", kind.name), &table(""), 0o644);
        let credentials = DnsCredentials::read(&path).unwrap();
        let environment = |name: &str| {
            let json = r#"{"client_email":"a@b.test","private_key":"1"}"#;
            Some(match name {
                "endpoint" => "ovh-eu".to_owned(),
                "service-account-json" => json.to_owned(),
                name if name.ends_with("-url") => "https://dns.test".to_owned(),
                _ => "1".to_owned(),
            })
        };
        let credential = credentials.get("x", sources(&environment)).unwrap();
        let opened = credential.provider(Arc::new(SystemClock), None);
        if let Err(error) = opened {
            wants_more.push(format!("{}: {error}", kind.name));
        }
        for missing in &all {
            let name = format!("{}-{}", kind.name, missing.name);
            let path = files.write(&name, &table(missing.name), 0o644);
            let error = DnsCredentials::read(&path).unwrap_err().to_string();
            let part = format!("`dns.x` has no `{}`", missing.name);
            assert!(error.contains(&part), "{}: {error}", kind.name);
        }
    }
    assert!(provider_names().len() > 60, "{:?}", provider_names());
    // These look into what they are given before they use it.
    let names: Vec<&str> = wants_more
        .iter()
        .filter_map(|e| e.split(':').next())
        .collect();
    let expected = ["cloudns", "joker", "oraclecloud"];
    assert_eq!(names, expected, "{wants_more:#?}");
}
