//! Every rule, provoked by a certificate that breaks it.

use std::collections::BTreeSet;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};

use super::*;
use crate::clock::{Duration, Timestamp};
use crate::finding::Finding;
use crate::identifier::Identifier;

/// 2026-11-22T00:00:00Z, when these tests take place.
pub(crate) const NOW: i64 = 1_795_305_600;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_timestamp(NOW).unwrap()
}

/// A CA for tests, and everything to sign with it.
pub(crate) struct TestCa {
    pub(crate) certificate: Certificate,
    pub(crate) params: CertificateParams,
    pub(crate) key: KeyPair,
}

/// Parameters as our own profiles have them: nothing to complain of.
fn params(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_before = now() - Duration::hours(1);
    params.not_after = now() + Duration::days(days);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    let random: [u8; 8] = KeyPair::generate().unwrap().serialized_der()[40..48]
        .try_into()
        .unwrap();
    params.serial_number = Some(SerialNumber::from_slice(&[&[0x41][..], &random].concat()));
    params
}

fn authority_params(name: &str, days: i64) -> CertificateParams {
    let mut params = params(name, days);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str) -> CertificateParams {
    let mut params = params(name, 90);
    params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A self-signed CA.
pub(crate) fn root(name: &str, tweak: impl FnOnce(&mut CertificateParams)) -> TestCa {
    let mut params = authority_params(name, 3650);
    tweak(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let certificate = Certificate::from_der(certificate.der()).unwrap();
    TestCa {
        certificate,
        params,
        key,
    }
}

/// A self-signed leaf.
pub(crate) fn lonely(
    name: &str,
    tweak: impl FnOnce(&mut CertificateParams),
) -> (Certificate, KeyPair) {
    let mut params = leaf_params(name);
    tweak(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (Certificate::from_der(certificate.der()).unwrap(), key)
}

impl TestCa {
    /// A CA under this one.
    pub(crate) fn intermediate(
        &self,
        name: &str,
        tweak: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = authority_params(name, 1095);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        tweak(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = self.sign(&params, &key);
        Self {
            certificate,
            params,
            key,
        }
    }

    /// A leaf for a host name, with its key.
    pub(crate) fn leaf(
        &self,
        name: &str,
        tweak: impl FnOnce(&mut CertificateParams),
    ) -> (Certificate, KeyPair) {
        let mut params = leaf_params(name);
        tweak(&mut params);
        let key = KeyPair::generate().unwrap();
        (self.sign(&params, &key), key)
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Certificate {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(key, &issuer).unwrap();
        Certificate::from_der(certificate.der()).unwrap()
    }
}

fn extension(oid: &[u64], content: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(oid, content.to_vec())
}

const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];

/// `certificate` with one stretch of its DER replaced; its signature breaks.
fn patched(certificate: &Certificate, old: &[u8], new: &[u8]) -> Certificate {
    assert_eq!(old.len(), new.len());
    let mut der = certificate.der().to_vec();
    let mut found = 0;
    for at in 0..=der.len() - old.len() {
        if &der[at..at + old.len()] == old {
            der[at..at + old.len()].copy_from_slice(new);
            found += 1;
        }
    }
    assert!(found > 0);
    Certificate::from_der(&der).unwrap()
}

/// RSA with 1024 bits, which our cryptographic library does not make.
const WEAK: &str = "-----BEGIN CERTIFICATE-----
MIICGjCCAYOgAwIBAgIUfrnU19yPbtpBdLr1v8Q7rPJpos4wDQYJKoZIhvcNAQEL
BQAwFDESMBAGA1UEAwwJd2Vhay50ZXN0MB4XDTI2MTEyMjAyMDUyN1oXDTM2MTEx
OTAyMDUyN1owFDESMBAGA1UEAwwJd2Vhay50ZXN0MIGfMA0GCSqGSIb3DQEBAQUA
A4GNADCBiQKBgQDOJyo6CglN3TK5BUjpzpjVmngThEG9uT6NQRBnVSAM77zKnfP8
Q1dh6oNs8I2d/AIXaZpIVlz7Je7v6HVEA9XmxCvWH+feaV2tJTPw8Ekgr5vpM/qX
gwizM8TFmfApRrOBnd8j09imTjP8tuyVKby/xkEfxD2ZCsb3MnUIbFYRpQIDAQAB
o2kwZzAdBgNVHQ4EFgQUpJSEpPP7PG0TqBUWhtXxh9715sAwHwYDVR0jBBgwFoAU
pJSEpPP7PG0TqBUWhtXxh9715sAwDwYDVR0TAQH/BAUwAwEB/zAUBgNVHREEDTAL
ggl3ZWFrLnRlc3QwDQYJKoZIhvcNAQELBQADgYEAMhN7hu17HQlUXUo3Z9NK9ArF
oQ241QEoF5nXI3goE0QN+it8FnI12P/1J0gWXWNCC/jd6qXGTYNPDEDpYIUq+U6A
euBAgByiRjoY+HisbV9a57LrrjyfmSSZscUq8NkUfL3BPo4/IMP/TMzi4MV7CP6s
0S/9znbSYgdT66ZqiJ4=
-----END CERTIFICATE-----
";

pub(crate) fn weak() -> Certificate {
    Certificate::parse_pem(WEAK.as_bytes()).unwrap().remove(0)
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.id).collect()
}

/// What breaks each rule that looks at one certificate.
fn bad_certificates() -> Vec<(&'static str, Certificate, Role)> {
    let ca = root("Root", |_| {});
    let leaf = |tweak: fn(&mut CertificateParams)| ca.leaf("a.test", tweak).0;
    let above = |tweak: fn(&mut CertificateParams)| ca.intermediate("I", tweak).certificate;
    let good = leaf(|_| {});
    let negative = leaf(|p| p.serial_number = Some(SerialNumber::from_slice(&[0x5a; 9])));
    // A SHA-256 RSA signature's OID, rewritten.
    let rsa = |last: u8| {
        let oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b";
        let mut other = *oid;
        other[8] = last;
        patched(&weak(), oid, &other)
    };
    vec![
        ("no-san", leaf(|p| p.subject_alt_names.clear()), Role::Leaf),
        (
            "cn-not-in-san",
            leaf(|p| p.distinguished_name.push(DnType::CommonName, "b.test")),
            Role::Leaf,
        ),
        (
            "san-not-critical",
            leaf(|p| {
                p.distinguished_name = rcgen::DistinguishedName::new();
                p.subject_alt_names.clear();
                p.custom_extensions = vec![extension(&[2, 5, 29, 17], b"\x30\x08\x82\x06a.test")];
            }),
            Role::Leaf,
        ),
        (
            "no-aki",
            leaf(|p| p.use_authority_key_identifier_extension = false),
            Role::Leaf,
        ),
        (
            "no-ski",
            above(|p| {
                p.is_ca = IsCa::NoCa;
                p.custom_extensions = vec![extension(BASIC_CONSTRAINTS, b"\x30\x03\x01\x01\xff")];
            }),
            Role::Intermediate,
        ),
        (
            "ca-basic-constraints-not-critical",
            above(|p| {
                p.is_ca = IsCa::NoCa;
                p.custom_extensions = vec![extension(BASIC_CONSTRAINTS, b"\x30\x03\x01\x01\xff")];
            }),
            Role::Intermediate,
        ),
        (
            "ca-no-key-usage",
            above(|p| p.key_usages.clear()),
            Role::Intermediate,
        ),
        (
            "ca-no-cert-sign",
            above(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
            Role::Intermediate,
        ),
        (
            "leaf-cert-sign",
            leaf(|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
            Role::Leaf,
        ),
        ("ca-as-leaf", above(|_| {}), Role::Leaf),
        (
            "encoded-default",
            leaf(|p| {
                p.custom_extensions = vec![extension(BASIC_CONSTRAINTS, b"\x30\x03\x01\x01\x00")]
            }),
            Role::Leaf,
        ),
        ("weak-signature", rsa(5), Role::Leaf),
        ("weak-signature", rsa(4), Role::Root),
        ("weak-key", weak(), Role::Leaf),
        (
            "serial-too-long",
            leaf(|p| p.serial_number = Some(SerialNumber::from_slice(&[0x5a; 21]))),
            Role::Leaf,
        ),
        (
            "serial-not-positive",
            leaf(|p| p.serial_number = Some(SerialNumber::from_slice(&[0]))),
            Role::Leaf,
        ),
        (
            "serial-not-positive",
            patched(&negative, &[0x5a; 9], &[0xa5; 9]),
            Role::Leaf,
        ),
        (
            "no-server-auth",
            leaf(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            Role::Leaf,
        ),
        (
            "apple-no-eku",
            leaf(|p| p.extended_key_usages.clear()),
            Role::Leaf,
        ),
        (
            "apple-lifetime",
            leaf(|p| p.not_after = now() + Duration::days(826)),
            Role::Leaf,
        ),
        ("", good, Role::Leaf),
    ]
}

/// What breaks each rule that looks at certificates together.
fn bad_chains() -> Vec<(&'static str, Vec<Certificate>, Context)> {
    let top = root("Root", |_| {});
    let middle = top.intermediate("I1", |_| {});
    let (leaf, _) = middle.leaf("a.test", |_| {});
    let twin = top.intermediate("I1", |_| {});
    let deep = middle.intermediate("I2", |_| {});
    let narrow = top.intermediate("N1", |p| {
        p.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("home.arpa".into())],
            excluded_subtrees: vec![rcgen::GeneralSubtree::IpAddress(
                rcgen::CidrSubnet::from_addr_prefix("0.0.0.0".parse().unwrap(), 0),
            )],
        });
    });
    let [middle_cert, root_cert] = [&middle.certificate, &top.certificate].map(Clone::clone);
    let (address, _) = narrow.leaf("b.home.arpa", |p| {
        p.subject_alt_names
            .push(rcgen::SanType::IpAddress("10.0.0.1".parse().unwrap()));
    });
    let (long, _) = middle.leaf("a.test", |p| p.not_after = now() + Duration::days(2000));
    let (alone, _) = lonely("a.test", |_| {});
    let (client, _) = middle.leaf("a.test", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    use Context::{File, Served};
    vec![
        ("missing-intermediate", vec![leaf.clone()], Served),
        ("missing-intermediate", vec![leaf.clone()], File),
        (
            "misordered-chain",
            vec![leaf.clone(), root_cert.clone(), middle_cert.clone()],
            Served,
        ),
        (
            "misordered-chain",
            vec![middle_cert.clone(), leaf.clone()],
            Served,
        ),
        (
            "root-in-chain",
            vec![leaf.clone(), middle_cert.clone(), root_cert.clone()],
            Served,
        ),
        (
            "stray-certificate",
            vec![leaf.clone(), middle_cert.clone(), twin.certificate.clone()],
            Served,
        ),
        (
            "bad-signature",
            vec![leaf.clone(), twin.certificate.clone()],
            Served,
        ),
        (
            "leaf-outlives-issuer",
            vec![long, middle_cert.clone()],
            Served,
        ),
        (
            "path-length",
            vec![
                deep.leaf("a.test", |_| {}).0,
                deep.certificate.clone(),
                middle_cert.clone(),
            ],
            Served,
        ),
        (
            "name-constraints",
            vec![narrow.leaf("a.test", |_| {}).0, narrow.certificate.clone()],
            Served,
        ),
        (
            "name-constraints",
            vec![address, narrow.certificate.clone()],
            Served,
        ),
        ("self-signed", vec![alone.clone()], Served),
        ("self-signed", vec![alone], File),
        ("no-server-auth", vec![client, middle_cert.clone()], Served),
        ("", vec![leaf, middle_cert], Served),
        (
            "",
            vec![
                narrow.leaf("x.home.arpa", |_| {}).0,
                narrow.certificate.clone(),
            ],
            Served,
        ),
    ]
}

/// What breaks each remaining rule.
fn bad_circumstances() -> Vec<(&'static str, Option<Finding>)> {
    let ca = root("Root", |_| {});
    let aged = |before: i64, after: i64| {
        let life = Life {
            not_before: now() - Duration::days(before),
            not_after: now() + Duration::days(after),
        };
        super::life(Subject::new("a.test"), life, Role::Leaf, now())
    };
    let left_by_client = |before: i64, after: i64| {
        let life = Life {
            not_before: now() - Duration::days(before),
            not_after: now() + Duration::days(after),
        };
        life_by_client(Subject::new("a.test"), life, now())
    };
    let (one, _) = ca.leaf("a.test", |_| {});
    let (two, _) = ca.leaf("a.test", |_| {});
    let subject = Subject {
        name: "a.test",
        renew: Some("certmint renew a.test"),
    };
    let path = Path::new("/etc/ssl/a.pem");
    let day = Duration::days(1);
    let wanted = Identifier::parse("b.test").unwrap();
    vec![
        ("expired", aged(90, -1)),
        ("not-yet-valid", aged(-1, 90)),
        ("due", aged(60, 30)),
        ("due", aged(5, 4)),
        ("overdue", aged(81, 9)),
        ("expired", left_by_client(90, -1)),
        ("overdue", left_by_client(81, 9)),
        ("", left_by_client(60, 30)),
        ("", left_by_client(-1, 90)),
        (
            "old-root",
            Some(old_root(subject, "its issuer I1 is under R1")),
        ),
        (
            "failing",
            Some(failing(
                subject,
                3,
                Some("no answer"),
                Some(now() + day),
                now(),
            )),
        ),
        ("key-mismatch", Some(key_mismatch("tls.key", "tls.crt"))),
        ("key-mode", key_mode(path, 0o100_644, KeyHome::Elsewhere)),
        ("key-mode", key_mode(path, 0o640, KeyHome::Elsewhere)),
        ("key-mode", key_mode(path, 0o640, KeyHome::Ours)),
        ("unreadable", Some(unreadable(path, "permission denied"))),
        (
            "malformed",
            Some(malformed("certificate 1", "a.pem", "not DER")),
        ),
        (
            "damaged",
            Some(damaged(subject, "its manifest does not match", true)),
        ),
        ("damaged", Some(damaged(subject, "nothing verifies", false))),
        (
            "untrusted",
            Some(untrusted(
                subject,
                "UnknownIssuer",
                "the system's roots",
                "x",
            )),
        ),
        (
            "revoked",
            Some(revoked(subject, now(), Some("keyCompromise"))),
        ),
        (
            "rotation-unfinished",
            Some(rotation_unfinished("R2", "R1", "certmint ca rotate root")),
        ),
        (
            "stale-crl",
            stale_crl(subject, now() - day * 7, Some(now() - day), now()),
        ),
        (
            "stale-crl",
            stale_crl(subject, now() - day * 19, Some(now() + day), now()),
        ),
        ("request-signature", Some(bad_request_signature("a.csr"))),
        ("name-mismatch", name_mismatch(&one, &wanted)),
        (
            "served-differs",
            served_differs("a.test:443", &one, path, &two),
        ),
        (
            "handshake-signature",
            Some(handshake_signature("a.test:443", "bad")),
        ),
        ("no-tls13", Some(no_tls13("a.test:443", "TLS 1.2"))),
    ]
}

#[test]
fn every_rule_is_provoked_and_no_other_id_appears() {
    let mut seen = BTreeSet::new();
    let mut severities = BTreeSet::new();
    let mut check = |id: &'static str, findings: Vec<Finding>| {
        let found = ids(&findings);
        if id.is_empty() {
            assert!(findings.is_empty(), "a good one: {findings:?}");
        } else {
            assert!(found.contains(&id), "{id}: {found:?}");
            seen.insert(id);
        }
        for finding in findings {
            let rule = rule(finding.id).unwrap_or_else(|| panic!("{} has no rule", finding.id));
            assert!(rule.allows(finding.severity), "{finding:?}");
            assert!(
                !finding.message.contains('\n') && !finding.message.ends_with('.'),
                "{finding:?}"
            );
            severities.insert((finding.id, finding.severity));
        }
    };
    for (id, certificate, role) in bad_certificates() {
        check(id, profile(&certificate, role));
    }
    for (id, certificates, context) in bad_chains() {
        check(id, chain(&certificates, &[], context));
    }
    for (id, finding) in bad_circumstances() {
        check(id, finding.into_iter().collect());
    }
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(all.len(), RULES.len(), "an id stands twice in the table");
    assert_eq!(
        all.difference(&seen).collect::<Vec<_>>(),
        Vec::<&&str>::new()
    );
    for rule in RULES {
        assert!(
            severities.contains(&(rule.id, rule.worst)),
            "{} is never as bad as the table says",
            rule.id
        );
        assert!(
            severities.contains(&(rule.id, rule.least)),
            "{} is never as mild as the table says",
            rule.id
        );
    }
}

#[test]
fn each_broken_field_breaks_its_own_rule_alone() {
    // Those whose construction breaks two.
    const TWO: [&str; 5] = [
        "no-ski",
        "ca-basic-constraints-not-critical",
        "weak-key",
        "weak-signature",
        "ca-as-leaf",
    ];
    for (id, certificate, role) in bad_certificates() {
        if !id.is_empty() && !TWO.contains(&id) {
            assert_eq!(ids(&profile(&certificate, role)), [id]);
        }
    }
}

#[test]
fn a_rotated_root_leaves_a_clean_chain() {
    // leaf, I(R2), R2 signed by R1: what is served while both roots are out there.
    let old = root("R1", |_| {});
    let new = root("R2", |_| {});
    let issuer = Issuer::from_params(&old.params, &old.key);
    let cross = new.params.signed_by(&new.key, &issuer).unwrap();
    let cross = Certificate::from_der(cross.der()).unwrap();
    let middle = new.intermediate("I2", |_| {});
    let (leaf, _) = middle.leaf("a.test", |_| {});
    let served = [leaf, middle.certificate, cross];
    assert_eq!(chain(&served, &[], Context::Served), []);
    assert_eq!(link(&served).path, [0, 1, 2]);
}

#[test]
fn a_leaf_signed_by_a_known_root_misses_nothing() {
    let ca = root("Root", |_| {});
    let (leaf, _) = ca.leaf("a.test", |_| {});
    let leaf = [leaf];
    assert_eq!(chain(&leaf, &[ca.certificate], Context::Served), []);
    let missing = chain(&leaf, &[], Context::Served);
    assert_eq!(missing[0].severity, Critical);
    assert_eq!(chain(&leaf, &[], Context::File)[0].severity, Info);
}

#[test]
fn dates_turn_at_their_exact_second() {
    let life = Life {
        not_before: now(),
        not_after: now() + Duration::seconds(90 * 86_400),
    };
    let at = |role, seconds| life.stage(role, now() + Duration::seconds(seconds));
    let third = 60 * 86_400;
    let tenth = 81 * 86_400;
    for (seconds, stage) in [
        (-1, Stage::NotYet),
        (0, Stage::Fresh),
        (third - 1, Stage::Fresh),
        (third, Stage::Due),
        (tenth - 1, Stage::Due),
        (tenth, Stage::Overdue),
        (90 * 86_400, Stage::Overdue),
        (90 * 86_400 + 1, Stage::Expired),
    ] {
        assert_eq!(at(Role::Leaf, seconds), stage, "{seconds}");
    }
    assert_eq!(at(Role::Root, third), Stage::Fresh, "a CA lives on longer");
    assert_eq!(life.due_at(Role::Leaf), now() + Duration::seconds(third));
    let short = Life {
        not_after: now() + Duration::days(6),
        ..life
    };
    assert_eq!(short.due_at(Role::Leaf), now() + Duration::days(3));
    assert_eq!(
        short.stage(Role::Leaf, now() + Duration::days(3)),
        Stage::Due
    );
    let empty = Life {
        not_after: now(),
        ..life
    };
    assert_eq!(empty.stage(Role::Leaf, now()), Stage::Overdue);
    let backwards = Life {
        not_after: now() - Duration::days(1),
        ..life
    };
    assert_eq!(backwards.stage(Role::Leaf, now()), Stage::Expired);
}

#[test]
fn nothing_a_certificate_says_moves_the_cursor() {
    let evil = "\u{1b}[2J\u{202e}\n";
    let ca = root(&format!("Root{evil}"), |_| {});
    let (leaf, _) = ca.leaf("a.test", |p| {
        p.distinguished_name.push(DnType::OrganizationName, evil);
        p.subject_alt_names.push(rcgen::SanType::Rfc822Name(
            "a\nb@c.test".try_into().unwrap(),
        ));
    });
    let mut findings = profile(&leaf, Role::Leaf);
    findings.extend(chain(&[leaf], &[], Context::Served));
    findings.extend(key_mode(
        Path::new("/tmp/\u{1b}[31m\u{202e}x"),
        0o644,
        KeyHome::Ours,
    ));
    let subject = Subject::new("a.test");
    findings.push(failing(subject, 1, Some(evil), None, now()));
    findings.push(untrusted(subject, evil, evil, "x"));
    for finding in findings {
        let text = format!("{}{}", finding.message, finding.fix.unwrap_or_default());
        assert!(
            !text.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{text:?}"
        );
    }
}
