//! Static files.
//!
//! tower-http answers (ranges, conditions, compressed variants, types); every file
//! it asks for is opened here, beneath the root and nowhere else: the kernel
//! refuses `..`, links that lead out, and races between check and open. Hidden
//! files do not exist, nor does anything that is not a file or directory. What is
//! sent is the file as it was when it was opened: its length then, and no byte of
//! what was renamed to its name since.

use std::fs::File;
use std::future::Future;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_RANGE, LAST_MODIFIED, LOCATION, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeek, ReadBuf, Take};
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, DefaultServeDirFallback};

use super::body::Body;
use super::respond::{read_only, text};

/// The one hidden directory that is meant for strangers (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// What is read ahead of an HTTP/2 client, in bytes: it may have a hundred answers
/// wait for it at once.
const HTTP2_PART: usize = 16 * 1024;

/// The files below a directory.
#[derive(Debug)]
pub(super) struct Files(ServeDir<DefaultServeDirFallback, Beneath>);

impl Files {
    /// Serves what lies below `root`, which must be a readable directory now and
    /// may later be swapped for another under the same name.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let beneath = Beneath(Arc::from(root));
        beneath.open_root()?;
        let serve = ServeDir::with_backend("", beneath)
            // RFC 9110 §14.2 allows to answer several ranges with the whole.
            .ignore_multi_range_requests(true)
            .precompressed_br()
            .precompressed_gzip()
            .precompressed_zstd();
        Ok(Self(serve))
    }

    pub(super) async fn respond(&self, request: Request<()>) -> Response<Body> {
        let mut response = self.answer(request).await;
        let nosniff = HeaderValue::from_static("nosniff");
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        response
    }

    async fn answer(&self, mut request: Request<()>) -> Response<Body> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return read_only();
        }
        // `//host/` would come back as a redirect to another host; and no name has a
        // slash in it.
        let path = request.uri().path();
        if path.starts_with("//") || path.contains("%2f") || path.contains("%2F") {
            return not_found();
        }
        // Nor may an authority in the request target come back in one.
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
        match range_of_bytes(&request) {
            Some(range) => _ = request.headers_mut().insert(RANGE, range),
            None => _ = request.headers_mut().remove(RANGE),
        }
        // The caller leaves the body away; so HEAD and GET never differ otherwise.
        *request.method_mut() = Method::GET;
        let path = request.uri().path().to_owned();
        match self.find(request).await {
            Ok(found) if found.status() == StatusCode::NOT_FOUND => not_found(),
            Ok(found) => finish(found),
            Err(error) if is_absent(&error) => not_found(),
            Err(error) => {
                let path = crate::identifier::quoted(&path);
                tracing::error!("could not read the file for `{path}`: {error}");
                text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the file could not be read",
                )
            }
        }
    }

    /// Asks tower-http for a part, and for the whole where the part is not wanted or
    /// wrongly judged. tower-http knows nothing of `If-Range`: with one, a part is
    /// sent only of the very file that the client has another part of.
    async fn find(&self, mut request: Request<()>) -> io::Result<Response<Body>> {
        let condition = request.headers_mut().remove(IF_RANGE);
        let Some(range) = request.headers().get(RANGE).cloned() else {
            return self.ask(request).await;
        };
        let part = self.ask(request.clone()).await?;
        let is_wanted = condition.is_none_or(|condition| is_same(&condition, part.headers()));
        if is_wanted && !is_misjudged(&range, &part) {
            return Ok(part);
        }
        request.headers_mut().remove(RANGE);
        self.ask(request).await
    }

    async fn ask(&self, request: Request<()>) -> io::Result<Response<Body>> {
        let mut serve = self.0.clone();
        if request.version() == Version::HTTP_2 {
            serve = serve.with_buf_chunk_size(HTTP2_PART);
        }
        let response = serve.try_call(request).await?;
        Ok(response.map(Body::file))
    }
}

/// The request's `Range` when it counts: with GET, and of bytes (RFC 9110 §14.2);
/// its unit as tower-http writes it.
fn range_of_bytes(request: &Request<()>) -> Option<HeaderValue> {
    let range = request.headers().get(RANGE)?.to_str().ok()?;
    let (unit, ranges) = range.split_once('=')?;
    let counts = request.method() == Method::GET && unit.eq_ignore_ascii_case("bytes");
    counts.then(|| HeaderValue::try_from(format!("bytes={ranges}")).ok())?
}

/// Whether `If-Range` names what these headers are of (RFC 9110 §13.1.5): a strong
/// tag or the exact time.
fn is_same(condition: &HeaderValue, found: &HeaderMap) -> bool {
    [ETAG, LAST_MODIFIED]
        .iter()
        .any(|name| found.get(name) == Some(condition))
}

/// Whether the whole is right instead (RFC 9110 §14.1.2): the end of a file that is
/// shorter than what was asked for, or the first byte of one that has none.
fn is_misjudged(range: &HeaderValue, part: &Response<Body>) -> bool {
    let empty = part.headers().get(CONTENT_LENGTH).is_some_and(|n| n == "0");
    match part.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => range
            .as_bytes()
            .strip_prefix(b"bytes=-")
            .is_some_and(|n| n.iter().all(u8::is_ascii_digit) && n.iter().any(|&b| b != b'0')),
        StatusCode::PARTIAL_CONTENT => empty,
        _ => false,
    }
}

