//! Strangers that ask for names without end. `CERTMINT_TEST_HOSTILE` is how many,
//! 5,000 by default.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use super::acme::World;
use super::{Scene, has};
use crate::support::client::send_hello;
use crate::support::say;

/// Memory that a process holds, in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits: String = line.unwrap().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn files(scene: &Scene) -> usize {
    let certs = scene.env.state().join("certs");
    fs::read_dir(certs).map_or(0, Iterator::count)
}

/// Asks for `count` names by eight clients, and returns what the last one was told.
fn ask(scene: &Scene, count: usize, name: impl Fn(usize) -> String + Send + Copy) -> Vec<u8> {
    let https = scene.https;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|part| {
                scope.spawn(move || {
                    let mut told = Vec::new();
                    for n in (part..count).step_by(8) {
                        let stream = TcpStream::connect(https).unwrap();
                        stream
                            .set_read_timeout(Some(Duration::from_secs(30)))
                            .unwrap();
                        send_hello(&stream, &name(n));
                        told.clear();
                        let _ = (&stream).take(7).read_to_end(&mut told);
                    }
                    told
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .next_back()
            .unwrap()
    })
}

#[test]
fn names_that_are_not_allowed_cost_no_request_no_file_and_no_memory() {
    let told = std::env::var("CERTMINT_TEST_HOSTILE");
    let count: usize = told.map_or(5000, |count| count.parse().unwrap());
    let Some(world) = World::new() else { return };
    let (scene, mut pebble) = world.serve(&[]);
    let pid = scene.server.pid();
    ask(&scene, 1000, |n| format!("warm{n}.evil.test"));
    let (before, requests) = (resident(pid), pebble.log().lines().count());
    let begun = std::time::Instant::now();
    let alert = ask(&scene, count, |n| format!("n{n}.evil.test"));
    let took = begun.elapsed();
    assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 112], "unrecognized_name");
    let after = resident(pid);
    say(&format!(
        "{count} hostile names: {took:?}, {} KiB more memory",
        after.saturating_sub(before)
    ));
    assert!(after < before + 4096, "{before} KiB, then {after} KiB");
    assert_eq!(pebble.log().lines().count(), requests, "the CA was asked");
    assert_eq!(files(&scene), 0);
    assert!(scene.decisions("refused_not_listed") >= count as u64);
    let events = scene.events().len() as u64;
    assert!(events <= took.as_secs() + 10, "{events} events");
}

#[test]
fn names_that_are_allowed_are_capped() {
    let Some(world) = World::new() else { return };
    let caps = ["--max-names-per-client", "3", "--max-in-flight", "1"];
    let (mut scene, mut pebble) = world.serve(&caps);
    let alert = ask(&scene, 500, |n| format!("n{n}.lab.test"));
    assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 112], "unrecognized_name");
    assert_eq!(
        (
            scene.decisions("requested"),
            scene.decisions("refused_over_cap")
        ),
        (3, 497)
    );
    for _ in 0..3 {
        scene.server.await_line("served from now on");
    }
    assert_eq!((files(&scene), pebble.orders()), (3, 3));
    let rejected = scene
        .events()
        .into_iter()
        .find(|(name, _)| name == "certificate-rejected");
    has(
        &rejected.unwrap().1["error"].to_string(),
        &["this client asks for too many new names"],
    );
}
