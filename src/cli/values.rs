//! From the text of one flag to its value.
//!
//! Parsers for clap: each error says what is wrong with the text and, where it
//! is clear, what to type instead.

use crate::clock::Duration;
use crate::identifier::{CertId, Identifier, InvalidName, Subtree, quoted};
use crate::inspect::Target;
use crate::key::KeyType;
use crate::pki::ledger::Reason;
use crate::settings::{InvalidSetting, ListenAddr, Upstream};
use crate::trust::StoreKind;

/// A DNS name, wildcard, address, e-mail address or URI.
pub(super) fn identifier(text: &str) -> Result<Identifier, String> {
    Identifier::parse(text).map_err(|e| with_hint(&e))
}

/// A permitted domain or address range.
pub(super) fn subtree(text: &str) -> Result<Subtree, String> {
    text.parse().map_err(|e: InvalidName| with_hint(&e))
}

fn with_hint(error: &InvalidName) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// A certificate's id; a name stands for the id it gives.
pub(super) fn cert_id(text: &str) -> Result<CertId, String> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(invalid) => match Identifier::parse(text) {
            Ok(name) => Ok(CertId::for_name(&name)),
            Err(_) => Err(format!("{invalid}")),
        },
    }
}

/// A kind of key.
pub(super) fn key_type(text: &str) -> Result<KeyType, String> {
    text.parse()
        .map_err(|e: crate::key::KeyError| e.to_string())
}

/// A kind of key for a CA, which has to last for years and to be known everywhere.
pub(super) fn ca_key_type(text: &str) -> Result<KeyType, String> {
    match key_type(text)? {
        KeyType::Rsa2048 => Err("2048 bits are too few for a CA; use rsa3072 or rsa4096".into()),
        KeyType::P521 => Err("few clients verify P-521; use p384 for a CA".into()),
        kind => Ok(kind),
    }
}

/// A reason for revocation.
pub(super) fn reason(text: &str) -> Result<Reason, String> {
    text.parse()
        .map_err(|e: crate::pki::ledger::UnknownReason| e.to_string())
}

/// A trust store.
pub(super) fn store_kind(text: &str) -> Result<StoreKind, String> {
    StoreKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| {
            format!(
                "`{}` is not a trust store; use system, nss or java",
                quoted(text)
            )
        })
}

/// What `inspect` looks at.
pub(super) fn target(text: &str) -> Result<Target, String> {
    Target::parse(text).map_err(|e| e.to_string())
}

/// Permission bits in octal, such as `0640`.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode & !0o777 == 0 && mode & 0o400 != 0 => Ok(mode),
        _ => Err("a mode is octal, such as 0640, and lets the owner read".to_owned()),
    }
}

/// An address with a port.
pub(super) fn listen(text: &str) -> Result<ListenAddr, String> {
    text.parse().map_err(|e| setting(&e))
}

/// The server that requests are passed on to.
pub(super) fn upstream(text: &str) -> Result<Upstream, String> {
    text.parse().map_err(|e| setting(&e))
}

fn setting(error: &InvalidSetting) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// The settings of a CA that are checked as text.
pub(super) fn ca_text<T>(text: &str) -> Result<T, String>
where
    T: TryFrom<String, Error = crate::pki::InvalidSetting>,
{
    T::try_from(text.to_owned()).map_err(|e| e.to_string())
}

/// A length of time such as `30d`, `12h` or `1h 30m`; a day has 24 hours.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{}` is not a length of time; write `30d` or `12h`",
            quoted(text)
        )
    };
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let length = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    if length.is_negative() {
        return Err("a length of time is not negative".to_owned());
    }
    Ok(Duration::seconds(length.as_secs()))
}

/// A command line for a hook, checked but kept as text.
pub(super) fn command_line(text: &str) -> Result<String, String> {
    match shell_words::split(text) {
        Ok(words) if !words.is_empty() => Ok(text.to_owned()),
        Ok(_) => Err("the command is empty".to_owned()),
        Err(e) => Err(format!("the command's quotes do not match: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("30d", 2_592_000),
            ("12h", 43_200),
            ("1h 30m", 5_400),
            ("0s", 0),
        ] {
            assert_eq!(duration(text).unwrap().whole_seconds(), seconds, "{text}");
        }
        for bad in ["", "30", "-1d", "month", "30dd"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mode_lets_at_least_its_owner_read() {
        assert_eq!(mode("0640"), Ok(0o640));
        for bad in ["rw", "1777", "0040", "9"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_stands_for_its_id() {
        assert_eq!(cert_id("*.a.test").unwrap().as_str(), "_wildcard.a.test");
        assert!(cert_id("../a").is_err());
    }
}
