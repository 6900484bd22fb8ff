//! Who asks: a request becomes an account's, or a key's, only through here.
//!
//! The order is that of `jws`: form, nonce, URL, key, signature; a nonce is spent as
//! soon as the form is right.

use data_encoding::BASE64URL_NOPAD;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use super::super::jws::{Request, Signer, Verified};
use super::super::problem::{Problem, ProblemType};
use super::super::state::{Account, AccountStatus};
use super::Service;
use super::route::Urls;

/// What a signed request is sent as (RFC 8555 §6.2).
const JOSE: &str = "application/jose+json";

/// Who signed a request.
#[derive(Debug)]
pub(super) enum Signatory {
    /// An account that is valid.
    Account(Account),
    /// Whoever holds the key in the request.
    Key,
}

impl Service {
    /// The request of an account, or of a key.
    pub(super) fn authenticate(
        &self,
        head: &Parts,
        body: &[u8],
        urls: &Urls,
    ) -> Result<(Signatory, Verified), Problem> {
        check_media_type(head)?;
        let request = Request::parse(body)?;
        if !self.nonces.take(request.nonce(), self.clock.now()) {
            return Err(Problem::bad_nonce());
        }
        let path = head.uri.path_and_query();
        request.check_url(&urls.posted(path.map_or("/", |path| path.as_str())))?;
        let kid = match request.signer() {
            Signer::Key(_) => return Ok((Signatory::Key, request.verify_by_own_key()?)),
            Signer::Account(kid) => kid,
        };
        let unknown = || {
            Problem::new(
                ProblemType::AccountDoesNotExist,
                "the `kid` names no account",
            )
        };
        let id = urls.account_of(kid).ok_or_else(unknown)?;
        let account = self.state.account(&id)?;
        let verified = request.verify(&account.key)?;
        if account.status != AccountStatus::Valid {
            return Err(Problem::account_is_closed());
        }
        Ok((Signatory::Account(account), verified))
    }
}

/// An account, where a bare key will not do.
pub(super) fn only_account(signatory: Signatory) -> Result<Account, Problem> {
    match signatory {
        Signatory::Account(account) => Ok(account),
        Signatory::Key => Err(Problem::malformed(
            "this request is signed with a `kid`, not a `jwk`",
        )),
    }
}

/// A bare key, where there is no account yet.
pub(super) fn only_key(signatory: &Signatory) -> Result<(), Problem> {
    match signatory {
        Signatory::Key => Ok(()),
        Signatory::Account(_) => Err(Problem::malformed(
            "this request is signed with a `jwk`, not a `kid`",
        )),
    }
}

/// What a payload holds in base64url, which some clients pad.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD
        .decode(text.trim_end_matches('=').as_bytes())
        .ok()
}

fn check_media_type(head: &Parts) -> Result<(), Problem> {
    let given = head.headers.get(CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = given.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(JOSE) {
        return Ok(());
    }
    let problem = Problem::malformed(format!("requests are sent as {JOSE}"));
    Err(problem.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}
