//! Handshakes: versions, names, kinds of key, resumption, hot swap.

use std::io::Write;
use std::sync::Arc;

use certmint::certificates::{CertificateTable, SourceId};
use certmint::key::KeyType;
use certmint::settings::Content;
use rustls::{AlertDescription, HandshakeKind, NamedGroup, ProtocolVersion};

use super::pki::Pki;
use super::site::{Site, anywhere, curl, read_to_close, read_until, source};
use crate::support::{Output, TestEnv, tool};

/// `openssl s_client` to the site, ended by an empty standard input.
fn s_client(env: &TestEnv, site: &Site, args: &[&str]) -> Output {
    s_client_sending(env, site, args, "")
}

pub(super) fn s_client_sending(env: &TestEnv, site: &Site, args: &[&str], input: &str) -> Output {
    let openssl = tool("openssl").unwrap();
    let address = site.address.to_string();
    let root = site.root_pem.to_str().unwrap();
    let always = ["s_client", "-connect", &address, "-CAfile", root];
    let run = env.command(openssl, always.iter().chain(args));
    run.stdin(input).run()
}

/// `localhost` with a key of each kind, RSA and ECDSA.
fn both_kinds(env: &TestEnv) -> Site {
    let site = Site::page(env);
    let both = [KeyType::Rsa2048, KeyType::P256].map(|kind| site.pki.leaf(kind, &["localhost"]));
    site.table.replace(source(), &both).unwrap();
    site
}

#[test]
fn openssl_verifies_the_chain_over_tls_1_2_and_1_3_and_nothing_older() {
    let Some(_) = tool("openssl") else { return };
    let env = TestEnv::new();
    let site = Site::page(&env);
    for (version, cipher) in [
        ("-tls1_2", "Cipher is ECDHE-ECDSA-"),
        ("-tls1_3", "Cipher is TLS_"),
    ] {
        let args = [version, "-servername", "localhost", "-verify_return_error"];
        let out = s_client(&env, &site, &args).success();
        let said = out.stdout();
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(said.contains(cipher), "{said}");
    }
    for args in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"][..],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"][..],
    ] {
        let said = s_client(&env, &site, args);
        assert!(said.stdout().contains("(NONE)"), "{args:?}: {said:?}");
    }
}

/// What a scanner would find: ECDHE and AEAD, and nothing else.
#[test]
fn openssl_finds_only_forward_secret_aead_ciphers_and_strong_groups() {
    let Some(_) = tool("openssl") else { return };
    let env = TestEnv::new();
    let site = both_kinds(&env);
    let agrees = |args: &[&str]| {
        let args = [&["-servername", "localhost"][..], args].concat();
        let said = s_client(&env, &site, &args);
        !said.stdout().contains("Cipher is (NONE)") && said.stdout().contains("Cipher is")
    };
    for cipher in [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ] {
        assert!(agrees(&["-tls1_2", "-cipher", cipher]), "{cipher}");
    }
    for cipher in [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ] {
        assert!(agrees(&["-tls1_3", "-ciphersuites", cipher]), "{cipher}");
    }
    for group in ["X25519", "P-256", "P-384"] {
        for version in ["-tls1_2", "-tls1_3"] {
            // In TLS 1.2 the groups bind an ECDSA key as well.
            let rsa = "ECDHE-RSA-AES128-GCM-SHA256";
            let args = [version, "-groups", group, "-cipher", rsa];
            assert!(agrees(&args), "{version} {group}");
        }
    }
    // Refused: no forward secrecy, no AEAD, anonymous, weak or odd.
    for cipher in [
        "kRSA:@SECLEVEL=0",
        "DHE:@SECLEVEL=0",
        "aNULL:@SECLEVEL=0",
        "eNULL:@SECLEVEL=0",
        "PSK:@SECLEVEL=0",
        "SHA1:@SECLEVEL=0",
        "SHA256:SHA384:!AESGCM:!CHACHA20:@SECLEVEL=0",
        "AESCCM",
        "ARIA:CAMELLIA:@SECLEVEL=0",
    ] {
        assert!(!agrees(&["-tls1_2", "-cipher", cipher]), "{cipher}");
    }
    for args in [
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
        &["-tls1_3", "-groups", "ffdhe2048"],
        &[
            "-tls1_2",
            "-sigalgs",
            "ECDSA+SHA1:RSA+SHA1",
            "-cipher",
            "ALL:@SECLEVEL=0",
        ],
    ] {
        assert!(!agrees(args), "{args:?}");
    }
}

