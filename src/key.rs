//! Private keys: made, read, written, and never shown.
//!
//! Rules kept here: a key in memory is wiped when dropped and absent from
//! `Debug`; written keys are PKCS#8 version 1, and encrypted ones PBES2 with
//! scrypt at a cost that OpenSSL 3.0 accepts.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair,
};
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rcgen::{KeyPair, PublicKeyData, RsaKeySize, SigningKey};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

/// Kinds of key that certmint makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyType {
    /// ECDSA on NIST P-256; what every client accepts, and the default.
    #[default]
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521; few browsers accept it.
    P521,
    /// Ed25519 (RFC 8410); browsers do not accept it.
    Ed25519,
    /// RSA, 2048 bits.
    Rsa2048,
    /// RSA, 3072 bits.
    Rsa3072,
    /// RSA, 4096 bits.
    Rsa4096,
}

impl KeyType {
    /// Every kind, as they are offered.
    pub const ALL: [Self; 7] = [
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Ed25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// The name used in flags and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        }
    }

    /// Whether this is one of the RSA kinds.
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyType {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let plain = text.to_ascii_lowercase().replace('-', "");
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == plain)
            .ok_or_else(|| KeyError::UnknownType(text.to_owned()))
    }
}

impl serde::Serialize for KeyType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for KeyType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What unlocks an encrypted key.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct Passphrase(String);

impl Passphrase {
    /// Takes the passphrase as it is; refuses an empty one.
    pub fn new(text: String) -> Result<Self, KeyError> {
        if text.is_empty() {
            Err(KeyError::EmptyPassphrase)
        } else {
            Ok(Self(text))
        }
    }

    /// The passphrase itself, for whatever consumes it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// A private key.
pub struct PrivateKey {
    pair: KeyPair,
    kind: KeyType,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// Makes a new key from the operating system's randomness.
    pub fn generate(kind: KeyType) -> Result<Self, KeyError> {
        let pair = match kind {
            KeyType::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyType::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            KeyType::P521 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
            KeyType::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            KeyType::Rsa2048 => generate_rsa(RsaKeySize::_2048),
            KeyType::Rsa3072 => generate_rsa(RsaKeySize::_3072),
            KeyType::Rsa4096 => generate_rsa(RsaKeySize::_4096),
        }
        .map_err(|_| KeyError::Generation(kind))?;
        Self::from_pair(pair)
    }

    /// Reads the first private key in a PEM text: PKCS#8 (encrypted or not),
    /// SEC 1 or PKCS#1.
    pub fn from_pem(text: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        let blocks = pem::parse_many(text).map_err(|_| KeyError::NotPem)?;
        let block = blocks
            .iter()
            .find(|block| block.tag().ends_with("PRIVATE KEY"))
            .ok_or(KeyError::NoKeyInPem)?;
        if block.tag() == "ENCRYPTED PRIVATE KEY" {
            return Self::from_encrypted_der(block.contents(), passphrase);
        }
        if block.headers().get("Proc-Type").is_some() {
            return Err(KeyError::LegacyEncryption);
        }
        Self::from_der(block.contents())
    }

    /// Whether a PEM text holds an encrypted key and thus needs a passphrase.
    pub fn is_encrypted(text: &[u8]) -> bool {
        const MARK: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
        text.windows(MARK.len()).any(|window| window == MARK)
    }

    /// Reads a DER private key: PKCS#8, SEC 1 or PKCS#1.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let parsed = PrivateKeyDer::try_from(der).map_err(|_| KeyError::Malformed)?;
        let pair = KeyPair::try_from(&parsed).map_err(|_| KeyError::Malformed)?;
        Self::from_pair(pair)
    }

