//! `certmint health`: asks a running server, for containers without curl.

use std::time::Duration;

use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::small_runtime;
use crate::cli::args::{Asked, HEALTH_DEFAULT, HealthArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::finding::words::causes;
use crate::identifier::quoted;

/// Longest answer that is read.
const ANSWER_MAX: usize = 64 * 1024;

pub(super) fn run(
    args: HealthArgs,
    context: &Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let asked = match args.url {
        Some(asked) => asked,
        None => context
            .environment
            .get_set("CERTMINT_HEALTH_URL")
            .unwrap_or(HEALTH_DEFAULT)
            .parse()
            .map_err(|error| CliError::usage(format!("CERTMINT_HEALTH_URL: {error}")))?,
    };
    let limit = Duration::try_from(args.timeout).map_err(CliError::failed)?;
    let exchange = async {
        match tokio::time::timeout(limit, ask(&asked)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", limit.as_secs_f64())),
        }
    };
    let runtime = small_runtime()?;
    let answer = runtime.block_on(exchange);
    // A name that is looked up still keeps nobody.
    runtime.shutdown_background();
    match answer {
        Ok((StatusCode::OK, words)) => {
            printer.result(&format!("{words}\n"));
            Ok(Exit::Done)
        }
        Ok((status, words)) => {
            printer.warn(&format!("not healthy: {words} ({})", status.as_u16()));
            Ok(Exit::Critical)
        }
        Err(why) => {
            printer.warn(&format!("not healthy: {why}"));
            Ok(Exit::Critical)
        }
    }
}

async fn ask(asked: &Asked) -> Result<(StatusCode, String), String> {
    let unreached =
        |who: &dyn std::fmt::Display, error| format!("nobody answers at {who}: {error}");
    match asked {
        Asked::Http(host, path) => {
            let name = host.host().trim_matches(['[', ']']);
            let port = host.port_u16().unwrap_or(80);
            let stream = TcpStream::connect((name, port)).await;
            let stream = stream.map_err(|error| unreached(host, error))?;
            exchange(stream, host.as_str(), path.as_str()).await
        }
        Asked::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            let stream = stream.map_err(|error| unreached(&path.display(), error))?;
            exchange(stream, "localhost", Asked::READY.as_str()).await
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
) -> Result<(StatusCode, String), String> {
    let odd = |error: &(dyn std::error::Error + 'static)| {
        format!("the answer makes no sense: {}", causes(error))
    };
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| odd(&error))?;
    // Ends with the runtime.
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(|error| odd(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| odd(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await;
    let body = body.map_err(|error| odd(&*error))?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    let first = text.lines().next().unwrap_or_default().trim();
    Ok((status, quoted(first)))
}
