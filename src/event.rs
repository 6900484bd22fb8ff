//! What happens in the life of a server and of its certificates, for programs to read.
//!
//! One [`Event`] is one line of JSON with the fields of one row of [`EVENTS`]; the
//! documentation is [`reference()`], and a test compares both with what is written.
//! Names and fields are added, never changed. No field holds a secret.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::bundle::Certificate;
use crate::clock::{Timestamp, rfc3339};
use crate::identifier::quoted;

/// What every line says it is.
pub const SCHEMA: &str = "certmint.event/1";

/// The [`Issued::source`] of what the private ACME directory issues to others.
pub const DIRECTORY: &str = "directory";

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Every port is bound and everything that is to be served can be.
    Ready {
        /// Where it listens.
        addresses: Vec<SocketAddr>,
    },
    /// A stop was asked for; requests in flight finish.
    Stopping,
    /// The last line of a process.
    Stopped {
        /// Connections that were cut.
        cut: usize,
    },
    /// The settings were read again and are in force.
    Reloaded,
    /// The settings were read again and cannot be used; those of before are in force.
    ReloadFailed {
        /// Why.
        error: String,
    },
    /// Somebody needs a certificate that is not there.
    CertificateRequested {
        /// The name.
        domain: String,
        /// What made it necessary.
        trigger: Trigger,
    },
    /// A certificate was issued where there was none.
    CertificateIssued(Issued),
    /// A certificate was issued in place of an older one.
    CertificateRenewed(Issued),
    /// No certificate was issued; an older one is served on, if there is one.
    CertificateFailed {
        /// The certificate's id.
        id: String,
        /// Its first name.
        domain: String,
        /// Who was asked.
        source: String,
        /// There is an older one.
        is_renewal: bool,
        /// What went wrong.
        error: String,
        /// When it is tried again, if it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_at: Option<Moment>,
        /// Who asked the private ACME directory for it.
        #[serde(flatten)]
        asker: Asker,
    },
    /// Little is left of a certificate's life, or nothing.
    CertificateExpiring(Facts),
    /// Connections from now on are served with another certificate.
    CertificateSwapped(Facts),
    /// A certificate that the private ACME directory issued was revoked through it.
    CertificateRevoked {
        /// Which one.
        #[serde(flatten)]
        certificate: Facts,
        /// Why, as RFC 5280 words it.
        reason: &'static str,
        /// Who asked for it; no account is whoever has the certificate's key.
        #[serde(flatten)]
        asker: Asker,
    },
    /// Somebody has an account with the private ACME directory from now on.
    AccountRegistered(Asker),
    /// A client of the private ACME directory has not shown control over a name.
    ValidationFailed {
        /// The name.
        domain: String,
        /// How it was to be shown.
        challenge: &'static str,
        /// What was wrong.
        error: String,
        /// Who was to show it.
        #[serde(flatten)]
        asker: Asker,
    },
    /// A name is not issued for.
    CertificateRejected {
        /// The name, escaped and cut: a stranger chose it.
        domain: String,
        /// What asked for it.
        trigger: Trigger,
        /// Which rule refuses it.
        error: String,
    },
}

/// What makes a certificate necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A server starts with names that it has no certificate for.
    Start,
    /// A client asked for the name in a TLS handshake.
    Tls,
    /// A client asked for the name in plain HTTP.
    Http,
}

/// Which certificate it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The certificate's id, or the path of its file.
    pub id: String,
    /// Its first name.
    pub domain: String,
    /// All of its names.
    pub domains: Vec<String>,
    /// Its serial number in hex.
    pub serial: String,
    /// Its first second.
    pub not_before: Moment,
    /// Its last second.
    pub not_after: Moment,
}

impl Facts {
    /// The facts of `leaf`, which is kept under `id`.
    pub fn new(id: &str, leaf: &Certificate) -> Self {
        let domains: Vec<String> = leaf.names().iter().map(ToString::to_string).collect();
        Self {
            id: id.to_owned(),
            domain: domains.first().cloned().unwrap_or_default(),
            domains,
            serial: leaf.serial_hex(),
            not_before: Moment(leaf.not_before()),
            not_after: Moment(leaf.not_after()),
        }
    }
}

/// A certificate that was issued, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// Which one.
    #[serde(flatten)]
    pub certificate: Facts,
    /// Who issued it: `private`, the URL of a directory, or [`DIRECTORY`].
    pub source: String,
    /// It stands in an older one's place.
    pub is_renewal: bool,
    /// Who asked the private ACME directory for it.
    #[serde(flatten)]
    pub asker: Asker,
}

/// Who asked the private ACME directory for something; nobody where it was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Asker {
    /// The id of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The external account key that the account is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eab_kid: Option<String>,
    /// From where; not known of what a process that died had begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
}

/// A moment, written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    time: Moment,
    #[serde(flatten)]
    event: &'a Event,
}

