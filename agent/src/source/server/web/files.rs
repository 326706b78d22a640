//! A page, or the files of a folder, over HTTP. Nothing outside of the folder is ever opened, whatever its links say; files whose
//! name begins with a dot do not exist, and no folder is listed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::unfold;
use holdfast_core::config::server::{HttpPage, Server};
use http_body_util::{Either, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use super::media;
use crate::net::words;
use crate::os::aside::Aside;
use crate::source::server::Room;
use crate::source::server::http::{ApiError, HttpReply, empty};

/// Bytes that are read and written at a time.
const CHUNK: u64 = 64 << 10;
/// Callers that may wait for the disk.
const WAITING: usize = 256;
/// The disk, or the mount, must have answered within this.
const DISK_TIMEOUT: Duration = Duration::from_secs(10);
static FILES: Aside = Aside::new("files", WAITING);
/// A file that is no file, such as a pipe, must not be waited for.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const WITHIN: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Has it done by the one thread that reads files for callers.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    FILES.run(DISK_TIMEOUT, work).await.flatten()
}

/// Looks at the page or folder of a server. The error names what cannot be shown.
pub fn check(server: &Server) -> Result<(), String> {
    let (path, is_right, what) = match &server.http {
        HttpPage::Status | HttpPage::Empty => return Ok(()),
        HttpPage::Page(file) => {
            (file, File::open(file).and_then(|file| Ok(file.metadata()?.is_file())), "file")
        }
        HttpPage::Files { folder, .. } => (folder, folder.read_dir().map(|_| true), "folder"),
    };
    match is_right {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("cannot show {}: it is not a {what}", path.display())),
        Err(error) => Err(format!("cannot show {}: {}", path.display(), words(&error))),
    }
}

/// Answers GET or HEAD with one file.
pub async fn page(room: &Room, file: &Path, request: &Request<Incoming>) -> Result<HttpReply, ApiError> {
    let path = file.to_owned();
    match aside(move || Found::new(File::open(&path)?, &path)).await {
        Ok(Some(found)) => found.page(room, request),
        Ok(None) => Err(nothing(request)),
        Err(error) => Err(failed(&error)),
    }
}

/// Answers GET or HEAD with what the path means below the folder.
pub async fn answer(
    room: &Room,
    folder: &Path,
    index: &str,
    request: &Request<Incoming>,
) -> Result<HttpReply, ApiError> {
    let Some((path, slash)) = relative(request.uri().path()) else { return Err(nothing(request)) };
    let (folder, index) = (folder.to_owned(), index.to_owned());
    match aside(move || look(&folder, &path, slash, &index)).await {
        Ok(Look::File(found)) => found.page(room, request),
        Ok(Look::Folder) => moved(request),
        Ok(Look::Nothing) => Err(nothing(request)),
        Err(error) => Err(failed(&error)),
    }
}

fn nothing(request: &Request<Incoming>) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

fn failed(error: &io::Error) -> ApiError {
    if is_absence(error) {
        return ApiError::new(StatusCode::NOT_FOUND, "the page is missing");
    }
    let error_text = format!("cannot read the file: {}", words(error));
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error_text)
                .with(header::RETRY_AFTER, HeaderValue::from_static("10"))
        }
        _ => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error_text),
    }
}

/// To the same path with a slash, so that relative links of the index document work.
fn moved(request: &Request<Incoming>) -> Result<HttpReply, ApiError> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let place = HeaderValue::from_str(&format!("{}/{query}", request.uri().path()));
    let mut page = empty();
    *page.status_mut() = StatusCode::MOVED_PERMANENTLY;
    page.headers_mut().insert(header::LOCATION, place.map_err(|error| ApiError::bad(error.to_string()))?);
    Ok(page)
}

/// The path below the folder, decoded once, and whether it ends with a slash. None for what no file is shown under.
fn relative(path: &str) -> Option<(String, bool)> {
    let path = path.strip_prefix('/')?;
    let (path, slash) = match path.strip_suffix('/') {
        Some(path) => (path, true),
        None => (path, path.is_empty()),
    };
    if path.is_empty() {
        return Some((String::new(), slash));
    }
    let segments: Option<Vec<String>> = path.split('/').map(segment).collect();
    Some((segments?.join("/"), slash))
}

fn segment(text: &str) -> Option<String> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
    let strange = |letter: char| letter == '/' || letter == '\\' || letter.is_control();
    (!text.is_empty() && !text.starts_with('.') && !text.contains(strange)).then(|| text.into_owned())
}

enum Look {
    File(Found),
    /// There is a folder, and the path has no slash at its end.
    Folder,
    Nothing,
}

