//! Whether a domain lets this CA issue for it: CAA records (RFC 8659), with the
//! parameters that bind them to an account and to ways of validation (RFC 8657).
//!
//! Rules kept here: what cannot be looked up or understood forbids; there is a deadline
//! over all questions for one name; no record is repeated in an answer.

use std::time::Duration;

use super::problem::{Problem, ProblemType};
use super::validate::Network;
use crate::challenge::ChallengeKind;
use crate::identifier::{DnsName, Identifier};

/// Most records looked at; domains that mean it have a handful.
pub const MAX_RECORDS: usize = 100;
/// How long the questions for one name may take together.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// One CAA record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaRecord {
    /// Whoever does not know the tag must not issue.
    pub critical: bool,
    /// What the record is about, such as `issue`.
    pub tag: String,
    /// What it says.
    pub value: Vec<u8>,
}

/// What is to be issued, to whom, and how control over it was shown.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The name.
    pub identifier: &'a Identifier,
    /// The account's URL, as `accounturi` names it.
    pub account: &'a str,
    /// The challenge that was met; `None` when there was none.
    pub method: Option<ChallengeKind>,
}

/// Whether a CA that has one of the names `identities` may issue what is asked; always
/// when it has none. Only host names have CAA records.
///
/// The nearest name upwards that has records counts, a wildcard's own parent first.
pub async fn permits(
    network: &dyn Network,
    identities: &[DnsName],
    asked: &Asked<'_>,
) -> Result<(), Problem> {
    let (name, is_wildcard) = match asked.identifier {
        Identifier::Dns(name) => (name, false),
        Identifier::Wildcard(name) => (name, true),
        Identifier::Ip(_) | Identifier::Email(_) | Identifier::Uri(_) => return Ok(()),
    };
    if identities.is_empty() {
        return Ok(());
    }
    let search = tokio::time::timeout(DEADLINE, relevant(network, name));
    let found = search.await.unwrap_or_else(|_| {
        Err(Problem::new(
            ProblemType::Dns,
            format!(
                "the CAA records for {name} were not to be had within {} s",
                DEADLINE.as_secs()
            ),
        ))
    })?;
    match found {
        Some((at, records)) => check(&records, identities, asked, is_wildcard).map_err(|why| {
            Problem::new(ProblemType::Caa, format!("the CAA records of {at} {why}"))
        }),
        None => Ok(()),
    }
}

/// The records of the nearest name at or above `name` that has any (RFC 8659 §3).
async fn relevant(
    network: &dyn Network,
    name: &DnsName,
) -> Result<Option<(DnsName, Vec<CaaRecord>)>, Problem> {
    let mut here = Some(name.clone());
    while let Some(at) = here {
        let records = network.caa(&at).await.map_err(|error| {
            Problem::new(
                ProblemType::Dns,
                format!("the CAA records of {at} cannot be had: {error}"),
            )
        })?;
        if !records.is_empty() {
            return Ok(Some((at, records)));
        }
        here = at.parent().and_then(|parent| DnsName::parse(parent).ok());
    }
    Ok(None)
}

/// Whether these records let us; else why not.
fn check(
    records: &[CaaRecord],
    identities: &[DnsName],
    asked: &Asked<'_>,
    is_wildcard: bool,
) -> Result<(), &'static str> {
    /// What we know, of which only the first two speak of certificates for hosts: RFC
    /// 8659 §4, RFC 9495, and the CA/Browser Forum's BR appendix A.
    const KNOWN: [&str; 6] = [
        "issue",
        "issuewild",
        "iodef",
        "issuemail",
        "contactemail",
        "contactphone",
    ];
    if records.len() > MAX_RECORDS {
        return Err("are too many");
    }
    let is = |record: &CaaRecord, tag: &str| record.tag.eq_ignore_ascii_case(tag);
    let unknown = |record: &&CaaRecord| !KNOWN.iter().any(|tag| is(record, tag));
    if records.iter().filter(unknown).any(|record| record.critical) {
        return Err("have a critical property that this CA does not know");
    }
    let with = |tag| -> Vec<_> { records.iter().filter(|record| is(record, tag)).collect() };
    let mut counting = with("issuewild");
    if !is_wildcard || counting.is_empty() {
        counting = with("issue");
    }
    if counting.is_empty() {
        return Ok(());
    }
    let mut named = counting
        .iter()
        .filter_map(|record| Issue::parse(&record.value))
        .filter(|issue| identities.iter().any(|own| issue.names(own)))
        .peekable();
    if named.peek().is_none() {
        return Err("do not name this CA");
    }
    if named.any(|issue| issue.allows(asked)) {
        Ok(())
    } else {
        Err("let this CA issue only to another account, or after another kind of challenge")
    }
}

