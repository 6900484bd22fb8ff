//! The wait until every authoritative server has what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::TxtRecord;
use crate::challenge::SolverError;
use crate::net::dns::{Authority, Dns, DomainName, NoAnswer, Zone};

/// One server to be asked for one name.
type Question = (DomainName, Authority);

/// What the server said last.
type Answer = Result<Vec<String>, NoAnswer>;

/// The first pause between two rounds; most servers have a record at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Questions in the air at the same time.
const CONCURRENT: usize = 64;

/// Returns once every server of `zones` has all `records` of its zone.
///
/// A server that cannot be reached for want of a route (IPv6, most often) is not
/// waited for as long as another has the record; one that does not answer is.
pub(super) async fn wait(
    dns: &Dns,
    zones: &[Zone],
    records: &BTreeSet<TxtRecord>,
    deadline: Duration,
) -> Result<(), SolverError> {
    let until = Instant::now() + deadline;
    let mut watch = Watch::new(zones, records);
    let mut pause = FIRST_PAUSE;
    loop {
        let round = tokio::time::timeout_at(until, ask_all(dns, &watch.open));
        watch.note(round.await.unwrap_or_default());
        if watch.open.is_empty() {
            return Ok(());
        }
        if Instant::now() + pause >= until {
            return Err(watch.error(deadline));
        }
        tracing::debug!("{} answers of name servers lack a record", watch.open.len());
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

async fn ask_all(dns: &Dns, open: &BTreeSet<Question>) -> Vec<(Question, Answer)> {
    let permits = Arc::new(Semaphore::new(CONCURRENT));
    let mut tasks = JoinSet::new();
    for question in open {
        let (dns, question, permits) = (dns.clone(), question.clone(), Arc::clone(&permits));
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            let answer = dns.txt_at(question.1.address, &question.0).await;
            (question, answer)
        });
    }
    tasks.join_all().await
}

/// What is wanted, and what was said so far.
struct Watch {
    /// The texts of each name.
    wanted: BTreeMap<DomainName, BTreeSet<String>>,
    /// Who has to be asked again.
    open: BTreeSet<Question>,
    answers: BTreeMap<Question, Answer>,
}

impl Watch {
    fn new(zones: &[Zone], records: &BTreeSet<TxtRecord>) -> Self {
        let mut wanted: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        let mut open = BTreeSet::new();
        for record in records {
            let values = wanted.entry(record.name.clone()).or_default();
            values.insert(record.value.clone());
            let zones = zones.iter().filter(|zone| zone.apex == record.zone);
            let servers = zones.flat_map(|zone| zone.servers.iter().cloned());
            open.extend(servers.map(|server| (record.name.clone(), server)));
        }
        Self {
            wanted,
            open,
            answers: BTreeMap::new(),
        }
    }

    /// Takes in the answers of a round, and closes what need not be asked again.
    fn note(&mut self, round: Vec<(Question, Answer)>) {
        self.answers.extend(round);
        let open = std::mem::take(&mut self.open);
        let is_public = |name: &DomainName| {
            let mut of_name = self.answers.keys().filter(|question| question.0 == *name);
            of_name.any(|question| self.has_all(question))
        };
        let stays = |question: &Question| match self.answers.get(question) {
            Some(Err(NoAnswer::NoRoute)) => !is_public(&question.0),
            _ => !self.has_all(question),
        };
        self.open = open.into_iter().filter(stays).collect();
    }

    /// Whether that server has every text wanted at that name.
    fn has_all(&self, question: &Question) -> bool {
        match (self.wanted.get(&question.0), self.answers.get(question)) {
            (Some(wanted), Some(Ok(texts))) => wanted.iter().all(|text| texts.contains(text)),
            _ => false,
        }
    }

