//! Integration tests: one binary, one file per topic.
//!
//! Each test runs in an environment of its own (`support::TestEnv`): a temporary
//! home, a cleared environment, no fixed port. A test that drives a program which
//! is not installed says `skipped: …` on standard error, with the number of skips
//! so far, and writes the same line to `target/tmp/skipped`, where `.ci/run`
//! counts them; under `CERTMINT_TEST_REQUIRE_TOOLS=1` it fails instead.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests prepare files and read the environment; a failed step fails the test"
)]

#[cfg(feature = "acme")]
mod acme;
#[cfg(not(feature = "acme"))]
mod acme_absent;
#[cfg(feature = "acme")]
mod acme_account;
#[cfg(feature = "acme")]
mod acme_issue;
#[cfg(feature = "acme")]
mod acme_revoke;
mod ca;
#[cfg(feature = "acme")]
mod ca_account;
mod ca_backup;
mod ca_eab;
mod ca_init;
mod ca_issue;
mod ca_revoke;
mod ca_rotate;
#[cfg(feature = "acme")]
mod ca_serve;
mod ca_sign;
mod ca_status;
mod ca_trust;
#[cfg(feature = "acme")]
mod challenge;
mod cli;
#[cfg(feature = "acme")]
mod clients;
mod crash;
mod crl;
mod csr;
#[cfg(feature = "acme")]
mod dns;
mod generated;
mod house;
mod inspect;
mod inspect_cli;
mod layers;
mod ledger;
mod lint;
mod on_demand;
#[cfg(feature = "p12")]
mod p12;
mod pki;
#[cfg(feature = "acme")]
mod private_directory;
mod renew;
#[cfg(feature = "acme")]
mod renew_acme;
#[cfg(feature = "acme")]
mod serve_acme;
#[cfg(feature = "acme")]
mod serve_acme_run;
mod serve_ca;
mod serve_config;
mod serve_config_reload;
mod serve_custom;
mod serve_identity;
mod serve_insecure;
mod serve_operation;
#[cfg(not(feature = "acme"))]
mod serve_without_acme;
mod server;
mod store;
mod support;
mod swaps;
mod trust;