impl Event {
    /// A rejection of a name that a stranger chose.
    pub fn rejected(domain: &str, trigger: Trigger, error: impl Into<String>) -> Self {
        Self::CertificateRejected {
            domain: quoted(domain),
            trigger,
            error: error.into(),
        }
    }

    /// Issued for the first time, or in an older one's place.
    pub fn issued(issued: Issued) -> Self {
        if issued.is_renewal {
            Self::CertificateRenewed(issued)
        } else {
            Self::CertificateIssued(issued)
        }
    }

    /// It as one line of JSON, without the line's end.
    pub fn to_line(&self, now: Timestamp) -> String {
        let line = Line {
            schema: SCHEMA,
            time: Moment(now),
            event: self,
        };
        serde_json::to_string(&line).expect("strings, numbers and lists are JSON")
    }
}

/// One row of the documentation.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The value of `event`.
    pub name: &'static str,
    /// When it comes.
    pub when: &'static str,
    /// Its fields besides `schema`, `time` and `event`; `?` ends those that may be
    /// missing.
    pub fields: &'static [&'static str],
}

const fn row(name: &'static str, when: &'static str, fields: &'static [&'static str]) -> Row {
    Row { name, when, fields }
}

/// Every event.
pub const EVENTS: &[Row] = &[
    row(
        "ready",
        "every port is bound and everything that is to be served can be",
        &["addresses"],
    ),
    row(
        "stopping",
        "a stop was asked for; requests in flight finish",
        &[],
    ),
    row("stopped", "the last line of a process", &["cut"]),
    row(
        "reloaded",
        "the settings were read again and are in force",
        &[],
    ),
    row(
        "reload-failed",
        "the settings were read again and cannot be used; those of before are in force",
        &["error"],
    ),
    row(
        "certificate-requested",
        "a certificate is needed that is not there; once, however many ask",
        &["domain", "trigger"],
    ),
    row(
        "certificate-issued",
        "a certificate was issued where there was none",
        ISSUED,
    ),
    row(
        "certificate-renewed",
        "a certificate was issued in place of an older one",
        ISSUED,
    ),
    row(
        "certificate-failed",
        "no certificate was issued; an older one is served on, if there is one",
        &[
            "id",
            "domain",
            "source",
            "is_renewal",
            "error",
            "retry_at?",
            "account?",
            "eab_kid?",
            "client?",
        ],
    ),
    row(
        "certificate-expiring",
        "little is left of a certificate's life, or nothing; repeated",
        FACTS,
    ),
    row(
        "certificate-swapped",
        "connections from now on are served with another certificate",
        FACTS,
    ),
    row(
        "certificate-revoked",
        "a certificate of the private ACME directory was revoked through it",
        REVOKED,
    ),
    row(
        "account-registered",
        "somebody has an account with the private ACME directory from now on",
        &["account", "eab_kid?", "client"],
    ),
    row(
        "validation-failed",
        "a client of the private ACME directory has not shown control over a name",
        &[
            "domain",
            "challenge",
            "error",
            "account",
            "eab_kid?",
            "client?",
        ],
    ),
    row(
        "certificate-rejected",
        "a name is not issued for; not for each time that somebody asks",
        &["domain", "trigger", "error"],
    ),
];

/// Those of a certificate come first, then those of its issuance.
const ISSUED: &[&str] = &[
    "id",
    "domain",
    "domains",
    "serial",
    "not_before",
    "not_after",
    "source",
    "is_renewal",
    "account?",
    "eab_kid?",
    "client?",
];
const FACTS: &[&str] = ISSUED.split_at(6).0;
const REVOKED: &[&str] = &[
    "id",
    "domain",
    "domains",
    "serial",
    "not_before",
    "not_after",
    "reason",
    "account?",
    "eab_kid?",
    "client?",
];

/// Every field, and what it means wherever it stands.
pub const FIELDS: &[(&str, &str)] = &[
    ("schema", "`certmint.event/1`"),
    ("time", "when it happened, RFC 3339 in UTC"),
    ("event", "which event it is"),
    ("addresses", "list: where the server listens"),
    ("cut", "number: connections that were cut"),
    ("error", "what went wrong, or which rule refuses"),
    (
        "id",
        "the certificate's id, or the path of its file; of what the private ACME directory \
         issues to others, the first name",
    ),
    (
        "domain",
        "the certificate's first name, or the name asked for",
    ),
    ("domains", "list: all names of the certificate"),
    ("serial", "its serial number in hex"),
    ("not_before", "its first second, RFC 3339 in UTC"),
    ("not_after", "its last second, RFC 3339 in UTC"),
    (
        "trigger",
        "what made it necessary: `start`, or a client by `tls` or `http`",
    ),
    (
        "source",
        "who issues: `private`, the URL of an ACME directory, `provision-hook`, or `directory` \
         where this server's own ACME directory issued it to somebody",
    ),
    (
        "reason",
        "why it was revoked: a reason code of RFC 5280, in words",
    ),
    (
        "challenge",
        "how control is shown: `http-01`, `tls-alpn-01` or `dns-01`",
    ),
    (
        "account",
        "id of the account that asked the private ACME directory, as in `certmint ca account list`; \
         of a revocation without one, whoever has the certificate's key asked",
    ),
    (
        "eab_kid",
        "the external account key that this account is bound to",
    ),
    (
        "client",
        "the address that asked the private ACME directory; missing where the process that was \
         asked had died since",
    ),
    ("is_renewal", "boolean: there is an older certificate"),
    ("retry_at", "when it is tried again, RFC 3339 in UTC"),
];

