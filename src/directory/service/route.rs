//! Where a request goes: the path, read once, and the URLs that lead back.

use http::Method;
use http::header::HOST;
use http::request::Parts;
use url::Url;

use super::super::problem::Problem;
use super::super::state::{AccountId, AuthorizationId, ChallengeId, OrderId};

/// What a path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    KeyChange,
    RevokeCert,
    /// With how RFC 9773 names a certificate.
    RenewalInfo(String),
    Account(AccountId),
    /// With the order that the list goes on after.
    Orders(AccountId, Option<OrderId>),
    Order(OrderId),
    Finalize(OrderId),
    Authorization(AuthorizationId),
    Challenge(ChallengeId),
    /// With which of its chains: 0 is the default.
    Certificate(OrderId, usize),
    Roots,
}

impl Route {
    /// `None` where nothing is.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let head = segments.next()?;
        let rest: Vec<&str> = segments.take(4).collect();
        Some(match (head, rest.as_slice()) {
            ("directory", []) => Self::Directory,
            ("new-nonce", []) => Self::NewNonce,
            ("new-account", []) => Self::NewAccount,
            ("new-order", []) => Self::NewOrder,
            ("key-change", []) => Self::KeyChange,
            ("revoke-cert", []) => Self::RevokeCert,
            ("roots.pem", []) => Self::Roots,
            ("renewal-info", [id]) => Self::RenewalInfo((*id).to_owned()),
            ("account", [id]) => Self::Account(AccountId::parse(id)?),
            ("account", [id, "orders"]) => Self::Orders(AccountId::parse(id)?, None),
            ("account", [id, "orders", after]) => {
                Self::Orders(AccountId::parse(id)?, Some(OrderId::parse(after)?))
            }
            ("order", [id]) => Self::Order(OrderId::parse(id)?),
            ("order", [id, "finalize"]) => Self::Finalize(OrderId::parse(id)?),
            ("authz", [id]) => Self::Authorization(AuthorizationId::parse(id)?),
            ("challenge", [id]) => Self::Challenge(ChallengeId::parse(id)?),
            ("certificate", [id]) => Self::Certificate(OrderId::parse(id)?, 0),
            ("certificate", [id, chain]) => Self::Certificate(OrderId::parse(id)?, nth(chain)?),
            _ => return None,
        })
    }

    /// The name in metrics.
    pub(super) fn endpoint(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::NewNonce => "new-nonce",
            Self::NewAccount => "new-account",
            Self::NewOrder => "new-order",
            Self::KeyChange => "key-change",
            Self::RevokeCert => "revoke-cert",
            Self::RenewalInfo(_) => "renewal-info",
            Self::Account(_) => "account",
            Self::Orders(..) => "orders",
            Self::Order(_) => "order",
            Self::Finalize(_) => "finalize",
            Self::Authorization(_) => "authz",
            Self::Challenge(_) => "challenge",
            Self::Certificate(..) => "certificate",
            Self::Roots => "roots",
        }
    }

    /// Whether anybody may read it without a signature (RFC 8555 §6.3, RFC 9773 §4.1).
    pub(super) fn is_public(&self) -> bool {
        matches!(
            self,
            Self::Directory | Self::NewNonce | Self::RenewalInfo(_) | Self::Roots
        )
    }

    /// Whether it is also, or only, asked for with a signature.
    pub(super) fn is_signed(&self) -> bool {
        !matches!(self, Self::RenewalInfo(_) | Self::Roots)
    }

    /// The methods that it has.
    pub(super) fn allowed(&self) -> &'static str {
        match (self.is_public(), self.is_signed()) {
            (true, true) => "GET, HEAD, POST",
            (true, false) => "GET, HEAD",
            (false, _) => "POST",
        }
    }

    /// Whether it is asked for in the right way.
    pub(super) fn takes(&self, method: &Method) -> bool {
        match *method {
            Method::GET | Method::HEAD => self.is_public(),
            Method::POST => self.is_signed(),
            _ => false,
        }
    }
}

