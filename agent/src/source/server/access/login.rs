//! Login of a caller: finds name and password in a request and has them verified, which may take half a second and some
//! megabytes. So a thread does it that lives no longer than that, one at a time, and what was verified is remembered.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_core::config::Secret;
use holdfast_core::config::access::{Access, LoginBy, NAME_BYTES, User};
use holdfast_core::config::phc::Phc;
use holdfast_core::source::penalty::Penalty;
use holdfast_core::time::Time;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use smol::Timer;
use smol::channel::bounded;
use smol::lock::{Mutex, MutexGuard};

use super::account::Accounts;
use super::peer::Peer;
use crate::os::clock;
use crate::os::password::{self, Seal, Sealed};
use crate::os::secret;
use crate::source::server::ServerState;
use crate::source::server::http::{self, ApiError};

/// Longest password in bytes.
const PASSWORD_BYTES: usize = 1024;
/// How long a login that was verified is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);
/// How many are.
const REMEMBERED: usize = 256;
/// How many logins of a server may wait to be verified, of strangers and of those who were right at their address before.
const WAITING_MAX: usize = 8;
/// Modules of PAM may need that much; what is not used costs nothing.
const STACK_BYTES: usize = 1024 * 1024;
const BASIC: &str = "Basic realm=\"holdfast\", charset=\"UTF-8\"";
/// No browser should ask for a password that it cannot send.
const PATH: &str = "Path realm=\"holdfast\"";

/// Held by whoever verifies: the memory of the machine is there only once.
static VERIFYING: Mutex<()> = Mutex::new(());
/// Held from before that until a failure is counted: by strangers, and by those who were right at their address before. So these
/// wait for one stranger at most, and nobody tries while a failure is not counted yet.
static TURNS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];

/// Those who may log in at a server.
pub struct Login {
    auth: LoginBy,
    users: Vec<User>,
    accounts: Option<Arc<Accounts>>,
    seal: Seal,
    known: RefCell<BTreeMap<Sealed, Time>>,
    waiting: [Cell<usize>; 2],
}

struct Credentials {
    name: String,
    password: String,
}

/// Secret that a password is compared with.
enum Proof {
    Hash(Phc),
    Account(Arc<Accounts>),
    /// Result that an equally expensive look at a hash hides.
    Decoy(Phc, bool),
    Plain(bool),
}

/// Outcome of a login.
enum Verdict {
    Right,
    /// Cost of a wrong one, and whether it is worth a loud word.
    Wrong(Penalty, bool),
    Busy,
    Failing(String),
}

impl Login {
    /// Nobody has logged in yet. The error says what is missing on this machine.
    pub fn new(access: &Access) -> anyhow::Result<Login> {
        let accounts = access.pam.as_ref().map(Accounts::new).transpose().map_err(anyhow::Error::msg)?;
        let accounts = accounts.map(Arc::new);
        for user in access.users.iter().filter(|user| matches!(user.password, Some(Secret::Plain(_)))) {
            log::warn!(
                "the password of {} stands in the configuration as it is: see holdfast hash-password",
                user.name
            );
        }
        let (known, waiting) = (RefCell::default(), Default::default());
        let (auth, users, seal) = (access.auth, access.users.clone(), Seal::new()?);
        Ok(Login { auth, users, accounts, seal, known, waiting })
    }

    /// How those who come in say who they are.
    pub fn asks(&self) -> LoginBy {
        self.auth
    }

    fn is_known(&self, sealed: &Sealed) -> bool {
        let now = clock::now().mono;
        self.known.borrow().get(sealed).is_some_and(|at| now.since(*at) < REMEMBERED_FOR)
    }

    fn remember(&self, sealed: Sealed) {
        let (now, mut known) = (clock::now().mono, self.known.borrow_mut());
        known.retain(|_, at| now.since(*at) < REMEMBERED_FOR);
        if known.len() >= REMEMBERED
            && let Some(oldest) = known.iter().min_by_key(|(_, at)| **at).map(|(sealed, _)| *sealed)
        {
            known.remove(&oldest);
        }
        known.insert(sealed, now);
    }

    fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// Key under which a login is remembered. The hash that the password was compared with is a part of it, so that a new one
    /// counts at once; an unknown name costs a look at somebody's.
    fn sealed(&self, given: &Credentials) -> Sealed {
        let user = self.user(&given.name).or(self.users.first());
        let expected = user.and_then(|user| user.password_hash.as_ref().or(user.password.as_ref()));
        let expected = expected.and_then(|secret| secret::read(secret).ok()).unwrap_or_default();
        self.seal.of([&given.name, &given.password, &expected])
    }

    /// Proof that the password has to stand against. An unknown name costs what a known one does.
    fn proof(&self, given: &Credentials) -> Result<Proof, String> {
        let user = self.user(&given.name);
        if let Some(hash) = user.and_then(|user| user.password_hash.as_ref()) {
            return Phc::parse(&secret::read(hash)?)
                .map(Proof::Hash)
                .map_err(|error| format!("the hash {error}"));
        }
        if let (None, Some(accounts)) = (user, &self.accounts) {
            return Ok(Proof::Account(accounts.clone()));
        }
        let expected = user.and_then(|user| user.password.as_ref()).map(secret::read).transpose()?;
        let sealed = |password: &str| self.seal.of([&given.name, password, ""]);
        let is_right = expected.is_some_and(|expected| sealed(&expected) == sealed(&given.password));
        let hash = self.users.iter().find_map(|user| user.password_hash.as_ref());
        let hash = hash.and_then(|hash| Phc::parse(&secret::read(hash).ok()?).ok());
        Ok(hash.map_or(Proof::Plain(is_right), |hash| Proof::Decoy(password::decoy(&hash), is_right)))
    }

    async fn verify(
        &self,
        site: &ServerState,
        peer: &Peer,
        given: Credentials,
        sealed: Sealed,
    ) -> Result<Verdict, Duration> {
        let name = given.name.clone();
        let kind = usize::from(site.gate.borrow().has_logged_in(&name, peer.remote));
        if self.waiting[kind].get() >= WAITING_MAX {
            return Ok(Verdict::Busy);
        }
        let (_counted, turn) = {
            let _waiting = Waiting::begin(&self.waiting[kind]);
            (TURNS[kind].lock().await, VERIFYING.lock().await)
        };
        // While this one waited its turn, another one with the same name and password may have been right, or others wrong.
        if self.is_known(&sealed) {
            return Ok(Verdict::Right);
        }
        if let Some(wait) = site.gate.borrow().login_wait(clock::now().mono, &name, peer.remote) {
            return Err(wait);
        }
        let found = match self.proof(&given) {
            Err(error) => Err(error),
            Ok(Proof::Plain(is_right)) => Ok(is_right),
            Ok(Proof::Hash(phc)) => aside(turn, move || password::verify(&phc, &given.password)).await,
            Ok(Proof::Account(accounts)) => {
                let source = site.source.clone();
                // Whatever PAM stumbles over counts as a failure, or a stack could be tried out for nothing.
                let check = move || {
                    Ok(accounts.is_right(&given.name, &given.password).unwrap_or_else(|error| {
                        log::warn!("cannot verify a login source={source}: {error}");
                        false
                    }))
                };
                aside(turn, check).await
            }
            Ok(Proof::Decoy(phc, is_right)) => {
                aside(turn, move || password::verify(&phc, &given.password).map(|_| is_right)).await
            }
        };
        Ok(match found {
            Ok(true) => {
                self.remember(sealed);
                Verdict::Right
            }
            Ok(false) => {
                let now = clock::now().mono;
                let (penalty, is_loud) = site.gate.borrow_mut().login_failed(now, &name, peer.remote);
                Verdict::Wrong(penalty, is_loud)
            }
            Err(error) => Verdict::Failing(error),
        })
    }
}

/// Lets a request in, or says why not. With a login in the path, that part is gone from the request that comes back.
pub async fn admit(
    site: &ServerState,
    peer: &Peer,
    mut request: Request<Incoming>,
) -> Result<Request<Incoming>, ApiError> {
    peer.is_nobody();
    if http::asks_for_health(&request) {
        return Ok(request);
    }
    peer.pass(site, 1).map_err(too_fast)?;
    let login = &site.login;
    let given = match login.auth {
        LoginBy::Anonymous => return Ok(request),
        LoginBy::Basic => {
            let given = basic(request.headers());
            request.headers_mut().remove(header::AUTHORIZATION);
            given
        }
        LoginBy::Url => of_path(request.uri()).map(|(given, uri)| {
            *request.uri_mut() = uri;
            given
        }),
    };
    log_in(site, peer, given).await?;
    Ok(request)
}

