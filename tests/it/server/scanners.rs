//! What the scanners say that operators run against their servers: sslyze, by
//! Mozilla's intermediate configuration, and testssl.sh.
//!
//! They look at the real program with certificates of a CA that publishes its
//! revocation lists, as one does whose certificates live for 90 days. testssl.sh takes
//! minutes: `CERTMINT_TEST_SCAN=all` has it look at everything, and at both servers;
//! otherwise it looks at protocols, ciphers and vulnerabilities.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Server, TestEnv, tool};

/// For programs that wait for sockets, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_mins(15);

/// What testssl.sh remarks on though nothing is wrong: the finding and the reason.
const EXPLAINED: [(&str, &str); 1] = [(
    "DNS_CAArecord",
    "the names of this machine alone have no DNS zone that a CAA record could be in",
)];

/// What testssl.sh must have looked at, lest an empty report pass for a good one.
const PROTOCOLS: [&str; 6] = ["SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3"];
const CIPHERS: [&str; 7] = [
    "cipherlist_NULL",
    "cipherlist_aNULL",
    "cipherlist_EXPORT",
    "cipherlist_LOW",
    "cipherlist_3DES_IDEA",
    "cipherlist_AVERAGE",
    "cipherlist_STRONG",
];
const VULNERABILITIES: [&str; 17] = [
    "heartbleed",
    "CCS",
    "ticketbleed",
    "ROBOT",
    "secure_renego",
    "secure_client_renego",
    "CRIME_TLS",
    "BREACH",
    "POODLE_SSL",
    "fallback_SCSV",
    "SWEET32",
    "FREAK",
    "DROWN",
    "LOGJAM",
    "BEAST",
    "LUCKY13",
    "RC4",
];
/// What only the whole scan looks at.
const CERTIFICATES: [&str; 7] = [
    "cert_trust",
    "cert_chain_of_trust",
    "cert_crlRevoked",
    "certs_list_ordering_problem",
    "cert_expirationStatus",
    "HSTS_time",
    "cipher_order",
];

/// The program with a P-256 certificate that it keeps, and with an RSA one that it
/// was given.
struct Scanned {
    env: TestEnv,
    ports: [u16; 2],
    _servers: [Server; 3],
}

impl Scanned {
    fn new() -> Self {
        let env = TestEnv::new();
        env.write("lists/made", "");
        let plain = ["--http", "127.0.0.1:0", "--root", "lists"];
        let mut lists = env.certmint(["serve-insecure"]).args(plain).spawn();
        let lists_at = format!("http://{}", lists.await_address("serving http://"));
        let certmint = |args: &[&str]| drop(env.certmint(args).run().success());
        certmint(&["ca", "init", "--name", "Test", "--crl-url", &lists_at]);
        certmint(&["ca", "crl", "--der", "--out", "lists/I1.crl"]);
        let (names, rsa) = (["localhost", "127.0.0.1"], ["--key-type", "rsa2048"]);
        let issue = ["ca", "issue", "--out", "rsa", "--id", "rsa"];
        certmint(&[&issue[..], &rsa, &names].concat());
        let strict = ["--https", "127.0.0.1:0", "--hsts", "365d"];
        let given = ["--cert", "rsa/fullchain.pem", "--key", "rsa/privkey.pem"];
        let mut servers = [
            env.certmint(["serve-ca", "--days", "90"])
                .args(names)
                .args(strict)
                .spawn(),
            env.certmint(["serve-custom"])
                .args(given)
                .args(strict)
                .spawn(),
        ];
        let ports = [0, 1].map(|n: usize| servers[n].await_address("serving https://").port());
        let [ca, custom] = servers;
        Self {
            env,
            ports,
            _servers: [lists, ca, custom],
        }
    }

    fn root(&self) -> String {
        let root = self.env.state().join("ca/root.pem");
        root.to_str().unwrap().to_owned()
    }
}