/// A chain besides the default: one digit, of which there is one way to write it.
fn nth(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

/// The beginning of every URL in the answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Urls(String);

impl Urls {
    /// `public`, or the host that is asked for.
    pub(super) fn of(request: &Parts, public: Option<&Url>) -> Result<Self, Problem> {
        if let Some(public) = public {
            return Ok(Self::below(public));
        }
        let target = request.uri.authority().map(ToString::to_string);
        let header = || {
            let host = request.headers.get(HOST)?.to_str().ok()?;
            Some(host.to_owned())
        };
        let host = target
            .or_else(header)
            .ok_or_else(|| Problem::malformed("the request names no host"))?;
        Ok(Self(format!("https://{host}")))
    }

    pub(super) fn below(url: &Url) -> Self {
        Self(url.as_str().trim_end_matches('/').to_owned())
    }

    /// The URL that a request with this path was sent to.
    pub(super) fn posted(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.0)
    }

    pub(super) fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.0)
    }

    pub(super) fn account(&self, id: &AccountId) -> String {
        self.at(&format!("account/{id}"))
    }

    /// The account that a `kid` names, if it is a URL of ours.
    pub(super) fn account_of(&self, kid: &str) -> Option<AccountId> {
        let path = kid.strip_prefix(&self.0)?;
        match Route::parse(path)? {
            Route::Account(id) => Some(id),
            _ => None,
        }
    }

    pub(super) fn orders(&self, id: &AccountId, after: Option<&OrderId>) -> String {
        match after {
            Some(after) => self.at(&format!("account/{id}/orders/{after}")),
            None => self.at(&format!("account/{id}/orders")),
        }
    }

    pub(super) fn order(&self, id: &OrderId) -> String {
        self.at(&format!("order/{id}"))
    }

    pub(super) fn finalize(&self, id: &OrderId) -> String {
        self.at(&format!("order/{id}/finalize"))
    }

    pub(super) fn authorization(&self, id: &AuthorizationId) -> String {
        self.at(&format!("authz/{id}"))
    }

    pub(super) fn challenge(&self, id: &ChallengeId) -> String {
        self.at(&format!("challenge/{id}"))
    }

    /// The certificate of an order, with one of its chains.
    pub(super) fn certificate(&self, id: &OrderId, chain: usize) -> String {
        match chain {
            0 => self.at(&format!("certificate/{id}")),
            other => self.at(&format!("certificate/{id}/{other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn what_is_served_can_be_found_and_nothing_else() {
        for path in [
            "/directory",
            "/new-nonce",
            "/new-account",
            "/new-order",
            "/key-change",
            "/revoke-cert",
            "/roots.pem",
            "/renewal-info/a.b",
            &format!("/account/{ID}"),
            &format!("/account/{ID}/orders"),
            &format!("/account/{ID}/orders/{ID}"),
            &format!("/order/{ID}"),
            &format!("/order/{ID}/finalize"),
            &format!("/authz/{ID}"),
            &format!("/challenge/{ID}"),
            &format!("/certificate/{ID}"),
            &format!("/certificate/{ID}/1"),
        ] {
            assert!(Route::parse(path).is_some(), "{path}");
        }
        for path in [
            "",
            "/",
            "directory",
            "/directory/",
            "//directory",
            "/Directory",
            "/order",
            "/order/",
            "/order/1",
            "/order/../directory",
            &format!("/order/{ID}/"),
            &format!("/order/{ID}/finalize/x"),
            &format!("/certificate/{ID}/10"),
            &format!("/certificate/{ID}/0"),
            "/renewal-info",
            "/renewal-info/a/b",
        ] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_kid_is_an_account_url_of_the_same_server() {
        let urls = Urls("https://ca.test".to_owned());
        let id = AccountId::parse(ID).unwrap();
        assert_eq!(urls.account_of(&urls.account(&id)), Some(id));
        for kid in [
            format!("https://other.test/account/{ID}"),
            format!("https://ca.test.evil/account/{ID}"),
            format!("https://ca.test/order/{ID}"),
            format!("/account/{ID}"),
            ID.to_owned(),
        ] {
            assert_eq!(urls.account_of(&kid), None, "{kid}");
        }
    }
}
