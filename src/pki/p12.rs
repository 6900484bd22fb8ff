//! PKCS#12 (RFC 7292): a key and its chain in one file under a passphrase, for
//! Java, Windows and phones.
//!
//! Rules kept here: what is written is PBES2 with AES-256 and PBKDF2, never the
//! 40-bit and Triple DES ciphers of old; the integrity check costs a guesser of
//! passphrases no less than the encryption does; what is read may be old and
//! weak, but is never taken for more than it says.

use aws_lc_rs::digest;
use p12_keystore::error::Error as Pkcs12Error;
use p12_keystore::{
    EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, Pkcs12Archive, PrivateKeyChain,
};
use zeroize::Zeroizing;

use crate::bundle::{CertBundle, Certificate, MalformedCertificate};
use crate::key::{KeyError, Passphrase, PrivateKey};

/// Rounds of PBKDF2-HMAC-SHA256 and of the integrity check's derivation: what
/// OWASP asks for since 2023, and below what Java refuses (5,000,000).
const ROUNDS: u32 = 600_000;
/// Largest file read.
const MAX_FILE: usize = 1024 * 1024;
/// Most certificates taken from one file.
const MAX_CERTIFICATES: usize = 1000;

/// `bundle` as a PKCS#12 file that `passphrase` opens; programs show it as
/// `friendly_name`. Takes a second of computing, which is the point of it.
pub fn encode(
    bundle: &CertBundle,
    friendly_name: &str,
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, P12Error> {
    let broken = |source| P12Error::Encoding { source };
    refuse_unsuitable(passphrase)?;
    let key = bundle.key().to_rustls();
    let key = p12_keystore::PrivateKey::from_der(key.secret_der()).map_err(broken)?;
    let chain = bundle
        .chain()
        .iter()
        .map(|certificate| p12_keystore::Certificate::from_der(certificate.der()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(broken)?;
    let id = digest::digest(&digest::SHA256, bundle.leaf().der());
    let mut store = KeyStore::new();
    store.add_entry(
        &basic_plane(friendly_name),
        KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(id.as_ref(), key, chain)),
    );
    store
        .writer(passphrase.expose())
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(ROUNDS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(ROUNDS)
        .write()
        .map(Zeroizing::new)
        .map_err(broken)
}

/// The key, if there is one, and the certificates of a PKCS#12 file: the key's own
/// first, then its issuers as far as they are there, then the others.
///
/// Without a passphrase the empty one is tried. What is found is not checked
/// further: [`CertBundle::new`] does that. Of several keys, only the first is read.
pub fn decode(
    bytes: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<(Option<PrivateKey>, Vec<Certificate>), P12Error> {
    if bytes.len() > MAX_FILE {
        return Err(P12Error::TooLarge(bytes.len()));
    }
    passphrase.map_or(Ok(()), refuse_unsuitable)?;
    let password = passphrase.map_or("", Passphrase::expose);
    let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|source| match source {
        Pkcs12Error::MacError(_) if passphrase.is_none() => P12Error::PassphraseNeeded,
        Pkcs12Error::MacError(_) => P12Error::WrongPassphrase,
        Pkcs12Error::UnsupportedMacAlgorithm | Pkcs12Error::UnsupportedEncryptionScheme => {
            P12Error::Unsupported
        }
        source => P12Error::Malformed { source },
    })?;
    if archive.certs.len() > MAX_CERTIFICATES {
        return Err(P12Error::TooManyCertificates(archive.certs.len()));
    }
    let key = archive
        .keys
        .first()
        .map(|bag| PrivateKey::from_der(bag.key.as_der()))
        .transpose()?;
    let certificates = archive
        .certs
        .iter()
        .map(|bag| Certificate::from_der(bag.cert.as_der()))
        .collect::<Result<_, _>>()?;
    Ok(match key {
        Some(key) => {
            let ordered = in_order(&key.public_key_der(), certificates);
            (Some(key), ordered)
        }
        None => (None, certificates),
    })
}

/// Files keep certificates in any order: the one with this public key comes first,
/// and after each its issuer.
fn in_order(spki: &[u8], mut rest: Vec<Certificate>) -> Vec<Certificate> {
    let mut chain: Vec<Certificate> = Vec::new();
    loop {
        let next = rest.iter().position(|candidate| match chain.last() {
            None => candidate.spki() == spki,
            Some(last) => last.verify_signed_by(candidate).is_ok(),
        });
        match next {
            Some(position) => chain.push(rest.remove(position)),
            None => break,
        }
    }
    chain.append(&mut rest);
    chain
}

/// Names and passphrases are BMPStrings in this format, which end at U+FFFF.
const LAST_CHARACTER: char = '\u{ffff}';

fn basic_plane(text: &str) -> String {
    text.chars()
        .map(|c| if c > LAST_CHARACTER { '?' } else { c })
        .collect()
}

fn refuse_unsuitable(passphrase: &Passphrase) -> Result<(), P12Error> {
    if passphrase.expose().chars().any(|c| c > LAST_CHARACTER) {
        return Err(P12Error::UnsuitablePassphrase);
    }
    Ok(())
}

/// What can go wrong with a PKCS#12 file.
#[derive(Debug, thiserror::Error)]
pub enum P12Error {
    /// It is protected and no passphrase was given.
    #[error("the PKCS#12 file needs a passphrase")]
    PassphraseNeeded,
    /// Another one than the file was made with; or the file was altered.
    #[error("the passphrase does not open the PKCS#12 file")]
    WrongPassphrase,
    /// The format cannot express it.
    #[error("the passphrase has a character that PKCS#12 cannot express, such as an emoji")]
    UnsuitablePassphrase,
    /// A cipher or check that is not known here, such as PBMAC1.
    #[error("the PKCS#12 file uses an algorithm that is not supported")]
    Unsupported,
    /// More bytes than any real one has.
    #[error("the PKCS#12 file has {0} bytes, at most {MAX_FILE} are read")]
    TooLarge(usize),
    /// More certificates than any real one has.
    #[error("the PKCS#12 file has {0} certificates, at most {MAX_CERTIFICATES} are read")]
    TooManyCertificates(usize),
    /// Not PKCS#12, or damaged.
    #[error("not a PKCS#12 file, or a damaged one")]
    Malformed {
        /// What the reader said.
        source: Pkcs12Error,
    },
    /// The key inside cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate inside cannot be read.
    #[error(transparent)]
    Certificate(#[from] MalformedCertificate),
    /// Writing failed.
    #[error("could not write the PKCS#12 file")]
    Encoding {
        /// What the writer said.
        source: Pkcs12Error,
    },
}

impl P12Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::PassphraseNeeded => Some("give it with `--passphrase-file FILE`".to_owned()),
            Self::Unsupported => Some(
                "rewrite it with `openssl pkcs12 -in OLD -out all.pem` and `openssl pkcs12 \
                 -export -in all.pem -out NEW`"
                    .to_owned(),
            ),
            Self::UnsuitablePassphrase => {
                Some("choose one of letters, digits and punctuation".to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;

    /// A leaf under an intermediate under a root, each signed by the next.
    fn bundle() -> (CertBundle, Certificate) {
        let params = |name: &str, ca: bool| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            if ca {
                params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }
            params
        };
        let key = || PrivateKey::generate(KeyType::P256).unwrap();
        let read = |made: rcgen::Certificate| Certificate::from_der(made.der()).unwrap();
        let (root_key, upper_key, leaf_key) = (key(), key(), key());
        let root_params = params("root", true);
        let root = root_params.self_signed(&root_key).unwrap();
        let root_issuer = rcgen::Issuer::new(root_params, &root_key);
        let upper_params = params("upper", true);
        let upper = upper_params.signed_by(&upper_key, &root_issuer).unwrap();
        let upper_issuer = rcgen::Issuer::new(upper_params, &upper_key);
        let leaf = params("leaf", false)
            .signed_by(&leaf_key, &upper_issuer)
            .unwrap();
        let bundle = CertBundle::new(leaf_key, vec![read(leaf), read(upper)]).unwrap();
        (bundle, read(root))
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_with_the_passphrase_alone() {
        let (bundle, _) = bundle();
        let secret = passphrase("correct hörse");
        let file = encode(&bundle, "a.test 🐎", &secret).unwrap();
        let (key, chain) = decode(&file, Some(&secret)).unwrap();
        let again = CertBundle::new(key.unwrap(), chain).unwrap();
        assert_eq!(again.chain(), bundle.chain());

        let wrong = decode(&file, Some(&passphrase("wrong")));
        assert!(matches!(wrong, Err(P12Error::WrongPassphrase)));
        let none = decode(&file, None);
        assert!(matches!(none, Err(P12Error::PassphraseNeeded)));
        let mut altered = file.to_vec();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        assert!(decode(&altered, Some(&secret)).is_err());
    }

    #[test]
    fn a_passphrase_that_the_format_cannot_express_is_refused() {
        let (bundle, _) = bundle();
        let emoji = passphrase("🐎");
        let outcome = encode(&bundle, "a", &emoji);
        assert!(matches!(outcome, Err(P12Error::UnsuitablePassphrase)));
        let outcome = decode(b"", Some(&emoji));
        assert!(matches!(outcome, Err(P12Error::UnsuitablePassphrase)));
    }

    #[test]
    fn certificates_come_in_the_order_of_the_chain() {
        let (bundle, root) = bundle();
        let [leaf, upper] = bundle.chain() else {
            panic!()
        };
        let (stranger, _) = self::bundle();
        let stranger = stranger.leaf();
        let shuffled = [&root, stranger, upper, leaf]
            .map(Certificate::clone)
            .to_vec();
        let ordered = in_order(&bundle.key().public_key_der(), shuffled);
        // The root signed itself, and yet there is an end.
        assert_eq!(
            ordered,
            [leaf, upper, &root, stranger].map(Certificate::clone)
        );
    }

    #[test]
    fn what_is_no_pkcs12_is_refused() {
        let huge = vec![0; MAX_FILE + 1];
        for bad in [
            b"".as_slice(),
            b"x",
            b"\x30\x80",
            b"-----BEGIN CERTIFICATE-----",
        ] {
            assert!(
                matches!(decode(bad, None), Err(P12Error::Malformed { .. })),
                "{bad:?}"
            );
        }
        assert!(matches!(decode(&huge, None), Err(P12Error::TooLarge(_))));
    }
}
