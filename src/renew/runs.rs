//! When `renew` ran by itself, and so, when it will run again.
//!
//! A certificate that falls due between two runs far apart may end before the
//! second. Rules kept here: an estimate needs a few runs and forgives one that came
//! late; it is never longer than [`Runs::LONGEST`]; what is damaged or from the future
//! counts for nothing.

use std::path::{Path, PathBuf};

use crate::clock::{Duration, Timestamp};
use crate::store::{StoreError, disk};

/// The last runs that nobody watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs {
    /// When they began, oldest first.
    began: Vec<Timestamp>,
}

/// The file's content.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Written {
    runs: Vec<Moment>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Moment(#[serde(with = "time::serde::rfc3339")] Timestamp);

impl Runs {
    /// How many runs are remembered.
    pub const KEPT: usize = 16;
    /// The longest time between two runs that is reckoned with: once a month.
    pub const LONGEST: Duration = Duration::days(35);
    /// Fewer gaps than these tell nothing.
    const LEAST_GAPS: usize = 3;

    /// The runs recorded in the state directory `home`. None when there is no record, or
    /// none that can be read.
    pub fn read(home: &Path) -> Self {
        let read = disk::read_if_exists(&path(home));
        let text = read.unwrap_or_else(|error| {
            tracing::warn!(%error, "when earlier runs were is not known");
            None
        });
        let written = text.map(|text| serde_json::from_slice(&text));
        let Written { runs } = written.and_then(Result::ok).unwrap_or_default();
        let mut began: Vec<Timestamp> = runs.into_iter().map(|Moment(at)| at).collect();
        began.sort_unstable();
        Self { began }
    }

    /// Records a run that began at `began`, and forgets the oldest ones. The caller
    /// excludes everybody else who records.
    pub fn record(
        &mut self,
        home: &Path,
        began: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.began.retain(|at| *at <= now);
        self.began.push(began);
        self.began.sort_unstable();
        self.began.dedup();
        let surplus = self.began.len().saturating_sub(Self::KEPT);
        self.began.drain(..surplus);
        let written = Written {
            runs: self.began.iter().copied().map(Moment).collect(),
        };
        let mut text =
            serde_json::to_vec_pretty(&written).expect("moments have no failing serializer");
        text.push(b'\n');
        let path = path(home);
        let dir = path.parent().unwrap_or(home);
        disk::create_dir(dir)?;
        disk::sweep_temporary(dir)?;
        disk::replace(&path, &text, 0o600)
    }

    /// How long until the next run, as far as earlier ones tell: the longest time
    /// between two of them but for one, since a machine may have been off once.
    pub fn usual_gap(&self) -> Option<Duration> {
        let pairs = self.began.iter().zip(self.began.iter().skip(1));
        let mut gaps: Vec<Duration> = pairs.map(|(one, next)| *next - *one).collect();
        gaps.sort_unstable();
        gaps.pop().filter(|_| gaps.len() + 1 >= Self::LEAST_GAPS)?;
        gaps.pop().map(|gap| gap.min(Self::LONGEST))
    }
}

/// In a directory of its own, in which nothing else is written.
fn path(home: &Path) -> PathBuf {
    home.join("renew").join("runs.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(hours: &[i64]) -> Runs {
        let began = hours.iter().map(|h| T0 + Duration::hours(*h)).collect();
        Runs { began }
    }

    #[test]
    fn the_usual_gap_needs_four_runs_and_forgives_one_that_came_late() {
        for (hours, gap) in [
            (&[][..], None),
            (&[0], None),
            (&[0, 24, 48], None),
            (&[0, 24, 48, 72], Some(24)),
            (&[0, 24, 48, 1000], Some(24)),
            // Off twice is a habit.
            (&[0, 24, 48, 120, 144, 216, 240], Some(72)),
            (&[0, 720, 1440, 2160, 2880], Some(720)),
            (&[0, 9000, 18_000, 27_000], Some(35 * 24)),
            (&[0, 0, 0, 0], Some(0)),
        ] {
            let found = after(hours).usual_gap();
            assert_eq!(found, gap.map(Duration::hours), "{hours:?}");
        }
    }

    #[test]
    fn runs_are_kept_over_restarts_and_only_the_last_of_them() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Runs::read(home.path()), Runs::default());
        for hour in 0..40 {
            let at = T0 + Duration::hours(hour);
            Runs::read(home.path()).record(home.path(), at, at).unwrap();
        }
        let runs = Runs::read(home.path());
        assert_eq!(runs.began.len(), Runs::KEPT);
        assert_eq!(runs.began.last(), Some(&(T0 + Duration::hours(39))));
        assert_eq!(runs.usual_gap(), Some(Duration::HOUR));
        // What a killed run left goes.
        let left = home.path().join("renew/.tmp-certmint-1-1");
        disk::write_new(&left, b"half", 0o600).unwrap();
        let now = T0 + Duration::hours(40);
        Runs::read(home.path())
            .record(home.path(), now, now)
            .unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_clock_that_was_ahead_and_a_damaged_record_tell_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut runs = after(&[0, 24, 48, 100_000]);
        let now = T0 + Duration::hours(72);
        runs.record(home.path(), now, now).unwrap();
        assert_eq!(runs, after(&[0, 24, 48, 72]));
        assert_eq!(Runs::read(home.path()), runs);
        for text in ["", "{", "[]", r#"{"runs":["yesterday"]}"#] {
            disk::replace(&path(home.path()), text.as_bytes(), 0o600).unwrap();
            assert_eq!(Runs::read(home.path()), Runs::default(), "{text}");
        }
    }
}