/// The documentation of the events, as Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Events\n\n\
         One line of JSON for each thing that happens. Programs may rely on these names and fields: \
         others are added, none is changed.\n\n\
         | event | when | fields |\n|---|---|---|\n",
    );
    for Row { name, when, fields } in EVENTS {
        let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        let fields = fields.join(" ");
        writeln!(text, "| `{name}` | {when} | {fields} |").expect("a string takes all");
    }
    text.push_str(
        "\nEvery event has `schema`, `time` and `event`. A field that ends in `?` may be missing.\n\n\
         | field | meaning |\n|---|---|\n",
    );
    for (name, meaning) in FIELDS {
        writeln!(text, "| `{name}` | {meaning} |").expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    /// One of each kind, with every field that it can have.
    fn samples() -> Vec<Event> {
        let facts = Facts {
            id: "a.test".to_owned(),
            domain: "a.test".to_owned(),
            domains: vec!["a.test".to_owned()],
            serial: "01".to_owned(),
            not_before: Moment(T0),
            not_after: Moment(T0),
        };
        let text = || "x".to_owned();
        let asker = || Asker {
            account: Some(text()),
            eab_kid: Some(text()),
            client: Some(IpAddr::from([192, 0, 2, 1])),
        };
        let issued = |is_renewal| {
            Event::issued(Issued {
                certificate: facts.clone(),
                source: "private".to_owned(),
                is_renewal,
                asker: asker(),
            })
        };
        vec![
            Event::Ready {
                addresses: vec!["127.0.0.1:1".parse().unwrap()],
            },
            Event::Stopping,
            Event::Stopped { cut: 0 },
            Event::Reloaded,
            Event::ReloadFailed { error: text() },
            Event::CertificateRequested {
                domain: text(),
                trigger: Trigger::Tls,
            },
            issued(false),
            issued(true),
            Event::CertificateFailed {
                id: text(),
                domain: text(),
                source: text(),
                is_renewal: false,
                error: text(),
                retry_at: Some(Moment(T0)),
                asker: asker(),
            },
            Event::CertificateExpiring(facts.clone()),
            Event::CertificateSwapped(facts.clone()),
            Event::CertificateRevoked {
                certificate: facts.clone(),
                reason: "unspecified",
                asker: asker(),
            },
            Event::AccountRegistered(asker()),
            Event::ValidationFailed {
                domain: text(),
                challenge: "http-01",
                error: text(),
                asker: asker(),
            },
            Event::rejected("x", Trigger::Http, "no"),
        ]
    }

    #[test]
    fn every_event_is_written_with_the_fields_of_its_row() {
        let mut written = BTreeSet::new();
        for event in samples() {
            let line = event.to_line(T0);
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            let mut fields: BTreeSet<&str> = json
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            for common in ["schema", "time", "event"] {
                assert!(fields.remove(common), "{line}");
            }
            assert_eq!(json["schema"], SCHEMA);
            assert_eq!(json["time"], "1970-01-01T00:00:00Z");
            let name = json["event"].as_str().unwrap();
            let row = EVENTS.iter().find(|row| row.name == name).expect(name);
            let known = row.fields.iter().map(|field| field.trim_end_matches('?'));
            assert_eq!(fields, known.collect(), "{name}");
            written.insert(name.to_owned());
        }
        assert_eq!(written.len(), EVENTS.len());
    }

    #[test]
    fn every_field_is_explained_once_and_no_other() {
        let used: BTreeSet<&str> = EVENTS
            .iter()
            .flat_map(|row| row.fields.iter().map(|field| field.trim_end_matches('?')))
            .chain(["schema", "time", "event"])
            .collect();
        let explained: BTreeSet<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        assert_eq!(explained.len(), FIELDS.len());
        assert_eq!(used, explained);
    }

    #[test]
    fn what_a_stranger_chose_stays_on_one_line() {
        let hostile = "a\n{\"event\":\"ready\"}\u{202e}\u{1b}[2J";
        let line = Event::rejected(hostile, Trigger::Tls, "bad name").to_line(T0);
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["event"], "certificate-rejected");
        let long = Event::rejected(&"x".repeat(70_000), Trigger::Tls, "").to_line(T0);
        assert!(long.len() < 1000, "{}", long.len());
    }
}