    fn from_encrypted_der(der: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
        let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| KeyError::Malformed)?;
        let plain = info
            .decrypt(passphrase.expose())
            .map_err(|_| KeyError::WrongPassphrase)?;
        // A wrong passphrase leaves valid padding once in a few hundred times.
        Self::from_der(plain.as_bytes()).map_err(|_| KeyError::WrongPassphrase)
    }

    fn from_pair(pair: KeyPair) -> Result<Self, KeyError> {
        let kind = kind_of(&pair)?;
        let pkcs8 = canonical_pkcs8(kind, pair.serialized_der())?;
        Ok(Self { pair, kind, pkcs8 })
    }

    /// Which kind of key this is.
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// The public half as DER SubjectPublicKeyInfo.
    pub fn public_key_der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// The key as unencrypted PKCS#8 PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut contents = self.pkcs8.to_vec();
        let text = encode_pem("PRIVATE KEY", &contents);
        contents.zeroize();
        Zeroizing::new(text)
    }

    /// The key as encrypted PKCS#8 PEM.
    pub fn to_encrypted_pem(&self, passphrase: &Passphrase) -> Result<Zeroizing<String>, KeyError> {
        // 16 MiB: OpenSSL 3.0 refuses the 32 MiB of the crate's default.
        const SCRYPT_LOG_N: u8 = 14;
        const SCRYPT_R: u32 = 8;
        const SCRYPT_P: u32 = 5;
        let broken = |_| KeyError::Encryption;
        let mut salt = [0; 16];
        let mut iv = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| KeyError::Encryption)?;
        aws_lc_rs::rand::fill(&mut iv).map_err(|_| KeyError::Encryption)?;
        let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P)
            .map_err(|_| KeyError::Encryption)?;
        let params = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv)
            .map_err(|_| KeyError::Encryption)?;
        let info = PrivateKeyInfoRef::try_from(self.pkcs8.as_slice()).map_err(broken)?;
        let sealed = info
            .encrypt_with_params(params, passphrase.expose())
            .map_err(|_| KeyError::Encryption)?;
        Ok(Zeroizing::new(encode_pem(
            "ENCRYPTED PRIVATE KEY",
            sealed.as_bytes(),
        )))
    }

    /// The key for rustls and whoever else takes DER; a copy that is not wiped.
    pub fn to_rustls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()))
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(&self.pair)
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, msg: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.pair.sign(msg)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pair: _,
            kind,
            pkcs8: _,
        } = self;
        write!(f, "PrivateKey({kind}, …)")
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

/// `contents` as PEM with the line ends that Unix programs write.
pub fn encode_pem(tag: &str, contents: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, contents), config)
}

fn generate_rsa(size: RsaKeySize) -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size)
}

fn kind_of(pair: &KeyPair) -> Result<KeyType, KeyError> {
    let algorithm = pair.algorithm();
    if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 {
        return Ok(KeyType::P256);
    }
    if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 {
        return Ok(KeyType::P384);
    }
    if *algorithm == rcgen::PKCS_ECDSA_P521_SHA512 {
        return Ok(KeyType::P521);
    }
    if *algorithm == rcgen::PKCS_ED25519 {
        return Ok(KeyType::Ed25519);
    }
    let spki = pair.subject_public_key_info();
    match rsa_bits(&spki) {
        Some(2048) => Ok(KeyType::Rsa2048),
        Some(3072) => Ok(KeyType::Rsa3072),
        Some(4096) => Ok(KeyType::Rsa4096),
        bits => Err(KeyError::UnsupportedRsa(bits.unwrap_or_default())),
    }
}

fn rsa_bits(spki: &[u8]) -> Option<usize> {
    use x509_parser::prelude::FromDer;
    let (_, info) = x509_parser::x509::SubjectPublicKeyInfo::from_der(spki).ok()?;
    match info.parsed().ok()? {
        x509_parser::public_key::PublicKey::RSA(key) => Some(key.key_size()),
        _ => None,
    }
}

