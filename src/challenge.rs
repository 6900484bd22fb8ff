//! Challenges: how a public CA asks for proof, and who answers it.
//!
//! What the ACME client, the server and the solvers agree on. Rules kept here: a
//! token is a type that cannot leave a directory or a URL segment; whatever is
//! presented can be removed by knowing the challenge alone; a reader of the
//! [`ChallengeTable`] never waits, and a token or name that nobody opened misses.

pub mod journal;
mod served;
mod standalone;
mod table;
pub mod validation;
mod webroot;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;

pub use journal::{Journal, JournalError};
pub use served::ServedAt;
pub use standalone::{StandaloneHttp01, StandaloneTlsAlpn01};
pub(crate) use table::reverse_name;
pub use table::{ChallengeTable, TableSolver};
pub use webroot::Webroot01;

pub use crate::issuer::{ChallengeKind, UnknownChallengeKind};

use crate::identifier::{Identifier, quoted};
use crate::issuer::BoxFuture;

/// What a CA calls one challenge: letters, digits, `-` and `_` alone, so that it may
/// be a file name and a part of a URL (RFC 8555 §8.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(Box<str>);

impl Token {
    /// Shortest token taken; RFC 8555 §8 asks for 128 bits of entropy, and some
    /// private CAs count a byte as one character.
    pub const MIN: usize = 16;
    /// Longest token taken; real ones have 22 to 43 characters.
    pub const MAX: usize = 128;

    /// Reads what a CA sent.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        if !(Self::MIN..=Self::MAX).contains(&text.len()) {
            return Err(InvalidToken::Length(text.len()));
        }
        if !text.bytes().all(is_base64url) {
            return Err(InvalidToken::Character(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no [`Token`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Too short to be secret or too long to be honest.
    #[error(
        "a challenge token has {} to {} characters, not {_0}",
        Token::MIN,
        Token::MAX
    )]
    Length(usize),
    /// Something that base64url has not.
    #[error("the challenge token `{}` has a character that is not base64url", quoted(.0))]
    Character(String),
}

/// A token joined with the thumbprint of the account key (RFC 8555 §8.1). Public once
/// it is presented.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyAuthorization {
    text: Box<str>,
    token: Token,
}

impl KeyAuthorization {
    /// A SHA-256 thumbprint (RFC 7638) in base64url.
    const THUMBPRINT: usize = 43;

    /// Checks `token.thumbprint`.
    pub fn new(text: String) -> Result<Self, InvalidKeyAuthorization> {
        let (token, thumbprint) = text.split_once('.').ok_or(InvalidKeyAuthorization::Form)?;
        if thumbprint.len() != Self::THUMBPRINT || !thumbprint.bytes().all(is_base64url) {
            return Err(InvalidKeyAuthorization::Form);
        }
        let token = Token::parse(token)?;
        Ok(Self {
            text: text.into(),
            token,
        })
    }

    /// What http-01 answers with.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The token that it begins with.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// What a tls-alpn-01 certificate carries (RFC 8737 §3).
    pub fn digest(&self) -> [u8; 32] {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest(&SHA256, self.text.as_bytes()).as_ref());
        sum
    }

    /// What the TXT record of dns-01 holds.
    pub fn dns_value(&self) -> String {
        BASE64URL_NOPAD.encode(&self.digest())
    }
}

/// Why a text is no [`KeyAuthorization`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyAuthorization {
    /// Not `token.thumbprint`.
    #[error("a key authorization is a token, a dot and a SHA-256 thumbprint")]
    Form,
    /// Its token is none.
    #[error(transparent)]
    Token(#[from] InvalidToken),
}

/// One challenge to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What is to be shown control of, as the CA authorizes it: without `*.`.
    pub identifier: Identifier,
    /// The order asked for `*.` before it.
    pub wildcard: bool,
    /// How.
    pub kind: ChallengeKind,
    /// The CA's name for it.
    pub token: Token,
    /// The answer.
    pub key_authorization: KeyAuthorization,
}

/// Answers challenges of one kind.
///
/// `present`, wait for the CA, and `clean_up` belong together on every path. A future
/// may be dropped at any await; `clean_up` of the same challenges then removes
/// whatever was begun.
pub trait Solver: Send + Sync + fmt::Debug {
    /// The kind that this answers.
    fn kind(&self) -> ChallengeKind;

    /// Makes all of `challenges` (of one order) answerable, in parallel where it can,
    /// and returns once the CA may look.
    fn present<'a>(&'a self, challenges: &'a [Challenge])
    -> BoxFuture<'a, Result<(), SolverError>>;

    /// Removes whatever was presented, on success, error and cancellation alike. Safe
    /// to call twice, also for what was never presented.
    fn clean_up<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>>;

