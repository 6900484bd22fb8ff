//! What this process uses, as the kernel tells it in `/proc`.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

/// What can be read of it; Linux tells all.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Unix time.
    pub(super) started: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    /// Bytes.
    pub(super) resident: Option<u64>,
    pub(super) threads: Option<u64>,
}

impl Usage {
    pub(super) fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self {
            started: started(&stat),
            open_fds: open_fds(),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            resident: nth(&stat, RESIDENT)
                .map(|pages| pages.saturating_mul(rustix::param::page_size() as u64)),
            threads: nth(&stat, THREADS),
        }
    }
}

/// Places in `/proc/self/stat` (proc_pid_stat(5)), counted from 1 as there.
const THREADS: usize = 20;
const STARTED: usize = 22;
const RESIDENT: usize = 24;

/// The field at `place`; the name, in parentheses, may itself hold blanks.
fn nth(stat: &str, place: usize) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name
        .split_ascii_whitespace()
        .nth(place - 3)?
        .parse()
        .ok()
}

fn started(stat: &str) -> Option<u64> {
    let ticks = nth(stat, STARTED)?;
    let after_boot = Duration::from_secs(ticks / rustix::param::clock_ticks_per_second());
    let kernel = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = kernel
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<u64>().ok()? + after_boot.as_secs())
}

/// Linux 6.2 and later tell their number as the size of the directory.
fn open_fds() -> Option<u64> {
    const DIR: &str = "/proc/self/fd";
    match std::fs::metadata(DIR).ok()?.size() {
        // One of them reads the directory.
        0 => Some((std::fs::read_dir(DIR).ok()?.count() as u64).saturating_sub(1)),
        size => Some(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_this_process_uses() {
        let before = Usage::read();
        let files: Vec<_> = (0..50)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        let usage = Usage::read();
        assert!(usage.open_fds >= Some(50), "{usage:?}");
        assert!(usage.resident > Some(1024 * 1024), "{usage:?}");
        assert!(usage.threads >= Some(2), "{usage:?}");
        assert!(usage.started > Some(1_600_000_000) && usage.started == before.started);
        drop(files);
    }

    #[test]
    fn a_process_may_have_any_name() {
        let fields: Vec<String> = (3..=24).map(|n| n.to_string()).collect();
        for name in ["certmint", "a) b (", ") 1 2 3"] {
            let stat = format!("1 ({name}) {}", fields.join(" "));
            assert_eq!(nth(&stat, THREADS), Some(20));
        }
        assert_eq!((nth("", THREADS), nth("1 (x) R", THREADS)), (None, None));
    }
}
