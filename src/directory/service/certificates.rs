//! Certificates, their revocation (RFC 8555 §7.4.2, §7.6), and when to renew them
//! (RFC 9773).

use std::net::IpAddr;
use std::time::Duration as Wait;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::super::jwk::Jwk;
use super::super::jws::Verified;
use super::super::problem::{Problem, ProblemType};
use super::super::state::{Account, OrderId, OrderStatus};
use super::super::{Asker, Happening};
use super::Service;
use super::answer::Answer;
use super::route::Urls;
use super::signed::{Signatory, decoded};
use crate::bundle::{Certificate, to_pem};
use crate::clock::{Duration, Timestamp};
use crate::identifier::Identifier;
use crate::pki::Intermediate;
use crate::pki::ledger::{Entry, Reason, Revoke, Role};

const CHAIN: &str = "application/pem-certificate-chain";
const PEM: &str = "application/x-pem-file";
/// How often a client should look when it is to renew (RFC 9773 §4.3).
const ARI_PAUSE: Wait = Wait::from_secs(6 * 3600);
/// The part of a certificate's life that the window for its renewal takes: one in 24.
const WINDOW_PART: i32 = 24;

/// The payload of revokeCert.
#[derive(Deserialize)]
struct Wanted {
    certificate: String,
    reason: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RenewalInfo {
    suggested_window: Window,
}

/// When a certificate should be renewed.
#[derive(Debug, Serialize)]
struct Window {
    #[serde(with = "time::serde::rfc3339")]
    start: Timestamp,
    #[serde(with = "time::serde::rfc3339")]
    end: Timestamp,
}

impl Service {
    pub(super) fn certificate(
        &self,
        account: &Account,
        (id, chain): (&OrderId, usize),
        request: &Verified,
        urls: &Urls,
    ) -> Result<Answer, Problem> {
        request.expect_post_as_get()?;
        let order = self.own_order(account, id)?;
        let gone = || Problem::not_found("certificate");
        let serial = match order.status {
            OrderStatus::Valid => order.serial.ok_or_else(gone)?,
            _ => return Err(gone()),
        };
        let entry = self.state.certificate(&serial)?.ok_or_else(gone)?;
        let leaf = parsed(&entry)?;
        let authority = self.ca.authority();
        let above = authority.chains_above(&entry.issuer, self.clock.now());
        let mut certificates = vec![leaf];
        certificates.extend(above.get(chain).ok_or_else(gone)?.iter().cloned());
        let answer = Answer::body(CHAIN, to_pem(&certificates));
        let others = (0..above.len()).filter(|other| *other != chain);
        Ok(others.fold(answer, |answer, other| {
            answer.link(&urls.certificate(id, other), "alternate")
        }))
    }

    pub(super) fn roots(&self) -> Answer {
        let roots = self.ca.authority().roots_pem(self.clock.now());
        Answer::body(PEM, roots)
    }

    /// Revokes for the account that it was issued to, for one that controls all its
    /// names, and for whoever has its key.
    pub(super) fn revoke(
        &self,
        signatory: &Signatory,
        request: &Verified,
        from: IpAddr,
    ) -> Result<Answer, Problem> {
        let wanted: Wanted = request.json()?;
        let entry = self.meant(&wanted.certificate)?;
        let certificate = parsed(&entry)?;
        let may = match signatory {
            Signatory::Key => {
                Jwk::from_spki(certificate.spki()).is_some_and(|key| key == *request.key())
            }
            Signatory::Account(account) => self.may_revoke(account, &entry)?,
        };
        if !may {
            let detail = "neither the account nor the key may revoke this certificate";
            return Err(Problem::unauthorized(detail));
        }
        let reason = reason(wanted.reason)?;
        let now = self.clock.now();
        match self.state.revoke(&entry.serial, reason, now)? {
            Revoke::Done(_) => {}
            Revoke::Already(_) => {
                let detail = "the certificate is revoked already";
                return Err(Problem::new(ProblemType::AlreadyRevoked, detail));
            }
        }
        let asker = match signatory {
            Signatory::Account(account) => Asker::new(account, Some(from)),
            Signatory::Key => Asker {
                account: None,
                eab_kid: None,
                client: Some(from),
            },
        };
        self.observer.saw(&Happening::Revoked {
            certificate: &certificate,
            reason: reason.as_str(),
            asker: &asker,
        });
        Ok(Answer::empty(http::StatusCode::OK))
    }

    /// The leaf of ours that a client has sent.
    fn meant(&self, encoded: &str) -> Result<Entry, Problem> {
        let malformed = || Problem::malformed("the `certificate` is none");
        let der = decoded(encoded).ok_or_else(malformed)?;
        let certificate = Certificate::from_der(&der).map_err(|_| malformed())?;
        let entry = self.state.certificate(certificate.serial())?;
        entry
            .filter(|entry| entry.role == Role::Leaf && entry.der == der)
            .ok_or_else(|| Problem::not_found("certificate"))
    }

