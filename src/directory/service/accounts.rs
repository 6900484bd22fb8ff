//! newAccount, accounts and their orders, keyChange (RFC 8555 §7.3, §7.1.2.1).

use std::net::IpAddr;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::jws::{ExternalBinding, Flattened, KeyChange, Verified};
use super::super::problem::{Problem, ProblemType};
use super::super::state::status::AccountEvent;
use super::super::state::{
    Account, AccountId, AccountStatus, KeyChanged, NewAccount, OrderId, Registered,
};
use super::super::{Asker, Happening};
use super::Service;
use super::answer::Answer;
use super::route::Urls;
use crate::identifier::{EmailAddress, quoted};

/// Contact URLs of one account at most.
const MAX_CONTACTS: usize = 10;
/// Longest contact URL.
const MAX_CONTACT: usize = 320;
/// Orders in one page of an account's list.
const PAGE: u32 = 100;

/// The payload of newAccount. Some clients say `null` where they say nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    contact: Option<Vec<String>>,
    terms_of_service_agreed: Option<bool>,
    only_return_existing: Option<bool>,
    external_account_binding: Option<Flattened>,
}

/// The payload of an update.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    status: Option<String>,
    contact: Option<Vec<String>>,
    terms_of_service_agreed: Option<bool>,
}

/// An account as its holder sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    status: &'static str,
    contact: &'a [String],
    terms_of_service_agreed: bool,
    orders: String,
}

#[derive(Serialize)]
struct List {
    orders: Vec<String>,
}

fn shown(account: &Account, urls: &Urls) -> Answer {
    Answer::json(&Shown {
        status: account.status.as_str(),
        contact: &account.contacts,
        terms_of_service_agreed: account.terms_agreed,
        orders: urls.orders(&account.id, None),
    })
    .location(&urls.account(&account.id))
}

impl Service {
    pub(super) fn new_account(
        &self,
        request: &Verified,
        urls: &Urls,
        from: IpAddr,
    ) -> Result<Answer, Problem> {
        let wanted: Wanted = request.json()?;
        if let Some(account) = self.state.account_by_key(&request.key().thumbprint())? {
            return existing(&account, urls);
        }
        if wanted.only_return_existing == Some(true) {
            let detail = "no account has this key";
            return Err(Problem::new(ProblemType::AccountDoesNotExist, detail));
        }
        let contacts = wanted.contact.unwrap_or_default();
        let terms_agreed = wanted.terms_of_service_agreed == Some(true);
        check_contacts(&contacts)?;
        self.check_terms(terms_agreed)?;
        let kid = self.bound_to(wanted.external_account_binding.as_ref(), request)?;
        self.limiter.account(from, self.clock.now())?;
        let new = NewAccount {
            key: request.key(),
            contacts: &contacts,
            terms_agreed,
            eab_kid: kid.as_deref(),
        };
        match self.state.register(&new, self.clock.now())? {
            Registered::New(account) => {
                let asker = Asker::new(&account, Some(from));
                self.observer.saw(&Happening::Registered { asker: &asker });
                Ok(shown(&account, urls).status(StatusCode::CREATED))
            }
            Registered::Existing(account) => existing(&account, urls),
        }
    }

    /// RFC 8555 §7.3: no account before its holder has agreed.
    fn check_terms(&self, agreed: bool) -> Result<(), Problem> {
        match &self.settings.terms_of_service {
            Some(terms) if !agreed => Err(Problem::new(
                ProblemType::UserActionRequired,
                format!("agree to the terms of service first: {terms}"),
            )
            .with_instance(terms.as_str())),
            _ => Ok(()),
        }
    }

    /// The external account key that vouches for a new account (RFC 8555 §7.3.4).
    fn bound_to(
        &self,
        binding: Option<&Flattened>,
        request: &Verified,
    ) -> Result<Option<String>, Problem> {
        let Some(binding) = binding else {
            return if self.settings.require_eab {
                Err(Problem::new(
                    ProblemType::ExternalAccountRequired,
                    "an external account key is needed: ask whoever runs this CA for one",
                ))
            } else {
                Ok(None)
            };
        };
        let binding = ExternalBinding::parse(binding)?;
        let unusable = || Problem::unauthorized("the external account key cannot be used");
        let key = self.state.eab_key(binding.kid())?.ok_or_else(unusable)?;
        binding.verify(&key.key, request.url(), request.key())?;
        Ok(Some(key.kid))
    }

