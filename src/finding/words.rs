//! Times, paths and commands in words, for messages and tables alike.
//!
//! What comes out is one printable line: control and invisible characters are
//! escaped. Times are UTC.

use std::fmt::Write as _;
use std::path::Path;

use crate::clock::{Duration, Timestamp};

/// The two largest units of a length of time: `9y 361d`, `6d 9h`, `3h 5m`, `45s`.
///
/// Its sign is dropped; a year is 365 days.
pub fn span(length: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    let units = [
        (YEAR, "y"),
        (DAY, "d"),
        (HOUR, "h"),
        (MINUTE, "m"),
        (1, "s"),
    ];
    let seconds = length.whole_seconds().unsigned_abs();
    let first = units
        .iter()
        .position(|(size, _)| seconds >= *size)
        .unwrap_or(units.len() - 1);
    let mut left = seconds;
    let mut text = String::new();
    for (size, letter) in units.into_iter().skip(first).take(2) {
        let count = left / size;
        left %= size;
        if text.is_empty() {
            let _ = write!(text, "{count}{letter}");
        } else if count > 0 {
            let _ = write!(text, " {count}{letter}");
        }
    }
    text
}

/// A moment to the minute, in UTC: `2026-11-28 10:00`.
pub fn minute(moment: Timestamp) -> String {
    let utc = moment.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}", utc.date(), utc.hour(), utc.minute())
}

/// A moment to the day, in UTC: `2026-11-28`.
pub fn day(moment: Timestamp) -> String {
    moment.to_offset(time::UtcOffset::UTC).date().to_string()
}

/// A path as one printable line, never shortened.
pub fn path(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// `text` on one line: what would move a cursor or hide is escaped.
pub fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if needs_escape(c) {
            line.extend(c.escape_unicode());
        } else {
            line.push(c);
        }
    }
    line
}

/// A command line that a shell takes as these words.
pub fn command<'a>(program: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = program.to_owned();
    for word in words {
        line.push(' ');
        line.push_str(&shell_words::quote(word));
    }
    printable(&line)
}

/// Characters that move the cursor, reorder the line, or cannot be seen.
fn needs_escape(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// An error and its causes in one line; a cause that only repeats is left out.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_shows_its_two_largest_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 1s"),
            (3600, "1h"),
            (-142_200, "1d 15h"),
            (550_800, "6d 9h"),
            (86_400 * 365 * 10 - 86_400 * 4, "9y 361d"),
            (86_400 * 365 + 3600, "1y"),
            (i64::MIN, "292471208677y 195d"),
        ] {
            assert_eq!(span(Duration::seconds(seconds)), expected);
        }
    }

    #[test]
    fn times_are_utc_whatever_the_offset() {
        let moment = Timestamp::from_unix_timestamp(1_764_324_000).unwrap();
        let shifted = moment.to_offset(time::UtcOffset::from_hms(5, 30, 0).unwrap());
        assert_eq!(minute(shifted), minute(moment));
        assert_eq!(minute(moment), "2025-11-28 10:00");
        assert_eq!(day(moment), "2025-11-28");
    }

    #[test]
    fn words_are_quoted_for_the_shell_and_for_the_terminal() {
        assert_eq!(
            command("certmint", ["renew", "it's here"]),
            r"certmint renew 'it'\''s here'"
        );
        assert_eq!(printable("a\u{1b}[31m\u{202e}"), "a\\u{1b}[31m\\u{202e}");
        assert_eq!(path(Path::new("/tmp/a\nb")), "/tmp/a\\u{a}b");
    }
}
