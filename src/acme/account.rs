//! The account at a CA: one for each directory, in `acme/<slug>/account.json`.
//!
//! Rules kept here: a key is on disk before the CA hears of it, so that a crash at any
//! moment loses no account; during a rollover both keys are on disk, and the CA is
//! asked which one counts; whoever changes something holds `locks/acme-<slug>` and
//! looks again once it does.

use std::fmt;
use std::path::{Path, PathBuf};

use instant_acme::Key;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::error::AcmeError;
use super::http::{Answer, Session};
use super::signed::{Identity, Signer, UnfitKey};
use super::transport::{DIRECTORY, builder, through};
use super::wire::AccountState;
use crate::identifier::{EmailAddress, quoted_within};
use crate::issuer::Directory;
use crate::key::{KeyType, PrivateKey};
use crate::store::{Lock, StoreError, disk};

/// Shows the CA that its customer and this account are one (RFC 8555 §7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    pub(crate) kid: String,
    pub(crate) hmac: Zeroizing<Vec<u8>>,
}

impl ExternalAccount {
    /// From a key id and the HMAC key as CAs hand it out, in base64url or base64.
    pub fn new(kid: impl Into<String>, hmac: &str) -> Result<Self, BadExternalAccount> {
        use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
        let kid = kid.into();
        let text = hmac.trim().trim_end_matches('=').as_bytes();
        let decoded = BASE64URL_NOPAD.decode(text);
        let hmac = decoded.or_else(|_| BASE64_NOPAD.decode(text)).ok();
        match hmac {
            _ if kid.is_empty() => Err(BadExternalAccount::Kid),
            Some(hmac) if !hmac.is_empty() => Ok(Self {
                kid,
                hmac: Zeroizing::new(hmac),
            }),
            _ => Err(BadExternalAccount::Hmac),
        }
    }

    /// From a key id and a file that holds the HMAC key and that only its owner can
    /// read.
    pub fn from_file(kid: impl Into<String>, path: &Path) -> Result<Self, BadExternalAccount> {
        let bytes = disk::read_key(path)?;
        let text = str::from_utf8(&bytes).map_err(|_| BadExternalAccount::Hmac)?;
        Self::new(kid, text)
    }
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kid, hmac: _ } = self;
        write!(f, "ExternalAccount({kid:?}, …)")
    }
}

/// Why there is no external account.
#[derive(Debug, thiserror::Error)]
pub enum BadExternalAccount {
    /// The key id is empty.
    #[error("the key id of the external account is empty")]
    Kid,
    /// The HMAC key is no base64url.
    #[error("the HMAC key of the external account is not base64url")]
    Hmac,
    /// The file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a new account is made with.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Where the CA may write to.
    pub contact: Vec<EmailAddress>,
    /// Whether the CA's terms of service are agreed to.
    pub agree_to_terms: bool,
    /// For CAs that require it.
    pub external: Option<ExternalAccount>,
}

/// An account that can sign.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) url: String,
    signer: Signer,
    key: PrivateKey,
}

impl Account {
    /// For the requests that we sign ourselves.
    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity {
            signer: &self.signer,
            account: Some(&self.url),
        }
    }

    /// The same account as instant-acme has it, for the length of one session.
    pub(crate) async fn within(
        &self,
        session: &Session,
    ) -> Result<instant_acme::Account, AcmeError> {
        let opened =
            builder(session).from_parts(self.url.clone(), pkcs8(&self.key)?, DIRECTORY.to_owned());
        let (account, _) = through("open the account", opened).await?;
        Ok(account)
    }

    async fn state(&self, session: &Session) -> Result<AccountInfo, AcmeError> {
        const ACTION: &str = "read the account";
        let state = |answer: Answer| answer.json(ACTION);
        let state: AccountState = session
            .post(self.identity(), ACTION, &self.url, None, state)
            .await?;
        Ok(info(self.url.clone(), &state))
    }
}

