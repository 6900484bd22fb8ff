//! `serve-acme --on-demand` against Pebble.

use rustix::process::Signal;

use super::{Scene, has, kept};
use crate::support::client::Client;
use crate::support::pebble::{Options, Pebble};
use crate::support::{Run, TestEnv};

/// A CA, and an environment for servers that ask it.
pub(super) struct World {
    env: TestEnv,
    pebble: Pebble,
    allowed: &'static str,
}

impl World {
    #[track_caller]
    pub(super) fn new() -> Option<Self> {
        Self::allowing("**.lab.test")
    }

    #[track_caller]
    pub(super) fn allowing(allowed: &'static str) -> Option<Self> {
        let env = TestEnv::new();
        let pebble = Pebble::start(&env, Options::default())?;
        Some(Self {
            env,
            pebble,
            allowed,
        })
    }

    /// A server that makes certificates for the names that are allowed.
    pub(super) fn run(&self, args: &[&str]) -> Run {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let is_elsewhere = args.contains(&"--https");
        let Options {
            http_port,
            tls_port,
            ..
        } = self.pebble.options;
        let command = [
            "serve-acme",
            "--on-demand",
            "--allow",
            self.allowed,
            "--agree-tos",
        ];
        let run = self.env.certmint(command);
        run.args(["--directory", &self.pebble.directory_url])
            .args(["--http", &address(http_port)])
            .args(
                (!is_elsewhere)
                    .then(|| ["--https".to_owned(), address(tls_port)])
                    .into_iter()
                    .flatten(),
            )
            .arg("--ca-file")
            .arg(&self.pebble.ca_file)
            .args(args)
    }

    /// Runs it; the CA lives on beside it.
    pub(super) fn serve(self, args: &[&str]) -> (Scene, Pebble) {
        let run = self.run(args);
        let Self { env, pebble, .. } = self;
        env.write("pebble-root.pem", pebble.root(&env));
        (Scene::of(run, env), pebble)
    }
}

pub(super) fn client(scene: &Scene, name: &str) -> Client {
    Client::new(&scene.env.path("pebble-root.pem"), scene.https, name)
}

#[test]
fn a_thousand_handshakes_for_a_new_name_are_one_order_and_none_waits_for_the_ca() {
    const CLIENTS: usize = 1000;
    let Some(world) = World::new() else { return };
    let (mut scene, mut pebble) = world.serve(&[]);
    // So that it has an account, and what is counted are orders.
    has(
        &scene.s_client("first.lab.test", &[]),
        &["certmint placeholder"],
    );
    scene.server.await_line("served from now on");
    pebble.signal(Signal::STOP);
    let (https, root) = (scene.https, scene.env.path("pebble-root.pem"));
    let begun = std::time::Instant::now();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let client = Client::new(&root, https, "a.lab.test");
            std::thread::spawn(move || {
                let refused = (0..CLIENTS / 8).filter(|_| client.connect().is_err());
                refused.count()
            })
        })
        .collect();
    let refused: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    let took = begun.elapsed();
    // The placeholder: none verifies it, and each handshake came to that at once.
    assert_eq!(refused, CLIENTS);
    crate::support::say(&format!(
        "{CLIENTS} handshakes on the placeholder: {took:?}"
    ));
    let placeholder = |scene: &Scene| {
        let listener = scene.https;
        scene.metric(&format!(
            "certmint_tls_handshakes_total{{listener=\"{listener}\",outcome=\"client_refused\"}} "
        ))
    };
    assert!(placeholder(&scene) >= 1000);
    assert_eq!(
        (
            scene.decisions("requested"),
            scene.decisions("coalesced") >= 999
        ),
        (2, true)
    );
    pebble.signal(Signal::CONT);
    scene.server.await_line("served from now on");
    assert_eq!(
        client(&scene, "a.lab.test")
            .connect()
            .unwrap()
            .leaf()
            .display_name(),
        "a.lab.test"
    );
    let orders = scene
        .event_names()
        .iter()
        .filter(|name| *name == "certificate-issued")
        .count();
    assert_eq!(orders, 2);
    assert_eq!(pebble.orders(), 2);
}

#[test]
fn a_name_that_fails_is_put_off_with_the_seconds_left_and_over_a_restart() {
    let Some(world) = World::new() else { return };
    // It looks for answers where nobody gives them.
    let args = ["--challenge", "tls-alpn-01", "--https", "127.0.0.1:0"];
    let (mut scene, mut pebble) = world.serve(&args);
    has(
        &scene.curl("http", "a.lab.test", &[]),
        &[" 503 ", "retry-after: 5\r"],
    );
    scene.server.await_line("no certificate was made");
    let left = |scene: &Scene, scheme| {
        let answer = scene.curl(scheme, "a.lab.test", &[]);
        has(&answer, &[" 503", "certificate issuance in progress"]);
        let left = answer
            .lines()
            .find_map(|line| line.strip_prefix("< retry-after: "));
        left.unwrap().trim().parse::<u64>().unwrap()
    };
    let seconds = left(&scene, "http");
    assert!((30..=69).contains(&seconds), "{seconds}");
    assert!(left(&scene, "https") <= seconds);
    let (name, failed) = scene.events().pop().unwrap();
    assert_eq!(name, "certificate-failed");
    assert_eq!(failed["domain"], "a.lab.test");
    assert_eq!(failed["is_renewal"], false);
    assert!(failed["retry_at"].is_string() && failed["error"].as_str().unwrap().len() > 10);
    let orders = pebble.orders();
    let Scene { env, server, .. } = scene;
    let _ = server.terminate().success();

    let world = World {
        env,
        pebble,
        allowed: "**.lab.test",
    };
    let (scene, mut pebble) = world.serve(&args);
    let begun = std::time::Instant::now();
    while left(&scene, "http") <= 5 {
        assert!(begun.elapsed().as_secs() < 20, "it is not put off");
    }
    assert_eq!(pebble.orders(), orders);
}

#[test]
fn names_from_the_start_and_on_demand_share_a_listener_and_each_challenge_works() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let Some(world) = World::new() else { return };
        let (mut scene, _pebble) = world.serve(&["known.test", "--challenge", challenge]);
        let known = client(&scene, "known.test").serial();
        has(&scene.curl("http", "a.lab.test", &[]), &[" 503 "]);
        scene.server.await_line("name=a.lab.test");
        scene.server.await_line("served from now on");
        assert_eq!(
            client(&scene, "a.lab.test")
                .connect()
                .unwrap()
                .leaf()
                .display_name(),
            "a.lab.test"
        );
        assert_eq!(client(&scene, "known.test").serial(), known);
        let Scene { env, server, .. } = scene;
        let _ = server.terminate().success();
        assert!(kept(&env, "a.lab.test").exists());
        let journal = env.state().join("challenges");
        let left = std::fs::read_dir(&journal).map_or(0, Iterator::count);
        assert_eq!(
            left,
            0,
            "presented challenges are left in {}",
            journal.display()
        );
    }
}
