//! What a table of a credential may hold, by provider, and how references in it are
//! followed.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::Value;
use zeroize::Zeroizing;

use super::Sources;
use crate::identifier::quoted;
use crate::store::disk;

/// A kind of provider.
pub(in super::super) struct Kind {
    pub(in super::super) name: &'static str,
    pub(in super::super) fields: &'static [Field],
    pub(in super::super) maker: Maker,
}

/// What makes a provider of its fields.
pub(in super::super) enum Maker {
    Rfc2136,
    Exec,
    Manual,
    #[cfg(feature = "dns-providers")]
    Hosted(crate::acme::dns::hosted::Make),
}

/// A field of a credential.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Field {
    pub(super) name: &'static str,
    secret: bool,
    pub(super) required: bool,
    words: bool,
}

impl Field {
    /// One that must be there and must not be seen.
    pub(in super::super) const fn secret(name: &'static str) -> Self {
        Self {
            name,
            secret: true,
            required: true,
            words: false,
        }
    }

    /// One that must be there.
    pub(in super::super) const fn open(name: &'static str) -> Self {
        Self {
            secret: false,
            ..Self::secret(name)
        }
    }

    /// The same, not compulsory.
    pub(in super::super) const fn optional(self) -> Self {
        Self {
            required: false,
            ..self
        }
    }

    /// A program and its arguments: a list, or a line split by shell-words rules.
    const fn words(name: &'static str) -> Self {
        Self {
            words: true,
            ..Self::open(name)
        }
    }
}

/// The kinds that are always there.
const OWN: &[Kind] = &[
    Kind {
        name: "rfc2136",
        fields: &[
            Field::open("server"),
            Field::open("key-name"),
            Field::open("algorithm").optional(),
            Field::secret("secret"),
        ],
        maker: Maker::Rfc2136,
    },
    Kind {
        name: "exec",
        fields: &[
            Field::words("command"),
            Field::open("deadline-seconds").optional(),
            Field::open("home").optional(),
        ],
        maker: Maker::Exec,
    },
    Kind {
        name: "manual",
        fields: &[],
        maker: Maker::Manual,
    },
];

/// Every kind in this build.
pub(super) fn kinds() -> impl Iterator<Item = &'static Kind> {
    #[cfg(feature = "dns-providers")]
    let more = crate::acme::dns::hosted::KINDS;
    #[cfg(not(feature = "dns-providers"))]
    let more: &[Kind] = &[];
    OWN.iter().chain(more)
}

/// The names of all providers in this build.
pub(super) fn provider_names() -> Vec<&'static str> {
    kinds().map(|kind| kind.name).collect()
}

/// A table that has what its provider needs, and nothing else.
pub(super) struct Form {
    pub(super) kind: &'static Kind,
    pub(super) fields: BTreeMap<&'static str, Given>,
}

/// What stands in a field.
pub(super) enum Given {
    Text(Zeroizing<String>, Secrecy),
    Words(Vec<String>),
    Environment(String),
    File(PathBuf),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    Secret,
    Open,
}

impl Form {
    /// Checks one table; `None` after adding what is wrong with it to `problems`.
    pub(super) fn of(name: &str, value: Value, problems: &mut Vec<String>) -> Option<Self> {
        let before = problems.len();
        let at = format!("dns.{}", quoted(name));
        let Value::Table(mut table) = value else {
            problems.push(format!("`{at}` is not a table: write `[dns.NAME]`"));
            return None;
        };
        let provider = match table.remove("provider") {
            Some(Value::String(provider)) => provider,
            Some(_) => {
                problems.push(format!("`{at}.provider` is not a text"));
                return None;
            }
            None => {
                problems.push(format!("`{at}` has no `provider`"));
                return None;
            }
        };
        let Some(kind) = kinds().find(|kind| kind.name == provider) else {
            problems.push(unknown_provider(&at, &provider));
            return None;
        };
        let mut fields = BTreeMap::new();
        for field in kind.fields {
            let file = table.remove(&format!("{}-file", field.name));
            let given = table.remove(field.name);
            let given = match (given, file) {
                (Some(_), Some(_)) => {
                    let f = field.name;
                    problems.push(format!("`{at}` has both `{f}` and `{f}-file`"));
                    continue;
                }
                (None, Some(Value::String(path))) => Some(Given::File(path.into())),
                (None, Some(_)) => None,
                (Some(value), None) => Given::of(*field, value),
                (None, None) => {
                    if field.required {
                        problems.push(format!("`{at}` has no `{}`", field.name));
                    }
                    continue;
                }
            };
            match given {
                Some(given) => drop(fields.insert(field.name, given)),
                None => problems.push(format!("`{at}.{}` is not a text", field.name)),
            }
        }
        if !table.is_empty() {
            let names = kind.fields.iter().map(|field| field.name);
            let known = names.collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() {
                "nothing else"
            } else {
                &known
            };
            problems.extend(table.keys().map(|key| {
                let key = quoted(key);
                format!("`{at}.{key}` is not known: `{provider}` has {known}")
            }));
        }
        (problems.len() == before).then_some(Self { kind, fields })
    }