/// What the CA says of an account.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AccountInfo {
    /// Its URL, which is its name.
    pub url: String,
    /// `valid`, `deactivated`, `revoked`; escaped.
    pub status: String,
    /// Where the CA may write to; escaped.
    pub contact: Vec<String>,
}

/// What is on disk of an account.
pub struct Saved {
    /// Its URL, once the CA is known to have it.
    pub url: Option<String>,
    /// The terms that were agreed to.
    pub terms: Option<String>,
    /// Where the CA may write to, as URLs.
    pub contact: Vec<String>,
    key: PrivateKey,
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            terms,
            contact,
            key: _,
        } = self;
        f.debug_struct("Saved")
            .field("url", url)
            .field("terms", terms)
            .field("contact", contact)
            .finish_non_exhaustive()
    }
}

/// The form on disk.
#[derive(serde::Deserialize)]
struct File {
    schema: String,
    directory: String,
    url: Option<String>,
    terms: Option<String>,
    #[serde(default)]
    contact: Vec<String>,
    key: Zeroized,
}

struct Zeroized(Zeroizing<String>);

impl<'de> serde::Deserialize<'de> for Zeroized {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Where the account of one directory is kept.
#[derive(Debug, Clone)]
pub struct AccountHome {
    dir: PathBuf,
    locks: PathBuf,
    lock: String,
    directory: Directory,
}

impl AccountHome {
    /// Name of the form on disk.
    const SCHEMA: &str = "certmint.acme-account/1";
    const MODE: u32 = 0o600;

    /// The account of `directory` in the state directory `home`.
    pub fn new(home: &Path, directory: &Directory) -> Self {
        let slug = directory.slug();
        Self {
            dir: home.join("acme").join(&slug),
            locks: home.join("locks"),
            lock: format!("acme-{slug}"),
            directory: directory.clone(),
        }
    }

    /// The file that holds the account and its key.
    pub fn path(&self) -> PathBuf {
        self.dir.join("account.json")
    }

    fn next(&self) -> PathBuf {
        self.dir.join("account.next.json")
    }

    /// What is on disk; `None` when there is nothing.
    pub fn load(&self) -> Result<Option<Saved>, AcmeError> {
        self.read(&self.path())
    }

    /// What the CA says of the account.
    pub async fn show(&self, session: &Session) -> Result<AccountInfo, AcmeError> {
        self.existing(session).await?.state(session).await
    }

    /// Makes the account, or finds again the one that is there; what is known of it
    /// already is not asked of the CA.
    pub async fn register(
        &self,
        session: &Session,
        registration: &Registration,
    ) -> Result<AccountInfo, AcmeError> {
        let account = self.open(session, registration).await?;
        account.state(session).await
    }

    /// Replaces the addresses that the CA may write to.
    pub async fn set_contact(
        &self,
        session: &Session,
        contact: &[EmailAddress],
    ) -> Result<AccountInfo, AcmeError> {
        const ACTION: &str = "change the contact";
        let _lock = self.lock().await?;
        let mut saved = self.settled(session).await?;
        let account = saved.account(&self.directory)?;
        saved.contact = mailto(contact);
        let urls: Vec<&str> = saved.contact.iter().map(String::as_str).collect();
        let acme = account.within(session).await?;
        let mut attempts = session.attempts(ACTION);
        let state: AccountState = loop {
            let changed = through(ACTION, acme.update_contacts(&urls)).await;
            let read = changed.and_then(|((), answer)| answer.json(ACTION));
            if let Some(state) = attempts.settle(read).await? {
                break state;
            }
        };
        self.write(&self.path(), &saved)?;
        Ok(info(account.url, &state))
    }

