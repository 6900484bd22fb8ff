//! `certmint ca sign`.

use super::open_ca;
use crate::bundle::to_pem;
use crate::cli::args::SignArgs;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::{Duration, rfc3339};
use crate::identifier::summary;
use crate::pki::{CsrNames, CsrRequest};
use crate::store::disk;

pub(super) fn run(
    args: SignArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    const READABLE: u32 = 0o644;
    let csr = context.read_input(&args.csr)?;
    let request = CsrRequest {
        names: if args.names.is_empty() {
            CsrNames::Requested
        } else {
            CsrNames::Given(args.names)
        },
        usage: args.usage.usage(),
        lifetime: args.days.map(|days| Duration::days(i64::from(days))),
        not_before: None,
        not_after: None,
        publication: None,
    };
    let signed = open_ca(context, &args.passphrase)?.sign_csr(&csr, &request)?;
    let chain = to_pem(&signed.chain);
    match &args.out {
        Some(path) => disk::replace(path, chain.as_bytes(), READABLE)?,
        None => printer.result(&chain),
    }
    for note in &signed.notes {
        printer.note(note);
    }
    if let Some(clamped) = &signed.clamped {
        printer.warn(&clamped.to_string());
    }
    if let Some(leaf) = signed.chain.first() {
        printer.note(&format!(
            "signed {}, valid until {}",
            summary(leaf.names()),
            rfc3339(leaf.not_after())
        ));
    }
    Ok(Exit::Done)
}