    fn may_revoke(&self, account: &Account, entry: &Entry) -> Result<bool, Problem> {
        let order = self.state.order_of_certificate(&entry.serial)?;
        if order.is_some_and(|order| order.account == account.id) {
            return Ok(true);
        }
        let now = self.clock.now();
        Ok(self
            .state
            .is_authorized_for(&account.id, &entry.names, now)?)
    }

    /// When the certificate with this id should be renewed.
    pub(super) fn renewal_info(&self, id: &str) -> Result<Answer, Problem> {
        let entry = self.named(id)?;
        let info = RenewalInfo {
            suggested_window: self.window(&entry),
        };
        Ok(Answer::json(&info).retry_after(ARI_PAUSE))
    }

    /// When it should be renewed: in the course of its life, or sooner, once the CA has
    /// moved to another root.
    fn window(&self, entry: &Entry) -> Window {
        let usual = window(entry, self.clock.now());
        match left_since(entry, self.ca.authority().intermediates()) {
            Some(since) => usual.or_sooner(move_window(entry, since)),
            None => usual,
        }
    }

    /// The leaf that RFC 9773 §4.1 names by its issuer's key and its serial number.
    fn named(&self, id: &str) -> Result<Entry, Problem> {
        let malformed = || Problem::malformed("this is not how a certificate is named");
        let part = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let (key, serial) = id.split_once('.').ok_or_else(malformed)?;
        let (key, serial) = part(key).zip(part(serial)).ok_or_else(malformed)?;
        let entry = self.state.certificate(&serial)?;
        let ours = |entry: &Entry| {
            let leaf = parsed(entry).ok();
            let issuer = leaf.and_then(|leaf| leaf.authority_key_id().map(<[u8]>::to_vec));
            entry.role == Role::Leaf && issuer.is_some_and(|issuer| issuer == key)
        };
        entry
            .filter(ours)
            .ok_or_else(|| Problem::not_found("certificate"))
    }

    /// RFC 9773 §5: what is replaced is the account's own, for one of the same names.
    /// Gives its names once it is due: these are counted apart.
    pub(super) fn replaced(
        &self,
        id: &str,
        account: &Account,
        names: &[Identifier],
    ) -> Result<Vec<Identifier>, Problem> {
        let entry = self.named(id)?;
        let order = self.state.order_of_certificate(&entry.serial)?;
        let now = self.clock.now();
        if order.is_none_or(|order| order.account != account.id) {
            let detail = "the certificate to be replaced is not this account's";
            return Err(Problem::unauthorized(detail));
        }
        if names.iter().any(|name| entry.names.contains(name)) {
            let due = self.window(&entry).start <= now;
            return Ok(if due { entry.names } else { Vec::new() });
        }
        Err(Problem::malformed(
            "the certificate to be replaced has none of the names ordered",
        ))
    }
}

fn parsed(entry: &Entry) -> Result<Certificate, Problem> {
    Certificate::from_der(&entry.der).map_err(|error| {
        let serial = entry.serial_hex();
        tracing::error!(serial, %error, "a certificate in the inventory cannot be read");
        Problem::server_internal()
    })
}

/// RFC 8555 §7.6: the reasons that a subscriber may give.
fn reason(code: Option<i64>) -> Result<Reason, Problem> {
    let code = u8::try_from(code.unwrap_or_default()).ok();
    code.and_then(Reason::from_code)
        .filter(|reason| *reason != Reason::CaCompromise)
        .ok_or_else(|| {
            let detail = "the reason for revocation is one of 0, 1, 3, 4, 5 and 9";
            Problem::new(ProblemType::BadRevocationReason, detail)
        })
}

/// A twenty-fourth of its life, from two thirds on; half of a short life. What is
/// revoked is due at once (RFC 9773 §4.2: a window in the past).
fn window(entry: &Entry, now: Timestamp) -> Window {
    let life = entry.not_after - entry.not_before;
    let (start, end) = if entry.revoked.is_some() {
        (now - Duration::hours(2), now - Duration::HOUR)
    } else {
        let left = if life <= Duration::days(10) {
            life / 2
        } else {
            life / 3
        };
        let start = entry.not_after - left;
        (start, start + life / WINDOW_PART)
    };
    Window { start, end }
}

/// The window of what is valid when its CA leaves its root: a third of what is left of its
/// life, and a day at most, so that not everybody comes at once. It does not move with the
/// time of day: whoever asks late finds it in the past.
fn move_window(entry: &Entry, since: Timestamp) -> Window {
    let part: Duration = (entry.not_after - since) / 3;
    Window {
        start: since,
        end: since + part.clamp(Duration::MINUTE, Duration::DAY),
    }
}

/// Since when the CA has issued under another root than that of this leaf.
fn left_since(entry: &Entry, intermediates: &[Intermediate]) -> Option<Timestamp> {
    let mut later = intermediates.iter().skip_while(|i| i.name != entry.issuer);
    let root = &later.next()?.issuer;
    let first = later.find(|i| i.issuer != *root)?;
    Some(first.certificate.not_before().max(entry.not_before))
}

impl Window {
    fn or_sooner(self, other: Self) -> Self {
        if other.start < self.start {
            other
        } else {
            self
        }
    }
}