    /// Replaces the account's key (RFC 8555 §7.3.5).
    ///
    /// A crash at any moment leaves a key on disk that the CA knows.
    pub async fn roll_over(&self, session: &Session) -> Result<(), AcmeError> {
        let _lock = self.lock().await?;
        let saved = self.settled(session).await?;
        let account = saved.account(&self.directory)?;
        let endpoints = session.endpoints();
        let url = endpoints.key_change.as_deref();
        let url = url.ok_or(AcmeError::NotOffered("change of account keys"))?;
        let next = Saved {
            key: PrivateKey::generate(KeyType::P256)?,
            ..saved
        };
        let signer = Signer::new(&next.key)?;
        let change = signer.sign_change(url, &account.url, &account.signer)?;
        self.write(&self.next(), &next)?;
        let action = "change the account key";
        let identity = account.identity();
        let asked = session
            .post_once(identity, action, url, Some(&change))
            .await;
        // Whatever the answer, or none: the CA is asked which key counts.
        let changed = self.settle(session).await?;
        match asked {
            _ if changed => Ok(()),
            Ok(_) => Err(AcmeError::Malformed {
                action,
                reason: "the new key is not the account's".to_owned(),
            }),
            Err(error) => Err(error),
        }
    }

    /// Ends the account for good; the CA's answer is checked.
    pub async fn deactivate(&self, session: &Session) -> Result<(), AcmeError> {
        let action = "deactivate the account";
        let _lock = self.lock().await?;
        let account = self.settled(session).await?.account(&self.directory)?;
        let payload = json!({ "status": "deactivated" });
        let identity = account.identity();
        let read = |answer: Answer| answer.json(action);
        let state: AccountState = session
            .post(identity, action, &account.url, Some(&payload), read)
            .await?;
        if state.status != "deactivated" {
            return Err(AcmeError::Malformed {
                action,
                reason: format!("the account is {}", state.status()),
            });
        }
        disk::remove_file(&self.path())?;
        Ok(())
    }

    /// The account that is there.
    pub(crate) async fn existing(&self, session: &Session) -> Result<Account, AcmeError> {
        let _lock = self.lock().await?;
        self.settled(session).await?.account(&self.directory)
    }

    /// The account, made when there is none.
    pub(crate) async fn open(
        &self,
        session: &Session,
        registration: &Registration,
    ) -> Result<Account, AcmeError> {
        let _lock = self.lock().await?;
        self.settle(session).await?;
        let saved = match self.load()? {
            Some(saved) if saved.url.is_some() => return saved.account(&self.directory),
            // A crash came between key and account; the CA may have heard of it.
            Some(saved) => match find(session, &saved.key).await? {
                Some(url) => return self.found(saved, url),
                None => saved,
            },
            None => {
                may_register(session, registration, None)?;
                let saved = Saved {
                    url: None,
                    terms: None,
                    contact: Vec::new(),
                    key: PrivateKey::generate(KeyType::P256)?,
                };
                self.write(&self.path(), &saved)?;
                saved
            }
        };
        self.make(session, registration, saved).await
    }

    /// The account after the CA said that it has no `lost`: made anew with its key.
    pub(crate) async fn reopen(
        &self,
        session: &Session,
        registration: &Registration,
        lost: &str,
    ) -> Result<Account, AcmeError> {
        let _lock = self.lock().await?;
        let Some(saved) = self.load()? else {
            return Err(AcmeError::NoAccount(self.directory.to_string()));
        };
        if saved.url.as_deref() != Some(lost) {
            // Somebody else noticed and did it meanwhile.
            return saved.account(&self.directory);
        }
        tracing::warn!(
            directory = %self.directory,
            account = %quoted_within(lost, 200),
            "the CA no longer knows the account; registering it anew"
        );
        self.make(session, registration, saved).await
    }

    async fn make(
        &self,
        session: &Session,
        registration: &Registration,
        saved: Saved,
    ) -> Result<Account, AcmeError> {
        may_register(session, registration, saved.terms.as_deref())?;
        let contact = if registration.contact.is_empty() {
            saved.contact.clone()
        } else {
            mailto(&registration.contact)
        };
        let external = registration.external.as_ref();
        let url = create(session, &saved.key, &contact, external).await?;
        let saved = Saved {
            contact,
            terms: session.endpoints().meta.terms_of_service.clone(),
            ..saved
        };
        self.found(saved, url)
    }

