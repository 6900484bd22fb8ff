//! newOrder, orders, finalize (RFC 8555 §7.4).

use std::net::IpAddr;
use std::time::Duration as Wait;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::asked::AskedIdentifier;
use super::super::jwk::Jwk;
use super::super::jws::Verified;
use super::super::problem::{Problem, ProblemType, Subproblem};
use super::super::state::{
    Account, EabKey, NewAuthorization, NewOrder, Order, OrderId, OrderStatus, Trust,
};
use super::super::{Asker, Permit, Profile};
use super::Service;
use super::answer::Answer;
use super::issuing::{Job, refused};
use super::limiter::Named;
use super::route::Urls;
use super::signed::decoded;
use crate::challenge::ChallengeKind;
use crate::clock::{Duration, Timestamp, rfc3339};
use crate::identifier::{Identifier, NameConstraints, quoted};
use crate::pki::{CaError, CsrNames, read_request};

/// Names of one order at most: what a certificate holds.
const MAX_NAMES: usize = 100;
/// How long an order may take, from its beginning to its certificate.
const ORDER_LIFE: Duration = Duration::days(1);
/// How long an authorization is good for, once control was shown.
pub(super) const AUTHORIZATION_LIFE: Duration = Duration::days(1);
/// When it is worth asking again for what is being made.
pub(super) const SOON: Wait = Wait::from_secs(1);

/// The payload of newOrder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    identifiers: Vec<AskedIdentifier>,
    #[serde(default, deserialize_with = "moment")]
    not_before: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    not_after: Option<Timestamp>,
    profile: Option<String>,
    replaces: Option<String>,
}

/// A date to the second: certificates have no finer ones, and what is asked for is
/// issued exactly.
fn moment<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let asked = time::serde::rfc3339::option::deserialize(deserializer)?;
    if asked.is_some_and(|moment| moment.nanosecond() != 0) {
        return Err(serde::de::Error::custom("dates have whole seconds"));
    }
    let in_utc = |moment: Timestamp| {
        let moment = moment.checked_to_offset(time::UtcOffset::UTC);
        moment.ok_or_else(|| serde::de::Error::custom("the date is out of range"))
    };
    asked.map(in_utc).transpose()
}

/// The payload of finalize.
#[derive(Deserialize)]
struct Finalize {
    csr: String,
}

/// An order as its account sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    status: &'static str,
    expires: String,
    identifiers: &'a [AskedIdentifier],
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Problem>,
    authorizations: Vec<String>,
    finalize: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
}

pub(super) fn shown(order: &Order, urls: &Urls) -> Answer {
    let authorizations = order.authorizations.iter();
    let answer = Answer::json(&Shown {
        status: order.status.as_str(),
        expires: rfc3339(order.expires_at),
        identifiers: &order.identifiers,
        not_before: order.not_before.map(rfc3339),
        not_after: order.not_after.map(rfc3339),
        profile: order.profile.as_deref(),
        replaces: order.replaces.as_deref(),
        error: order.error.as_ref(),
        authorizations: authorizations.map(|id| urls.authorization(id)).collect(),
        finalize: urls.finalize(&order.id),
        certificate: (order.status == OrderStatus::Valid).then(|| urls.certificate(&order.id, 0)),
    })
    .location(&urls.order(&order.id));
    match order.status {
        OrderStatus::Processing => answer.retry_after(SOON),
        _ => answer,
    }
}

impl Service {
    pub(super) fn new_order(
        &self,
        account: &Account,
        request: &Verified,
        urls: &Urls,
        from: IpAddr,
    ) -> Result<Answer, Problem> {
        let wanted: Wanted = request.json()?;
        let now = self.clock.now();
        let eab = self.binding(account)?;
        let names = self.permitted(&wanted.identifiers, eab.as_ref())?;
        let profile = self.profile(wanted.profile.as_deref())?;
        self.check_dates(&wanted, profile, now)?;
        let counted = self.counted(account, &names, wanted.replaces.as_deref())?;
        self.check_room(account, from, &counted, now)?;
        let trusted = eab.is_some_and(|key| key.trust == Trust::SkipValidation);
        let authorizations: Vec<_> = names
            .into_iter()
            .map(|identifier| NewAuthorization {
                challenges: self.challenges_for(&identifier),
                identifier,
                trusted_until: trusted.then_some(now + AUTHORIZATION_LIFE),
            })
            .collect();
        let order = self.state.create_order(
            &NewOrder {
                account: &account.id,
                identifiers: &wanted.identifiers,
                authorizations: &authorizations,
                not_before: wanted.not_before,
                not_after: wanted.not_after,
                profile: wanted.profile.as_deref(),
                replaces: wanted.replaces.as_deref(),
                expires_at: ends(&wanted, now),
            },
            now,
        )?;
        Ok(shown(&order, urls).status(StatusCode::CREATED))
    }

