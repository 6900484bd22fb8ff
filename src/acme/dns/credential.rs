//! Credentials of DNS providers: tables `[dns.NAME]`, each with a `provider` and the
//! fields that this provider knows.
//!
//! Rules kept here: every problem of every table is told at once; what is not known
//! is refused; a file with a secret in it that others can read is refused; a secret is
//! in no `Debug` and no error; the environment is what the caller says it is.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use toml::{Table, Value};
use zeroize::Zeroizing;

use super::rfc2136::ServerAddress;
use super::{DnsProvider, Exec, Manual, Operator, Rfc2136, TsigAlgorithm, TsigKey};
use crate::clock::Clock;
use crate::identifier::quoted;
use crate::net::dns::DomainName;
use crate::store::disk;

mod form;

#[cfg(feature = "dns-providers")]
pub(super) use form::Field;
use form::Form;
pub(super) use form::{Kind, Maker, Values};
#[cfg(all(test, feature = "dns-providers"))]
use form::{kinds, provider_names};

/// The tables of one file, checked in form; no reference in them is followed yet.
pub struct DnsCredentials {
    tables: BTreeMap<String, Form>,
    path: PathBuf,
}

/// One credential with its references followed.
pub struct DnsCredential {
    name: String,
    kind: &'static Kind,
    values: Values,
}

/// What a credential is resolved and used with.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The value of an environment variable, for `env:` references.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl DnsCredentials {
    /// Reads the tables `[dns.NAME]` of `path`, which has nothing else in it, unless it
    /// is the configuration of a server.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any table, and a file that others can read
    /// although a secret stands in it.
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let bytes = disk::read(path).map_err(|source| CredentialError::Unreadable {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let text = Zeroizing::new(bytes);
        let text = std::str::from_utf8(&text).map_err(|_| syntax(path, "it is not UTF-8"))?;
        let mut table = read_toml(text, path)?;
        let tables = table.remove("dns").unwrap_or_else(|| Table::new().into());
        let other = match table.contains_key("listener") {
            // Whoever serves by it knows what else may stand there.
            true => Table::new(),
            false => table,
        };
        let mut problems: Vec<String> = other
            .keys()
            .map(|key| {
                format!(
                    "`{}` is not known here, only tables `[dns.NAME]`",
                    quoted(key)
                )
            })
            .collect();
        let Value::Table(tables) = tables else {
            problems.push("`dns` is not a table: write `[dns.NAME]`".to_owned());
            return Err(CredentialError::problems(path, problems));
        };
        let found = Self::check(path, tables, problems)?;
        found.refuse_exposure()?;
        Ok(found)
    }

    /// The tables below `dns` of a configuration that is read elsewhere; `path` is
    /// that file's, and its mode is looked at as in [`Self::read`].
    pub fn from_tables(path: &Path, tables: Table) -> Result<Self, CredentialError> {
        let found = Self::check(path, tables, Vec::new())?;
        found.refuse_exposure()?;
        Ok(found)
    }

    fn check(
        path: &Path,
        tables: Table,
        mut problems: Vec<String>,
    ) -> Result<Self, CredentialError> {
        let mut checked = BTreeMap::new();
        for (name, value) in tables {
            match Form::of(&name, value, &mut problems) {
                Some(form) => drop(checked.insert(name, form)),
                None => continue,
            }
        }
        if !problems.is_empty() {
            return Err(CredentialError::problems(path, problems));
        }
        Ok(Self {
            tables: checked,
            path: path.to_owned(),
        })
    }

    /// A file that others can read must hold no secret itself.
    fn refuse_exposure(&self) -> Result<(), CredentialError> {
        let secret = self.tables.iter().find_map(|(name, form)| {
            let field = form.literal_secret()?;
            Some(format!("dns.{name}.{field}"))
        });
        let Some(field) = secret else { return Ok(()) };
        let unreadable = |source: std::io::Error| CredentialError::Unreadable {
            path: self.path.clone(),
            source: Box::new(source),
        };
        let mode = std::fs::metadata(&self.path).map_err(unreadable)?;
        let mode = mode.permissions().mode() & 0o777;
        if mode & 0o077 == 0 {
            return Ok(());
        }
        Err(CredentialError::Exposed {
            path: self.path.clone(),
            mode,
            field,
        })
    }

    /// The names of the credentials.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// The credential `name` with its references followed.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn get(&self, name: &str, sources: Sources<'_>) -> Result<DnsCredential, CredentialError> {
        let form = self
            .tables
            .get(name)
            .ok_or_else(|| CredentialError::NoSuchCredential {
                name: quoted(name),
                path: self.path.clone(),
                known: self.tables.keys().cloned().collect::<Vec<_>>().join(", "),
            })?;
        let mut problems = Vec::new();
        let mut values = BTreeMap::new();
        let base = self.path.parent().unwrap_or_else(|| Path::new("."));
        for (field, given) in &form.fields {
            match given.resolve(base, sources) {
                Ok(value) => drop(values.insert(*field, value)),
                Err(problem) => problems.push(format!("`dns.{name}.{field}`: {problem}")),
            }
        }
        if !problems.is_empty() {
            return Err(CredentialError::problems(&self.path, problems));
        }
        Ok(DnsCredential {
            name: name.to_owned(),
            kind: form.kind,
            values: Values(values),
        })
    }
}