/// What an `issue` or `issuewild` property says (RFC 8659 §4.2).
struct Issue<'a> {
    domain: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Issue<'a> {
    /// `None` for what is malformed, which names nobody.
    fn parse(value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok().filter(|t| t.is_ascii())?;
        let mut parts = text.split(';').map(trim);
        let domain = parts.next().unwrap_or_default();
        let parameters = parts
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (tag, value) = part.split_once('=')?;
                let (tag, value) = (trim(tag), trim(value));
                let is_tag =
                    !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                let is_value = value.bytes().all(|b| b.is_ascii_graphic());
                (is_tag && is_value).then_some((tag, value))
            })
            .collect::<Option<_>>()?;
        Some(Self { domain, parameters })
    }

    fn names(&self, identity: &DnsName) -> bool {
        self.domain.eq_ignore_ascii_case(identity.as_str())
    }

    /// Whether each parameter that we know lets us; one that is there twice lets nobody
    /// (RFC 8657 §3, §4).
    fn allows(&self, asked: &Asked<'_>) -> bool {
        let all = |wanted: &str| -> Vec<&str> {
            let same = self.parameters.iter();
            let same = same.filter(|(tag, _)| tag.eq_ignore_ascii_case(wanted));
            same.map(|(_, value)| *value).collect()
        };
        let account = match all("accounturi")[..] {
            [] => true,
            [uri] => uri == asked.account,
            _ => false,
        };
        let method = match all("validationmethods")[..] {
            [] => true,
            [methods] => asked.method.is_some_and(|method| {
                let method = method.to_string();
                methods.split(',').any(|listed| listed == method)
            }),
            _ => false,
        };
        account && method
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io;
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Mutex;

    use tokio::net::TcpStream;

    use super::super::validate::Turn;
    use super::*;
    use crate::issuer::BoxFuture;

    const ACCOUNT: &str = "https://ca.test/account/1";

    /// Records by name; a name with `None` cannot be looked up.
    #[derive(Debug, Default)]
    struct Table {
        records: HashMap<String, Option<Vec<CaaRecord>>>,
        asked: Mutex<Vec<String>>,
    }

    impl Table {
        fn new(rows: &[(&str, &[&str])]) -> Self {
            let row = |(name, records): &(&str, &[&str])| {
                let records = records.iter().map(|text| record(text)).collect();
                ((*name).to_owned(), Some(records))
            };
            Self {
                records: rows.iter().map(row).collect(),
                ..Self::default()
            }
        }

        async fn ask(
            &self,
            identifier: &str,
            method: Option<ChallengeKind>,
        ) -> Option<ProblemType> {
            let identities = ["ca.test", "old-ca.test"].map(|n| DnsName::parse(n).unwrap());
            let asked = Asked {
                identifier: &Identifier::parse(identifier).unwrap(),
                account: ACCOUNT,
                method,
            };
            let answer = permits(self, &identities, &asked).await;
            answer.err().map(|problem| problem.kind())
        }
    }

    impl Network for Table {
        fn addresses<'a>(
            &'a self,
            _: &'a DnsName,
            _: &'a Turn,
        ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            unreachable!("no address is asked for")
        }

        fn texts<'a>(&'a self, _: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<String>>> {
            unreachable!("no text is asked for")
        }

        fn caa<'a>(&'a self, name: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<CaaRecord>>> {
            self.asked.lock().unwrap().push(name.to_string());
            let found = self.records.get(name.as_str()).cloned();
            let found = found.unwrap_or_else(|| Some(Vec::new()));
            Box::pin(async { found.ok_or_else(|| io::Error::other("SERVFAIL")) })
        }

        fn dial(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
            unreachable!("nobody is dialled")
        }
    }

    /// `issue ca.test`; critical with a `!` before it.
    fn record(text: &str) -> CaaRecord {
        let (tag, value) = text.split_once(' ').unwrap();
        CaaRecord {
            critical: tag.starts_with('!'),
            tag: tag.trim_start_matches('!').to_owned(),
            value: value.as_bytes().to_vec(),
        }
    }

    #[tokio::test]
    async fn what_the_records_say_counts() {
        const NO: Option<ProblemType> = Some(ProblemType::Caa);
        let http = Some(ChallengeKind::Http01);
        let mine = "issue ca.test; accounturi=https://ca.test/account/1";
        let anothers = "issue ca.test; accounturi=https://ca.test/account/2";
        let table: [(&[&str], Option<ProblemType>, Option<ProblemType>); 33] = [
            // Records, then the answers for a host and for a wildcard.
            (&["issue ca.test"], None, None),
            (&["issue old-ca.test"], None, None),
            (&["ISSUE CA.Test"], None, None),
            (&["issue  \t ca.test \t"], None, None),
            (&["!issue ca.test"], None, None),
            (&["issue other.test"], NO, NO),
            (&["issue ;"], NO, NO),
            (&["issue "], NO, NO),
            (&["issue sub.ca.test"], NO, NO),
            (&["issue ca.test."], NO, NO),
            (&["issue ca.test other.test"], NO, NO),
            (&["issue other.test", "issue ca.test"], None, None),
            (&["issue ca.test", "issuewild ;"], None, NO),
            (&["issue ;", "issuewild ca.test"], NO, None),
            (&["issuewild ca.test"], None, None),
            (&["issuewild ;"], None, NO),
            // Nothing that speaks of issuing.
            (&["iodef mailto:a@a.test"], None, None),
            (&["!iodef mailto:a@a.test"], None, None),
            (&["issuemail other.test"], None, None),
            (&["future x"], None, None),
            (&["!future x"], NO, NO),
            (&["issue ca.test", "!future x"], NO, NO),
            // Parameters.
            (&["issue ca.test;"], None, None),
            (&["issue ca.test; unknown=1; other = 2;"], None, None),
            (&["issue ca.test; %%%%%"], NO, NO),
            (&["issue ca.test; a=b c"], NO, NO),
            (&[mine], None, None),
            (&[anothers], NO, NO),
            (&[anothers, mine], None, None),
            (
                &["issue ca.test; accounturi=https://ca.test/account/1; accounturi=x"],
                NO,
                NO,
            ),
            (
                &["issue ca.test; validationmethods=dns-01,http-01"],
                None,
                None,
            ),
            (&["issue ca.test; ValidationMethods=dns-01"], NO, NO),
            (&["issue ca.test; validationmethods=http-011"], NO, NO),
        ];
        for (records, host, wildcard) in table {
            let table = Table::new(&[("a.test", records)]);
            assert_eq!(table.ask("a.test", http).await, host, "{records:?}");
            assert_eq!(
                table.ask("*.a.test", http).await,
                wildcard,
                "*: {records:?}"
            );
        }
        // A name that nobody validated.
        let table = Table::new(&[("a.test", &["issue ca.test; validationmethods=http-01"])]);
        assert_eq!(table.ask("a.test", None).await, NO);
    }

    #[tokio::test]
    async fn the_nearest_name_upwards_that_has_records_counts() {
        let table = Table::new(&[
            ("deep.b.test", &["issue ca.test"]),
            ("b.test", &["issue other.test"]),
            ("ca.test", &["issue ;"]),
        ]);
        let no = Some(ProblemType::Caa);
        for (name, answer, asked) in [
            ("deep.b.test", None, &["deep.b.test"][..]),
            ("x.deep.b.test", None, &["x.deep.b.test", "deep.b.test"]),
            ("*.deep.b.test", None, &["deep.b.test"]),
            ("y.b.test", no, &["y.b.test", "b.test"]),
            ("*.b.test", no, &["b.test"]),
            ("a.c.test", None, &["a.c.test", "c.test", "test"]),
            ("localhost", None, &["localhost"]),
            ("10.0.0.1", None, &[]),
            ("::1", None, &[]),
        ] {
            table.asked.lock().unwrap().clear();
            assert_eq!(table.ask(name, None).await, answer, "{name}");
            assert_eq!(*table.asked.lock().unwrap(), asked, "{name}");
        }
        // Whoever has no name in DNS cannot be named, and asks nothing.
        table.asked.lock().unwrap().clear();
        let asked = Asked {
            identifier: &Identifier::parse("b.test").unwrap(),
            account: ACCOUNT,
            method: None,
        };
        assert_eq!(permits(&table, &[], &asked).await, Ok(()));
        assert!(table.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_looked_up_forbids_and_so_does_too_much() {
        let mut table = Table::new(&[("a.test", &["issue ca.test"])]);
        table.records.insert("broken.test".to_owned(), None);
        let dns = Some(ProblemType::Dns);
        assert_eq!(table.ask("broken.test", None).await, dns);
        assert_eq!(table.ask("x.broken.test", None).await, dns);
        // What lies above the answer is not asked.
        table.records.insert("test".to_owned(), None);
        assert_eq!(table.ask("x.a.test", None).await, None);
        assert_eq!(table.ask("b.test", None).await, dns);
        let many = vec!["issue ca.test"; MAX_RECORDS + 1];
        let table = Table::new(&[("a.test", &many[1..]), ("b.test", &many)]);
        assert_eq!(table.ask("a.test", None).await, None);
        assert_eq!(table.ask("b.test", None).await, Some(ProblemType::Caa));
    }
}
