//! When the CA would have a certificate renewed (RFC 9773).

use instant_acme::{CertificateIdentifier, Key};

use super::error::AcmeError;
use super::http::Session;
use super::signed::UnfitKey;
use super::transport::{DIRECTORY, builder, through};
use crate::bundle::Certificate;
use crate::clock::{Duration, Timestamp};
use crate::identifier::quoted_within;
use crate::issuer::RenewalInfo;

/// After how long to ask again when the CA does not say.
const ASK_AGAIN: Duration = Duration::hours(6);
/// Not to be asked more often, whatever the CA says.
const SOONEST: Duration = Duration::minutes(1);
/// Nor more seldom.
const LATEST: Duration = Duration::hours(24);

/// The name of a certificate in renewal information and in `replaces`
/// (RFC 9773 §4.1); `None` without an authority key identifier.
pub(crate) fn certificate_id(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    CertificateIdentifier::try_from(certificate.der()).ok()
}

/// Asks the CA about `certificate`; `None` when it offers no such information.
pub async fn renewal_info(
    session: &Session,
    certificate: &Certificate,
) -> Result<Option<RenewalInfo>, AcmeError> {
    const ACTION: &str = "tell when to renew";
    let offered = session.endpoints().renewal_info.is_some();
    let Some(id) = certificate_id(certificate).filter(|_| offered) else {
        return Ok(None);
    };
    // Anybody may ask, but instant-acme wants an account for it: this one does not
    // exist, and signs nothing.
    let (_, key) = Key::generate_pkcs8().map_err(|_| UnfitKey)?;
    let nobody = builder(session).from_parts(String::new(), key, DIRECTORY.to_owned());
    let (nobody, _) = through(ACTION, nobody).await?;
    let mut attempts = session.attempts(ACTION);
    loop {
        let asked = through(ACTION, nobody.renewal_info(&id)).await;
        let info = asked.and_then(|((info, _), answer)| {
            read(info, answer.retry_after, session.now()).ok_or_else(|| AcmeError::Malformed {
                action: ACTION,
                reason: "it has no window whose end follows its start".to_owned(),
            })
        });
        let settled = attempts.settle(info).await?;
        if settled.is_some() {
            return Ok(settled);
        }
    }
}

/// What the CA said, when it makes sense.
fn read(
    info: instant_acme::RenewalInfo,
    retry_after: Option<Timestamp>,
    now: Timestamp,
) -> Option<RenewalInfo> {
    let (start, end) = (info.suggested_window.start, info.suggested_window.end);
    let wish = retry_after.unwrap_or(now + ASK_AGAIN);
    (start < end).then(|| RenewalInfo {
        start,
        end,
        explanation: info.explanation_url.map(|text| quoted_within(&text, 300)),
        ask_again: wish.clamp(now + SOONEST, now + LATEST),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str, retry_after: Option<i64>) -> Option<RenewalInfo> {
        let at = |seconds| Timestamp::UNIX_EPOCH + Duration::seconds(seconds);
        read(serde_json::from_str(body).ok()?, retry_after.map(at), at(0))
    }

    #[test]
    fn the_window_of_rfc_9773_is_read_and_a_senseless_one_refused() {
        let good = r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-03T04:00:00Z"},"explanationURL":"https://acme.example.com/docs/ari"}"#;
        let info = parse(good, None).unwrap();
        assert_eq!(info.end - info.start, Duration::DAY);
        assert!(info.explanation.unwrap().ends_with("/ari"));
        for bad in [
            "",
            "{}",
            r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z"}}"#,
            r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-02T04:00:00Z"}}"#,
            r#"{"suggestedWindow":{"start":"2025-01-03T04:00:00Z","end":"2025-01-02T04:00:00Z"}}"#,
            r#"{"suggestedWindow":{"start":0,"end":1}}"#,
        ] {
            assert_eq!(parse(bad, None), None, "{bad}");
        }
        for (wish, after) in [
            (None, 21_600),
            (Some(0), 60),
            (Some(7200), 7200),
            (Some(999_999), 86_400),
        ] {
            let info = parse(good, wish).unwrap();
            assert_eq!(info.ask_again.unix_timestamp(), after);
        }
    }
}