/// Adds to an answer what tower-http leaves to us.
fn finish(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    if !headers.contains_key(LOCATION) {
        // Also on 304 and 416 (RFC 9110 §15.4.5).
        headers.insert(VARY, ACCEPT_ENCODING.into());
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if let Some(kind) = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        && kind.starts_with("text/")
        && !kind.contains(';')
        && let Ok(kind) = HeaderValue::try_from(format!("{kind}; charset=utf-8"))
    {
        headers.insert(CONTENT_TYPE, kind);
    }
    response
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "there is nothing here")
}

/// Whether a stranger is told that nothing is there.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
    )
}

/// Opens files beneath a directory.
#[derive(Debug, Clone)]
struct Beneath(Arc<Path>);

impl Beneath {
    fn open_root(&self) -> io::Result<File> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&*self.0, flags, Mode::empty())?.into())
    }

    fn open_now(&self, path: &Path) -> io::Result<File> {
        let path = visible(path).ok_or(io::ErrorKind::NotFound)?;
        let root = self.open_root()?;
        let file = match open_beneath(&root, &path) {
            Err(Errno::XDEV | Errno::AGAIN | Errno::NOSYS | Errno::PERM) => {
                self.open_resolved(&root, &path)?
            }
            // Too many links, or a magic one.
            Err(Errno::LOOP) => return Err(io::ErrorKind::NotFound.into()),
            opened => opened?,
        };
        let kind = file.metadata()?.file_type();
        if kind.is_file() || kind.is_dir() {
            Ok(file)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// For absolute links, which the kernel counts as leaving even when they lead
    /// back in, and for kernels that cannot tell.
    fn open_resolved(&self, root: &File, path: &Path) -> io::Result<File> {
        let base = self.0.canonicalize()?;
        let target = base.join(path).canonicalize()?;
        let inside = target
            .strip_prefix(&base)
            .map_err(|_| io::ErrorKind::NotFound)?;
        let inside = if inside.as_os_str().is_empty() {
            Path::new(".")
        } else {
            inside
        };
        match open_beneath(root, inside) {
            Err(Errno::NOSYS | Errno::PERM) => {
                let flags = READ | OFlags::NOFOLLOW;
                Ok(rustix::fs::openat(root, inside, flags, Mode::empty())?.into())
            }
            Err(Errno::XDEV | Errno::LOOP) => Err(io::ErrorKind::NotFound.into()),
            opened => Ok(opened?),
        }
    }
}

/// Never blocks on a FIFO, never becomes a controlling terminal.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

fn open_beneath(root: &File, path: &Path) -> rustix::io::Result<File> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, READ, Mode::empty(), resolve).map(File::from)
}

/// `path`, which is decoded, as one relative to the root; `None` when a part of it
/// is hidden or leads upwards.
fn visible(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => {
                let hidden = part.as_encoded_bytes().starts_with(b".");
                if hidden && !(inside.as_os_str().is_empty() && part == WELL_KNOWN) {
                    return None;
                }
                inside.push(part);
            }
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    if inside.as_os_str().is_empty() {
        inside.push(".");
    }
    Some(inside)
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Backend for Beneath {
    type File = OpenFile;
    type Metadata = std::fs::Metadata;
    type OpenFuture = BoxFuture<io::Result<OpenFile>>;
    type MetadataFuture = BoxFuture<io::Result<std::fs::Metadata>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let this = self.clone();
        let open = move || match this.open_now(&path) {
            Ok(file) => OpenFile::new(file),
            // So that a compressed variant which cannot be read hides nothing.
            Err(error) if is_absent(&error) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => Err(error),
        };
        Box::pin(blocking(open))
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let this = self.clone();
        Box::pin(blocking(move || this.open_now(&path)?.metadata()))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// A file that was opened beneath the root, as long as it was then.
struct OpenFile {
    file: Take<tokio::fs::File>,
    metadata: std::fs::Metadata,
}

impl OpenFile {
    fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self {
            file: tokio::fs::File::from_std(file).take(metadata.len()),
            metadata,
        })
    }
}

impl tower_http::services::fs::File for OpenFile {
    type Metadata = std::fs::Metadata;
    type MetadataFuture<'a> = std::future::Ready<io::Result<std::fs::Metadata>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        std::future::ready(Ok(self.metadata.clone()))
    }
}

impl AsyncRead for OpenFile {
    /// Ends with an error when the file became shorter: what was promised is not
    /// there.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        ready!(Pin::new(&mut self.file).poll_read(cx, buf))?;
        let ended = buf.remaining() == room;
        if ended && room > 0 && self.file.limit() > 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for OpenFile {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(self.file.get_mut()).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let position = ready!(Pin::new(self.file.get_mut()).poll_complete(cx))?;
        let left = self.metadata.len().saturating_sub(position);
        self.file.set_limit(left);
        Poll::Ready(Ok(position))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn a_file_is_as_long_as_when_it_was_opened_or_an_error() {
        let mut written = tempfile::NamedTempFile::new().unwrap();
        let path = written.path().to_owned();
        written.write_all(b"0123456789").unwrap();
        let mut grown = OpenFile::new(File::open(&path).unwrap()).unwrap();
        let mut shrunk = OpenFile::new(File::open(&path).unwrap()).unwrap();
        written.write_all(b"and more").unwrap();
        let mut bytes = Vec::new();
        grown.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"0123456789");
        written.as_file().set_len(5).unwrap();
        let error = shrunk.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(OpenFile::new(File::open("/").unwrap()).is_err());
    }
}
