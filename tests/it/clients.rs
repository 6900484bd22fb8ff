//! The ACME clients that others wrote, unmodified, against the private ACME directory:
//! each obtains, renews and revokes by each kind of challenge that it knows.
//!
//! What a test believes is what a server that has been given the certificate serves, as
//! `openssl s_client` verifies it, and what stands in the CRL that curl fetches. How long
//! each step took is left in `target/tmp/acme-clients.txt`. With
//! `CERTMINT_TEST_DIRECTORY=pebble` the same clients talk to Pebble, which tells whether
//! a fault is a client's or ours.

mod acme_tiny;
mod caddy;
mod certbot;
mod dehydrated;
mod lab;
mod lego;
mod own;
mod uacme;

use std::path::PathBuf;
use std::time::Instant;

use lab::Lab;

/// A client with an account, and one way to show control.
trait Client {
    /// Obtains a certificate for these names.
    fn obtain(&mut self, names: &[&str]) -> Held;
    /// Obtains it again, long before it is due.
    fn renew(&mut self, names: &[&str]) -> Held;
    /// Has it revoked; `false` means that it knows no way.
    fn revoke(&mut self, held: &Held) -> bool;
}

/// What a client has obtained.
#[derive(Debug, Clone)]
struct Held {
    /// The certificate, and its issuers after it or in another file.
    chain: PathBuf,
    key: PathBuf,
}

/// A certificate from its beginning to its end.
#[track_caller]
fn live(lab: &Lab, who: &str, how: &str, client: &mut dyn Client, names: &[&str]) {
    let began = Instant::now();
    let first = lab.served(&client.obtain(names), names);
    let obtained = began.elapsed();

    let began = Instant::now();
    let held = client.renew(names);
    let second = lab.served(&held, names);
    let renewed = began.elapsed();
    assert_ne!(first, second, "{who} did not renew by {how}");

    let began = Instant::now();
    assert!(!lab.is_revoked(&second));
    let revoked = client.revoke(&held).then(|| {
        assert!(lab.is_revoked(&second), "{who}: {second} is not revoked");
        assert!(!lab.is_revoked(&first), "{who}: {first} is revoked");
        began.elapsed()
    });
    lab::note(who, how, [Some(obtained), Some(renewed), revoked]);
}
