//! What every certificate that we issue must satisfy, looked at from outside.
//!
//! Asked before a certificate is signed (of a rehearsal signed by a throwaway key)
//! and once more of the result. The rules read the DER and compare it with what was
//! ordered; they share no code with `profile`, which composed it.

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS, OID_PKIX_AUTHORITY_INFO_ACCESS,
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_CRL_DISTRIBUTION_POINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_NAME_CONSTRAINTS, OID_X509_EXT_SUBJECT_ALT_NAME,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::bundle::{BasicConstraints, Certificate, ExtendedKeyUsage};
use crate::clock::{Duration, Timestamp};
use crate::finding::{Finding, Severity};
use crate::identifier::{Identifier, NameConstraints};
use crate::issuer::Usage;

/// What a certificate was ordered to be.
#[derive(Debug)]
pub(super) struct Ordered<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) spki: &'a [u8],
    /// Who signs; `None` when it signs itself.
    pub(super) issuer: Option<&'a Certificate>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// The three kinds, each with what only it has.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// A root, self-signed or cross-signed.
    Root { permit: &'a NameConstraints },
    /// An intermediate.
    Intermediate { permit: &'a NameConstraints },
    /// A leaf.
    Leaf {
        names: &'a [Identifier],
        usage: Usage,
        /// Where its CRL is said to be.
        crl: Option<&'a str>,
        /// Where its issuer's certificate is said to be.
        issuer_url: Option<&'a str>,
    },
}

/// Everything in which `certificate` differs from the order; empty when it is right.
pub(super) fn check(certificate: &Certificate, ordered: &Ordered<'_>) -> Vec<Finding> {
    let mut report = Report(Vec::new());
    serial(certificate, &mut report);
    dates(certificate, ordered, &mut report);
    keys(certificate, ordered, &mut report);
    extensions(certificate, ordered, &mut report);
    match &ordered.kind {
        Kind::Root { permit } => ca(certificate, None, permit, &mut report),
        Kind::Intermediate { permit } => ca(certificate, Some(0), permit, &mut report),
        Kind::Leaf {
            names,
            usage,
            crl,
            issuer_url,
        } => {
            leaf(certificate, names, *usage, &mut report);
            addresses(certificate, *crl, *issuer_url, &mut report);
        }
    }
    report.0
}

struct Report(Vec<Finding>);

impl Report {
    fn require(&mut self, holds: bool, id: &'static str, message: &str) {
        if !holds {
            self.0.push(Finding::new(id, Severity::Critical, message));
        }
    }
}

fn serial(certificate: &Certificate, report: &mut Report) {
    let octets = certificate.serial();
    let right = octets.len() == 20
        && octets
            .first()
            .is_some_and(|first| (1..0x80).contains(first));
    let message = "the serial number is not a positive number of twenty octets";
    report.require(right, "issue-serial", message);
}

fn dates(certificate: &Certificate, ordered: &Ordered<'_>, report: &mut Report) {
    let (start, end) = (certificate.not_before(), certificate.not_after());
    let message = "the dates are not those ordered";
    let same = (start, end) == (ordered.not_before, ordered.not_after);
    report.require(same && start < end, "issue-dates", message);
    if let Some(issuer) = ordered.issuer {
        let within = issuer.not_before() <= start && end <= issuer.not_after();
        let message = "the life is not within the issuer's";
        report.require(within, "issue-outlives-issuer", message);
    }
    if let Kind::Leaf { .. } = ordered.kind {
        let life = certificate.lifetime();
        let message = "the life is longer than 825 days";
        report.require(life < Duration::days(825), "issue-lifetime", message);
    }
}

fn keys(certificate: &Certificate, ordered: &Ordered<'_>, report: &mut Report) {
    let message = "the public key is not the one ordered";
    report.require(certificate.spki() == ordered.spki, "issue-key", message);
    let issuer = ordered.issuer.unwrap_or(certificate);
    let message = "the issuer is not the one that signs";
    let named = certificate.names_as_issuer(issuer);
    report.require(named, "issue-issuer", message);
    let own = certificate.subject_key_id();
    let message = "the subject key identifier is missing or has not 20 octets";
    report.require(own.is_some_and(|id| id.len() == 20), "issue-ski", message);
    let above = certificate.authority_key_id();
    let message = "the authority key identifier is missing or not the issuer's";
    let same = above.is_some() && above == issuer.subject_key_id();
    report.require(same, "issue-aki", message);
}

/// Which extensions may be there, once each, and which of them critical.
fn extensions(certificate: &Certificate, ordered: &Ordered<'_>, report: &mut Report) {
    let always = [
        (OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, false),
        (OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, false),
        (OID_X509_EXT_BASIC_CONSTRAINTS, true),
        (OID_X509_EXT_KEY_USAGE, true),
    ];
    let mut wanted: Vec<(Oid<'_>, bool)> = always.to_vec();
    match &ordered.kind {
        Kind::Root { permit } | Kind::Intermediate { permit } if !permit.is_unlimited() => {
            wanted.push((OID_X509_EXT_NAME_CONSTRAINTS, true));
        }
        Kind::Root { .. } | Kind::Intermediate { .. } => {}
        Kind::Leaf {
            crl, issuer_url, ..
        } => {
            let nameless = certificate.subject().is_empty();
            wanted.push((OID_X509_EXT_SUBJECT_ALT_NAME, nameless));
            if crl.is_some() {
                wanted.push((OID_X509_EXT_CRL_DISTRIBUTION_POINTS, false));
            }
            if issuer_url.is_some() {
                wanted.push((OID_PKIX_AUTHORITY_INFO_ACCESS, false));
            }
        }
    }
    if !matches!(ordered.kind, Kind::Root { .. }) {
        wanted.push((OID_X509_EXT_EXTENDED_KEY_USAGE, false));
    }
    let parsed = X509Certificate::from_der(certificate.der());
    let Ok((_, parsed)) = parsed else {
        return report.require(false, "issue-der", "the certificate cannot be read");
    };
    for extension in parsed.extensions() {
        let known = wanted.iter().position(|(oid, _)| *oid == extension.oid);
        let Some(position) = known else {
            let message = format!("the extension {} is surplus", extension.oid);
            report.require(false, "issue-extension", &message);
            continue;
        };
        let (_, critical) = wanted.swap_remove(position);
        let message = format!("the extension {} has the wrong criticality", extension.oid);
        report.require(extension.critical == critical, "issue-critical", &message);
    }
    for (oid, _) in wanted {
        let message = format!("the extension {oid} is missing");
        report.require(false, "issue-extension", &message);
    }
}

fn ca(
    certificate: &Certificate,
    path_len: Option<u32>,
    permit: &NameConstraints,
    report: &mut Report,
) {
    let expected = BasicConstraints {
        critical: true,
        ca: true,
        path_len,
    };
    let message = "the basic constraints are not those of its role";
    let same = certificate.basic_constraints() == Some(expected);
    report.require(same, "issue-basic-constraints", message);
    let message = "the subject of a CA is empty";
    report.require(!certificate.subject().is_empty(), "issue-subject", message);
    usages(certificate, &["keyCertSign", "cRLSign"], report);
    let intermediate = [ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth];
    let expected = path_len.map(|_| intermediate.as_slice());
    let message = "the extended key usage is not that of its role";
    let same = certificate.extended_key_usage() == expected;
    report.require(same, "issue-eku", message);
    let message = "the name constraints are not those of the CA";
    report.require(
        constrained(certificate, permit),
        "issue-constraints",
        message,
    );
}

fn constrained(certificate: &Certificate, permit: &NameConstraints) -> bool {
    let Some(written) = certificate.name_constraints() else {
        return permit.is_unlimited();
    };
    let dns = permit.dns().map(ToString::to_string);
    let permitted: Vec<String> = dns.chain(permit.ip().map(ToString::to_string)).collect();
    let mut excluded = Vec::new();
    if permit.dns().next().is_none() {
        excluded.push(String::new());
    }
    if permit.ip().next().is_none() {
        excluded.extend(["0.0.0.0/0".to_owned(), "::/0".to_owned()]);
    }
    !permit.is_unlimited() && written.permitted == permitted && written.excluded == excluded
}

fn leaf(certificate: &Certificate, names: &[Identifier], usage: Usage, report: &mut Report) {
    let message = "it is not marked as the end of a chain";
    let expected = BasicConstraints {
        critical: true,
        ca: false,
        path_len: None,
    };
    let same = certificate.basic_constraints() == Some(expected);
    report.require(same, "issue-basic-constraints", message);
    let message = "the alternative names are not those ordered";
    let same = certificate.names() == names && certificate.other_names().is_empty();
    report.require(same && !names.is_empty(), "issue-names", message);
    let message = "the subject is not empty or the common name of one of its names";
    let titled = match certificate.common_name() {
        None => certificate.subject().is_empty(),
        Some(name) => {
            certificate.subject() == format!("CN={name}")
                && names.iter().any(|n| n.to_string() == name)
        }
    };
    report.require(titled, "issue-subject", message);
    usages(certificate, &["digitalSignature"], report);
    let expected = match usage {
        Usage::Server => &[ExtendedKeyUsage::ServerAuth][..],
        Usage::Client => &[ExtendedKeyUsage::ClientAuth],
        Usage::Both => &[ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth],
    };
    let message = "the extended key usage is not the one ordered";
    let same = certificate.extended_key_usage() == Some(expected);
    report.require(same, "issue-eku", message);
}

/// Whether it names these URLs, each once, and no other.
fn addresses(
    certificate: &Certificate,
    crl: Option<&str>,
    issuer: Option<&str>,
    report: &mut Report,
) {
    let message = "the CRL's address is not the one published";
    let same = certificate.crl_urls().iter().map(String::as_str).eq(crl);
    report.require(same, "issue-crl", message);
    let message = "the address of the issuer's certificate is not the one published";
    let same = access(certificate).is_some_and(|urls| urls.iter().map(String::as_str).eq(issuer));
    report.require(same, "issue-issuer-url", message);
}

/// The URLs of the issuer's certificate; `None` when something else is said as well.
fn access(certificate: &Certificate) -> Option<Vec<String>> {
    let (_, parsed) = X509Certificate::from_der(certificate.der()).ok()?;
    let mut urls = Vec::new();
    for extension in parsed.extensions() {
        if extension.oid != OID_PKIX_AUTHORITY_INFO_ACCESS {
            continue;
        }
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            return None;
        };
        for description in access.iter() {
            match description.access_location {
                GeneralName::URI(url)
                    if description.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS =>
                {
                    urls.push(url.to_owned());
                }
                _ => return None,
            }
        }
    }
    Some(urls)
}

fn usages(certificate: &Certificate, expected: &[&str], report: &mut Report) {
    let same = certificate
        .key_usage()
        .is_some_and(|usage| usage.names().eq(expected.iter().copied()));
    let message = "the key usage is not that of its role";
    report.require(same, "issue-key-usage", message);
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints as Bc, CertificateParams, CrlDistributionPoint, CustomExtension, DnType,
        ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
    };

    use super::*;
    use crate::key::PrivateKey;
    use crate::pki::policy::{self, Authorized, Dates, Wanted};
    use crate::pki::publication::Addresses;
    use crate::pki::test_ca::{Hierarchy, key};
    use crate::pki::{Publication, profile};

    type Change = fn(&mut CertificateParams);

    fn build(
        params: &CertificateParams,
        key: &PrivateKey,
        ca: &Hierarchy,
        issuer: Option<&Certificate>,
    ) -> Certificate {
        let signed = match issuer {
            None => params.self_signed(key),
            Some(issuer) => {
                let above = if *issuer == ca.root {
                    &ca.root_key
                } else {
                    &ca.intermediate_key
                };
                let issuer = rcgen::Issuer::from_ca_cert_der(issuer.der(), above).unwrap();
                params.signed_by(key, &issuer)
            }
        };
        Certificate::from_der(signed.unwrap().der()).unwrap()
    }

    /// Changes the last octet `from` in the address of the issuer's certificate.
    fn change_access(params: &mut CertificateParams, from: u8, to: u8) {
        let [access] = params.custom_extensions.as_mut_slice() else {
            panic!("one extension")
        };
        let mut content = access.content().to_vec();
        let place = content.iter().rposition(|octet| *octet == from).unwrap();
        content[place] = to;
        let oid: Vec<u64> = access.oid_components().collect();
        *access = CustomExtension::from_oid_content(&oid, content);
    }

    fn ids(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.id).collect()
    }

    fn authorized(ca: &Hierarchy) -> Authorized {
        let wanted = Wanted {
            names: &[Identifier::parse("a.test").unwrap()],
            usage: Usage::Server,
            dates: Dates::default(),
        };
        policy::authorize(&wanted, &ca.limits()).unwrap()
    }

    #[test]
    fn each_way_to_be_a_wrong_leaf_is_found() {
        let ca = Hierarchy::new(&[]);
        let key = key();
        let authorized = authorized(&ca);
        let published = Publication::try_from("http://ca.test".to_owned()).unwrap();
        let addresses = Addresses::of("I1", None, Some(&published));
        let right = profile::leaf(&authorized, &key, &addresses).unwrap();
        let spki = key.public_key_der();
        let ordered = Ordered {
            kind: Kind::Leaf {
                names: authorized.names(),
                usage: Usage::Server,
                crl: addresses.crl.as_deref(),
                issuer_url: addresses.issuer.as_deref(),
            },
            spki: &spki,
            issuer: Some(&ca.intermediate),
            not_before: authorized.not_before(),
            not_after: authorized.not_after(),
        };
        let found =
            |params: &CertificateParams| check(&build(params, &key, &ca, ordered.issuer), &ordered);
        assert_eq!(ids(&found(&right)), [""; 0]);
        let table: [(&str, Change); 27] = [
            ("issue-serial", |p| {
                p.serial_number = Some(SerialNumber::from(7_u64))
            }),
            ("issue-serial", |p| {
                p.serial_number = Some(SerialNumber::from_slice(&[0xff; 20]));
            }),
            ("issue-dates", |p| p.not_after += Duration::SECOND),
            ("issue-dates", |p| p.not_before -= Duration::SECOND),
            ("issue-outlives-issuer", |p| {
                p.not_after += Duration::days(9000)
            }),
            ("issue-lifetime", |p| {
                p.not_after = p.not_before + Duration::days(825)
            }),
            ("issue-aki", |p| {
                p.use_authority_key_identifier_extension = false
            }),
            ("issue-ski", |p| {
                p.key_identifier_method = KeyIdMethod::PreSpecified(vec![1])
            }),
            ("issue-names", |p| p.subject_alt_names.clear()),
            ("issue-names", |p| {
                p.subject_alt_names
                    .push(SanType::DnsName("b.test".try_into().unwrap()));
            }),
            ("issue-names", |p| {
                p.subject_alt_names
                    .push(SanType::OtherName((vec![1, 2, 3], "x".into())));
            }),
            ("issue-subject", |p| {
                p.distinguished_name.push(DnType::CommonName, "b.test")
            }),
            ("issue-subject", |p| {
                p.distinguished_name.push(DnType::OrganizationName, "x")
            }),
            ("issue-basic-constraints", |p| {
                p.is_ca = IsCa::Ca(Bc::Unconstrained)
            }),
            ("issue-basic-constraints", |p| p.is_ca = IsCa::NoCa),
            ("issue-key-usage", |p| {
                p.key_usages.push(KeyUsagePurpose::KeyCertSign)
            }),
            ("issue-eku", |p| {
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]
            }),
            ("issue-crl", |p| {
                let uris = vec!["http://evil.test/I1.crl".to_owned()];
                p.crl_distribution_points
                    .push(CrlDistributionPoint { uris });
            }),
            ("issue-extension", |p| p.crl_distribution_points.clear()),
            ("issue-extension", |p| {
                let surplus = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                p.custom_extensions.push(surplus);
            }),
            ("issue-extension", |p| p.custom_extensions.clear()),
            ("issue-issuer-url", |p| p.custom_extensions.clear()),
            ("issue-extension", |p| {
                let twice = p.custom_extensions.clone();
                p.custom_extensions.extend(twice);
            }),
            ("issue-critical", |p| {
                p.custom_extensions[0].set_criticality(true)
            }),
            // Another path, another kind of access (OCSP), another kind of name.
            ("issue-issuer-url", |p| change_access(p, b'I', b'X')),
            ("issue-issuer-url", |p| change_access(p, 2, 1)),
            ("issue-issuer-url", |p| change_access(p, 0x86, 0x82)),
        ];
        for (position, (id, change)) in table.into_iter().enumerate() {
            let mut params = right.clone();
            change(&mut params);
            let found = found(&params);
            assert!(ids(&found).contains(&id), "{position} {id}: {found:?}");
        }
        let other = PrivateKey::generate(crate::key::KeyType::P256).unwrap();
        let wrong = build(&right, &other, &ca, ordered.issuer);
        assert!(ids(&check(&wrong, &ordered)).contains(&"issue-key"));
        let wrong = build(&right, &key, &ca, Some(&ca.root));
        assert!(ids(&check(&wrong, &ordered)).contains(&"issue-issuer"));
    }

    #[test]
    fn each_way_to_be_a_wrong_ca_is_found() {
        let ca = Hierarchy::new(&["home.arpa"]);
        let key = key();
        let now = crate::pki::test_ca::now();
        let permit = &ca.config.permit;
        let spki = key.public_key_der();
        let root = profile::root(&ca.config, "R9", &key, now).unwrap();
        let below = profile::intermediate(&ca.config, "I9", &key, &ca.root, now).unwrap();
        let table: [(&str, Change); 8] = [
            ("issue-basic-constraints", |p| {
                p.is_ca = IsCa::Ca(Bc::Constrained(3))
            }),
            ("issue-basic-constraints", |p| p.is_ca = IsCa::ExplicitNoCa),
            ("issue-constraints", |p| p.name_constraints = None),
            ("issue-constraints", |p| {
                let constraints = p.name_constraints.as_mut().unwrap();
                constraints.excluded_subtrees.pop();
            }),
            ("issue-key-usage", |p| {
                p.key_usages.push(KeyUsagePurpose::DigitalSignature)
            }),
            ("issue-eku", |p| {
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]
            }),
            ("issue-subject", |p| {
                p.distinguished_name = rcgen::DistinguishedName::new()
            }),
            ("issue-extension", |p| {
                p.subject_alt_names
                    .push(SanType::DnsName("b.test".try_into().unwrap()));
            }),
        ];
        let kinds = [
            (root, Kind::Root { permit }, None),
            (below, Kind::Intermediate { permit }, Some(&ca.root)),
        ];
        for (right, kind, issuer) in kinds {
            let ordered = Ordered {
                kind,
                spki: &spki,
                issuer,
                not_before: right.not_before,
                not_after: right.not_after,
            };
            let found =
                |params: &CertificateParams| check(&build(params, &key, &ca, issuer), &ordered);
            assert_eq!(ids(&found(&right)), [""; 0]);
            for (position, (id, change)) in table.into_iter().enumerate() {
                let mut params = right.clone();
                change(&mut params);
                let found = found(&params);
                assert!(ids(&found).contains(&id), "{position} {id}: {found:?}");
            }
        }
    }
}