impl DnsCredential {
    /// What the credential is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the provider is called.
    pub fn provider_name(&self) -> &'static str {
        self.kind.name
    }

    /// The provider that this credential opens. `operator` is the person whom `manual`
    /// asks, when there is one.
    pub fn provider(
        &self,
        clock: Arc<dyn Clock>,
        operator: Option<Arc<dyn Operator>>,
    ) -> Result<Arc<dyn DnsProvider>, CredentialError> {
        let made = match self.kind.maker {
            Maker::Rfc2136 => self.rfc2136(clock),
            Maker::Exec => self.exec(),
            Maker::Manual => Ok(Arc::new(Manual::new(operator)) as Arc<dyn DnsProvider>),
            #[cfg(feature = "dns-providers")]
            Maker::Hosted(make) => super::hosted::open(self.kind.name, make, &self.values),
        };
        made.map_err(|problem| CredentialError::Unusable {
            name: self.name.clone(),
            problem,
        })
    }

    fn rfc2136(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn DnsProvider>, String> {
        let values = &self.values;
        let server: ServerAddress = parsed(values, "server")?;
        let name = DomainName::parse(values.text("key-name"));
        let algorithm = match values.optional("algorithm") {
            Some(_) => parsed(values, "algorithm")?,
            None => TsigAlgorithm::default(),
        };
        let secret = BASE64
            .decode(values.text("secret").as_bytes())
            .map_err(|_| "`secret` is not base64".to_owned())?;
        if secret.is_empty() {
            return Err("`secret` is empty".to_owned());
        }
        let key = TsigKey {
            name: name.map_err(|error| format!("`key-name`: {error}"))?,
            algorithm,
            secret: Zeroizing::new(secret),
        };
        Ok(Arc::new(Rfc2136::new(server, key, clock)))
    }

    fn exec(&self) -> Result<Arc<dyn DnsProvider>, String> {
        let mut words = self.values.words("command").into_iter();
        let program = words.next().ok_or("`command` is empty")?;
        let deadline = match self.values.optional("deadline-seconds") {
            Some(text) => {
                let seconds: u32 = text
                    .parse()
                    .map_err(|_| "`deadline-seconds` is not a number of seconds".to_owned())?;
                Duration::from_secs(seconds.into())
            }
            None => Exec::DEADLINE,
        };
        let home = self.values.optional("home").map(str::to_owned);
        Ok(Arc::new(Exec::new(
            program,
            words.collect(),
            home,
            deadline,
        )))
    }
}

fn parsed<T: std::str::FromStr<Err = &'static str>>(
    values: &Values,
    field: &str,
) -> Result<T, String> {
    let text = values.text(field);
    text.parse()
        .map_err(|problem| format!("`{field}` is `{}`: {problem}", quoted(text)))
}

impl fmt::Debug for DnsCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, values } = self;
        let mut shown = f.debug_struct("DnsCredential");
        shown.field("name", name).field("provider", &kind.name);
        shown.field("fields", values).finish()
    }
}

impl fmt::Debug for DnsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tables, path } = self;
        let mut shown = f.debug_struct("DnsCredentials");
        shown.field("path", path);
        shown.field("names", &tables.keys()).finish()
    }
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Reads TOML; the library's own error shows the line, which may hold a secret.
fn read_toml(text: &str, path: &Path) -> Result<Table, CredentialError> {
    text.parse::<Table>().map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|b| *b == b'\n').count();
        syntax(path, &format!("line {line} is no valid TOML"))
    })
}

fn syntax(path: &Path, problem: &str) -> CredentialError {
    CredentialError::problems(path, vec![problem.to_owned()])
}

/// What is wrong with credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("could not read the DNS credentials in `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Others can read the secrets in the file.
    #[error("others can read `{}` (mode {mode:04o}), and `{field}` in it is a secret", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The first secret in it.
        field: String,
    },
    /// All that is wrong.
    #[error("the DNS credentials in `{}` are not right: {}", path.display(), problems.join("; "))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Each with where it stands.
        problems: Vec<String>,
    },
    /// No table of that name.
    #[error("there is no DNS credential `{name}` in `{}`", path.display())]
    NoSuchCredential {
        /// The name asked for.
        name: String,
        /// The file.
        path: PathBuf,
        /// The names there are.
        known: String,
    },
    /// The provider takes none of it.
    #[error("the DNS credential `{name}` cannot be used: {problem}")]
    Unusable {
        /// The credential's name.
        name: String,
        /// Why not; without any secret.
        problem: String,
    },
}

impl CredentialError {
    fn problems(path: &Path, problems: Vec<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            problems,
        }
    }

    /// What is wrong, one by one.
    pub fn each(&self) -> Vec<String> {
        match self {
            Self::Malformed { problems, .. } => problems.clone(),
            other => vec![crate::finding::words::causes(other)],
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => "give a file that exists with `--dns-file`".to_owned(),
            Self::Exposed { path, .. } => format!(
                "chmod 600 {}, or refer to the secret as `env:NAME` or `file:PATH`",
                path.display()
            ),
            Self::NoSuchCredential { known, .. } if known.is_empty() => {
                "write a table `[dns.NAME]` with a `provider`".to_owned()
            }
            Self::NoSuchCredential { known, .. } => format!("there are: {known}"),
            Self::Malformed { .. } | Self::Unusable { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests;