    /// Removes what a killed process left behind, as the [`Journal`] knows it; called
    /// at the start of a run. Leaves alone what a living process presents.
    fn sweep<'a>(&'a self) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(async { Ok(()) })
    }

    /// The port of its own that it answers on, while it does; none when others answer.
    fn listening<'a>(&'a self) -> BoxFuture<'a, Option<SocketAddr>> {
        Box::pin(async { None })
    }
}

/// Why a challenge could not be made answerable, or not be cleaned up.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SolverError {
    /// What happened, naming the name, address, path or record.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Trying again without a change is useless.
    pub permanent: bool,
    /// What lies below.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl SolverError {
    /// A failure that may pass by itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            permanent: false,
            source: None,
        }
    }

    /// The same with a remedy.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The same, not to be tried again without a change.
    pub fn permanent(self) -> Self {
        Self {
            permanent: true,
            ..self
        }
    }

    /// The same with its cause.
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }
}

/// Where http-01 answers lie on a web server (RFC 8555 §8.3).
pub const HTTP_PREFIX: &str = "/.well-known/acme-challenge/";

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The token of RFC 8555 §8.3 and the thumbprint of RFC 7638 §3.1.
    const TEXT: &str =
        "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ";

    #[test]
    fn kinds_have_the_names_of_the_protocol() {
        for kind in ChallengeKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<ChallengeKind>(&json).unwrap(), kind);
        }
        for bad in ["", "HTTP-01", "http01", "tls-sni-01", "dns-persist-01"] {
            assert!(bad.parse::<ChallengeKind>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_base64url_of_16_to_128_characters() {
        let long = "a".repeat(128);
        for good in ["evaGxfADs6pSRb2L", "________--------", &long] {
            assert_eq!(Token::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(129);
        for bad in [
            "",
            "evaGxfADs6pSRb2",
            &too_long,
            "../../../../etc/passwd",
            "evaGxfADs6pSRb2=",
            "evaGxfADs6pSRb2+",
            "evaGxfADs6pSRb2/",
            "evaGxfADs6pSRb2.",
            "evaGxfADs6pSRb2%2e",
            "evaGxfADs6pSRb2\n",
            "evaGxfADs6pSRb2\0",
            "evaGxfADs6pSRbü2",
            " evaGxfADs6pSRb2L",
        ] {
            assert!(Token::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_mutation_of_a_token_becomes_a_path_or_a_line() {
        for (n, mutated) in mutations("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ").enumerate() {
            let Ok(token) = Token::parse(&mutated) else {
                continue;
            };
            assert_eq!(token.as_str(), mutated, "{n}");
            assert!(mutated.bytes().all(is_base64url), "{n}: {mutated:?}");
        }
    }

    #[test]
    fn a_key_authorization_is_checked_and_gives_each_kind_its_form() {
        let authorization = KeyAuthorization::new(TEXT.to_owned()).unwrap();
        assert_eq!(authorization.as_str(), TEXT);
        assert_eq!(authorization.token().as_str(), &TEXT[..43]);
        assert_eq!(authorization.dns_value().len(), 43);
        assert_eq!(
            BASE64URL_NOPAD.encode(&authorization.digest()),
            authorization.dns_value()
        );
        for bad in [
            "",
            ".",
            &TEXT[..43],
            &TEXT[..86],
            &TEXT[43..],
            &format!("{TEXT}\r\nx"),
            &format!("{TEXT}x"),
            &TEXT.replace('.', "/"),
            &TEXT.replace('.', ".."),
        ] {
            assert!(KeyAuthorization::new(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    /// A challenge for `name` whose answer is `token` and a thumbprint.
    pub(crate) fn challenge(kind: ChallengeKind, name: &str, token: &str) -> Challenge {
        let text = format!("{token}.{}", &TEXT[44..]);
        Challenge {
            identifier: Identifier::parse(name).unwrap(),
            wildcard: false,
            kind,
            token: Token::parse(token).unwrap(),
            key_authorization: KeyAuthorization::new(text).unwrap(),
        }
    }

    /// 200 ways to spoil a token: each byte replaced, inserted before, or cut at.
    pub(super) fn mutations(token: &str) -> impl Iterator<Item = String> {
        const HOSTILE: [&str; 10] = [
            "/", "..", "%2f", "\\", "\0", "\r\n", "?", "#", "=", "\u{202e}",
        ];
        let token = token.to_owned();
        (0..200).map(move |n: usize| {
            let at = n * 7 % token.len();
            let hostile = HOSTILE[n % HOSTILE.len()];
            let (head, tail) = token.split_at(at);
            match n / 50 {
                0 => format!("{head}{hostile}{}", tail.get(1..).unwrap_or("")),
                1 => format!("{head}{hostile}{tail}"),
                2 => head.to_owned(),
                _ => format!("{hostile}{tail}{head}x"),
            }
        })
    }
}