/// Lets someone in with a name and a password, if they are asked for, or says why not.
pub async fn enter(site: &ServerState, peer: &Peer, given: Option<(String, String)>) -> Result<(), ApiError> {
    peer.is_nobody();
    peer.pass(site, 1).map_err(too_fast)?;
    match site.login.auth {
        LoginBy::Anonymous => Ok(()),
        LoginBy::Basic | LoginBy::Url => {
            log_in(site, peer, given.and_then(|(name, password)| sound(name, password))).await
        }
    }
}

async fn log_in(site: &ServerState, peer: &Peer, given: Option<Credentials>) -> Result<(), ApiError> {
    let login = &site.login;
    // RFC 7235 §2.1: who brings nothing is told what is asked for, and has not failed.
    let given = given.ok_or_else(|| unauthorized(login.auth, "a name and a password are needed here"))?;
    let sealed = login.sealed(&given);
    let name = given.name.clone();
    let stays = peer.login.get() == Some(sealed);
    let wait = site.gate.borrow().login_wait(clock::now().mono, &name, peer.remote);
    if let Some(wait) = wait.filter(|_| !stays) {
        return Err(later("too many failed logins", wait));
    }
    let verdict = if login.is_known(&sealed) {
        Ok(Verdict::Right)
    } else {
        login.verify(site, peer, given, sealed).await
    };
    match verdict.map_err(|wait| later("too many failed logins", wait))? {
        Verdict::Right => {}
        Verdict::Wrong(penalty, is_loud) => {
            return Err(failed(site, peer, &name, penalty, is_loud).await);
        }
        Verdict::Busy => {
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too many logins are being verified")
                .with(header::RETRY_AFTER, HeaderValue::from_static("2")));
        }
        Verdict::Failing(error) => {
            log::warn!("cannot verify a login source={}: {error}", site.source);
            return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the login cannot be verified"));
        }
    }
    welcome(site, peer, &name, sealed)
}

/// Someone has logged in.
fn welcome(site: &ServerState, peer: &Peer, name: &str, sealed: Sealed) -> Result<(), ApiError> {
    if peer.login.replace(Some(sealed)) != Some(sealed) {
        site.gate.borrow_mut().login_succeeded(name, peer.remote);
    }
    if !site.gate.borrow_mut().lets_in_user(name) {
        log::debug!("account denied source={} user={name}", site.source);
        return Err(ApiError::new(StatusCode::FORBIDDEN, "this account may not come in here"));
    }
    peer.is_user(name);
    site.gate.borrow_mut().pass_user(clock::now().mono, name).map_err(too_fast)
}

/// Someone has not. Who it was is told only if there is such a user: it may be a password in the wrong field.
async fn failed(site: &ServerState, peer: &Peer, name: &str, penalty: Penalty, is_loud: bool) -> ApiError {
    let level = if is_loud { log::Level::Warn } else { log::Level::Debug };
    let user = site.login.user(name).map_or("(unknown)", |user| &user.name);
    let Penalty { count, delay, wait } = penalty;
    log::log!(
        level,
        "login failed source={} from={} user={user} failures={count} wait_s={}",
        site.source,
        peer.remote,
        wait.as_secs()
    );
    Timer::after(delay).await;
    unauthorized(site.login.auth, "wrong name or password")
}

/// 429.
pub fn later(what: &str, wait: Duration) -> ApiError {
    let wait_s = wait.as_nanos().div_ceil(1_000_000_000).max(1);
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, format!("{what}: try again in {wait_s} s")).with(
        header::RETRY_AFTER,
        HeaderValue::from_str(&wait_s.to_string()).expect("digits are a header value"),
    )
}

fn too_fast(wait: Duration) -> ApiError {
    later("too many messages", wait)
}