    fn found(&self, saved: Saved, url: String) -> Result<Account, AcmeError> {
        let saved = Saved {
            url: Some(url),
            ..saved
        };
        self.write(&self.path(), &saved)?;
        saved.account(&self.directory)
    }

    async fn settled(&self, session: &Session) -> Result<Saved, AcmeError> {
        self.settle(session).await?;
        let saved = self.load()?;
        saved.ok_or_else(|| AcmeError::NoAccount(self.directory.to_string()))
    }

    /// Ends a rollover that was begun: true when the new key is now the account's.
    async fn settle(&self, session: &Session) -> Result<bool, AcmeError> {
        let Some(next) = self.read(&self.next())? else {
            return Ok(false);
        };
        if find(session, &next.key).await? == next.url && next.url.is_some() {
            disk::rename(&self.next(), &self.path())?;
            return Ok(true);
        }
        disk::remove_file(&self.next())?;
        Ok(false)
    }

    async fn lock(&self) -> Result<Lock, AcmeError> {
        let (locks, name) = (self.locks.clone(), self.lock.clone());
        let waiting = tokio::task::spawn_blocking(move || Lock::acquire(&locks, &name));
        Ok(waiting.await.expect("waiting for a lock does not panic")?)
    }

    fn read(&self, path: &Path) -> Result<Option<Saved>, AcmeError> {
        let damaged = |reason: String| AcmeError::DamagedAccount {
            path: path.to_owned(),
            reason,
        };
        if !path.exists() {
            return Ok(None);
        }
        let bytes = disk::read_key(path)?;
        // The parser's own words could repeat a piece of the key.
        let file: File = serde_json::from_slice(&bytes)
            .map_err(|e| damaged(format!("no JSON of ours, line {}", e.line())))?;
        if file.schema != Self::SCHEMA {
            return Err(damaged("its schema is not known here".to_owned()));
        }
        if file.directory != self.directory.url().as_str() {
            return Err(damaged("it belongs to another directory".to_owned()));
        }
        let key = PrivateKey::from_pem(file.key.0.as_bytes(), None);
        Ok(Some(Saved {
            url: file.url,
            terms: file.terms,
            contact: file.contact,
            key: key.map_err(|e| damaged(e.to_string()))?,
        }))
    }