    /// The external account key of an account, which may be needed, and revoked by now.
    fn binding(&self, account: &Account) -> Result<Option<EabKey>, Problem> {
        let eab = self.state.eab_key_of(&account.id)?;
        if eab.as_ref().is_some_and(|key| key.revoked_at.is_some()) {
            let detail = "the external account key of this account was revoked";
            return Err(Problem::unauthorized(detail));
        }
        if eab.is_none() && self.settings.require_eab {
            return Err(Problem::new(
                ProblemType::ExternalAccountRequired,
                "this account is bound to no external account key, and needs one by now",
            ));
        }
        Ok(eab)
    }

    /// The names that are asked for, if every one may be had; else all that is wrong.
    fn permitted(
        &self,
        asked: &[AskedIdentifier],
        eab: Option<&EabKey>,
    ) -> Result<Vec<Identifier>, Problem> {
        if asked.is_empty() || asked.len() > MAX_NAMES {
            let detail = format!("an order has from 1 to {MAX_NAMES} identifiers");
            return Err(Problem::malformed(detail));
        }
        let constraints = self.ca.authority().config().permit.clone();
        let mut names = Vec::new();
        let mut wrong = Vec::new();
        for one in asked {
            let checked = one.identifier().and_then(|name| {
                self.check_name(&name, &constraints, eab)?;
                Ok(name)
            });
            match checked {
                Ok(name) => names.push(name),
                Err(problem) => {
                    wrong.push(Subproblem::new(
                        problem.kind(),
                        problem.detail(),
                        one.clone(),
                    ));
                }
            }
        }
        match Problem::compound(wrong) {
            Some(problem) => Err(problem),
            None => Ok(names),
        }
    }

    /// Deny by default: a name has to be within the CA's constraints, and in what the
    /// account's key lists or, where that lists nothing, in what everybody may have.
    fn check_name(
        &self,
        name: &Identifier,
        constraints: &NameConstraints,
        eab: Option<&EabKey>,
    ) -> Result<(), Problem> {
        let reject = |why: &str| {
            Problem::new(
                ProblemType::RejectedIdentifier,
                format!("no certificate is issued for `{name}`: {why}"),
            )
        };
        let within = |permitted: &NameConstraints, who: &str| {
            let checked = permitted.check(name);
            checked.map_err(|_| reject(&format!("{who} is for `{permitted}`")))
        };
        within(constraints, "this CA")?;
        let own = eab.map(|key| &key.names).filter(|own| !own.is_unlimited());
        match (own, &self.settings.permit) {
            (Some(own), _) => within(own, "the external account key")?,
            (None, Permit::Any) => {}
            (None, Permit::Within(permitted)) if permitted.is_unlimited() => {
                return Err(reject("nothing is permitted to this account"));
            }
            (None, Permit::Within(permitted)) => within(permitted, "this directory")?,
            (None, Permit::Exactly(names)) if names.contains(name) => {}
            (None, Permit::Exactly(_)) => return Err(reject("it is not one of the names listed")),
        }
        let trusted = eab.is_some_and(|key| key.trust == Trust::SkipValidation);
        if !trusted && self.challenges_for(name).is_empty() {
            return Err(reject(
                "no challenge that is offered can show control of it",
            ));
        }
        Ok(())
    }

    /// The ways of showing control of `name`: a wildcard by DNS alone (RFC 8555
    /// §7.1.3), an address never by DNS (RFC 8738 §4).
    fn challenges_for(&self, name: &Identifier) -> Vec<ChallengeKind> {
        let fits = |kind: &ChallengeKind| match name {
            Identifier::Wildcard(_) => *kind == ChallengeKind::Dns01,
            Identifier::Ip(_) => *kind != ChallengeKind::Dns01,
            _ => true,
        };
        let offered = self.settings.challenges.iter().copied();
        offered.filter(|kind| fits(kind)).collect()
    }

    pub(super) fn profile(&self, name: Option<&str>) -> Result<&Profile, Problem> {
        let mut profiles = self.settings.profiles.iter();
        let found = match name {
            None => profiles.next(),
            Some(name) => profiles.find(|profile| profile.name == name),
        };
        found.ok_or_else(|| {
            let name = quoted(name.unwrap_or_default());
            Problem::new(
                ProblemType::InvalidProfile,
                format!("there is no profile `{name}`"),
            )
        })
    }

