//! What becomes of certificates that were made on demand, over days and restarts.

use std::fs;
use std::time::{Duration, Instant};

use super::{Scene, events, kept, private};
use crate::support::{Run, TestEnv, faketime, tool};

/// A server whose clock is moved.
#[track_caller]
fn moved(env: &TestEnv, by: &str, args: &[&str]) -> Option<Run> {
    Some(private(env).args(args).under(faketime(by)?))
}

#[test]
fn what_is_in_use_is_renewed_and_what_is_not_is_let_go() {
    let Some(scene) = Scene::start(&["--days", "4"]) else {
        return;
    };
    let before = scene.client("a.test").serial();
    let Scene { env, server, .. } = scene;
    let _ = server.terminate().success();

    // Half of its life has passed, and it was used two days ago.
    let Some(run) = moved(&env, "+50h", &["--days", "4"]) else {
        return;
    };
    let mut scene = Scene::of(run, env);
    let event = await_event(&scene, "certificate-renewed");
    assert_eq!(event["domain"], "a.test");
    assert_eq!(event["is_renewal"], true);
    let after = event["serial"].as_str().unwrap().to_owned();
    assert_ne!(after, before);
    let shown = scene.s_client("a.test", &["-showcerts"]);
    let serial = env_serial(&scene.env, &shown);
    assert_eq!(serial, after);
    scene.server.await_line("served from now on");
    let Scene { env, server, .. } = scene;
    let _ = server.terminate().success();

    // Nobody has asked for it since: it is neither renewed nor kept once it has expired.
    let Some(run) = moved(&env, "+8d", &["--days", "4", "--forget-after", "5d"]) else {
        return;
    };
    let scene = Scene::of(run, env);
    let begun = Instant::now();
    while kept(&scene.env, "a.test").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "it is still there"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let renewed = |(name, _): &(String, _)| name == "certificate-renewed";
    assert_eq!(
        events(&scene.env)
            .iter()
            .filter(|event| renewed(event))
            .count(),
        1
    );
}

/// The serial number of the first certificate in a text.
fn env_serial(env: &TestEnv, text: &str) -> String {
    let begin = text.find("-----BEGIN").unwrap();
    let args = ["x509", "-noout", "-serial"];
    let out = env
        .command(tool("openssl").unwrap(), args)
        .stdin(&text[begin..]);
    let out = out.run().success();
    let serial = out.stdout().trim().strip_prefix("serial=").unwrap();
    serial.to_ascii_lowercase()
}

fn await_event(scene: &Scene, name: &str) -> serde_json::Value {
    let begun = Instant::now();
    loop {
        if let Some((_, event)) = scene.events().into_iter().find(|(n, _)| n == name) {
            return event;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "no {name}: {:?}",
            scene.event_names()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn cron_leaves_them_to_their_server() {
    let Some(scene) = Scene::start(&["--days", "4"]) else {
        return;
    };
    let serial = scene.client("a.test").serial();
    let Scene { env, server, .. } = scene;
    let _ = server.terminate().success();
    let Some(later) = faketime("+3d") else { return };
    let _ = env.certmint(["renew"]).under(later).run().success();
    let Some(scene) = Scene::start_in(env, &["--days", "4"]) else {
        return;
    };
    assert_eq!(scene.client("a.test").serial(), serial);
}

#[test]
fn ten_thousand_of_them_delay_no_start() {
    let Some(scene) = Scene::start(&[]) else {
        return;
    };
    let serial = scene.client("a.test").serial();
    let Scene { env, server, .. } = scene;
    let _ = server.terminate().success();
    let begun = Instant::now();
    let Some(scene) = Scene::start_in(env, &[]) else {
        return;
    };
    let alone = begun.elapsed();
    let Scene { env, server, .. } = scene;
    let _ = server.terminate().success();
    // The same files under other names: what is in them is looked at after the start.
    let certs = env.state().join("certs");
    let made = kept(&env, "a.test").join("1");
    for n in 0..10_000 {
        let other = kept(&env, &format!("n{n}.test"));
        fs::create_dir_all(other.join("1")).unwrap();
        for file in fs::read_dir(&made).unwrap() {
            let file = file.unwrap();
            fs::hard_link(file.path(), other.join("1").join(file.file_name())).unwrap();
        }
        std::os::unix::fs::symlink("1", other.join("current")).unwrap();
    }
    assert_eq!(fs::read_dir(&certs).unwrap().count(), 10_001);
    let begun = Instant::now();
    let Some(scene) = Scene::start_in(env, &[]) else {
        return;
    };
    let started = begun.elapsed();
    assert_eq!(scene.client("a.test").serial(), serial);
    crate::support::say(&format!(
        "a start: {alone:?}; with 10,000 certificates: {started:?}"
    ));
    assert!(
        started < alone + Duration::from_secs(5),
        "{started:?} instead of {alone:?}"
    );
}