    fn write(&self, path: &Path, saved: &Saved) -> Result<(), AcmeError> {
        let Saved {
            url,
            terms,
            contact,
            key,
        } = saved;
        // Written by hand so that no copy of the key is left in a `Value`.
        let pem = key.to_pem();
        let text = |value: &Value| value.to_string();
        let key = Zeroizing::new(serde_json::to_string(pem.as_str()).unwrap_or_default());
        let file = Zeroizing::new(format!(
            "{{\n  \"schema\": {},\n  \"directory\": {},\n  \"url\": {},\n  \"terms\": {},\n  \"contact\": {},\n  \"key\": {}\n}}\n",
            text(&json!(Self::SCHEMA)),
            text(&json!(self.directory)),
            text(&json!(url)),
            text(&json!(terms)),
            text(&json!(contact)),
            key.as_str(),
        ));
        disk::create_dir(&self.dir)?;
        Ok(disk::replace(path, file.as_bytes(), Self::MODE)?)
    }
}

impl Saved {
    fn account(&self, directory: &Directory) -> Result<Account, AcmeError> {
        let url = self.url.clone();
        Ok(Account {
            url: url.ok_or_else(|| AcmeError::NoAccount(directory.to_string()))?,
            signer: Signer::new(&self.key)?,
            key: PrivateKey::from_der(self.key.to_rustls().secret_der())?,
        })
    }
}

/// Refuses before anything is made what the CA would refuse for certain.
fn may_register(
    session: &Session,
    registration: &Registration,
    agreed: Option<&str>,
) -> Result<(), AcmeError> {
    let meta = &session.endpoints().meta;
    if let Some(terms) = &meta.terms_of_service
        && !registration.agree_to_terms
        && agreed != Some(terms)
    {
        return Err(AcmeError::TermsNotAgreed {
            url: quoted_within(terms, 300),
        });
    }
    if meta.external_account_required && registration.external.is_none() {
        return Err(AcmeError::ExternalAccountRequired);
    }
    Ok(())
}

/// The URL of the account that `key` belongs to, if the CA knows one
/// (RFC 8555 §7.3.1).
async fn find(session: &Session, key: &PrivateKey) -> Result<Option<String>, AcmeError> {
    const ACTION: &str = "look for the account";
    let mut attempts = session.attempts(ACTION);
    loop {
        let found = builder(session).from_key(pair(key)?, DIRECTORY.to_owned());
        let found = through(ACTION, found).await;
        let url = found.and_then(|(_, answer)| valid(session, &answer, ACTION));
        match attempts.settle(url).await {
            Ok(None) => {}
            Err(error) if error.is_vanished_account() => return Ok(None),
            settled => return settled,
        }
    }
}

/// Has an account made for `key`, or finds the one that it has; gives its URL.
async fn create(
    session: &Session,
    key: &PrivateKey,
    contact: &[String],
    external: Option<&ExternalAccount>,
) -> Result<String, AcmeError> {
    const ACTION: &str = "register the account";
    if contact.is_empty() && external.is_none() {
        let mut attempts = session.attempts(ACTION);
        loop {
            let made = builder(session).create_from_key(pair(key)?, DIRECTORY.to_owned());
            let made = through(ACTION, made).await;
            let url = made.and_then(|(_, answer)| valid(session, &answer, ACTION));
            if let Some(url) = attempts.settle(url).await? {
                return Ok(url);
            }
        }
    }
    // instant-acme sends these for no key but one that it just made itself; and adding
    // addresses later is no help at a CA that makes no account without.
    let signer = Signer::new(key)?;
    let url = &session.endpoints().new_account;
    let mut payload = json!({ "termsOfServiceAgreed": true, "contact": contact });
    if let Some(external) = external {
        payload["externalAccountBinding"] = signer.bind(external, url);
    }
    let identity = Identity {
        signer: &signer,
        account: None,
    };
    let read = |answer: Answer| valid(session, &answer, ACTION);
    session
        .post(identity, ACTION, url, Some(&payload), read)
        .await
}

/// The URL of the valid account that the CA tells of.
fn valid(session: &Session, answer: &Answer, action: &'static str) -> Result<String, AcmeError> {
    let malformed = |reason: String| AcmeError::Malformed { action, reason };
    // RFC 8555 §7.3 has an object here; some CAs leave it out.
    if let Ok(state) = answer.json::<AccountState>(action)
        && state.status != "valid"
    {
        return Err(malformed(format!("the account is {}", state.status())));
    }
    let url = answer.location();
    let url = url.ok_or_else(|| malformed("it has no Location".to_owned()))?;
    session.url(&url)?;
    Ok(url)
}

fn pkcs8(key: &PrivateKey) -> Result<PrivatePkcs8KeyDer<'static>, UnfitKey> {
    match key.to_rustls() {
        PrivateKeyDer::Pkcs8(der) => Ok(der),
        _ => Err(UnfitKey),
    }
}

/// A key as instant-acme takes it.
fn pair(key: &PrivateKey) -> Result<(Key, PrivateKeyDer<'static>), AcmeError> {
    let usable = Key::from_pkcs8_der(pkcs8(key)?).map_err(|_| UnfitKey)?;
    Ok((usable, key.to_rustls()))
}

fn mailto(contact: &[EmailAddress]) -> Vec<String> {
    let url = |address: &EmailAddress| format!("mailto:{}", address.as_str());
    contact.iter().map(url).collect()
}

fn info(url: String, state: &AccountState) -> AccountInfo {
    AccountInfo {
        url,
        status: state.status(),
        contact: state
            .contact
            .iter()
            .take(20)
            .map(|text| quoted_within(text, 300))
            .collect(),
    }
}