    /// RFC 8555 §7.4: dates that cannot be had exactly are refused now, not changed: what
    /// the CA would refuse, and what the profile or the life of an order does not allow.
    fn check_dates(
        &self,
        wanted: &Wanted,
        profile: &Profile,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let refuse = |detail: String| Err(Problem::malformed(detail));
        let start = wanted.not_before.unwrap_or(now);
        let Some(end) = wanted.not_after else {
            return match wanted.not_before {
                Some(_) => refuse("`notBefore` comes with `notAfter`".to_owned()),
                None => Ok(()),
            };
        };
        if start < now - Duration::HOUR || start > now + ORDER_LIFE {
            return refuse("`notBefore` is within an hour before and a day from now".to_owned());
        }
        if end - start > profile.longest {
            let days = profile.longest.whole_days();
            let name = &profile.name;
            return refuse(format!(
                "the profile `{name}` issues for {days} days at most"
            ));
        }
        let dates = (wanted.not_before, wanted.not_after);
        let request = self.csr_request(profile, CsrNames::Requested, dates);
        match self.ca.check_csr(&request) {
            Err(CaError::Refused(reason)) if reason.is_about_dates() => refuse(reason.to_string()),
            checked => checked.map_err(|error| refused(&error)),
        }
    }

    /// The names of an order, each with the limit that it counts against.
    fn counted(
        &self,
        account: &Account,
        names: &[Identifier],
        replaces: Option<&str>,
    ) -> Result<Vec<Named>, Problem> {
        let due = match replaces {
            Some(replaced) => self.replaced(replaced, account, names)?,
            None => Vec::new(),
        };
        let counted = names.iter().map(|name| Named {
            name: name.clone(),
            replaces_due: due.contains(name),
        });
        Ok(counted.collect())
    }

    fn check_room(
        &self,
        account: &Account,
        from: IpAddr,
        counted: &[Named],
        now: Timestamp,
    ) -> Result<(), Problem> {
        if self.state.open_orders(&account.id, now)? >= u64::from(self.settings.limits.open_orders)
        {
            let detail = "this account has too many orders that are not finished";
            return Err(Problem::rate_limited(detail, Wait::from_secs(60)));
        }
        self.limiter.order(&account.id, from, counted.len(), now)?;
        self.limiter.may_issue(counted, now)
    }

    /// The order with this id, if it is the account's.
    pub(super) fn own_order(&self, account: &Account, id: &OrderId) -> Result<Order, Problem> {
        let order = self.state.order(id, self.clock.now())?;
        if order.account == account.id {
            Ok(order)
        } else {
            Err(Problem::not_found("order"))
        }
    }

    pub(super) fn order(
        &self,
        account: &Account,
        id: &OrderId,
        request: &Verified,
        urls: &Urls,
    ) -> Result<Answer, Problem> {
        request.expect_post_as_get()?;
        Ok(shown(&self.own_order(account, id)?, urls))
    }

    /// Checks a CSR against its order, and begins to issue: from here on somebody has
    /// to sign the job.
    pub(super) fn finalize(
        &self,
        account: &Account,
        id: &OrderId,
        request: &Verified,
        from: IpAddr,
    ) -> Result<Job, Problem> {
        let order = self.own_order(account, id)?;
        let payload: Finalize = request.json()?;
        if order.status != OrderStatus::Ready {
            let detail = format!("the order is {}, not ready", order.status);
            return Err(Problem::new(ProblemType::OrderNotReady, detail));
        }
        // What was permitted when it was ordered may not be any more.
        let mut ordered = self.permitted(&order.identifiers, self.binding(account)?.as_ref())?;
        let profile = self.profile(order.profile.as_deref())?;
        let csr = decoded(&payload.csr).ok_or_else(|| bad_csr("the `csr` is not base64url"))?;
        let read = read_request(&csr, &CsrNames::RequestedOrCommon);
        let read = read.map_err(|error| refused(&error))?;
        let mut asked = read.names;
        asked.sort();
        asked.dedup();
        ordered.sort();
        if asked != ordered {
            return Err(bad_csr("the names in the CSR are not those of the order"));
        }
        if Jwk::from_spki(&read.spki).is_some_and(|key| key == account.key) {
            return Err(bad_csr("the key in the CSR is the key of the account"));
        }
        let now = self.clock.now();
        let counted = self.counted(account, &ordered, order.replaces.as_deref())?;
        self.limiter.issue(&counted, now)?;
        let order = self.state.begin_issuance(id, &read.der, now)?;
        self.job(order, profile, Asker::new(account, Some(from)))
    }
}

/// When an order ends: by then its dates can still be issued exactly.
fn ends(wanted: &Wanted, now: Timestamp) -> Timestamp {
    let usual = now + ORDER_LIFE;
    let by_start = wanted.not_before.map_or(usual, |start| start + ORDER_LIFE);
    usual.min(by_start).min(wanted.not_after.unwrap_or(usual))
}

/// The names of an order, which were checked when it was made.
pub(super) fn names_of(order: &Order) -> Result<Vec<Identifier>, Problem> {
    let asked = order.identifiers.iter();
    asked.map(AskedIdentifier::identifier).collect()
}

pub(super) fn bad_csr(detail: &str) -> Problem {
    Problem::new(ProblemType::BadCsr, detail)
}
