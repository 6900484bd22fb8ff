//! From text to settings, as people write them in flags and files.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

use super::{ClientFingerprint, Hsts, InvalidSetting, LogTarget, Rate};

impl InvalidSetting {
    fn new(text: &str, reason: &str, hint: &str) -> Self {
        Self {
            text: text.to_owned(),
            reason: reason.to_owned(),
            hint: Some(hint.to_owned()),
        }
    }
}

/// A limit in time: `10s`, `500ms`, `1m 30s`; never nothing, since that would end
/// whatever it limits before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Duration);

impl FromStr for Limit {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let length = length_of_time(text)?;
        if length < Duration::from_millis(1) {
            let hint = "write `1s` or more; no limit can be switched off";
            return Err(InvalidSetting::new(text, "no time at all", hint));
        }
        Ok(Self(length))
    }
}

/// A length of time that is not negative; a day has 24 hours.
fn length_of_time(text: &str) -> Result<Duration, InvalidSetting> {
    let refuse = || {
        let hint = "write `10s`, `500ms` or `1m 30s`";
        InvalidSetting::new(text, "not a length of time", hint)
    };
    let span: jiff::Span = text.parse().map_err(|_| refuse())?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours());
    Duration::try_from(length.map_err(|_| refuse())?).map_err(|_| refuse())
}

/// A number of bytes: `4096`, `64KiB`, `100MiB`, `2GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("KB", 1000),
        ("MB", 1000 * 1000),
        ("GB", 1000 * 1000 * 1000),
        ("KIB", 1 << 10),
        ("MIB", 1 << 20),
        ("GIB", 1 << 30),
    ];
}

impl FromStr for ByteSize {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text[digits.len()..].trim().to_ascii_uppercase();
        let unit = Self::UNITS.into_iter().find(|(name, _)| *name == unit);
        let number = digits.parse::<u64>().ok();
        number
            .zip(unit)
            .and_then(|(number, (_, unit))| number.checked_mul(unit))
            .map(Self)
            .ok_or_else(|| {
                let hint = "write `100MiB`, `64KiB`, or a number of bytes";
                InvalidSetting::new(text, "not a number of bytes", hint)
            })
    }
}

impl FromStr for Rate {
    type Err = InvalidSetting;

    /// `50/s` or `50/s burst 100`. Without a burst it is what a second may have.
    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let refuse = || {
            let hint = "write `50/s` or `50/s burst 100`";
            InvalidSetting::new(text, "not a rate of requests", hint)
        };
        let mut words = text.split_whitespace();
        let rate = words.next().and_then(|rate| rate.strip_suffix("/s"));
        let per_second: NonZeroU32 = rate.and_then(|r| r.parse().ok()).ok_or_else(refuse)?;
        let burst = match (words.next(), words.next()) {
            (None, _) => per_second,
            (Some("burst"), Some(burst)) => burst.parse().map_err(|_| refuse())?,
            _ => return Err(refuse()),
        };
        match words.next() {
            None => Ok(Self { per_second, burst }),
            Some(_) => Err(refuse()),
        }
    }
}

impl FromStr for Hsts {
    type Err = InvalidSetting;

    /// `365d`, or `365d include-subdomains`.
    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let (age, include_subdomains) = match text.strip_suffix("include-subdomains") {
            Some(age) => (age.trim_end(), true),
            None => (text, false),
        };
        let max_age = length_of_time(age).map_err(|_| {
            let hint = "write `365d` or `365d include-subdomains`";
            InvalidSetting::new(text, "not a time to use https alone for", hint)
        })?;
        Ok(Self {
            max_age,
            include_subdomains,
        })
    }
}

impl FromStr for ClientFingerprint {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let certificate = |hex: &str| {
            // As openssl prints it, or without the colons.
            let hex = hex.replace(':', "");
            let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
            Some(Self::Certificate(bytes.try_into().ok()?))
        };
        let key = |base64: &str| {
            let bytes = BASE64.decode(base64.as_bytes()).ok()?;
            Some(Self::Ed25519(bytes.try_into().ok()?))
        };
        let found = match text.split_once(':') {
            Some((kind, hex)) if kind.eq_ignore_ascii_case("sha256") => certificate(hex),
            Some(("ed25519", base64)) => key(base64),
            _ => None,
        };
        found.ok_or_else(|| {
            let hint = "write `SHA256:` and the 64 hex digits that `certmint inspect` shows, or \
                        `ed25519:` and the public key in base64";
            InvalidSetting::new(text, "not a client's fingerprint", hint)
        })
    }
}

