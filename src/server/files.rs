//! Static files.
//!
//! tower-http answers (ranges, conditions, compressed variants, types); every file
//! it asks for is opened here, beneath the root and nowhere else: the kernel
//! refuses `..`, links that lead out, and races between check and open. Hidden
//! files do not exist, nor does anything that is not a file or directory.

use std::fs::File;
use std::future::Future;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, DefaultServeDirFallback};

use super::body::Body;
use super::respond::{read_only, text};

/// The one hidden directory that is meant for strangers (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

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
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return read_only();
        }
        // `//host/` would come back as a redirect to another host.
        if request.uri().path().starts_with("//") {
            return not_found();
        }
        let path = request.uri().path().to_owned();
        match self.0.clone().try_call(request).await {
            Ok(found) if found.status() == StatusCode::NOT_FOUND => not_found(),
            Ok(found) => {
                let mut response = found.map(Body::file);
                let nosniff = HeaderValue::from_static("nosniff");
                response
                    .headers_mut()
                    .insert(X_CONTENT_TYPE_OPTIONS, nosniff);
                response
            }
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
        Box::pin(async move {
            let file = blocking(move || this.open_now(&path)).await?;
            Ok(OpenFile(tokio::fs::File::from_std(file)))
        })
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

/// A file that was opened beneath the root.
struct OpenFile(tokio::fs::File);

impl tower_http::services::fs::File for OpenFile {
    type Metadata = std::fs::Metadata;
    type MetadataFuture<'a> =
        Pin<Box<dyn Future<Output = io::Result<std::fs::Metadata>> + Send + 'a>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        Box::pin(self.0.metadata())
    }
}

impl AsyncRead for OpenFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncSeek for OpenFile {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.0).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.0).poll_complete(cx)
    }
}