#[test]
fn sslyze_finds_what_mozilla_calls_intermediate_and_nothing_else() {
    let Some(sslyze) = tool("sslyze") else { return };
    let scanned = Scanned::new();
    for port in scanned.ports {
        // It compares with the configuration, and fails when the server is not like it.
        let out = scanned.env.command(&sslyze, ["--json_out", "found.json"]);
        let target = format!("localhost:{port}{{127.0.0.1}}");
        let args = ["--mozilla_config", "intermediate", "--early_data"];
        let trusting = ["--certinfo_ca_file", &scanned.root()];
        let out = out.args(args).args(trusting).arg(target).deadline(PATIENCE);
        let out = out.run().success();
        assert!(out.stdout().contains("OK - Compliant"), "{}", out.stdout());
        let found = without_large_numbers(&scanned.env.read("found.json"));
        let found: Value = serde_json::from_str(&found).unwrap();
        let scan = &found["server_scan_results"][0];
        assert_eq!(scan["scan_status"], "COMPLETED", "{scan}");
        for (pointer, expected) in [
            (
                "ssl_2_0_cipher_suites/result/is_tls_version_supported",
                "false",
            ),
            (
                "ssl_3_0_cipher_suites/result/is_tls_version_supported",
                "false",
            ),
            (
                "tls_1_0_cipher_suites/result/is_tls_version_supported",
                "false",
            ),
            (
                "tls_1_1_cipher_suites/result/is_tls_version_supported",
                "false",
            ),
            (
                "tls_1_2_cipher_suites/result/is_tls_version_supported",
                "true",
            ),
            (
                "tls_1_3_cipher_suites/result/is_tls_version_supported",
                "true",
            ),
            ("tls_compression/result/supports_compression", "false"),
            ("tls_1_3_early_data/result/supports_early_data", "false"),
            (
                "openssl_ccs_injection/result/is_vulnerable_to_ccs_injection",
                "false",
            ),
            ("heartbleed/result/is_vulnerable_to_heartbleed", "false"),
            ("tls_fallback_scsv/result/supports_fallback_scsv", "true"),
            (
                "tls_extended_master_secret/result/supports_ems_extension",
                "true",
            ),
            (
                "robot/result/robot_result",
                "\"NOT_VULNERABLE_RSA_NOT_SUPPORTED\"",
            ),
            (
                "session_renegotiation/result/supports_secure_renegotiation",
                "true",
            ),
            (
                "session_renegotiation/result/is_vulnerable_to_client_renegotiation_dos",
                "false",
            ),
        ] {
            let value = scan["scan_result"].pointer(&format!("/{pointer}"));
            let value = value.map(Value::to_string);
            assert_eq!(value.as_deref(), Some(expected), "{pointer}");
        }
        let deployments = "/certificate_info/result/certificate_deployments";
        let deployments = scan["scan_result"].pointer(deployments).unwrap();
        let deployment = &deployments[0];
        for (field, expected) in [
            ("received_chain_has_valid_order", true),
            ("received_chain_contains_anchor_certificate", false),
            ("verified_chain_has_sha1_signature", false),
        ] {
            assert_eq!(deployment[field], expected, "{field}");
        }
        let stores = deployment["path_validation_results"].as_array().unwrap();
        let ours = |store: &&Value| store["trust_store"]["name"] == "Supplied CA file";
        let ours = stores.iter().find(ours).unwrap();
        assert_eq!(ours["was_validation_successful"], true, "{ours}");
    }
}

/// Serials and moduli as `null`: they are no numbers to this parser of JSON.
fn without_large_numbers(json: &str) -> String {
    let lines = json.lines().map(|line| {
        let Some((name, value)) = line.split_once("\": ") else {
            return line.to_owned();
        };
        let digits = value.trim_end_matches(',');
        if digits.len() > 18 && digits.bytes().all(|b| b.is_ascii_digit()) {
            let comma = &value[digits.len()..];
            format!("{name}\": null{comma}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn testssl_finds_nothing_that_is_not_explained() {
    let Some(testssl) = tool("testssl") else {
        return;
    };
    let scanned = Scanned::new();
    let all = std::env::var("CERTMINT_TEST_SCAN").is_ok_and(|what| what == "all");
    let parts = [&PROTOCOLS[..], &CIPHERS, &VULNERABILITIES].concat();
    let (ports, looks, parts) = if all {
        // With the revocation list, which it fetches.
        let whole = [&parts[..], &CERTIFICATES].concat();
        (&scanned.ports[..], &["--phone-out"][..], whole)
    } else {
        (&scanned.ports[..1], &["-p", "-s", "-U"][..], parts)
    };
    for port in ports {
        let found = testssl_at(&scanned, &testssl, *port, looks);
        let mut wrong = String::new();
        for finding in &found {
            let [id, severity, words] =
                ["id", "severity", "finding"].map(|field| finding[field].as_str().unwrap());
            let explained = EXPLAINED.iter().any(|(known, _)| *known == id);
            if !["OK", "INFO"].contains(&severity) && !explained {
                writeln!(wrong, "{severity} {id}: {words}").unwrap();
            }
        }
        assert_eq!(wrong, "", "on port {port}");
        for part in &parts {
            let looked = found.iter().any(|finding| finding["id"] == *part);
            assert!(looked, "it did not look at {part} on port {port}");
        }
    }
}

/// What testssl.sh reports on one server.
fn testssl_at(scanned: &Scanned, testssl: &Path, port: u16, looks: &[&str]) -> Vec<Value> {
    let report = format!("{port}.json");
    let (root, url) = (scanned.root(), format!("https://localhost:{port}/"));
    let out = scanned
        .env
        .command(testssl, ["--warnings", "batch", "--color", "0"])
        .args(["--openssl-timeout", "60", "--connect-timeout", "60"])
        .args([
            "--ip",
            "127.0.0.1",
            "--add-ca",
            &root,
            "--jsonfile",
            &report,
        ])
        .args(looks)
        .arg(url)
        .deadline(PATIENCE)
        .run();
    // Its exit status counts what it could not do, and some of what it found.
    assert!(out.status().code().is_some(), "{out:?}");
    let text = scanned.env.read(&report);
    let found = serde_json::from_str(&text);
    found.unwrap_or_else(|e| panic!("{e}: {text}\n{}", out.stdout()))
}