    /// The name of a secret field that holds the secret itself.
    pub(super) fn literal_secret(&self) -> Option<&'static str> {
        self.fields.iter().find_map(|(name, given)| {
            matches!(given, Given::Text(_, Secrecy::Secret)).then_some(*name)
        })
    }
}

fn unknown_provider(at: &str, provider: &str) -> String {
    let known = provider_names().join(", ");
    let without = if cfg!(feature = "dns-providers") {
        ""
    } else {
        " (this certmint was built without the feature `dns-providers`)"
    };
    let provider = quoted(provider);
    format!("`{at}.provider` is `{provider}`, which is not known{without}: {known}")
}

impl Given {
    fn of(field: Field, value: Value) -> Option<Self> {
        let text = match value {
            Value::Array(words) if field.words => {
                let words = words.into_iter().map(|word| match word {
                    Value::String(word) => Some(word),
                    _ => None,
                });
                return words.collect::<Option<_>>().map(Self::Words);
            }
            Value::String(line) if field.words => {
                return shell_words::split(&line).ok().map(Self::Words);
            }
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            _ => return None,
        };
        if let Some(name) = text.strip_prefix("env:") {
            return Some(Self::Environment(name.to_owned()));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return Some(Self::File(path.into()));
        }
        let secrecy = if field.secret {
            Secrecy::Secret
        } else {
            Secrecy::Open
        };
        Some(Self::Text(Zeroizing::new(text), secrecy))
    }

    /// Follows a reference; a path is taken from where the credentials stand.
    pub(super) fn resolve(&self, base: &Path, sources: Sources<'_>) -> Result<FieldValue, String> {
        let text = match self {
            Self::Text(text, _) => text.clone(),
            Self::Words(words) => return Ok(FieldValue::Words(words.clone())),
            Self::Environment(name) => {
                let value = (sources.environment)(name);
                Zeroizing::new(value.ok_or_else(|| {
                    format!("the environment variable `{}` is not set", quoted(name))
                })?)
            }
            Self::File(path) => read_secret(&base.join(path))?,
        };
        // An editor leaves a line break at the end of a file.
        let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        Ok(FieldValue::Text(text))
    }
}

/// A file that a reference names. Its mode is the affair of who put it there (a
/// container's secrets are often readable by all), but it is said.
fn read_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let failed = |error: &dyn fmt::Display| format!("could not read `{shown}`: {error}");
    let bytes = disk::read(path).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        failed(&cause.unwrap_or_else(|| error.to_string()))
    })?;
    let mode = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if mode.permissions().mode() & 0o007 != 0 {
        tracing::warn!("everybody on this machine can read the secret in `{shown}`");
    }
    let text = String::from_utf8(bytes).map_err(|_| failed(&"it is not UTF-8"))?;
    Ok(Zeroizing::new(text))
}

/// The fields of one credential. Its `Debug` shows their names alone.
pub(in super::super) struct Values(pub(super) BTreeMap<&'static str, FieldValue>);

pub(super) enum FieldValue {
    Text(Zeroizing<String>),
    Words(Vec<String>),
}

impl Values {
    /// A field that is required, and so is there.
    pub(in super::super) fn text(&self, field: &str) -> &str {
        self.optional(field).unwrap_or_default()
    }

    /// A field that may be missing.
    pub(in super::super) fn optional(&self, field: &str) -> Option<&str> {
        match self.0.get(field)? {
            FieldValue::Text(text) => Some(text),
            FieldValue::Words(_) => None,
        }
    }

    pub(super) fn words(&self, field: &str) -> Vec<String> {
        match self.0.get(field) {
            Some(FieldValue::Words(words)) => words.clone(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
