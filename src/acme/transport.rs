//! What carries the requests that instant-acme makes, and gives back what it hides.
//!
//! Rules kept here: every request goes through the session, with its bounds, its
//! nonces and its check of the URL, and is sent as instant-acme signed it; an error
//! status becomes an [`AcmeError`] right here, so that one place words errors for
//! instant-acme's requests and for our own; instant-acme has no nonce of its own to
//! use twice, and is given nothing to panic on.

use std::cell::RefCell;
use std::pin::Pin;

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use instant_acme::{AccountBuilder, BodyWrapper, BytesResponse, Error};
use serde_json::json;

use super::error::AcmeError;
use super::http::{Answer, Session};
use super::signed::UnfitKey;
use crate::identifier::{quoted, quoted_within};

/// What instant-acme takes for the directory's URL. It is answered from what the
/// session has read already, and no URL of a CA's can be mistaken for it.
pub(crate) const DIRECTORY: &str = "/directory";

tokio::task_local! {
    /// The call into instant-acme that is being waited for.
    static CALL: Call;
}

struct Call {
    action: &'static str,
    /// The last successful answer to it.
    last: RefCell<Option<Answer>>,
}

/// The beginning of an account of instant-acme's that speaks through `session`.
pub(crate) fn builder(session: &Session) -> AccountBuilder {
    instant_acme::Account::builder_with_http(Box::new(Wire(session.clone())))
}

/// Waits for one call into instant-acme. Gives what it gave, and the last answer of
/// the CA's to it: instant-acme keeps headers and most bodies to itself.
pub(crate) async fn through<T>(
    action: &'static str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<(T, Answer), AcmeError> {
    let outcome = async {
        let given = call.await;
        (given, CALL.with(|call| call.last.take()))
    };
    let last = RefCell::default();
    let (given, answer) = CALL.scope(Call { action, last }, outcome).await;
    Ok((
        given.map_err(|error| worded(action, error))?,
        answer.unwrap_or_default(),
    ))
}

/// Within a call: where the CA says that what was just asked for is, although
/// instant-acme objects to something else in the answer.
pub(crate) fn made_all_the_same(error: &Error) -> Option<String> {
    let objection = matches!(error, Error::Other(inner) if !inner.is::<AcmeError>());
    let last = CALL.try_with(|call| call.last.borrow().clone()).ok()??;
    objection.then(|| last.location())?
}

/// An error of instant-acme's in our words.
fn worded(action: &'static str, error: Error) -> AcmeError {
    let malformed = |reason: &str| AcmeError::Malformed {
        action,
        reason: quoted_within(reason, 200),
    };
    match error {
        Error::Other(inner) => match inner.downcast() {
            Ok(ours) => *ours,
            Err(inner) => malformed(&inner.to_string()),
        },
        Error::Api(problem) => AcmeError::OrderEnded {
            status: "with an error",
            problem: Some(Box::new(problem.into())),
        },
        Error::Crypto | Error::KeyRejected => AcmeError::Key(UnfitKey),
        Error::Json(error) => malformed(&error.to_string()),
        Error::Unsupported(what) => AcmeError::NotOffered(what),
        other => malformed(&other.to_string()),
    }
}

/// instant-acme's way to the CA.
struct Wire(Session);

impl instant_acme::HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let session = self.0.clone();
        Box::pin(async move {
            let answer = carry(&session, request).await;
            answer.map_err(|error| Error::Other(Box::new(error)))
        })
    }
}

async fn carry(
    session: &Session,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, AcmeError> {
    let (head, body) = request.into_parts();
    if head.uri == DIRECTORY {
        let directory = json!(**session.endpoints()).to_string();
        return Ok(whole(Response::new(directory.into())));
    }
    if head.method == Method::HEAD {
        let mut response = Response::new(Bytes::new());
        let nonce = header(&session.nonce().await?);
        response.headers_mut().insert("replay-nonce", nonce);
        return Ok(whole(response));
    }
    let action = CALL.try_with(|call| call.action).unwrap_or("ask the CA");
    let Ok(body) = body.collect().await;
    let mut request =
        Session::request(head.method, signed_url(session, head.uri)?, body.to_bytes());
    if let Some(kind) = head.headers.get(CONTENT_TYPE) {
        request.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    let answer = session.exchange(action, request).await?;
    let mut response = Response::new(answer.body.clone());
    let headers = response.headers_mut();
    if let Some(location) = answer.location() {
        headers.insert(LOCATION, header(&location));
    }
    // instant-acme does not read renewal information without; what the CA really
    // wished is in `answer`, and nobody here waits by instant-acme's reading of it.
    headers.insert(RETRY_AFTER, HeaderValue::from_static("0"));
    let _ = CALL.try_with(|call| call.last.replace(Some(answer)));
    Ok(whole(response))
}

/// `uri` as it is in the signature, when both who checks it and who follows it find
/// the same host in it.
fn signed_url(session: &Session, uri: Uri) -> Result<Uri, AcmeError> {
    let text = uri.to_string();
    let checked = session.url(&text)?;
    let host = checked.host_str().zip(uri.host());
    let agree = host.is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
        && checked.port_or_known_default() == Some(uri.port_u16().unwrap_or(443));
    agree
        .then_some(uri)
        .ok_or_else(|| AcmeError::ForeignUrl(quoted(&text)))
}

fn whole(response: Response<Bytes>) -> BytesResponse {
    let (parts, body) = response.into_parts();
    BytesResponse {
        parts,
        body: Box::new(body),
    }
}

/// Nonces and URLs that were parsed have nothing that a header may not have; nothing
/// at all stands for what has it all the same.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
