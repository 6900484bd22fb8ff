//! Asking for permission: an address that answers yes or no, or a program.

use std::net::IpAddr;
#[cfg(feature = "acme")]
use std::time::Duration;

use super::gate::{ASK_DEADLINE, Decision, NoDecision, Permission};
use crate::finding::words::causes;
use crate::identifier::DnsName;
use crate::issuer::BoxFuture;
use crate::renew::hook::{Context, Hook, HookFailure};

/// A program that ends with 0 for yes and with 1 for no; `CERTMINT_HOOK_NAME` and
/// `CERTMINT_HOOK_CLIENT` tell it who asks for what.
impl Permission for Hook {
    fn ask<'a>(
        &'a self,
        name: &'a DnsName,
        client: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Decision, NoDecision>> {
        let context = about(name, client);
        Box::pin(async move {
            match self.run(&context, ASK_DEADLINE).await {
                Ok(()) => Ok(Decision::new(true)),
                Err(HookFailure::Failed { status, .. }) if status.code() == Some(1) => {
                    Ok(Decision::new(false))
                }
                Err(failure) => Err(NoDecision {
                    who: "the program of `--allow-hook`".to_owned(),
                    why: causes(&failure),
                }),
            }
        })
    }
}

/// What a program is told of a name that `client` asks for; nobody does when its
/// certificate is to be renewed.
pub(super) fn about(name: &DnsName, client: Option<IpAddr>) -> Context {
    let context = Context::default().with("NAME", name.as_str());
    match client {
        Some(client) => context.with("CLIENT", client.to_string()),
        None => context,
    }
}

/// An address that is asked with GET: `?domain=NAME&client=ADDRESS` is added to it. Any
/// status of 200 to 299 is a yes, 400 to 499 a no, and everything else no answer.
/// `Cache-Control: max-age` says for how long it holds.
#[cfg(feature = "acme")]
#[derive(Debug)]
pub struct AskUrl {
    url: url::Url,
    client: crate::net::http::HttpClient,
}

#[cfg(feature = "acme")]
impl AskUrl {
    /// Asks at `url`: an https address, or a plain one on this machine.
    pub fn new(
        url: url::Url,
        roots: &crate::net::roots::Roots,
    ) -> Result<Self, crate::net::roots::RootsError> {
        let client = crate::net::http::HttpClient::with_plain_loopback(roots)?;
        Ok(Self {
            url,
            client: client.deadline(ASK_DEADLINE),
        })
    }

    fn request(
        &self,
        name: &DnsName,
        client: Option<IpAddr>,
    ) -> Result<http::Request<hyper::body::Bytes>, http::Error> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("domain", name.as_str());
        if let Some(client) = client {
            let client = client.to_string();
            url.query_pairs_mut().append_pair("client", &client);
        }
        http::Request::get(url.as_str()).body(hyper::body::Bytes::new())
    }
}

#[cfg(feature = "acme")]
impl Permission for AskUrl {
    fn ask<'a>(
        &'a self,
        name: &'a DnsName,
        client: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Decision, NoDecision>> {
        let none = |why| NoDecision {
            who: format!("`{}`", self.url),
            why,
        };
        Box::pin(async move {
            let request = self.request(name, client);
            let request = request.map_err(|error| none(error.to_string()))?;
            let answer = self.client.send(request).await;
            let answer = answer.map_err(|error| none(causes(&error)))?;
            let decision = match answer.status().as_u16() {
                200..=299 => Decision::new(true),
                // Those that say `later`.
                408 | 425 | 429 => return Err(none("it has too much to do".to_owned())),
                400..=499 => Decision::new(false),
                300..=399 => return Err(none("it answers with a redirect".to_owned())),
                other => return Err(none(format!("it answers with status {other}"))),
            };
            let fresh = freshness(answer.headers()).unwrap_or(decision.fresh);
            Ok(Decision { fresh, ..decision })
        })
    }
}

/// For how long an answer holds, when it says so (RFC 9111 §5.2.2).
#[cfg(feature = "acme")]
fn freshness(headers: &http::HeaderMap) -> Option<Duration> {
    let values = headers.get_all(http::header::CACHE_CONTROL).iter();
    let values: Vec<String> = values
        .filter_map(|value| value.to_str().ok())
        .map(str::to_ascii_lowercase)
        .collect();
    let directives = || {
        let all = values.iter().flat_map(|value| value.split(','));
        all.map(str::trim)
    };
    if directives().any(|d| d == "no-store" || d == "no-cache") {
        return Some(Duration::ZERO);
    }
    let ages =
        directives().filter_map(|d| d.strip_prefix("max-age=")?.trim_matches('"').parse().ok());
    let age = ages.min().map(Duration::from_secs)?;
    Some(age.min(Decision::FRESH_LONGEST))
}
