//! Rules about what happened to a certificate, and what is seen from outside.

use std::path::Path;

use super::super::{Finding, Severity, words};
use super::{Subject, mend};
use crate::bundle::Certificate;
use crate::clock::{Duration, Timestamp};

/// `revoked`, with the reason's RFC 5280 name where one was given.
pub fn revoked(subject: Subject<'_>, at: Timestamp, reason: Option<&str>) -> Finding {
    let because = reason.map_or_else(String::new, |r| format!(" ({})", words::printable(r)));
    let message = format!(
        "`{}` was revoked at {} UTC{because}",
        subject.name,
        words::minute(at)
    );
    mend(
        Finding::new("revoked", Severity::Critical, message),
        subject.renew,
    )
}

/// `rotation-unfinished`: the newest root has no intermediate yet, since a crash came
/// between the two steps of its rotation.
pub fn rotation_unfinished(newest: &str, used: &str, fix: &str) -> Finding {
    let message = format!("root {newest} has no intermediate yet; {used} is still in use");
    Finding::new("rotation-unfinished", Severity::Warn, message).with_fix(fix)
}

/// `old-root`: `why` the CA's present root does not lead to it.
pub fn old_root(subject: Subject<'_>, why: &str) -> Finding {
    let message = format!(
        "`{}` is verified by clients of an old root alone: {}",
        subject.name,
        words::printable(why)
    );
    mend(
        Finding::new("old-root", Severity::Warn, message),
        subject.renew,
    )
}

/// `stale-crl`: it is past its nextUpdate, or has used nine tenths of its time.
///
/// A CRL without nextUpdate cannot go stale.
pub fn stale_crl(
    subject: Subject<'_>,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    now: Timestamp,
) -> Option<Finding> {
    let next = next_update?;
    let end = words::minute(next);
    let span = words::span(next - now);
    let name = subject.name;
    let (severity, message) = if now > next {
        let message = format!("the CRL `{name}` is out of date since {end} UTC, {span} ago");
        (Severity::Critical, message)
    } else if next - now < (next - this_update).max(Duration::ZERO) / 10 {
        let message = format!("the CRL `{name}` will be out of date in {span}, at {end} UTC");
        (Severity::Warn, message)
    } else {
        return None;
    };
    Some(mend(
        Finding::new("stale-crl", severity, message),
        subject.renew,
    ))
}

/// `failing`: the last `failures` attempts to renew it failed, with what was said.
pub fn failing(
    subject: Subject<'_>,
    failures: u32,
    error: Option<&str>,
    next_try: Option<Timestamp>,
    now: Timestamp,
) -> Finding {
    let times = match failures {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    let error = error.map_or_else(String::new, |e| format!(": {}", words::printable(e)));
    let next = match next_try {
        Some(at) if at > now => format!("; next try in {}", words::span(at - now)),
        Some(_) => "; the next run tries again".to_owned(),
        None => String::new(),
    };
    let message = format!("renewing `{}` failed {times}{error}{next}", subject.name);
    mend(
        Finding::new("failing", Severity::Warn, message),
        subject.renew,
    )
}

/// `damaged`: what a loader passed over. Critical when nothing usable is left.
pub fn damaged(subject: Subject<'_>, reason: &str, usable: bool) -> Finding {
    let (severity, then) = if usable {
        (Severity::Warn, "; an older generation is in use")
    } else {
        (Severity::Critical, "")
    };
    let message = format!(
        "`{}` is damaged: {}{then}",
        subject.name,
        words::printable(reason)
    );
    mend(Finding::new("damaged", severity, message), subject.renew)
}

/// `unreadable`: a file that could not be opened or recognised.
pub fn unreadable(path: &Path, reason: &str) -> Finding {
    let message = format!("`{}`: {}", words::path(path), words::printable(reason));
    Finding::new("unreadable", Severity::Warn, message)
}

/// `malformed`: `what` (a certificate, a key …) in `place` cannot be parsed.
pub fn malformed(what: &str, place: &str, reason: &str) -> Finding {
    let message = format!(
        "{what} in `{place}` cannot be parsed: {}",
        words::printable(reason)
    );
    Finding::new("malformed", Severity::Critical, message)
}

/// `request-signature`: whoever made the request does not hold its key.
pub fn bad_request_signature(place: &str) -> Finding {
    let message = format!("the request in `{place}` is not signed by the key in it");
    Finding::new("request-signature", Severity::Critical, message)
        .with_fix("make the request again with the key it is for")
}

/// `untrusted`: a verifier's own words on why the chain leads nowhere.
pub fn untrusted(subject: Subject<'_>, reason: &str, roots: &str, fix: &str) -> Finding {
    let message = format!(
        "`{}` does not verify against {}: {}",
        subject.name,
        words::printable(roots),
        words::printable(reason)
    );
    Finding::new("untrusted", Severity::Critical, message).with_fix(fix)
}

/// `served-differs`: the server at `place` sends another certificate than `path` holds.
pub fn served_differs(
    place: &str,
    served: &Certificate,
    path: &Path,
    stored: &Certificate,
) -> Option<Finding> {
    if served == stored {
        return None;
    }
    let message = format!(
        "`{place}` sends serial {} (until {}), but `{}` holds serial {} (until {})",
        served.serial_hex(),
        words::day(served.not_after()),
        words::path(path),
        stored.serial_hex(),
        words::day(stored.not_after()),
    );
    Some(
        Finding::new("served-differs", Severity::Warn, message)
            .with_fix("reload the server, so that it reads its certificate again"),
    )
}

/// `handshake-signature`: the proof of holding the key failed.
pub fn handshake_signature(place: &str, reason: &str) -> Finding {
    let message = format!(
        "`{place}` did not prove to hold the certificate's private key: {}",
        words::printable(reason)
    );
    Finding::new("handshake-signature", Severity::Critical, message)
}

/// `no-tls13`: what the server chose instead.
pub fn no_tls13(place: &str, protocol: &str) -> Finding {
    let message = format!("`{place}` chose {protocol} although TLS 1.3 was offered");
    Finding::new("no-tls13", Severity::Info, message)
}
