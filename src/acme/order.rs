//! From names to a checked certificate: one order (RFC 8555 §7.4).
//!
//! Rules kept here: what may have been done already is looked at before it is done
//! again; the CA may end an order, but not keep it unfinished beyond the run's
//! deadline; no URL of the CA's is followed unchecked.

use instant_acme::{CertificateIdentifier, Identifier as AcmeIdentifier, NewOrder, OrderStatus};

use super::chain;
use super::error::AcmeError;
use super::http::{Answer, Session};
use super::proof::{self, Means};
use super::retry::Patience;
use super::transport::{made_all_the_same, through};
use crate::bundle::Certificate;
use crate::clock::Timestamp;
use crate::finding::words::causes;
use crate::identifier::{Identifier, quoted};

/// Most alternate chains looked at.
const MAX_ALTERNATES: usize = 5;

const READ_ORDER: &str = "read the order";
const PLACE_ORDER: &str = "place the order";
const FINALIZE: &str = "finalize the order";
const DOWNLOAD: &str = "download the certificate";

/// What is ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) names: &'a [Identifier],
    /// One of the CA's profiles.
    pub(crate) profile: Option<&'a str>,
    /// The certificate that this one replaces, as [`super::ari::certificate_id`] names it.
    pub(crate) replaces: Option<&'a CertificateIdentifier<'static>>,
    /// Common name of an issuer that the chain should contain.
    pub(crate) preferred_chain: Option<&'a str>,
    /// The request, and the public key in it.
    pub(crate) csr: &'a [u8],
    pub(crate) spki: &'a [u8],
}

/// Obtains one certificate: the leaf and its issuers, checked.
pub(crate) async fn obtain(
    means: Means<'_>,
    wanted: Order<'_>,
) -> Result<Vec<Certificate>, AcmeError> {
    let session = means.session;
    let account = means.account.within(session).await?;
    let mut order = place(session, &account, wanted).await?;
    let mut wish = None;
    let mut proven = false;
    let mut failing = Patience::default();
    let mut polling = Patience::default();
    // The CA says where the order stands; what it waits for is done, as often as it
    // says so, and the run's deadline ends what goes in circles.
    loop {
        let state = order.state();
        match state.status {
            OrderStatus::Valid => return download(means, wanted, &mut order).await,
            OrderStatus::Pending if !proven => {
                let urls: Vec<_> = state.authorizations.iter().map(|a| a.url.clone()).collect();
                let thumbprint = account.key_thumbprint();
                proof::authorize(means, thumbprint, wanted.names, &urls).await?;
                proven = true;
            }
            OrderStatus::Ready => match finalize(session, &mut order, wanted.csr).await {
                Ok(asked) => {
                    wish = asked;
                    if order.state().status != OrderStatus::Ready {
                        continue;
                    }
                    session.pause(&mut polling, FINALIZE, wish).await?;
                }
                // It may have got through all the same: the order will tell.
                Err(error) if error.is_transient() => {
                    wish = look(session, &mut order).await?;
                    if order.state().status == OrderStatus::Ready {
                        session.bear(&mut failing, FINALIZE, error).await?;
                    }
                    continue;
                }
                Err(error) if error.is_problem("orderNotReady") => {
                    session.pause(&mut polling, FINALIZE, wish).await?;
                }
                Err(error) => return Err(error),
            },
            OrderStatus::Pending => {
                let action = "see the order leave the state `pending`";
                session.pause(&mut polling, action, wish).await?;
            }
            OrderStatus::Processing => {
                let action = "see the order leave the state `processing`";
                session.pause(&mut polling, action, wish).await?;
            }
            OrderStatus::Invalid => {
                return Err(AcmeError::OrderEnded {
                    status: "invalid",
                    problem: state.error.clone().map(|problem| Box::new(problem.into())),
                });
            }
        }
        wish = look(session, &mut order).await?;
    }
}

/// Places the order; with `replaces` refused, once more without it.
async fn place(
    session: &Session,
    account: &instant_acme::Account,
    wanted: Order<'_>,
) -> Result<instant_acme::Order, AcmeError> {
    let endpoints = session.endpoints();
    if let Some(profile) = wanted.profile
        && !endpoints.meta.profiles.contains_key(profile)
    {
        let names = endpoints.meta.profiles.keys().take(20);
        return Err(AcmeError::UnknownProfile {
            profile: profile.to_owned(),
            offered: names.map(|name| quoted(name)).collect(),
        });
    }
    let names: Result<Vec<_>, AcmeError> = wanted.names.iter().map(written).collect();
    let names = names?;
    let plain = || match wanted.profile {
        Some(profile) => NewOrder::new(&names).profile(profile),
        None => NewOrder::new(&names),
    };
    if let Some(replaces) = wanted.replaces.filter(|_| endpoints.renewal_info.is_some()) {
        let replacing = plain().replaces(replaces.clone());
        match place_one(session, account, &replacing).await {
            Err(AcmeError::Refused {
                problem, status, ..
            }) if (400..500).contains(&status)
                && !problem.is("accountDoesNotExist")
                && !problem.is("rateLimited") =>
            {
                tracing::warn!(%problem, "the CA objects to `replaces`; ordering without it");
            }
            other => return other,
        }
    }
    place_one(session, account, &plain()).await
}