/// The key as PKCS#8 version 1: OpenSSL 3.0 does not read Ed25519 keys of
/// version 2, and SEC 1 and PKCS#1 are formats of their own.
fn canonical_pkcs8(kind: KeyType, der: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let malformed = |_| KeyError::Malformed;
    let ecdsa = |curve| -> Result<Vec<u8>, KeyError> {
        let pair =
            EcdsaKeyPair::from_private_key_der(curve, der).map_err(|_| KeyError::Malformed)?;
        Ok(pair
            .to_pkcs8v1()
            .map_err(|_| KeyError::Malformed)?
            .as_ref()
            .to_vec())
    };
    let bytes = match kind {
        KeyType::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
        KeyType::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING)?,
        KeyType::P521 => ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING)?,
        KeyType::Ed25519 => {
            // RFC 8410 §7: version 0, the algorithm, and the seed in an OCTET STRING.
            const HEAD: [u8; 16] = [
                0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
                0x04, 0x20,
            ];
            let info = PrivateKeyInfoRef::try_from(der).map_err(malformed)?;
            let inner = info.private_key.as_bytes();
            let seed = inner.get(2..34).ok_or(KeyError::Malformed)?;
            [&HEAD, seed].concat()
        }
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
            let pair = RsaKeyPair::from_pkcs8(der)
                .or_else(|_| RsaKeyPair::from_der(der))
                .map_err(|_| KeyError::Malformed)?;
            pair.as_der()
                .map_err(|_| KeyError::Malformed)?
                .as_ref()
                .to_vec()
        }
    };
    Ok(Zeroizing::new(bytes))
}

/// What is wrong with a key, or with what was said about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No kind of key has this name.
    #[error(
        "`{}` is not a key type; use p256, p384, p521, ed25519, rsa2048, rsa3072 or rsa4096",
        crate::identifier::quoted(.0)
    )]
    UnknownType(String),
    /// The cryptographic library could not make one.
    #[error("could not generate a {0} key")]
    Generation(KeyType),
    /// The text is not PEM.
    #[error("not PEM text")]
    NotPem,
    /// The PEM holds other things, but no key.
    #[error("no private key in the PEM text")]
    NoKeyInPem,
    /// The DER inside is not a key that we know.
    #[error("not a private key of a known type")]
    Malformed,
    /// RSA of an unusual size.
    #[error("RSA keys of {0} bits are not supported; use 2048, 3072 or 4096")]
    UnsupportedRsa(usize),
    /// The key is encrypted and no passphrase was given.
    #[error("the private key is encrypted and needs a passphrase")]
    PassphraseNeeded,
    /// It does not unlock the key.
    #[error("the passphrase does not unlock the private key")]
    WrongPassphrase,
    /// RFC 1423 encryption, whose key derivation is one round of MD5.
    #[error(
        "the private key uses legacy PEM encryption; convert it with `openssl pkcs8 -topk8 -scrypt`"
    )]
    LegacyEncryption,
    /// A passphrase of length zero.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// Encrypting failed.
    #[error("could not encrypt the private key")]
    Encryption,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_being_written_and_read() {
        let secret = Passphrase::new("correct horse".into()).unwrap();
        for kind in KeyType::ALL {
            let key = PrivateKey::generate(kind).unwrap();
            let plain = PrivateKey::from_pem(key.to_pem().as_bytes(), None).unwrap();
            assert_eq!(
                (plain.kind(), plain.public_key_der()),
                (kind, key.public_key_der())
            );
            let sealed = key.to_encrypted_pem(&secret).unwrap();
            assert!(PrivateKey::is_encrypted(sealed.as_bytes()));
            let opened = PrivateKey::from_pem(sealed.as_bytes(), Some(&secret)).unwrap();
            assert_eq!(opened.public_key_der(), key.public_key_der());
        }
    }

    #[test]
    fn a_wrong_or_missing_passphrase_is_said_to_be_that() {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let right = Passphrase::new("right".into()).unwrap();
        let wrong = Passphrase::new("wrong".into()).unwrap();
        let sealed = key.to_encrypted_pem(&right).unwrap();
        let open = |p| PrivateKey::from_pem(sealed.as_bytes(), p).unwrap_err();
        assert_eq!(open(Some(&wrong)), KeyError::WrongPassphrase);
        assert_eq!(open(None), KeyError::PassphraseNeeded);
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(ed25519, …)");
        let secret = Passphrase::new("hunter2".into()).unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
