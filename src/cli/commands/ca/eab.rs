//! `certmint ca eab add|list|remove`: who may have an account with the private ACME
//! directory.
//!
//! Rules kept here: a secret is shown once, on standard output, and never again; each
//! change is in the CA's database at once, so that a directory that runs sees it.

use serde::Serialize;

use crate::cli::args::{EabAddArgs, EabCommand, EabListArgs, EabRemoveArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::rfc3339;
use crate::directory::state::{EabKey, NewEabKey, State, StateError, Trust};
use crate::identifier::{NameConstraints, quoted};
use crate::pki::Authority;

pub(super) fn run(
    command: EabCommand,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    // A directory's memory is part of a CA.
    let authority = Authority::open(&context.home)?;
    let state = State::open(&authority.paths().ledger())?;
    match command {
        EabCommand::Add(args) => add(args, &authority, &state, context, printer),
        EabCommand::List(args) => list(&args, &state, context, printer),
        EabCommand::Remove(args) => remove(&args, &state, context, printer),
    }
}

fn add(
    args: EabAddArgs,
    authority: &Authority,
    state: &State,
    context: &Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let constraints = &authority.config().permit;
    super::check_permit(&args.permit, constraints)?;
    let new = NewEabKey {
        names: NameConstraints::new(args.permit),
        trust: match args.skip_validation {
            true => Trust::SkipValidation,
            false => Trust::Validate,
        },
    };
    let made = state.add_eab_key(&new, context.now())?;
    let secret = made.key.to_base64url();
    let (kid, hmac) = (&made.kid, secret.as_str());
    if args.json {
        let mut json = serde_json::to_value(Row::new(&made)).map_err(CliError::failed)?;
        json["schema"] = "certmint.eab-key/1".into();
        json["hmac_key"] = hmac.into();
        printer.json(&json);
        return Ok(Exit::Done);
    }
    printer.result(&format!(
        "kid       {kid}\n\
         hmac key  {hmac}\n\
         \n\
         certbot   --eab-kid {kid} --eab-hmac-key {hmac}\n\
         lego      --eab --kid {kid} --hmac {hmac}\n\
         acme.sh   --register-account --eab-kid {kid} --eab-hmac-key {hmac}\n\
         certmint  --eab-kid {kid} --eab-hmac-file FILE (mode 0600, with the hmac key in it)\n"
    ));
    printer.note(&format!(
        "for one account, which may order for {}{}; the hmac key is not shown again",
        permitted(&made),
        match made.trust {
            Trust::Validate => "",
            Trust::SkipValidation => " without showing control over them",
        }
    ));
    Ok(Exit::Done)
}

/// For which names, for people.
fn permitted(key: &EabKey) -> String {
    match key.names.is_unlimited() {
        true => "what the directory issues to others".to_owned(),
        false => key.names.to_string(),
    }
}

fn list(
    args: &EabListArgs,
    state: &State,
    context: &Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let keys = state.eab_keys()?;
    if args.json {
        printer.json(&serde_json::json!({
            "schema": "certmint.eab/1",
            "generated_at": rfc3339(context.now()),
            "keys": keys.iter().map(Row::new).collect::<Vec<_>>(),
        }));
        return Ok(Exit::Done);
    }
    if keys.is_empty() {
        printer.note("there is no external account key; make one with `certmint ca eab add`");
        return Ok(Exit::Done);
    }
    printer.result(&format!(
        "{:<22}  {:<8}  {:<15}  {:<20}  {:<22}  NAMES\n",
        "KID", "STATE", "TRUST", "MADE (UTC)", "ACCOUNT"
    ));
    for key in &keys {
        let account = key.bound.as_ref().map_or("-", |(id, _)| id.as_str());
        let names = match key.names.is_unlimited() {
            true => "-".to_owned(),
            false => key.names.to_string(),
        };
        printer.result(&format!(
            "{:<22}  {:<8}  {:<15}  {:<20}  {account:<22}  {names}\n",
            key.kid,
            condition(key),
            key.trust.as_str(),
            rfc3339(key.created_at),
        ));
    }
    Ok(Exit::Done)
}

fn remove(
    args: &EabRemoveArgs,
    state: &State,
    context: &Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let kid = &args.kid;
    let unknown = || {
        let words = format!("no external account key has the id `{}`", quoted(kid));
        CliError::failed(anyhow::Error::msg(words))
            .hint("look for it with `certmint ca eab list`".to_owned())
    };
    let before = state.eab_key(kid)?.ok_or_else(unknown)?;
    let revoked = match state.revoke_eab_key(kid, context.now()) {
        Err(StateError::NotFound(_)) => return Err(unknown()),
        revoked => revoked?,
    };
    let at = revoked.revoked_at.map(rfc3339).unwrap_or_default();
    if before.revoked_at.is_some() {
        printer.result(&format!("{kid}  was revoked before, at {at}\n"));
        return Ok(Exit::Done);
    }
    printer.result(&format!("{kid}  revoked\n"));
    printer.note(&match &revoked.bound {
        Some((account, _)) => format!(
            "the account {} that it binds may order no more; the certificates that it has stay \
             valid: revoke them with `certmint ca revoke NAME`",
            account.as_str()
        ),
        None => "no account was bound to it, and none can be from now on".to_owned(),
    });
    Ok(Exit::Done)
}

/// One word for what can be done with it.
fn condition(key: &EabKey) -> &'static str {
    match (&key.revoked_at, &key.bound) {
        (Some(_), _) => "revoked",
        (None, Some(_)) => "bound",
        (None, None) => "free",
    }
}

/// One key of `certmint.eab/1`; fields are only ever added. Never its secret.
#[derive(Serialize)]
struct Row<'a> {
    kid: &'a str,
    state: &'static str,
    /// None means what the directory issues to others.
    names: &'a NameConstraints,
    trust: Trust,
    created_at: String,
    account: Option<&'a str>,
    bound_at: Option<String>,
    revoked_at: Option<String>,
}

impl<'a> Row<'a> {
    fn new(key: &'a EabKey) -> Self {
        Self {
            kid: &key.kid,
            state: condition(key),
            names: &key.names,
            trust: key.trust,
            created_at: rfc3339(key.created_at),
            account: key.bound.as_ref().map(|(id, _)| id.as_str()),
            bound_at: key.bound.as_ref().map(|(_, at)| rfc3339(*at)),
            revoked_at: key.revoked_at.map(rfc3339),
        }
    }
}
