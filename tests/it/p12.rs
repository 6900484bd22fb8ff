//! PKCS#12 files, as others read and write them.

use certmint::bundle::{CertBundle, Certificate};
use certmint::clock::{Clock as _, Duration, SystemClock};
use certmint::key::{KeyType, Passphrase, PrivateKey};
use certmint::pki::p12::{self, P12Error};

use crate::support::{TestEnv, tool};

const SECRET: &str = "correct horse";

/// A leaf and its issuer.
fn bundle(kind: KeyType) -> CertBundle {
    let now = SystemClock.now();
    let params = |name: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.not_before = now;
        params.not_after = now + Duration::days(7);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params
    };
    let (ca_key, key) = (
        PrivateKey::generate(KeyType::P256).unwrap(),
        PrivateKey::generate(kind).unwrap(),
    );
    let mut ca_params = params("Test Intermediate I1");
    ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca_params, &ca_key);
    let leaf = params("a.test").signed_by(&key, &issuer).unwrap();
    let chain = [leaf, ca].map(|made| Certificate::from_der(made.der()).unwrap());
    CertBundle::new(key, chain.to_vec()).unwrap()
}

fn secret() -> Passphrase {
    Passphrase::new(SECRET.to_owned()).unwrap()
}

#[test]
fn openssl_reads_what_is_written() {
    let Some(openssl) = tool("openssl") else {
        return;
    };
    for kind in [KeyType::P256, KeyType::Ed25519, KeyType::Rsa2048] {
        let env = TestEnv::new();
        let bundle = bundle(kind);
        env.write("a.p12", p12::encode(&bundle, "a.test", &secret()).unwrap());
        let pass = format!("pass:{SECRET}");
        let args = [
            "pkcs12", "-in", "a.p12", "-passin", &pass, "-nodes", "-info",
        ];
        let output = env.command(&openssl, args).run().success();
        let text = output.stdout().as_bytes();
        let again = CertBundle::from_pem(text, text, None).unwrap();
        assert_eq!(again.chain(), bundle.chain(), "{kind}");
        assert!(output.stdout().contains("friendlyName: a.test"));
        let info = output.stderr();
        assert!(info.contains("MAC: sha256, Iteration 600000"), "{info}");
        let cipher = "PBES2, PBKDF2, AES-256-CBC, Iteration 600000, PRF hmacWithSHA256";
        assert_eq!(info.matches(cipher).count(), 2, "{info}");
    }
}

#[test]
fn java_reads_what_is_written() {
    let Some(keytool) = tool("keytool") else {
        return;
    };
    let env = TestEnv::new();
    let bundle = bundle(KeyType::P256);
    let file = p12::encode(&bundle, "a.test", &secret()).unwrap();
    env.write("a.p12", file);
    let list = |secret: &str| {
        let args = ["-list", "-v", "-keystore", "a.p12", "-storepass", secret];
        env.command(&keytool, args).run()
    };
    let output = list(SECRET).success();
    let text = output.stdout();
    assert!(text.contains("Alias name: a.test"), "{text}");
    assert!(text.contains("Entry type: PrivateKeyEntry"), "{text}");
    assert!(text.contains("Certificate chain length: 2"), "{text}");
    assert!(text.contains(&bundle.leaf().fingerprint()), "{text}");
    let _ = list("wrong horse").code(1);
    // Listing reads certificates alone; this opens the key as well.
    let args = [
        "-importkeystore",
        "-srckeystore",
        "a.p12",
        "-srcstorepass",
        SECRET,
        "-destkeystore",
        "b.p12",
        "-deststorepass",
        SECRET,
        "-noprompt",
    ];
    let _ = env.command(&keytool, args).run().success();
    let (key, chain) =
        p12::decode(&std::fs::read(env.path("b.p12")).unwrap(), Some(&secret())).unwrap();
    let again = CertBundle::new(key.unwrap(), chain).unwrap();
    assert_eq!(again.chain(), bundle.chain());
}

#[test]
fn what_openssl_writes_is_read_new_and_old() {
    let Some(openssl) = tool("openssl") else {
        return;
    };
    let env = TestEnv::new();
    let bundle = bundle(KeyType::P256);
    env.write("all.pem", bundle.combined_pem().as_bytes());
    env.write("leaf.pem", bundle.leaf().to_pem());
    let pass = format!("pass:{SECRET}");
    let export = |more: &[&str]| {
        let args = ["pkcs12", "-export", "-out", "a.p12"];
        let args = args.iter().chain(more);
        let _ = env.command(&openssl, args).run().success();
        std::fs::read(env.path("a.p12")).unwrap()
    };
    for more in [
        &["-in", "all.pem", "-passout", &pass][..],
        &["-in", "all.pem", "-passout", &pass, "-legacy"],
        &["-in", "all.pem", "-passout", &pass, "-nomac"],
        &[
            "-in", "all.pem", "-passout", &pass, "-keypbe", "NONE", "-certpbe", "NONE",
        ],
    ] {
        let (key, chain) = p12::decode(&export(more), Some(&secret())).unwrap();
        let again = CertBundle::new(key.unwrap(), chain).unwrap();
        assert_eq!(again.chain(), bundle.chain(), "{more:?}");
    }
    let file = export(&["-in", "leaf.pem", "-nokeys", "-passout", "pass:"]);
    let (key, chain) = p12::decode(&file, None).unwrap();
    assert!(key.is_none() && chain == bundle.chain()[..1]);
    let file = export(&["-in", "all.pem", "-passout", &pass]);
    assert!(matches!(
        p12::decode(&file, None),
        Err(P12Error::PassphraseNeeded)
    ));
}
