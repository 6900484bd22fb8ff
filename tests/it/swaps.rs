//! Swapping certificates under saturating load: nobody notices, nothing grows.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::serve_custom::{Mount, hammered, pairs, start};
use crate::support::client::Client;
use crate::support::{Server, TestEnv, say, tool};

/// Pairs that take turns.
const PAIRS: usize = 16;

/// `CERTMINT_TEST_SWAPS` for more, or fewer.
fn swaps() -> usize {
    std::env::var("CERTMINT_TEST_SWAPS").map_or(100, |text| text.parse().unwrap())
}

/// Descriptors, and memory of its own in KiB.
fn holds(server: &Server) -> (usize, u64) {
    let pid = server.pid();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let mut lines = rollup.lines();
    let dirty = lines.find_map(|line| line.strip_prefix("Private_Dirty:"));
    let memory = dirty.unwrap().trim().trim_end_matches(" kB");
    (descriptors.count(), memory.parse().unwrap())
}

/// Waits until new connections are served with it.
#[track_caller]
fn await_serial(client: &Client, serial: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while client.serial() != serial {
        assert!(Instant::now() < until, "{serial} never came");
    }
}

/// A program that asks, with its arguments, and how its words are judged.
type Load<'a> = (&'a Path, &'a [&'a str], fn(&str) -> bool);

/// Runs `program` again and again until `stop`; each time it must have failed at
/// nothing. Returns how often it ran.
pub(crate) fn again_and_again(
    env: &TestEnv,
    program: &Path,
    args: &[&str],
    is_clean: fn(&str) -> bool,
    stop: &AtomicBool,
) -> usize {
    let mut times = 0;
    while !stop.load(Ordering::SeqCst) {
        let out = env.command(program, args).run().success();
        assert!(is_clean(out.stdout()), "{}", out.stdout());
        times += 1;
    }
    times
}

pub(crate) fn h2load_is_clean(said: &str) -> bool {
    said.contains(" 0 failed, 0 errored, 0 timeout") && said.contains(" 0 3xx, 0 4xx, 0 5xx")
}

fn wrk_is_clean(said: &str) -> bool {
    said.contains("requests in") && !said.contains("Socket errors") && !said.contains("Non-2xx")
}

#[test]
fn swaps_under_saturating_load_fail_nothing_and_leave_nothing_behind() {
    let (Some(h2load), Some(wrk)) = (tool("h2load"), tool("wrk")) else {
        return;
    };
    let env = TestEnv::new();
    let (pairs, root) = pairs(&env, PAIRS);
    let known: BTreeSet<&str> = pairs.iter().map(|pair| pair.serial.as_str()).collect();
    let mount = Mount::new(&env, &pairs[0]);
    let (server, client) = start(mount.files.serve(&env), &root);
    let url = format!("https://localhost:{}/", client.address().port());
    let load: [Load<'_>; 2] = [
        (&h2load, &["-n1000", "-c8", "-m4", &url], h2load_is_clean),
        (&wrk, &["-c8", "-t1", "-d1s", &url], wrk_is_clean),
    ];
    let stop = AtomicBool::new(false);
    let swap = |range: std::ops::Range<usize>| {
        for n in range {
            let pair = &pairs[n % PAIRS];
            mount.swap(n, pair);
            await_serial(&client, &pair.serial);
        }
    };
    let (swaps, warm) = (swaps(), PAIRS);
    std::thread::scope(|scope| {
        let load = load.map(|(program, args, is_clean)| {
            let (env, stop) = (&env, &stop);
            scope.spawn(move || again_and_again(env, program, args, is_clean, stop))
        });
        let mut grown = (0, 0);
        let seen = hammered(&client, 2, &known, || {
            swap(1..warm);
            let before = holds(&server);
            swap(warm..swaps);
            let after = holds(&server);
            grown = (
                after.0.saturating_sub(before.0),
                after.1.saturating_sub(before.1),
            );
        });
        stop.store(true, Ordering::SeqCst);
        let runs = load.map(|load| load.join().unwrap());
        assert!(runs.iter().all(|&runs| runs > 0));
        assert_eq!(seen.failures.into_inner(), 0);
        assert!(seen.handshakes.into_inner() > 2 * swaps / 10);
        // Those of connections that happen to be open, and what they hold.
        let (descriptors, kib) = grown;
        assert!(descriptors <= 32, "{descriptors} more descriptors");
        assert!(kib <= 8 * 1024, "{kib} KiB more");
        say(&format!(
            "{swaps} swaps: h2load and wrk ran {runs:?} times, {kib} KiB more"
        ));
    });
    let out = server.terminate().success();
    assert!(!out.stderr().contains("WARN"), "{}", out.stderr());
}
