//! The first message of a TLS client, in little room: who never ends it is what a
//! server that is attacked holds the most of.
//!
//! tokio-rustls would ask for more right after each part, for which rustls makes room
//! at once. Here it is asked only when there is more.

use std::io;

use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;

/// What is taken from the kernel at once, in bytes; most messages are shorter.
const PART: usize = 4096;

/// What has come of the message so far.
enum Progress {
    /// All of it.
    Whole(Box<Accepted>),
    /// More is to come.
    Part,
    /// It is none: why, and what the client is told.
    Refused(rustls::Error, Box<AcceptedAlert>),
}

/// Waits for the whole ClientHello. Has no deadline of its own.
pub(super) async fn read(mut stream: TcpStream) -> io::Result<StartHandshake<TcpStream>> {
    let mut acceptor = Acceptor::default();
    loop {
        stream.readable().await?;
        match take(&stream, &mut acceptor)? {
            Progress::Whole(accepted) => return Ok(StartHandshake::from_parts(*accepted, stream)),
            Progress::Part => {}
            Progress::Refused(error, mut alert) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                // The client may be gone already; there is nobody else to tell.
                let _ = stream.write_all(&bytes).await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

/// Takes what is there.
fn take(stream: &TcpStream, acceptor: &mut Acceptor) -> io::Result<Progress> {
    let mut part = [0; PART];
    let mut left = match stream.try_read(&mut part) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => &part[..count],
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Part),
        Err(e) => return Err(e),
    };
    while !left.is_empty() {
        acceptor.read_tls(&mut left)?;
        match acceptor.accept() {
            // A client that sends more before it was answered is refused by what
            // follows: nothing more is expected of it.
            Ok(Some(_)) if !left.is_empty() => return Err(io::ErrorKind::InvalidData.into()),
            Ok(Some(accepted)) => return Ok(Progress::Whole(Box::new(accepted))),
            Ok(None) => {}
            Err((error, alert)) => return Ok(Progress::Refused(error, Box::new(alert))),
        }
    }
    Ok(Progress::Part)
}