async fn place_one(
    session: &Session,
    account: &instant_acme::Account,
    wanted: &NewOrder<'_>,
) -> Result<instant_acme::Order, AcmeError> {
    let mut attempts = session.attempts(PLACE_ORDER);
    // A lost answer leaves an order that nobody fulfils; CAs reuse or expire it.
    loop {
        let placing = async {
            let placed = account.new_order(wanted).await;
            // Whoever takes no notice of `replaces` has placed the order all the same.
            match placed.as_ref().err().and_then(made_all_the_same) {
                Some(url) => account.order(url).await,
                None => placed,
            }
        };
        let placed = through(PLACE_ORDER, placing).await;
        if let Some((order, _)) = attempts.settle(placed).await? {
            session.url(order.url())?;
            return Ok(order);
        }
    }
}

fn written(name: &Identifier) -> Result<AcmeIdentifier, AcmeError> {
    match name {
        Identifier::Dns(_) | Identifier::Wildcard(_) => Ok(AcmeIdentifier::Dns(name.to_string())),
        Identifier::Ip(address) => Ok(AcmeIdentifier::Ip(*address)),
        Identifier::Email(_) | Identifier::Uri(_) => Err(AcmeError::UnsupportedName(name.clone())),
    }
}

/// Looks where the order stands, and when the CA would have us look again.
async fn look(
    session: &Session,
    order: &mut instant_acme::Order,
) -> Result<Option<Timestamp>, AcmeError> {
    let mut attempts = session.attempts(READ_ORDER);
    loop {
        let looked = through(READ_ORDER, async { order.refresh().await.map(drop) }).await;
        if let Some(((), answer)) = attempts.settle(looked).await? {
            return Ok(answer.retry_after);
        }
    }
}

/// Hands the request in.
async fn finalize(
    session: &Session,
    order: &mut instant_acme::Order,
    csr: &[u8],
) -> Result<Option<Timestamp>, AcmeError> {
    session.url(&order.state().finalize)?;
    let mut attempts = session.attempts(FINALIZE);
    loop {
        let asked = through(FINALIZE, order.finalize_csr(csr)).await;
        if let Some(((), answer)) = attempts.once(asked)? {
            return Ok(answer.retry_after);
        }
    }
}

/// The chain that is preferred, or else the CA's own choice.
async fn download(
    means: Means<'_>,
    wanted: Order<'_>,
    order: &mut instant_acme::Order,
) -> Result<Vec<Certificate>, AcmeError> {
    let session = means.session;
    let url = order.state().certificate.as_deref();
    let url = url.ok_or_else(|| AcmeError::Malformed {
        action: READ_ORDER,
        reason: "it is valid and has no certificate".to_owned(),
    })?;
    session.url(url)?;
    let read = |body: &[u8]| chain::read(body, wanted.names, wanted.spki, session.now());
    let mut attempts = session.attempts(DOWNLOAD);
    let (chain, answer) = loop {
        let fetched = through(DOWNLOAD, order.certificate()).await;
        let read = fetched.and_then(|(_, answer)| Ok((read(&answer.body)?, answer)));
        if let Some(downloaded) = attempts.settle(read).await? {
            break downloaded;
        }
    };
    let Some(preferred) = wanted.preferred_chain else {
        return Ok(chain);
    };
    if chain::is_issued_by(&chain, preferred) {
        return Ok(chain);
    }
    for url in answer.links("alternate").iter().take(MAX_ALTERNATES) {
        let identity = means.account.identity();
        let body = |answer: Answer| Ok(answer.body);
        let fetched = session.post(identity, DOWNLOAD, url, None, body).await;
        match fetched.and_then(|body| Ok(read(&body)?)) {
            Ok(alternate) if chain::is_issued_by(&alternate, preferred) => return Ok(alternate),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = %causes(&error), "an alternate chain is not usable");
            }
        }
    }
    tracing::warn!(preferred, "the CA offers no such chain; taking its default");
    Ok(chain)
}