fn look(folder: &Path, path: &str, slash: bool, index: &str) -> io::Result<Look> {
    let whole = if path.is_empty() { "." } else { path };
    let looked = within(folder, whole).and_then(|file| match (file.metadata()?.is_dir(), slash) {
        (true, false) => Ok(Look::Folder),
        (true, true) => {
            let index = format!("{whole}/{index}");
            Ok(Found::new(within(folder, &index)?, index.as_ref())?.map_or(Look::Nothing, Look::File))
        }
        (false, true) => Ok(Look::Nothing),
        (false, false) => Ok(Found::new(file, path.as_ref())?.map_or(Look::Nothing, Look::File)),
    });
    match looked {
        Err(error) if is_absence(&error) => Ok(Look::Nothing),
        looked => looked,
    }
}

/// Opens what lies below the folder (openat2(2)), or lies there in truth on a kernel that cannot look (before Linux 5.6).
fn within(folder: &Path, path: &str) -> io::Result<File> {
    let root = open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match openat2(&root, path, READ, Mode::empty(), WITHIN) {
        Ok(file) => Ok(file.into()),
        Err(Errno::NOSYS | Errno::PERM) => truly_within(folder, path),
        Err(error) => Err(error.into()),
    }
}

fn truly_within(folder: &Path, path: &str) -> io::Result<File> {
    let root = folder.canonicalize()?;
    let file: PathBuf = root.join(path).canonicalize()?;
    if !file.starts_with(&root) {
        return Err(Errno::XDEV.into());
    }
    Ok(open(&file, READ | OFlags::NOFOLLOW, Mode::empty())?.into())
}

/// Whether a file is as good as not there: missing, not ours to read, or a way out of the folder.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::ACCESS
                | Errno::XDEV
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::NXIO
        )
    )
}

/// An open file, and what a browser needs to know of it.
struct Found {
    file: File,
    size: u64,
    modified: SystemTime,
    tag: String,
    kind: &'static str,
}

impl Found {
    /// None if it is not a regular file.
    fn new(file: File, name: &Path) -> io::Result<Option<Found>> {
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Ok(None);
        }
        let seconds = Duration::from_secs(u64::try_from(facts.mtime()).unwrap_or(0));
        let tag =
            format!("\"{:x}-{:x}-{:x}.{:x}\"", facts.ino(), facts.size(), facts.mtime(), facts.mtime_nsec());
        let modified = SystemTime::UNIX_EPOCH + seconds;
        Ok(Some(Found { file, size: facts.len(), modified, tag, kind: media::of(name) }))
    }

    fn page(self, room: &Room, request: &Request<Incoming>) -> Result<HttpReply, ApiError> {
        if room.keeps(&self.file, false) {
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no descriptors are left for files")
                .with(header::RETRY_AFTER, HeaderValue::from_static("10")));
        }
        let headers = request.headers();
        if self.is_known(headers) {
            let mut page = empty();
            *page.status_mut() = StatusCode::NOT_MODIFIED;
            self.describe(page.headers_mut())?;
            return Ok(page);
        }
        // RFC 9110 §14.2: a range is for GET alone.
        let asked = if request.method() == Method::GET { self.asked(headers) } else { Span::Whole };
        let (status, first, length) = match asked {
            Span::Whole => (StatusCode::OK, 0, self.size),
            Span::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
            Span::None => {
                let error = format!("the file has {} bytes", self.size);
                return Err(ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, error)
                    .with(header::CONTENT_RANGE, value(&format!("bytes */{}", self.size))?));
            }
        };
        let mut fields = HeaderMap::new();
        self.describe(&mut fields)?;
        let mut add = |name: HeaderName, text: &str| value(text).map(|value| fields.insert(name, value));
        add(header::CONTENT_TYPE, self.kind)?;
        add(header::CONTENT_LENGTH, &length.to_string())?;
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {first}-{}/{}", first + length - 1, self.size);
            add(header::CONTENT_RANGE, &range)?;
        }
        let mut page = Response::new(Either::Right(StreamBody::new(chunks(self.file, first, length))));
        *page.status_mut() = status;
        *page.headers_mut() = fields;
        Ok(page)
    }

    fn describe(&self, fields: &mut HeaderMap) -> Result<(), ApiError> {
        fields.insert(header::ETAG, value(&self.tag)?);
        fields.insert(header::LAST_MODIFIED, value(&httpdate::fmt_http_date(self.modified))?);
        fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(())
    }

    /// Whether the browser has it already (RFC 9110 §13.1.2, §13.1.3).
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let mut tags = headers.get_all(header::IF_NONE_MATCH).into_iter().peekable();
        if tags.peek().is_some() {
            let tags = tags.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
            let mut tags = tags.map(|tag| tag.trim().trim_start_matches("W/"));
            return tags.any(|tag| tag == "*" || tag == self.tag);
        }
        date(headers, header::IF_MODIFIED_SINCE).is_some_and(|since| self.modified <= since)
    }

    /// The part that is asked for. Several at once are answered with the whole (RFC 9110 §14.2).
    fn asked(&self, headers: &HeaderMap) -> Span {
        let same = headers
            .get(header::IF_RANGE)
            .is_none_or(|tag| *tag == self.tag || date(headers, header::IF_RANGE) == Some(self.modified));
        let range = headers.get(header::RANGE).filter(|_| same).and_then(|range| range.to_str().ok());
        range.map_or(Span::Whole, |range| span(range, self.size))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    Whole,
    /// First and last byte.
    Part(u64, u64),
    None,
}