fn unauthorized(auth: LoginBy, error: &str) -> ApiError {
    let (hint, challenge) = match auth {
        LoginBy::Url => (": they stand in the path, /auth/NAME/PASSWORD/…", PATH),
        LoginBy::Basic | LoginBy::Anonymous => ("", BASIC),
    };
    ApiError::new(StatusCode::UNAUTHORIZED, format!("{error}{hint}"))
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// RFC 7617 §2.
fn basic(headers: &HeaderMap) -> Option<Credentials> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    sound(name.to_owned(), password.to_owned())
}

/// `/auth/NAME/PASSWORD/rest?query` is a name, a password and `/rest?query`.
fn of_path(uri: &Uri) -> Option<(Credentials, Uri)> {
    let mut parts = uri.path().strip_prefix("/auth/")?.splitn(3, '/');
    let decoded = |part: &str| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned());
    let (name, password) = (decoded(parts.next()?)?, decoded(parts.next()?)?);
    let rest = parts.next().unwrap_or_default();
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    let path: PathAndQuery = format!("/{rest}{query}").parse().ok()?;
    Some((sound(name, password)?, Uri::from(path)))
}

fn sound(name: String, password: String) -> Option<Credentials> {
    let fits = name.len() <= NAME_BYTES && password.len() <= PASSWORD_BYTES;
    fits.then_some(Credentials { name, password })
}

/// Does it on a thread of its own, which holds the turn to its end even if nobody waits for it any more.
async fn aside(
    turn: MutexGuard<'static, ()>,
    check: impl FnOnce() -> anyhow::Result<bool> + Send + 'static,
) -> Result<bool, String> {
    let (sender, answer) = bounded(1);
    let thread = std::thread::Builder::new().name("login".to_owned()).stack_size(STACK_BYTES);
    let started = thread.spawn(move || {
        let result = check();
        drop(turn);
        // Whoever asked may have gone.
        let _ = sender.try_send(result);
    });
    if let Err(error) = started {
        return Err(format!("cannot start a thread: {error}"));
    }
    match answer.recv().await {
        Ok(found) => found.map_err(|error| format!("{error:#}")),
        Err(_) => Err("the thread that verified it is gone".to_owned()),
    }
}

struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn begin(count: &'a Cell<usize>) -> Waiting<'a> {
        count.set(count.get() + 1);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_header(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        basic(&headers).map(|given| (given.name, given.password))
    }

    fn of_uri(uri: &str) -> Option<(String, String, String)> {
        let (given, rest) = of_path(&uri.parse().unwrap())?;
        Some((given.name, given.password, rest.to_string()))
    }

    fn three(a: &str, b: &str, c: &str) -> Option<(String, String, String)> {
        Some((a.to_owned(), b.to_owned(), c.to_owned()))
    }

    #[test]
    fn a_name_and_a_password_are_read_from_the_header() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(of_header("Basic cHVtcDpzM2NyZXQ="), pair("pump", "s3cret"));
        assert_eq!(of_header("basic cHVtcDphOmI="), pair("pump", "a:b"));
        for wrong in ["Basic", "Basic cHVtcA==", "Basic !!!", "Bearer cHVtcDpzM2NyZXQ=", "Basic cHVtcDr/"] {
            assert_eq!(of_header(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_and_a_password_are_taken_from_the_path_and_the_rest_is_what_counts() {
        assert_eq!(of_uri("/auth/pump/s3cret/a/b?c=d"), three("pump", "s3cret", "/a/b?c=d"));
        assert_eq!(of_uri("/auth/p%20u/s%2F3?x"), three("p u", "s/3", "/?x"));
        assert_eq!(of_uri("/auth/pump/s3cret//a"), three("pump", "s3cret", "//a"));
        for wrong in ["/a", "/auth", "/auth/", "/auth/pump", "/auth/p%FF/x/a", "/x/auth/a/b"] {
            assert_eq!(of_uri(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_or_a_password_that_is_too_long_is_none() {
        assert_eq!(of_uri(&format!("/auth/{}/x/", "n".repeat(NAME_BYTES + 1))), None);
        assert_eq!(of_uri(&format!("/auth/n/{}/", "p".repeat(PASSWORD_BYTES + 1))), None);
    }
}
