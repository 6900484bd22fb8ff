//! Clients by their addresses, as the real program sees them: over IPv6, and behind a
//! load balancer on the plain port too.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::site::{PATIENCE, read_to_close};
use crate::support::{Server, TestEnv, tool};

/// Both ports on this address, and what comes after the addresses.
fn serve(env: &TestEnv, ip: &str, more: &[&str]) -> (Server, [SocketAddr; 2]) {
    let any = format!("{ip}:0");
    let ports = ["--https", &any, "--http", &any, "--access-log", "access"];
    let names = ["serve-ca", "--init", "localhost", "::1", "127.0.0.1"];
    let run = env.certmint(names).args(ports).args(more);
    let mut server = run.spawn();
    let http = server.await_address("sends clients to https");
    let https = server.await_address("serving https://");
    (server, [http, https])
}

#[test]
fn clients_over_ipv6_are_served_and_known_by_their_address() {
    let Some(curl) = tool("curl") else { return };
    // One address of its own, and all there are, which take IPv4 as well.
    for (listen, clients) in [("[::1]", &["[::1]"][..]), ("[::]", &["[::1]", "127.0.0.1"])] {
        let env = TestEnv::new();
        let (_server, [http, https]) = serve(&env, listen, &[]);
        let root = env.state().join("ca/root.pem");
        let ask = |args: &[&str]| {
            let always = ["-sS", "--max-time", "50", "--cacert"];
            let run = env.command(&curl, always).arg(&root).args(args);
            run.run().success().stdout().to_owned()
        };
        for client in clients {
            let (http, https) = (http.port(), https.port());
            let url = format!("https://{client}:{https}/");
            let page = ask(&["-H", "accept: application/json", &url]);
            let page: Value = serde_json::from_str(&page).unwrap();
            for end in ["client", "server"] {
                let address = page[end].as_str().unwrap();
                assert!(address.starts_with(&format!("{client}:")), "{end}: {page}");
            }
            let url = format!("http://{client}:{http}/x?y");
            let sent = ask(&[
                "-o",
                "/dev/null",
                "-w",
                "%{http_code} %{redirect_url}",
                &url,
            ]);
            assert_eq!(sent, format!("301 https://{client}:{https}/x?y"));
        }
    }
}

/// What `server` answers to a header of the PROXY protocol and a request.
fn through_balancer(server: SocketAddr, header: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let get = "GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream
        .write_all(format!("{header}{get}").as_bytes())
        .unwrap();
    read_to_close(&mut stream)
}

#[test]
fn behind_a_balancer_the_plain_port_counts_and_records_the_clients_it_names() {
    let env = TestEnv::new();
    let behind = ["--proxy-protocol-from", "127.0.0.1/32"];
    let limited = ["--rate-limit", "1/s burst 3"];
    let (server, [http, https]) = serve(&env, "127.0.0.1", &[&behind[..], &limited].concat());
    let from = |client: &str| {
        let header = format!("PROXY TCP6 {client} 2001:db8::ffff 4660 80\r\n");
        through_balancer(http, &header)
    };
    let to = format!("location: https://localhost:{}/x\r\n", https.port());
    // A network that asks too often, each time from another address of it.
    let answers: Vec<String> = (1..30)
        .map(|n| from(&format!("2001:db8:0:1:ffff::{n:x}")))
        .collect();
    let first = &answers[0];
    assert!(
        first.starts_with("HTTP/1.1 301") && first.contains(&to),
        "{first}"
    );
    let limited = |said: &String| said.starts_with("HTTP/1.1 429");
    assert!(answers.iter().any(limited), "{answers:?}");
    let other = from("2001:db8:0:2::1");
    assert!(other.starts_with("HTTP/1.1 301"), "{other}");
    let four = "PROXY TCP4 192.0.2.7 198.51.100.2 4660 80\r\n";
    let said = through_balancer(http, four);
    assert!(said.starts_with("HTTP/1.1 301"), "{said}");
    // The balancer itself must say for whom it speaks.
    assert_eq!(through_balancer(http, ""), "");
    let _ = server.terminate().success();
    let log = env.read("access");
    for client in ["2001:db8:0:1:ffff::1d", "2001:db8:0:2::1", "192.0.2.7"] {
        assert!(log.contains(client), "no {client} in {log}");
    }
    assert!(!log.contains("127.0.0.1 "), "{log}");
}
