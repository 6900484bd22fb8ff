//! The private CA, judged by OpenSSL and by rustls's verifier.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use certmint::bundle::{Certificate, to_pem};
use certmint::clock::{Clock, Duration, SystemClock, Timestamp};
use certmint::identifier::{Identifier, NameConstraints};
use certmint::issuer::{Profile, Usage};
use certmint::key::{KeyType, Passphrase, PrivateKey};
use certmint::pki::{
    Authority, CaName, CaPaths, InitOutcome, InitRequest, KeyLocation, PrivateCa,
    RotateIntermediate, RotateRoot, finish_root_rotation, init, rotate_intermediate, rotate_root,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::support::{Output, TestEnv, tool};

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

pub(crate) fn request() -> InitRequest {
    InitRequest::new(CaName::try_from("Test".to_owned()).unwrap())
}

pub(crate) fn make(env: &TestEnv, request: &InitRequest) -> InitOutcome {
    init(&env.state(), request, now()).unwrap()
}

pub(crate) fn open(env: &TestEnv) -> PrivateCa {
    PrivateCa::open(&env.state(), None, Arc::new(SystemClock)).unwrap()
}

pub(crate) fn permit(subtrees: &[&str]) -> NameConstraints {
    NameConstraints::new(subtrees.iter().map(|s| s.parse().unwrap()).collect())
}

pub(crate) fn profile(names: &[&str], usage: Usage) -> Profile {
    Profile {
        names: names
            .iter()
            .map(|n| Identifier::parse(n).unwrap())
            .collect(),
        key_type: KeyType::P256,
        usage,
        lifetime_seconds: None,
    }
}

fn secret(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

/// `openssl verify -x509_strict`, as Python ≥ 3.13 does.
fn openssl_verify(env: &TestEnv, roots: &Path, chain: &[Certificate], purpose: &str) -> Output {
    let leaf = env.write("verify/leaf.pem", to_pem(&chain[..1]));
    let above = env.write("verify/above.pem", to_pem(&chain[1..]));
    env.command("openssl", ["verify", "-x509_strict", "-purpose", purpose])
        .arg("-CAfile")
        .arg(roots)
        .arg("-untrusted")
        .arg(&above)
        .arg(&leaf)
        .run()
}

/// rustls's verifier, at `moment`.
fn rustls_verify(
    roots: &[&Certificate],
    chain: &[Certificate],
    usage: Usage,
    moment: Timestamp,
) -> Result<(), webpki::Error> {
    let anchors: Vec<_> = roots
        .iter()
        .map(|root| webpki::anchor_from_trusted_cert(root.der()).unwrap())
        .collect();
    let above: Vec<CertificateDer<'_>> = chain[1..].iter().map(|c| c.der().clone()).collect();
    let seconds = u64::try_from(moment.unix_timestamp()).unwrap();
    let usage = match usage {
        Usage::Server | Usage::Both => webpki::KeyUsage::server_auth(),
        Usage::Client => webpki::KeyUsage::client_auth(),
    };
    let leaf = webpki::EndEntityCert::try_from(chain[0].der())?;
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &above,
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
        usage,
        None,
        None,
    )?;
    for name in chain[0].names() {
        if let (Identifier::Dns(_) | Identifier::Ip(_), Ok(name)) =
            (name, ServerName::try_from(name.to_string()))
        {
            leaf.verify_is_valid_for_subject_name(&name)?;
        }
    }
    Ok(())
}

fn root_file(env: &TestEnv, root: &Certificate) -> PathBuf {
    env.write(format!("roots/{}.pem", root.sha256_hex()), root.to_pem())
}

/// Every shape of leaf that there is, within `home.arpa` and `10.0.0.0/8`.
fn shapes() -> Vec<(Vec<String>, Usage)> {
    let long = format!("{}.{}.home.arpa", "a".repeat(60), "b".repeat(60));
    let many: Vec<String> = (0..100).map(|n| format!("h{n}.home.arpa")).collect();
    let words = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    vec![
        (words(&["www.home.arpa"]), Usage::Server),
        (words(&["10.0.0.1"]), Usage::Server),
        (words(&["bücher.home.arpa", "www.home.arpa"]), Usage::Both),
        (words(&["*.home.arpa", "home.arpa"]), Usage::Server),
        (words(&["www.home.arpa", "10.0.0.1"]), Usage::Server),
        (words(&["ada@home.arpa"]), Usage::Client),
        (words(&["ada@home.arpa", "www.home.arpa"]), Usage::Both),
        (words(&["spiffe://home.arpa/ns/a"]), Usage::Both),
        (vec![long], Usage::Server),
        (many, Usage::Server),
    ]
}

/// Issues leaves of these shapes and shows them to both verifiers.
fn verify_all(env: &TestEnv, key: &PrivateKey, shapes: &[(Vec<String>, Usage)]) {
    let ca = open(env);
    let authority = ca.authority();
    let root = &authority.roots()[0].certificate;
    let roots = authority.paths().root_export();
    for (names, usage) in shapes {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let wanted = profile(&names, *usage);
        let key = PrivateKey::from_pem(key.to_pem().as_bytes(), None).unwrap();
        let bundle = ca.issue_now(&wanted, key).unwrap();
        let purpose = match usage {
            Usage::Client => "sslclient",
            Usage::Server | Usage::Both => "sslserver",
        };
        let _ = openssl_verify(env, &roots, bundle.chain(), purpose).success();
        rustls_verify(&[root], bundle.chain(), *usage, now()).unwrap();
        assert_eq!(bundle.leaf().names(), wanted.names);
    }
}

#[test]
fn leaves_of_every_shape_pass_openssl_strict_and_rustls() {
    if tool("openssl").is_none() {
        return;
    }
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let env = TestEnv::new();
    make(&env, &request());
    let mut all = shapes();
    let v6 = ["2001:db8::1", "::1"].map(str::to_owned).to_vec();
    all.push((v6, Usage::Server));
    verify_all(&env, &key, &all);
    for permitted in [
        &["home.arpa", "10.0.0.0/8"][..],
        &["home.arpa", "10.0.0.0/8", "fd00::/8"],
    ] {
        let env = TestEnv::new();
        let mut request = request();
        request.permit = permit(permitted);
        make(&env, &request);
        verify_all(&env, &key, &shapes());
    }
}

#[test]
fn keys_of_every_kind_sign_and_are_signed() {
    if tool("openssl").is_none() {
        return;
    }
    let env = TestEnv::new();
    make(&env, &request());
    for kind in KeyType::ALL {
        let key = PrivateKey::generate(kind).unwrap();
        verify_all(&env, &key, &shapes()[..2]);
        // RSA of more bits differs only in how long it takes to be made.
        if !matches!(kind, KeyType::Rsa3072 | KeyType::Rsa4096) {
            let env = TestEnv::new();
            let mut request = request();
            request.key_type = kind;
            make(&env, &request);
            verify_all(&env, &key, &shapes()[..2]);
        }
    }
}

#[test]
fn openssl_and_rustls_refuse_what_an_intermediate_forges_outside_its_constraints() {
    if tool("openssl").is_none() {
        return;
    }
    for (permitted, outside) in [
        (
            &["home.arpa", "10.0.0.0/8"][..],
            &["evil.test", "11.0.0.1", "::1"][..],
        ),
        (&["home.arpa"], &["evil.test", "10.0.0.1", "::1"]),
        (&["10.0.0.0/8"], &["home.arpa", "11.0.0.1", "::1"]),
    ] {
        let env = TestEnv::new();
        let mut request = request();
        request.permit = permit(permitted);
        let made = make(&env, &request);
        let authority = made.authority;
        let root = &authority.roots()[0].certificate;
        for name in outside {
            let refused = open(&env)
                .issue_now(
                    &profile(&[name], Usage::Server),
                    PrivateKey::generate(KeyType::P256).unwrap(),
                )
                .unwrap_err();
            assert_eq!(refused.to_string(), "the certificate was refused");

            let forged = forge(&authority, name);
            let chain = [forged, authority.active().certificate.clone()];
            let roots = authority.paths().root_export();
            let out = openssl_verify(&env, &roots, &chain, "sslserver");
            let told = format!("{}{}", out.stdout(), out.stderr());
            assert!(told.contains("subtree violation"), "{name}: {told}");
            let refused = rustls_verify(&[root], &chain, Usage::Server, now()).unwrap_err();
            assert_eq!(refused, webpki::Error::NameConstraintViolation, "{name}");
        }
    }
}

/// What a thief of the intermediate's key would make.
fn forge(authority: &Authority, name: &str) -> Certificate {
    let active = authority.active();
    let KeyLocation::Here { path, .. } = &active.key else {
        panic!("the key is not here")
    };
    let pem = std::fs::read(path).unwrap();
    let signer = PrivateKey::from_pem(&pem, None).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(active.certificate.der(), &signer).unwrap();
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = now() - Duration::HOUR;
    params.not_after = now() + Duration::HOUR;
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let forged = params.signed_by(&key, &issuer).unwrap();
    Certificate::from_der(forged.der()).unwrap()
}

#[test]
fn during_a_root_rotation_old_and_new_clients_verify_the_same_chain() {
    if tool("openssl").is_none() {
        return;
    }
    let env = TestEnv::new();
    let mut request = request();
    request.permit = permit(&["home.arpa"]);
    make(&env, &request);
    // Opened before, as a server that runs for years.
    let ca = open(&env);
    let wanted = profile(&["www.home.arpa"], Usage::Server);
    let issue = || {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        ca.issue_now(&wanted, key).unwrap()
    };
    let before = issue();

    let rotated = rotate_root(&env.state(), &RotateRoot::default(), now()).unwrap();
    assert_eq!(
        (rotated.root.as_str(), rotated.intermediate.as_str()),
        ("R2", "I2")
    );
    let roots: Vec<Certificate> = rotated
        .authority
        .roots()
        .iter()
        .map(|r| r.certificate.clone())
        .collect();
    let after = issue();
    assert_eq!(after.chain().len(), 3, "leaf, I2 and R2 by R1");
    assert!(
        ca.authority()
            .superseded(before.leaf())
            .unwrap()
            .contains("R2")
    );
    assert_eq!(ca.authority().superseded(after.leaf()), None);
    for root in &roots {
        let file = root_file(&env, root);
        let _ = openssl_verify(&env, &file, after.chain(), "sslserver").success();
        rustls_verify(&[root], after.chain(), Usage::Server, now()).unwrap();
    }
    // What was issued before goes on for whoever has the old root.
    let export = rotated.authority.paths().root_export();
    assert_eq!(
        Certificate::parse_pem(&std::fs::read(&export).unwrap())
            .unwrap()
            .len(),
        2
    );
    let _ = openssl_verify(&env, &export, before.chain(), "sslserver").success();

    let finished = finish_root_rotation(&env.state(), now()).unwrap();
    let exported = Certificate::parse_pem(&std::fs::read(&export).unwrap()).unwrap();
    assert_eq!(exported, &roots[1..]);
    assert_eq!(finished.chain_above_leaf(now()).len(), 1);
    let last = issue();
    let file = root_file(&env, &roots[1]);
    let _ = openssl_verify(&env, &file, last.chain(), "sslserver").success();
    let file = root_file(&env, &roots[0]);
    let _ = openssl_verify(&env, &file, last.chain(), "sslserver").code(2);
}

#[test]
fn two_root_rotations_in_a_row_keep_the_oldest_clients() {
    if tool("openssl").is_none() {
        return;
    }
    let env = TestEnv::new();
    make(&env, &request());
    for _ in 0..2 {
        rotate_root(&env.state(), &RotateRoot::default(), now()).unwrap();
    }
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let bundle = open(&env)
        .issue_now(&profile(&["a.test"], Usage::Server), key)
        .unwrap();
    assert_eq!(bundle.chain().len(), 4);
    for root in Authority::open(&env.state()).unwrap().roots() {
        let file = root_file(&env, &root.certificate);
        let _ = openssl_verify(&env, &file, bundle.chain(), "sslserver").success();
        rustls_verify(&[&root.certificate], bundle.chain(), Usage::Server, now()).unwrap();
    }
}

#[test]
fn each_intermediate_has_the_chain_for_everybody_first_and_others_by_root() {
    if tool("openssl").is_none() {
        return;
    }
    let env = TestEnv::new();
    make(&env, &request());
    let home = env.state();
    let ca = open(&env);
    let issue = || {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let bundle = ca.issue_now(&profile(&["a.test"], Usage::Server), key);
        bundle.unwrap().leaf().clone()
    };
    // A leaf of each intermediate; which roots each of its chains leads to.
    let mut leaves = vec![issue()];
    let check = |leaves: &[Certificate], expected: &[&[&[&str]]]| {
        let authority = Authority::open(&home).unwrap();
        for (n, (leaf, expected)) in leaves.iter().zip(expected).enumerate() {
            let name = format!("I{}", n + 1);
            let chains = authority.chains_above(&name, now());
            assert_eq!(chains.len(), expected.len(), "{name}");
            for (chain, expected) in chains.iter().zip(*expected) {
                let whole = [std::slice::from_ref(leaf), chain].concat();
                for root in authority.roots() {
                    let leads = expected.contains(&root.name.as_str());
                    let file = root_file(&env, &root.certificate);
                    let run = openssl_verify(&env, &file, &whole, "sslserver");
                    let _ = run.code(if leads { 0 } else { 2 });
                    let roots = [&root.certificate];
                    let verified = rustls_verify(&roots, &whole, Usage::Server, now());
                    assert_eq!(verified.is_ok(), leads, "{name} {}", root.name);
                }
            }
        }
        let active = authority.active();
        let everybodys = authority.chains_above(&active.name, now()).swap_remove(0);
        assert_eq!(authority.chain_above_leaf(now()), everybodys);
    };
    check(&leaves, &[&[&["R1"]]]);
    rotate_root(&home, &RotateRoot::default(), now()).unwrap();
    leaves.push(issue());
    check(&leaves, &[&[&["R1"]], &[&["R1", "R2"], &["R2"]]]);
    rotate_intermediate(&home, &RotateIntermediate::default(), now()).unwrap();
    leaves.push(issue());
    rotate_root(&home, &RotateRoot::default(), now()).unwrap();
    leaves.push(issue());
    let below_r2: &[&[&str]] = &[&["R1", "R2"], &["R2"]];
    let below_r3: &[&[&str]] = &[&["R1", "R2", "R3"], &["R3"], &["R2", "R3"]];
    check(&leaves, &[&[&["R1"]], below_r2, below_r2, below_r3]);
    let authority = finish_root_rotation(&home, now()).unwrap();
    check(&leaves, &[&[&["R1"]], &[&["R2"]], &[&["R2"]], &[&["R3"]]]);

    assert_eq!(authority.intermediate("I2").unwrap().issuer, "R2");
    for unknown in ["I5", "", "../I1", "R1"] {
        assert!(authority.intermediate(unknown).is_none());
        assert!(authority.chains_above(unknown, now()).is_empty());
    }
}

#[test]
fn openssl_reads_the_encrypted_keys_and_the_root_key_kept_elsewhere() {
    if tool("openssl").is_none() {
        return;
    }
    let env = TestEnv::new();
    let mut request = request();
    request.root_passphrase = Some(secret("root's"));
    request.intermediate_passphrase = Some(secret("intermediate's"));
    request.root_out = Some(env.path("usb"));
    let made = make(&env, &request);
    let root_key = made.root_key.unwrap();
    let paths = CaPaths::new(&env.state());
    assert!(!paths.roots().join("R1/key.pem").exists());
    let active = &made.authority.active().key;
    let KeyLocation::Here {
        path,
        encrypted: true,
    } = active
    else {
        panic!("{active:?}")
    };
    for (file, word) in [(&root_key, "root's"), (path, "intermediate's")] {
        let check = |word: &str| {
            env.command("openssl", ["pkey", "-noout", "-passin"])
                .arg(format!("pass:{word}"))
                .arg("-in")
                .arg(file)
                .run()
        };
        let _ = check(word).success();
        let _ = check("wrong").code(1);
    }

    // Everything but rotation works without the root's key.
    let passphrase = secret("intermediate's");
    let ca = PrivateCa::open(&env.state(), Some(&passphrase), Arc::new(SystemClock)).unwrap();
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    ca.issue_now(&profile(&["a.test"], Usage::Server), key)
        .unwrap();

    let mut rotation = RotateIntermediate {
        root_passphrase: Some(secret("root's")),
        passphrase: Some(passphrase),
        ..Default::default()
    };
    let refused = rotate_intermediate(&env.state(), &rotation, now()).unwrap_err();
    let name = root_key.file_name().unwrap().to_str().unwrap();
    assert!(
        refused.hint().unwrap().contains(name),
        "{:?}",
        refused.hint()
    );
    rotation.root_key = Some(root_key);
    let rotated = rotate_intermediate(&env.state(), &rotation, now()).unwrap();
    assert_eq!(rotated.authority.active().name, "I2");
    // The server that was opened before follows with its passphrase.
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let bundle = ca
        .issue_now(&profile(&["b.test"], Usage::Server), key)
        .unwrap();
    assert!(bundle.leaf().issuer().contains("Intermediate I2"));
}