#[test]
fn a_modern_client_gets_tls_1_3_and_a_post_quantum_key_exchange() {
    let env = TestEnv::new();
    let site = Site::page(&env);
    let stream = site.handshake("localhost", "h2").unwrap();
    assert_eq!(
        stream.conn.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    let group = stream.conn.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn an_unknown_name_is_refused_with_unrecognized_name() {
    let env = TestEnv::new();
    let pki = Pki::new();
    let bundle = pki.leaf(KeyType::P256, &["a.test", "*.w.test"]);
    let table = CertificateTable::strict();
    table
        .replace(SourceId::new("a"), std::slice::from_ref(&bundle))
        .unwrap();
    let site = Site::with_table(&env, pki, table, &bundle, anywhere(Content::Page));
    for name in ["a.test", "x.w.test"] {
        site.handshake(name, "http/1.1").unwrap();
    }
    for name in ["b.test", "w.test", "a.b.w.test", "127.0.0.1"] {
        let error = site.handshake(name, "http/1.1").map(|_| ()).unwrap_err();
        let tls = error.get_ref().unwrap().downcast_ref::<rustls::Error>();
        let expected = rustls::Error::AlertReceived(AlertDescription::UnrecognisedName);
        assert_eq!(tls, Some(&expected), "{name}");
    }
}

#[test]
fn a_client_that_names_nobody_gets_the_certificate_of_the_address() {
    let Some(_) = tool("openssl") else { return };
    let env = TestEnv::new();
    let pki = Pki::new();
    let default = pki.leaf(KeyType::P256, &["default.test"]);
    let address = pki.leaf(KeyType::P256, &["address.test", "127.0.0.1"]);
    let table = CertificateTable::with_default(source());
    table
        .replace(source(), std::slice::from_ref(&default))
        .unwrap();
    let site = Site::with_table(&env, pki, table, &default, anywhere(Content::Page));
    let serial = |args: &[&str]| {
        let out = s_client(&env, &site, args);
        let pem = certmint::bundle::Certificate::parse_pem(out.stdout().as_bytes()).unwrap();
        pem[0].serial_hex()
    };
    assert_eq!(serial(&["-noservername"]), default.leaf().serial_hex());
    site.table
        .replace(SourceId::new("ip"), std::slice::from_ref(&address))
        .unwrap();
    assert_eq!(serial(&["-noservername"]), address.leaf().serial_hex());
    let other = ["-servername", "other.test"];
    assert_eq!(serial(&other), default.leaf().serial_hex());
}

#[test]
fn each_client_gets_the_kind_of_key_it_can_verify() {
    let Some(_) = tool("openssl") else { return };
    let env = TestEnv::new();
    let site = both_kinds(&env);
    for (args, expected) in [
        (
            &["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"][..],
            "rsaEncryption",
        ),
        (&["-tls1_3"], "id-ecPublicKey"),
        // The cipher decides in TLS 1.2, whatever the signature schemes say.
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            "rsaEncryption",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            "id-ecPublicKey",
        ),
    ] {
        let args = [&["-servername", "localhost", "-showcerts"][..], args].concat();
        let out = s_client(&env, &site, &args);
        assert!(
            out.stdout().contains(expected),
            "{args:?}: {}",
            out.stdout()
        );
    }
}

#[test]
fn sessions_resume_and_a_swap_reaches_the_next_new_connection() {
    let env = TestEnv::new();
    let site = Site::page(&env);
    let client = Arc::new(site.client("http/1.1"));
    let serial = |stream: &rustls::ClientConnection| {
        let leaf = &stream.peer_certificates().unwrap()[0];
        certmint::bundle::Certificate::from_der(leaf)
            .unwrap()
            .serial_hex()
    };
    let get = "GET / HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n";
    let mut old = site.handshake_with(&client, "localhost").unwrap();
    old.write_all(get.as_bytes()).unwrap();
    let first = read_until(&mut old, "\n}\n");
    assert!(first.contains("\"resumed\": false"), "{first}");

    let mut resumed = site.handshake_with(&client, "localhost").unwrap();
    assert_eq!(resumed.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    resumed.write_all(get.as_bytes()).unwrap();
    assert!(read_until(&mut resumed, "\n}\n").contains("\"resumed\": true"));

    let new = site.pki.leaf(KeyType::P256, &["localhost"]);
    site.table
        .replace(source(), std::slice::from_ref(&new))
        .unwrap();
    let fresh = site.handshake("localhost", "http/1.1").unwrap();
    assert_eq!(serial(&fresh.conn), new.leaf().serial_hex());
    // The connection that was open goes on, on the certificate it began with.
    old.write_all(get.as_bytes()).unwrap();
    let again = read_until(&mut old, "\n}\n");
    assert!(again.contains(&site.leaf.serial_hex()), "{again}");
}

#[test]
fn plain_http_on_the_tls_port_is_sent_to_https() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let site = Site::page(&env);
    let port = site.address.port();
    let plain = format!("http://localhost:{port}/a?b=c");
    let out = curl(&env, &site, &["-i", &plain]).success();
    let said = out.stdout();
    assert!(said.starts_with("HTTP/1.1 308"), "{said}");
    let location = format!("location: https://localhost:{port}/a?b=c\r\n");
    assert!(said.contains(&location), "{said}");
    assert!(said.contains("this port speaks HTTPS"), "{said}");
    let followed = curl(&env, &site, &["-L", &format!("http://localhost:{port}/")]);
    assert!(followed.success().stdout().contains("encrypted with TLS"));
}

#[test]
fn plain_http_is_never_sent_to_a_host_that_is_not_ours() {
    let env = TestEnv::new();
    let pki = Pki::new();
    let bundle = pki.leaf(KeyType::P256, &["a.test"]);
    let table = CertificateTable::strict();
    table
        .replace(SourceId::new("a"), std::slice::from_ref(&bundle))
        .unwrap();
    let site = Site::with_table(&env, pki, table, &bundle, anywhere(Content::Page));
    for (host, status) in [
        ("host: a.test", "308"),
        ("host: A.TEST:80", "308"),
        ("host: evil.test", "400"),
        ("host: a.test@evil.test", "400"),
        ("host: a.test/x", "400"),
        ("host: a.test\r\nhost: evil.test", "400"),
        ("x: y", "400"),
    ] {
        let request = format!("GET //evil.test/ HTTP/1.1\r\n{host}\r\nconnection: close\r\n\r\n");
        let said = site.exchange(&request);
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")),
            "{host}: {said}"
        );
        assert!(!said.contains("https://evil"), "{host}: {said}");
    }
}

#[test]
fn bytes_that_are_neither_tls_nor_http_end_the_connection() {
    let env = TestEnv::new();
    let site = Site::page(&env);
    for bytes in [&b"\x80\x2e\x01\x03\x01"[..], b"\0\0\0\0", b"\xff\xf4"] {
        let mut stream = site.connect();
        stream.write_all(bytes).unwrap();
        assert_eq!(read_to_close(&mut stream), "");
    }
    site.handshake("localhost", "http/1.1").unwrap();
}
