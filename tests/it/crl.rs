//! Revocation lists, as others understand them.

use std::path::PathBuf;

use certmint::bundle::Certificate;
use certmint::clock::{Clock as _, Duration, SystemClock, Timestamp};
use certmint::identifier::Identifier;
use certmint::key::{KeyType, PrivateKey};
use certmint::pki::crl::{self, CrlIssuer, CrlStatus};
use certmint::pki::ledger::{Entry, Ledger, Reason, Role};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyUsagePurpose, SerialNumber};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, RevocationOptionsBuilder};

use crate::support::{TestEnv, tool};

/// A hierarchy on disk with two leaves, the second of them revoked.
struct Scene {
    env: TestEnv,
    now: Timestamp,
    root: Certificate,
    intermediate: Certificate,
    key: PrivateKey,
    good: Certificate,
    revoked: Certificate,
    ledger: Ledger,
}

impl Scene {
    fn new(kind: KeyType) -> Self {
        let env = TestEnv::new();
        let now = SystemClock.now();
        let key = || PrivateKey::generate(kind).unwrap();
        let read = |made: rcgen::Certificate| Certificate::from_der(made.der()).unwrap();
        let (root_key, ca_key, leaf_key) = (key(), key(), key());
        let root_params = params("Test Root R1", 1, now);
        let root = root_params.self_signed(&root_key).unwrap();
        let root_issuer = rcgen::Issuer::new(root_params, &root_key);
        let ca_params = params("Test Intermediate I1", 2, now);
        let intermediate = ca_params.signed_by(&ca_key, &root_issuer).unwrap();
        let issuer = rcgen::Issuer::new(ca_params, &ca_key);
        let leaf = |name: &str, serial| {
            let mut params = params(name, serial, now);
            params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            read(params.signed_by(&leaf_key, &issuer).unwrap())
        };
        let (good, revoked) = (leaf("good.test", 3), leaf("revoked.test", 4));
        let (root, intermediate) = (read(root), read(intermediate));
        for (name, certificate) in [
            ("root.pem", &root),
            ("intermediate.pem", &intermediate),
            ("good.pem", &good),
            ("revoked.pem", &revoked),
        ] {
            env.write(name, certificate.to_pem());
        }
        env.write("state/ca/ca.json", "{}");
        let ledger = Ledger::open(&env.state().join("ca/ca.sqlite")).unwrap();
        ledger.record(&[entry(&good), entry(&revoked)]).unwrap();
        Self {
            env,
            now,
            root,
            intermediate,
            key: ca_key,
            good,
            revoked,
            ledger,
        }
    }

    fn issue(&self) -> CrlStatus {
        CrlIssuer {
            home: &self.env.state(),
            name: "I1",
            certificate: &self.intermediate,
            key: &self.key,
        }
        .issue(&self.ledger, self.now, crl::DEFAULT_LIFE)
        .unwrap()
    }

    fn revoke(&self, reason: Reason) {
        let serial = self.revoked.serial();
        self.ledger.revoke(serial, reason, self.now).unwrap();
    }

    fn list(&self, extension: &str) -> PathBuf {
        self.env.state().join("ca/crl/I1").with_extension(extension)
    }
}

/// A CA with all that a verifier asks for; changed for leaves.
fn params(name: &str, serial: u64, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(0x4000_0000_0000_0000 | serial));
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(7);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Test");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn entry(certificate: &Certificate) -> Entry {
    Entry {
        serial: certificate.serial().to_vec(),
        issuer: "I1".to_owned(),
        role: Role::Leaf,
        id: None,
        names: certificate.names().iter().map(Identifier::clone).collect(),
        subject: certificate.subject().to_owned(),
        usage: "server".to_owned(),
        key_type: "p256".to_owned(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        issued_at: certificate.not_before(),
        spki_sha256: certificate.spki_sha256_hex(),
        der: certificate.der().to_vec(),
        revoked: None,
    }
}