impl fmt::Display for ClientFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(digest) => {
                write!(f, "SHA256:{}", HEXLOWER_PERMISSIVE.encode(digest))
            }
            Self::Ed25519(key) => write!(f, "ed25519:{}", BASE64.encode(key)),
        }
    }
}

impl FromStr for LogTarget {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            "" => {
                let hint = "write `stdout`, `stderr`, or a path";
                Err(InvalidSetting::new(text, "not a place to write to", hint))
            }
            path => Ok(Self::File(path.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_in_time_are_lengths_that_let_something_happen() {
        for (text, milliseconds) in [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("1m 30s", Some(90_000)),
            // bad values
            ("0s", None),
            ("-1s", None),
            ("10", None),
            ("", None),
            ("soon", None),
        ] {
            let length = text.parse::<Limit>().ok().map(|limit| limit.0.as_millis());
            assert_eq!(length, milliseconds, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_bytes_with_a_unit_that_everybody_knows() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("64KiB", Some(65_536)),
            ("64 kib", Some(65_536)),
            ("1MB", Some(1_000_000)),
            ("2GiB", Some(2 << 30)),
            // bad values
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("1 TiB", None),
            ("99999999999GiB", None),
            ("é", None),
        ] {
            let size = text.parse::<ByteSize>().ok().map(|size| size.0);
            assert_eq!(size, bytes, "{text:?}");
        }
    }

    #[test]
    fn a_rate_is_requests_a_second_with_room_for_a_burst() {
        for (text, rate) in [
            ("50/s", Some((50, 50))),
            ("50/s burst 100", Some((50, 100))),
            ("  1/s  burst 1", Some((1, 1))),
            // bad values
            ("", None),
            ("50", None),
            ("0/s", None),
            ("50/m", None),
            ("50/s burst", None),
            ("50/s burst 0", None),
            ("50/s burst 100 x", None),
            ("50/s bust 100", None),
            ("4294967296/s", None),
        ] {
            let parsed = text.parse::<Rate>().ok();
            let parsed = parsed.map(|r| (r.per_second.get(), r.burst.get()));
            assert_eq!(parsed, rate, "{text:?}");
        }
    }

    #[test]
    fn hsts_is_a_time_and_perhaps_the_names_below() {
        let day = 86_400;
        for (text, hsts) in [
            ("365d", Some((365 * day, false))),
            ("0s", Some((0, false))),
            ("365d include-subdomains", Some((365 * day, true))),
            // bad values
            ("", None),
            ("include-subdomains", None),
            ("31536000", None),
            ("365d preload", None),
        ] {
            let parsed = text.parse::<Hsts>().ok();
            let parsed = parsed.map(|h| (h.max_age.as_secs(), h.include_subdomains));
            assert_eq!(parsed, hsts, "{text:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_of_a_certificate_or_is_a_key() {
        let hex = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        let key = BASE64.encode(&[7; 32]);
        for text in [format!("SHA256:{hex}"), format!("sha256:{colons}")] {
            let parsed: ClientFingerprint = text.parse().unwrap();
            assert_eq!(parsed.to_string(), format!("SHA256:{hex}"));
        }
        let text = format!("ed25519:{key}");
        assert_eq!(text.parse::<ClientFingerprint>().unwrap().to_string(), text);
        for bad in [
            "",
            &hex,
            "SHA256:",
            "SHA256:abcd",
            &format!("SHA1:{hex}"),
            &format!("SHA256:{hex}00"),
            &format!("ed25519:{hex}"),
            "ed25519:AAAA",
        ] {
            let error = bad.parse::<ClientFingerprint>().unwrap_err();
            assert!(error.hint().unwrap().contains("ed25519"), "{bad}");
        }
    }

    #[test]
    fn lines_go_to_a_stream_or_a_file() {
        assert_eq!("stdout".parse(), Ok(LogTarget::Stdout));
        assert_eq!("stderr".parse(), Ok(LogTarget::Stderr));
        assert_eq!("/x/y".parse(), Ok(LogTarget::File("/x/y".into())));
        assert!("".parse::<LogTarget>().is_err());
    }
}
