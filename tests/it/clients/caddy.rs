//! Caddy: http-01 and tls-alpn-01 at the ports that it serves on, external accounts,
//! and renewal while it runs. It revokes nothing on request.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab::{self, Lab, MAIL};
use crate::support::{Server, tool};

/// Caddy, told to look for what is due every second.
fn start(lab: &Lab, names: &[&str], challenge: &str, more: &Value, ratio: f64) -> Server {
    let other = match challenge {
        "http" => "tls-alpn",
        _ => "http",
    };
    let mut issuer = json!({
        "module": "acme",
        "ca": lab.directory.url,
        "email": MAIL,
        "trusted_roots_pem_files": [lab.directory.tls_root],
        "challenges": { other: { "disabled": true } },
    });
    if !more.is_null() {
        issuer["external_account"] = more.clone();
    }
    let config = json!({
        "admin": { "disabled": true, "config": { "persist": false } },
        "storage": { "module": "file_system", "root": lab.path("caddy/storage") },
        "logging": { "logs": { "default": { "level": "DEBUG" } } },
        "apps": {
            "http": {
                "http_port": lab.directory.options.http01,
                "https_port": lab.directory.options.tls_alpn01,
                "servers": { "it": {
                    "listen": [lab.tls()],
                    "protocols": ["h1", "h2"],
                    "routes": [{
                        "match": [{ "host": names }],
                        "handle": [{ "handler": "static_response", "body": "served" }],
                    }],
                    // For who names no host, as clients of an address do.
                    "tls_connection_policies": [{ "default_sni": names[0] }],
                }},
            },
            "pki": { "certificate_authorities": { "local": { "install_trust": false } } },
            "tls": {
                "automation": {
                    "renew_interval": "1s",
                    "policies": [{
                        "subjects": names,
                        "issuers": [issuer],
                        "renewal_window_ratio": ratio,
                        "disable_ocsp_stapling": true,
                    }],
                },
            },
        },
    });
    let config = lab.env.write("caddy/config.json", config.to_string());
    lab.client("caddy", &["run", "--config"])
        .arg(config)
        .env("XDG_DATA_HOME", lab.env.path("caddy/data"))
        .env("XDG_CONFIG_HOME", lab.env.path("caddy/config"))
        .spawn()
}

/// Obtains, and then renews while it runs, because all of a certificate's life is the
/// time to renew it in. Caddy has one certificate for each name.
#[track_caller]
fn lives(lab: &Lab, how: &str, challenge: &str, names: &[&str]) {
    let address = lab.tls().parse().unwrap();
    let began = Instant::now();
    // For several names at once it registers several times, and may keep the account of
    // one with the key of another: then each of its later requests is refused.
    let (alone, others) = names.split_at(1);
    let mut caddy = start(lab, alone, challenge, &Value::Null, 0.3);
    caddy.await_line("certificate obtained successfully");
    if !others.is_empty() {
        let _ = caddy.terminate().success();
        caddy = start(lab, names, challenge, &Value::Null, 0.3);
    }
    for _ in others {
        caddy.await_line("certificate obtained successfully");
    }
    let first: Vec<String> = names
        .iter()
        .map(|name| lab.seen(address, &[name]))
        .collect();
    let obtained = began.elapsed();
    let _ = caddy.terminate().success();

    // What it has is not obtained again, but it is due at once.
    let began = Instant::now();
    let mut caddy = start(lab, names, challenge, &Value::Null, 0.999_999);
    for _ in names {
        caddy.await_line("certificate renewed successfully");
    }
    let until = Instant::now() + Duration::from_secs(30);
    for (name, first) in names.iter().zip(&first) {
        while lab.seen(address, &[name]) == *first {
            assert!(Instant::now() < until, "{name} is served as before");
        }
    }
    let renewed = began.elapsed();
    let _ = caddy.terminate().success();
    lab::note("caddy", how, [Some(obtained), Some(renewed), None]);
}

#[test]
fn caddy_lives_by_http() {
    let Some(_) = tool("caddy") else { return };
    let Some(lab) = Lab::new() else { return };
    lives(
        &lab,
        "http-01",
        "http",
        &["a.example.test", "b.example.test"],
    );
}

#[test]
fn caddy_lives_by_tls() {
    let Some(_) = tool("caddy") else { return };
    let Some(lab) = Lab::new() else { return };
    lives(
        &lab,
        "tls-alpn-01",
        "tls-alpn",
        &["a.example.test", "b.example.test"],
    );
}

#[test]
fn caddy_obtains_for_an_address() {
    let Some(_) = tool("caddy") else { return };
    let Some(lab) = Lab::new() else { return };
    // By tls-alpn-01 it shows a DNS name where RFC 8738 §6 asks for the address.
    lives(&lab, "http-01, address", "http", &["127.0.0.1"]);
}

#[test]
fn caddy_is_bound_to_an_external_account() {
    let Some(_) = tool("caddy") else { return };
    let Some(lab) = Lab::with(|options| options.eab = true) else {
        return;
    };
    let (kid, hmac) = lab.directory.eab(&lab.env, &[]);
    let eab = json!({ "key_id": kid, "mac_key": hmac });
    let names = ["a.example.test"];
    let mut caddy = start(&lab, &names, "http", &eab, 0.3);
    caddy.await_line("certificate obtained successfully");
    let _ = lab.seen(lab.tls().parse().unwrap(), &names);
}