#[test]
fn openssl_accepts_a_list_and_acts_on_it() {
    let Some(openssl) = tool("openssl") else {
        return;
    };
    for kind in [
        KeyType::P256,
        KeyType::P384,
        KeyType::Rsa2048,
        KeyType::Ed25519,
    ] {
        let scene = Scene::new(kind);
        let list = scene.list("crl.pem");
        let list = list.to_str().unwrap();
        let run = |args: &[&str]| scene.env.command(&openssl, args).run();
        let verify = |leaf: &str| {
            run(&[
                "verify",
                "-x509_strict",
                "-crl_check",
                "-CRLfile",
                list,
                "-CAfile",
                "root.pem",
                "-untrusted",
                "intermediate.pem",
                leaf,
            ])
        };
        scene.issue();
        let _ = verify("good.pem").success();
        let _ = verify("revoked.pem").success();
        scene.revoke(Reason::KeyCompromise);
        scene.issue();
        let _ = verify("good.pem").success();
        let refused = verify("revoked.pem").code(2);
        assert!(
            refused.stderr().contains("certificate revoked"),
            "{}",
            refused.stderr()
        );

        let shown = run(&[
            "crl",
            "-in",
            list,
            "-CAfile",
            "intermediate.pem",
            "-verify",
            "-noout",
            "-text",
        ]);
        let shown = shown.success();
        assert!(
            shown.stderr().contains("verify OK"),
            "{kind}: {}",
            shown.stderr()
        );
        for line in [
            "X509v3 CRL Number: \n                2\n",
            "Key Compromise",
            "4000000000000004",
        ] {
            assert!(
                shown.stdout().contains(line),
                "{kind}: {line} in {}",
                shown.stdout()
            );
        }
    }
}

#[test]
fn webpki_accepts_a_list_and_acts_on_it() {
    let scene = Scene::new(KeyType::P256);
    scene.revoke(Reason::Unspecified);
    scene.issue();
    let der = std::fs::read(scene.list("crl")).unwrap();
    let list = webpki::BorrowedCertRevocationList::from_der(&der).unwrap();
    let lists = [&list.to_owned().unwrap().into()];
    let options = RevocationOptionsBuilder::new(&lists)
        .unwrap()
        .with_depth(webpki::RevocationCheckDepth::EndEntity)
        .with_expiration_policy(webpki::ExpirationPolicy::Enforce)
        .build();
    let anchor = webpki::anchor_from_trusted_cert(scene.root.der()).unwrap();
    let verify = |leaf: &Certificate| {
        let seconds = u64::try_from(scene.now.unix_timestamp()).unwrap();
        EndEntityCert::try_from(leaf.der())
            .unwrap()
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                std::slice::from_ref(&anchor),
                &[CertificateDer::clone(scene.intermediate.der())],
                UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
                KeyUsage::server_auth(),
                Some(options),
                None,
            )
            .map(drop)
    };
    verify(&scene.good).unwrap();
    assert_eq!(verify(&scene.revoked), Err(webpki::Error::CertRevoked));
}

#[test]
fn java_reads_and_verifies_a_list() {
    let Some(keytool) = tool("keytool") else {
        return;
    };
    let scene = Scene::new(KeyType::P256);
    scene.revoke(Reason::Superseded);
    scene.issue();
    let store = ["-keystore", "trust.p12", "-storepass", "changeit"];
    let import = [
        "-importcert",
        "-noprompt",
        "-alias",
        "i1",
        "-file",
        "intermediate.pem",
    ];
    let run = |args: &[&str]| scene.env.command(&keytool, args.iter().chain(&store)).run();
    let _ = run(&import).success();
    let list = scene.list("crl");
    let shown = run(&["-printcrl", "-file", list.to_str().unwrap()]).success();
    for line in [
        "Verified by i1",
        "CRL Number:     01",
        "Reason Code: SUPERSEDED",
    ] {
        assert!(shown.stdout().contains(line), "{}", shown.stdout());
    }
}
