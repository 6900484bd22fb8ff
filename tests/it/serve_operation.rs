//! A server under a service manager: sockets that are passed on, the watchdog, and going
//! on as an ordinary user.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::{TestEnv, tool};

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Addresses that were free a moment ago.
fn free() -> [SocketAddr; 2] {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap())
}

#[test]
fn a_socket_that_systemd_opened_is_served_on() {
    let Some(activate) = tool("systemd-socket-activate") else {
        return;
    };
    let env = TestEnv::new();
    let [address, _] = free();
    let listen = format!("--listen={address}");
    let https = address.to_string();
    let under = [activate.to_str().unwrap(), &listen, "--fdname=web"];
    let mut server = env
        .certmint(["serve-insecure", "--http", &https])
        .under(under)
        .spawn();
    server.await_line("Listening on");
    // It is started by the first client.
    assert!(get(address, "/").starts_with("HTTP/1.1 200"));
    let said = server.await_line("serving http://");
    assert!(said.contains(&https), "{said}");
    let _ = server.terminate().success();
}

#[test]
fn a_socket_that_nobody_serves_on_is_an_error_that_names_it() {
    let Some(activate) = tool("systemd-socket-activate") else {
        return;
    };
    let env = TestEnv::new();
    let [address, other] = free();
    let listen = [address, other].map(|address| format!("--listen={address}"));
    let under = [
        activate.to_str().unwrap(),
        &listen[0],
        &listen[1],
        "--fdname=web:stray",
    ];
    let mut server = env
        .certmint(["serve-insecure", "--http", &address.to_string()])
        .under(under)
        .spawn();
    server.await_line("Listening on");
    drop(TcpStream::connect(address));
    let said = server.await_line("error: ");
    assert!(said.contains(&format!("{other} (stray)")), "{said}");
    assert!(!said.contains("web"), "{said}");
    let _ = server.wait(Duration::from_secs(30)).code(1);
}

#[test]
fn the_watchdog_hears_of_it_while_it_serves() {
    let env = TestEnv::new();
    let path = env.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut server = env
        .certmint(["serve-insecure", "--http", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000")
        .spawn();
    server.await_line("serving http://");
    let mut heard = 0;
    while heard < 3 {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        heard += usize::from(&message[..length] == b"WATCHDOG=1");
    }
    let _ = server.terminate().success();
}

fn as_nobody(env: &TestEnv, address: &str) -> crate::support::Run {
    let home = env.state();
    let inside = |name: &str| home.join(name).to_str().unwrap().to_owned();
    env.certmint([
        "serve-ca",
        "localhost",
        "--user",
        "nobody",
        "--https",
        address,
    ])
    .args(["--admin-socket", &inside("admin.sock")])
    .args(["--access-log", &inside("access.log")])
    .args(["--events", &inside("events")])
}

#[test]
fn once_the_ports_are_bound_every_thread_is_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return crate::support::tools::skip("only root can become another user");
    }
    let Some(chown) = tool("chown") else { return };
    let env = TestEnv::with_ca();
    let home = env.state();
    let above = home.parent().unwrap();
    // Others may pass through the test's directory, as through /var/lib.
    let _ = env
        .command(tool("chmod").unwrap(), ["711", above.to_str().unwrap()])
        .run()
        .success();
    // The state is root's still.
    let refused = as_nobody(&env, "127.0.0.1:0").run().code(1);
    let words = refused.stderr();
    assert!(
        words.contains("the user `nobody` cannot work in"),
        "{words}"
    );
    assert!(words.contains("chown -R nobody: "), "{words}");
    let args = ["-R", "nobody:", home.to_str().unwrap()];
    let _ = env.command(chown, args).run().success();
    // A port that only root may bind.
    let [one, _] = free();
    let address = format!("127.0.0.1:{}", 600 + one.port() % 400);
    let mut server = as_nobody(&env, &address).spawn();
    let bound = server.await_address("serving https://");
    assert_eq!(bound.to_string(), address);
    let mut threads = 0;
    for task in std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = |name: &str| {
            let mut lines = status.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .trim()
                .to_owned()
        };
        let ids = ["65534"; 4].join("\t");
        assert_eq!((line("Uid:"), line("Gid:")), (ids.clone(), ids));
        assert_eq!(line("Groups:"), "65534");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(set), "0000000000000000", "{set}");
        }
        threads += 1;
    }
    assert!(threads >= 4, "runtime, keeper and logs: {threads}");
    // Events are written by a thread of their own.
    let events = loop {
        let events = env.read("state/events");
        if events.lines().count() >= 2 {
            break events;
        }
        std::thread::yield_now();
    };
    let names: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|event| event["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["certificate-issued", "ready"]);
    for file in ["admin.sock", "access.log", "events"] {
        let found = std::fs::metadata(home.join(file)).unwrap();
        assert_eq!(
            (found.uid(), found.mode() & 0o777),
            (65534, 0o600),
            "{file}"
        );
    }
    let _ = server.terminate().success();
    let events = env.read("state/events");
    assert!(
        events.ends_with("\n") && events.lines().count() == 4,
        "{events}"
    );
    assert!(
        events.lines().last().unwrap().contains("\"stopped\""),
        "{events}"
    );
    assert!(!home.join("admin.sock").exists());
}
