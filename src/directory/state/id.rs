//! Ids of objects, as they stand in URLs: 128 random bits that nobody guesses.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;

use super::StateError;

/// How many characters an id has: 16 bytes in base64url.
const LENGTH: usize = 22;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        pub struct $name(Box<str>);

        impl $name {
            pub(super) fn random() -> Result<Self, StateError> {
                Ok(Self(random::<16>()?.into()))
            }

            /// Reads a segment of a URL; `None` for what cannot be an id.
            pub fn parse(text: &str) -> Option<Self> {
                is_id(text).then(|| Self(text.into()))
            }

            /// The id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

ids! {
    /// The id of an account.
    AccountId,
    /// The id of an order.
    OrderId,
    /// The id of an authorization.
    AuthorizationId,
    /// The id of a challenge.
    ChallengeId,
}

/// `N` random bytes in base64url.
pub(super) fn random<const N: usize>() -> Result<String, StateError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| StateError::NoRandomness)?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

fn is_id(text: &str) -> bool {
    let form = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() == LENGTH && text.bytes().all(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_22_characters_of_base64url() {
        let id = OrderId::random().unwrap();
        assert_eq!(OrderId::parse(id.as_str()), Some(id.clone()));
        assert_ne!(OrderId::random().unwrap(), id);
        let text = id.as_str();
        for bad in [
            "",
            "1",
            "../../../../etc/passwd",
            &text[1..],
            &format!("{text}A"),
        ] {
            assert_eq!(OrderId::parse(bad), None, "{bad}");
        }
        assert_eq!(OrderId::parse(&format!("{}%", &text[1..])), None);
    }
}