/// The span that a `Range` asks for; what it says wrongly is as if it said nothing.
fn span(range: &str, size: u64) -> Span {
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Span::Whole;
    };
    match (first, number(first), last, number(last)) {
        ("", _, _, Some(0)) => Span::None,
        ("", _, _, Some(count)) if size > 0 => Span::Part(size.saturating_sub(count), size - 1),
        ("", _, _, Some(_)) => Span::None,
        (_, Some(first), "", _) if first < size => Span::Part(first, size - 1),
        (_, Some(first), _, Some(last)) if first <= last && first < size => {
            Span::Part(first, last.min(size - 1))
        }
        (_, Some(first), last, end)
            if first >= size && (last.is_empty() || end.is_some_and(|end| first <= end)) =>
        {
            Span::None
        }
        _ => Span::Whole,
    }
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// The bytes of a part of a file. Each chunk is read when there is room for it, on the thread that may wait for the disk. A file
/// that became shorter ends too early, which breaks the connection: the peer has been told a length.
fn chunks(file: File, first: u64, length: u64) -> Pin<Box<crate::source::server::http::Chunks>> {
    Box::pin(unfold((file, first, length), async |(file, at, left)| {
        let count = usize::try_from(left.min(CHUNK)).ok().filter(|count| *count > 0)?;
        let read = aside(move || {
            let mut bytes = vec![0; count];
            let length = file.read_at(&mut bytes, at)?;
            bytes.truncate(length);
            Ok((file, bytes))
        });
        let (file, bytes) = read.await.ok().filter(|(_, bytes)| !bytes.is_empty())?;
        let count = u64::try_from(bytes.len()).ok()?;
        Some((Ok(Frame::data(Bytes::from(bytes))), (file, at + count, left - count)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once_and_leads_nowhere_else() {
        let cases = [
            ("/", Some(("", true))),
            ("/a/b.js", Some(("a/b.js", false))),
            ("/a/", Some(("a", true))),
            ("/a%20b", Some(("a b", false))),
            ("/a%252e%252e", Some(("a%2e%2e", false))),
            ("/%252e%252e/x", Some(("%2e%2e/x", false))),
            ("/../x", None),
            ("/a/../../x", None),
            ("/%2e%2e/x", None),
            ("/a/.hidden", None),
            ("/.", None),
            ("//a", None),
            ("/a//b", None),
            ("/a%2Fb", None),
            ("/a%5Cb", None),
            ("/a%00", None),
            ("/%FF", None),
            ("a", None),
        ];
        for (path, expected) in cases {
            let expected = expected.map(|(path, slash)| (path.to_owned(), slash));
            assert_eq!(relative(path), expected, "{path}");
        }
    }

    #[test]
    fn a_range_is_a_part_or_nothing_or_not_understood() {
        let cases = [
            ("bytes=0-3", 10, Span::Part(0, 3)),
            ("bytes=4-", 10, Span::Part(4, 9)),
            ("bytes=4-99", 10, Span::Part(4, 9)),
            ("bytes=-3", 10, Span::Part(7, 9)),
            ("bytes=-99", 10, Span::Part(0, 9)),
            ("bytes=-0", 10, Span::None),
            ("bytes=10-", 10, Span::None),
            ("bytes=10-12", 10, Span::None),
            ("bytes=0-", 0, Span::None),
            ("bytes=-1", 0, Span::None),
            ("bytes=3-2", 10, Span::Whole),
            ("bytes=12-11", 10, Span::Whole),
            ("bytes=0-1,3-4", 10, Span::Whole),
            ("bytes=+1-2", 10, Span::Whole),
            ("bytes=x-", 10, Span::Whole),
            ("bytes=-", 10, Span::Whole),
            ("items=0-1", 10, Span::Whole),
        ];
        for (range, size, expected) in cases {
            assert_eq!(span(range, size), expected, "{range} of {size}");
        }
    }

    #[test]
    fn a_kernel_that_cannot_look_below_a_folder_is_done_without() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("www");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(directory.path().join("secret"), "s").unwrap();
        std::fs::write(folder.join("a"), "a").unwrap();
        std::os::unix::fs::symlink("a", folder.join("inner")).unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("outer")).unwrap();
        for open in [within, truly_within] {
            assert!(open(&folder, "a").is_ok() && open(&folder, "inner").is_ok());
            assert!(is_absence(&open(&folder, "outer").unwrap_err()));
            assert!(is_absence(&open(&folder, "none").unwrap_err()));
        }
    }
}