    /// The error that shows, for each name that is not everywhere, what each of its
    /// servers said last.
    fn error(&self, deadline: Duration) -> SolverError {
        let names: BTreeSet<&DomainName> = self.open.iter().map(|(name, _)| name).collect();
        let asked = self.answers.keys().chain(&self.open);
        let questions: BTreeSet<&Question> = asked.filter(|(n, _)| names.contains(n)).collect();
        let lines: Vec<String> = questions
            .into_iter()
            .map(|question| {
                let (name, server) = question;
                // One name is the rule, and is named before.
                let at = if names.len() > 1 {
                    format!(" for `{name}`")
                } else {
                    String::new()
                };
                format!("{server}{at} {}", self.said(question))
            })
            .collect();
        let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        SolverError::new(format!(
            "after {} s not every name server has the TXT record {}: {}",
            deadline.as_secs(),
            shown.join(", "),
            lines.join("; ")
        ))
        .hint(
            "wait longer with `--dns-wait 10m`, or, when this machine cannot ask them, \
             go without looking with `--dns-check none`",
        )
    }

    fn said(&self, question: &Question) -> String {
        match self.answers.get(question) {
            _ if self.has_all(question) => "has it".to_owned(),
            None => "was not asked".to_owned(),
            Some(Ok(texts)) if texts.is_empty() => "has no TXT record there".to_owned(),
            Some(Ok(texts)) => {
                let others = texts.len();
                let s = if others == 1 { "" } else { "s" };
                format!("has only {others} other TXT record{s} there")
            }
            Some(Err(error)) => error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    /// Two servers, and one name at which `a` and `b` are wanted.
    fn watch() -> (Watch, Question, Question) {
        let server = |n: u8| Authority {
            name: name(&format!("ns{n}.x.test")),
            address: ([192, 0, 2, n], 53).into(),
        };
        let zone = Zone {
            apex: name("x.test"),
            servers: vec![server(1), server(2)],
        };
        let record = |value: &str| TxtRecord {
            zone: name("x.test"),
            name: name("_acme-challenge.x.test"),
            value: value.to_owned(),
        };
        let records = ["a", "b"].map(record).into();
        let question = |n| (name("_acme-challenge.x.test"), server(n));
        (Watch::new(&[zone], &records), question(1), question(2))
    }

    fn texts(texts: &[&str]) -> Answer {
        Ok(texts.iter().map(|&text| text.to_owned()).collect())
    }

    #[test]
    fn every_server_must_have_every_text() {
        let (mut watch, one, two) = watch();
        assert_eq!(watch.open.len(), 2);
        watch.note(vec![
            (one.clone(), texts(&["b", "old", "a"])),
            (two.clone(), texts(&["a"])),
        ]);
        assert_eq!(watch.open, [two.clone()].into());
        let error = watch.error(Duration::from_secs(9)).message;
        let said = "ns1.x.test (192.0.2.1:53) has it; \
                    ns2.x.test (192.0.2.2:53) has only 1 other TXT record there";
        assert!(error.ends_with(said), "{error}");
        watch.note(vec![(two, texts(&["a", "b"]))]);
        assert!(watch.open.is_empty());
    }

    #[test]
    fn a_server_out_of_reach_is_excused_by_another_that_has_it_and_a_silent_one_is_not() {
        let (mut watch, one, two) = watch();
        watch.note(vec![
            (one.clone(), Err(NoAnswer::NoRoute)),
            (two.clone(), texts(&[])),
        ]);
        assert_eq!(watch.open.len(), 2, "nobody has it yet");
        watch.note(vec![(two.clone(), texts(&["a", "b"]))]);
        assert!(watch.open.is_empty());

        let (mut watch, ..) = self::watch();
        watch.note(vec![
            (one, Err(NoAnswer::TimedOut)),
            (two, texts(&["a", "b"])),
        ]);
        assert_eq!(watch.open.len(), 1);
        let error = watch.error(Duration::from_secs(9)).message;
        assert!(
            error.contains("ns1.x.test (192.0.2.1:53) does not answer"),
            "{error}"
        );
    }
}