    pub(super) fn account(
        &self,
        account: &Account,
        id: &AccountId,
        request: &Verified,
        urls: &Urls,
    ) -> Result<Answer, Problem> {
        only_own(account, id)?;
        if request.is_post_as_get() {
            return Ok(shown(account, urls));
        }
        let update: Update = request.json()?;
        match update.status.as_deref() {
            Some("deactivated") => {
                let closed = self
                    .state
                    .close_account(&account.id, AccountEvent::Deactivate)?;
                return Ok(shown(&closed, urls));
            }
            Some("valid") | None => {}
            Some(other) => {
                let detail = format!("an account cannot be made `{}`", quoted(other));
                return Err(Problem::malformed(detail));
            }
        }
        if let Some(contacts) = &update.contact {
            check_contacts(contacts)?;
        }
        // Consent is not taken back (RFC 8555 §7.3.3).
        let agreed = update.terms_of_service_agreed.filter(|agreed| *agreed);
        let updated = self
            .state
            .update_account(&account.id, update.contact.as_deref(), agreed)?;
        Ok(shown(&updated, urls))
    }

    pub(super) fn orders(
        &self,
        account: &Account,
        (id, after): (&AccountId, Option<&OrderId>),
        request: &Verified,
        urls: &Urls,
    ) -> Result<Answer, Problem> {
        only_own(account, id)?;
        request.expect_post_as_get()?;
        let now = self.clock.now();
        let found = self.state.orders_of(id, after, PAGE, now)?;
        let answer = Answer::json(&List {
            orders: found.iter().map(|id| urls.order(id)).collect(),
        });
        Ok(match found.last() {
            Some(last) if found.len() == PAGE as usize => {
                answer.link(&urls.orders(id, Some(last)), "next")
            }
            _ => answer,
        })
    }

    pub(super) fn key_change(
        &self,
        account: &Account,
        request: &Verified,
        urls: &Urls,
    ) -> Result<Answer, Problem> {
        let change = KeyChange::verify(request, &urls.account(&account.id))?;
        let old = account.key.thumbprint();
        match self.state.change_key(&account.id, &old, change.new_key())? {
            KeyChanged::Done(account) => Ok(shown(&account, urls)),
            KeyChanged::Taken(other) => {
                let detail = "an account has this key already";
                let problem = Problem::malformed(detail).with_status(StatusCode::CONFLICT);
                Ok(Answer::from(problem).location(&urls.account(&other)))
            }
        }
    }
}

fn existing(account: &Account, urls: &Urls) -> Result<Answer, Problem> {
    if account.status == AccountStatus::Valid {
        Ok(shown(account, urls))
    } else {
        Err(Problem::account_is_closed())
    }
}

fn only_own(account: &Account, id: &AccountId) -> Result<(), Problem> {
    if account.id == *id {
        return Ok(());
    }
    Err(Problem::unauthorized("this is another account's"))
}

/// RFC 8555 §7.3: only `mailto`, with one address and no header fields.
fn check_contacts(contacts: &[String]) -> Result<(), Problem> {
    if contacts.len() > MAX_CONTACTS {
        let detail = format!("an account has at most {MAX_CONTACTS} contacts");
        return Err(Problem::malformed(detail));
    }
    for contact in contacts {
        let shown = quoted(contact);
        let Some(address) = contact.strip_prefix("mailto:") else {
            let detail = format!("the contact `{shown}` is not a `mailto` URL");
            return Err(Problem::new(ProblemType::UnsupportedContact, detail));
        };
        if contact.len() > MAX_CONTACT || EmailAddress::parse(address).is_err() {
            let detail = format!("the contact `{shown}` is not one e-mail address");
            return Err(Problem::new(ProblemType::InvalidContact, detail));
        }
    }
    Ok(())
}
