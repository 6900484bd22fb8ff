//! Records written by a person who is asked to.
//!
//! Where nobody can answer, that is an error at once, never a wait.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::{DnsProvider, TxtRecord};
use crate::challenge::SolverError;
use crate::issuer::BoxFuture;

/// A person at a terminal, as the command line reaches them.
pub trait Operator: Send + Sync + fmt::Debug {
    /// Asks for `record` to be created, and returns once the person says it is.
    fn create<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, io::Result<()>>;

    /// Says that `record` may go now. Waits for nothing.
    fn remove(&self, record: &TxtRecord);
}

/// Asks a person.
#[derive(Debug)]
pub struct Manual(Option<Arc<dyn Operator>>);

impl Manual {
    /// `None` when there is no terminal.
    pub fn new(operator: Option<Arc<dyn Operator>>) -> Self {
        Self(operator)
    }
}

impl DnsProvider for Manual {
    fn add<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(async move {
            let Some(operator) = &self.0 else {
                return Err(SolverError::new(format!(
                    "nobody is at a terminal to create the TXT record `{}`",
                    record.name
                ))
                .hint("run this in a terminal, or use a provider that needs nobody")
                .permanent());
            };
            operator.create(record).await.map_err(|error| {
                SolverError::new("could not ask for the record to be created")
                    .permanent()
                    .caused_by(error)
            })
        })
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(async move {
            match &self.0 {
                Some(operator) => operator.remove(record),
                None => tracing::warn!(
                    "the TXT record `{}` with the text `{}` may be removed now",
                    record.name,
                    record.value
                ),
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::DomainName;

    #[derive(Debug)]
    struct Absent;

    impl Operator for Absent {
        fn create<'a>(&'a self, _: &'a TxtRecord) -> BoxFuture<'a, io::Result<()>> {
            Box::pin(async { Err(io::ErrorKind::UnexpectedEof.into()) })
        }

        fn remove(&self, _: &TxtRecord) {}
    }

    #[tokio::test]
    async fn without_a_terminal_it_fails_at_once_and_removal_hinders_nothing() {
        let name = DomainName::parse("_acme-challenge.a.test").unwrap();
        let record = TxtRecord {
            zone: DomainName::parse("a.test").unwrap(),
            name,
            value: "v".to_owned(),
        };
        for manual in [Manual::new(None), Manual::new(Some(Arc::new(Absent)))] {
            let error = manual.add(&record).await.unwrap_err();
            assert!(error.permanent, "{error}");
            manual.remove(&record).await.unwrap();
        }
    }
}
