//! TLS in both directions: settings and files become a connector or an acceptor, and errors become plain words.
//!
//! One stack, rustls with ring. There is no process-wide default: each configuration names its provider.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::pem::{self, PemObject};
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::client::verify_server_name;
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::server::ParsedCertificate;
use futures_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage, ProtocolVersion, RootCertStore,
    ServerConfig,
};
use futures_rustls::{TlsAcceptor, TlsConnector};
use holdfast_core::config::server::ServerTls;
use holdfast_core::config::tls::ClientTls;
use holdfast_core::link::dial_error::{DialError, TlsFault};
use holdfast_core::link::protocol::Refusal;
use holdfast_core::message::Clock;
use holdfast_core::time::Now;
use smol::io::{AsyncRead, AsyncWrite};

use crate::os::clock;

#[cfg(test)]
pub mod authority;
mod client_trust;
mod trust;
mod validity;

use client_trust::ClientTrust;
use trust::{Trust, Untrusted};
pub use validity::certificate_days_left;

/// Shakes hands as a client. Tells how many days the server's certificate is still good for.
///
/// Files are read at each call, so a renewed certificate is taken at the next dial.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    tcp: S,
    tls: &ClientTls,
    host: &str,
) -> Result<(TlsStream<S>, Option<i64>), Refusal> {
    let unusable = |error| Refusal::new(DialError::Settings, error);
    let name = tls.server_name.as_deref().unwrap_or(host);
    let server_name = ServerName::try_from(name.to_owned())
        .map_err(|_| unusable(format!("cannot verify the server: {name:?} is not a host name or address")))?;
    let connector = connector(tls).map_err(unusable)?;
    let stream = connector.connect(server_name, tcp).await.map_err(|error| refusal(&error))?;
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let days_left = leaf.and_then(|leaf| certificate_days_left(leaf, clock::now().wall_ns));
    Ok((stream, days_left))
}

/// What a handshake agreed on: `TLS 1.3, certificate good for 60 days`.
pub fn shown<S>(stream: &TlsStream<S>, days_left: Option<i64>) -> String {
    let version = match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    match days_left {
        Some(days) => format!("{version}, certificate good for {days} days"),
        None => version.to_owned(),
    }
}

/// A connector that trusts the configured roots and keys only, or the system's roots. The error names the file that is at fault.
pub fn connector(tls: &ClientTls) -> Result<TlsConnector, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trust::of(tls, provider())?));
    let config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(chain_of(cert)?, key_of(key)?)
            .map_err(|error| format!("cannot use {} with {}: {error}", cert.display(), key.display()))?,
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) => return Err("cannot use tls.cert: tls.key is missing".to_owned()),
        (None, Some(_)) => return Err("cannot use tls.key: tls.cert is missing".to_owned()),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What a server shows of itself.
pub struct Identity {
    /// Shakes hands with it.
    pub acceptor: TlsAcceptor,
    leaf: CertificateDer<'static>,
    file: PathBuf,
}

impl Identity {
    /// Whether the certificate names this host.
    pub fn is_for(&self, name: &str) -> bool {
        let certificate = ParsedCertificate::try_from(&self.leaf);
        let name = ServerName::try_from(name);
        certificate
            .is_ok_and(|certificate| name.is_ok_and(|name| verify_server_name(&certificate, &name).is_ok()))
    }

    /// Days until the certificate ends, negative once it has ended.
    pub fn days_left(&self, now: Now) -> Option<i64> {
        certificate_days_left(&self.leaf, now.wall_ns)
    }

    /// What is wrong with it at this moment. It is no reason not to serve: it may be the clock that is wrong.
    pub fn warning(&self, now: Now) -> Option<String> {
        let (from, until) = validity::bounds(&self.leaf)?;
        let (file, at) = (self.file.display(), Duration::from_nanos(now.wall_ns));
        if at > until {
            return Some(format!("the certificate {file} has expired on {}{}", day(until), doubt(now)));
        }
        let clock = clock_words(now);
        (at < from).then(|| format!("the certificate {file} is not valid before {}: {clock}", day(from)))
    }
}

/// A server's certificate and key; with `client_ca` only clients whose certificate comes from there are let in. The error
/// names the file that is at fault.
pub fn identity(tls: &ServerTls) -> Result<Identity, String> {
    let (cert, key) = (&tls.cert, &tls.key);
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3");
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(Arc::new(ClientTrust::of(path, provider())?)),
    };
    let chain = chain_of(cert)?;
    let leaf = chain.first().cloned().ok_or("the chain is empty")?;
    let config = builder.with_single_cert(chain, key_of(key)?).map_err(|error| {
        let (cert, key) = (cert.display(), key.display());
        match error {
            Error::InconsistentKeys(_) => {
                format!("cannot use {cert} with {key}: the key belongs to another certificate")
            }
            error => format!("cannot use {cert} with {key}: {error}"),
        }
    })?;
    Ok(Identity { acceptor: TlsAcceptor::from(Arc::new(config)), leaf, file: cert.clone() })
}

/// The acceptor of [`identity`] alone.
pub fn acceptor(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<TlsAcceptor, String> {
    let client_ca = client_ca.map(Path::to_owned);
    let tls = ServerTls { cert: cert.to_owned(), key: key.to_owned(), client_ca };
    Ok(identity(&tls)?.acceptor)
}

/// Why a TLS handshake failed, as seen by a client.
fn refusal(error: &io::Error) -> Refusal {
    let cut = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
    refusal_by_tls(error).unwrap_or_else(|| {
        let (fault, words) = match cut {
            true => (
                TlsFault::NotTls,
                "the server cut the TLS handshake short (does it speak TLS on this port?)".to_owned(),
            ),
            false => (TlsFault::Other, format!("the TLS handshake broke: {}", crate::net::words(error))),
        };
        Refusal::new(DialError::Tls(fault), words)
    })
}

/// What TLS makes of an error of its stream; none where the error is not of TLS. In TLS 1.3 a client certificate that is refused
/// shows only behind the handshake.
pub fn refusal_by_tls(error: &io::Error) -> Option<Refusal> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let (fault, words) = told(error);
    Some(Refusal::new(DialError::Tls(fault), words))
}

fn told(error: &Error) -> (TlsFault, String) {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            (TlsFault::NotTls, "the server does not speak TLS on this port".to_owned())
        }
        Error::InvalidCertificate(cause) => told_of_certificate(cause),
        Error::AlertReceived(alert) => told_by_alert(*alert),
        Error::Other(other) => match other.0.downcast_ref::<Untrusted>() {
            Some(Untrusted { fault, words }) => (*fault, words.clone()),
            None => (TlsFault::Other, format!("the TLS handshake failed: {error}")),
        },
        other => (TlsFault::Other, format!("the TLS handshake failed: {other}")),
    }
}

fn told_of_certificate(cause: &CertificateError) -> (TlsFault, String) {
    match cause {
        CertificateError::Expired => {
            (TlsFault::Expired, format!("the server's certificate has expired{}", doubt(clock::now())))
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            let (until, doubt) = (day(Duration::from_secs(not_after.as_secs())), doubt(clock::now()));
            (TlsFault::Expired, format!("the server's certificate has expired on {until}{doubt}"))
        }
        CertificateError::NotValidYet => {
            let clock = clock_words(clock::now());
            (TlsFault::NotYetValid, format!("the server's certificate is not valid yet: {clock}"))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let (from, clock) = (day(Duration::from_secs(not_before.as_secs())), clock_words(clock::now()));
            let words = format!("the server's certificate is not valid yet, but from {from} on: {clock}");
            (TlsFault::NotYetValid, words)
        }
        // An authority that was made anew under its old name fails at the signature only.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            (TlsFault::UnknownIssuer, "the server's certificate comes from an unknown issuer".to_owned())
        }
        CertificateError::NotValidForName => {
            (TlsFault::Name, "the server's certificate is for another name".to_owned())
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            // Each is given as `DnsName("hub.example")`.
            let names = presented.iter().take(4).map(|name| name.split('"').nth(1).unwrap_or(name));
            let (name, presented) = (expected.to_str(), names.collect::<Vec<_>>().join(", "));
            (TlsFault::Name, format!("the server's certificate is not for {name} but for {presented}"))
        }
        other => (TlsFault::Other, format!("the server's certificate is not accepted: {other}")),
    }
}

fn told_by_alert(alert: AlertDescription) -> (TlsFault, String) {
    match alert {
        AlertDescription::CertificateRequired => {
            (TlsFault::ClientCertificate, "the server asks for a client certificate".to_owned())
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked => {
            (TlsFault::ClientCertificate, format!("the server refuses our client certificate ({alert:?})"))
        }
        other => (TlsFault::Other, format!("the server refuses the TLS handshake ({other:?})")),
    }
}

/// What may be wrong in place of a certificate that has expired. A clock that nobody has set is late, which makes no certificate old,
/// so one that is synchronized is not worth a word.
fn doubt(now: Now) -> String {
    match now.clock {
        Clock::Synced => String::new(),
        Clock::Unsynced => {
            let day = day(Duration::from_nanos(now.wall_ns));
            format!(", if this machine's clock is right, which is not synchronized and says {day}")
        }
    }
}

/// Whether it is the clock that is wrong. Only the day is told, so that the words stay the same from try to try.
fn clock_words(now: Now) -> String {
    let day = day(Duration::from_nanos(now.wall_ns));
    match now.clock {
        Clock::Synced => format!("this machine's clock is synchronized and says {day}"),
        Clock::Unsynced => format!("this machine's clock is not synchronized and says {day}"),
    }
}

fn day(since_epoch: Duration) -> String {
    let day = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_epoch).to_string();
    day.split('T').next().unwrap_or_default().to_owned()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "cannot find the system's root certificates: install ca-certificates or set tls.ca".to_owned()
        );
    }
    Ok(roots)
}

fn chain_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let chain = chain.map_err(|error| format!("cannot read {}: {}", path.display(), pem_words(&error)))?;
    if chain.is_empty() {
        return Err(format!("cannot read {}: it holds no PEM certificate", path.display()));
    }
    Ok(chain)
}

fn key_of(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| format!("cannot read {}: {}", path.display(), pem_words(&error)))
}

/// Only the kind of fault: a PEM error may quote the line that it stumbled over, and that may be a key.
fn pem_words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => crate::net::words(error),
        pem::Error::NoItemsFound => "it holds no PEM private key".to_owned(),
        _ => "it is not sound PEM".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::date_time_ymd;
    use smol::future::or;
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    use smol::net::{TcpListener, TcpStream};

    use super::authority::{Authority, Files};
    use super::*;

    /// One handshake with a server of these files; the client's outcome.
    async fn shake(
        server: &Files,
        client_ca: Option<&Path>,
        tls: &ClientTls,
    ) -> Result<Option<i64>, Refusal> {
        let acceptor = acceptor(&server.cert, &server.key, client_ca).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accept = async {
            let (tcp, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                let _ = stream.write_all(b"x").await;
                let _ = stream.flush().await;
            }
            smol::future::pending().await
        };
        let connect = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let (mut stream, days_left) = connect(tcp, tls, "localhost").await?;
            // In TLS 1.3 a client learns only here that its certificate was refused.
            stream.read_exact(&mut [0]).await.map_err(|error| refusal(&error))?;
            Ok(days_left)
        };
        or(connect, accept).await
    }

    fn trusting(authority: &Authority) -> ClientTls {
        ClientTls { ca: vec![authority.ca.clone()], ..ClientTls::default() }
    }

    fn outcome(server: &Files, tls: &ClientTls) -> Result<Option<i64>, Refusal> {
        smol::block_on(shake(server, None, tls))
    }

    #[test]
    fn a_server_of_our_own_authority_is_trusted_and_tells_the_days_it_has_left() {
        let authority = Authority::new();
        let leaf = authority.issue("localhost", |_| {});
        let days_left = outcome(&leaf, &trusting(&authority)).unwrap();
        assert!(days_left.is_some_and(|days| days > 300_000), "{days_left:?}");
    }

    #[test]
    fn a_certificate_of_another_authority_is_an_unknown_issuer() {
        let trusted = Authority::new();
        for other in [Authority::named("another authority"), Authority::new()] {
            let error = outcome(&other.issue("localhost", |_| {}), &trusting(&trusted)).unwrap_err().error;
            assert_eq!(error, "the server's certificate comes from an unknown issuer");
        }
    }

    /// A certificate as `openssl req -x509` makes it: self-signed, and an authority.
    fn self_signed(directory: &Path, names: &[&str], common_name: &str, until: i32) -> Files {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let stem = format!("{common_name}-{until}-{}", params.subject_alt_names.len());
        let files =
            Files { cert: directory.join(format!("{stem}.pem")), key: directory.join(format!("{stem}.key")) };
        std::fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_self_signed_certificate_that_is_named_itself_is_trusted_for_its_names_and_in_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let named = |files: &Files| ClientTls {
            ca: vec![authority.ca.clone(), files.cert.clone()],
            ..ClientTls::default()
        };
        let with_names = self_signed(directory.path(), &["localhost"], "x", 3000);
        assert!(outcome(&with_names, &named(&with_names)).is_ok());
        let common_name = self_signed(directory.path(), &[], "LOCALHOST", 3000);
        assert!(outcome(&common_name, &named(&common_name)).is_ok());
        let other = self_signed(directory.path(), &["other.example"], "localhost", 3000);
        let error = outcome(&other, &named(&other)).unwrap_err().error;
        assert_eq!(error, "the server's certificate is not for localhost but for other.example");
        let other = self_signed(directory.path(), &[], "other", 3000);
        let error = outcome(&other, &named(&other)).unwrap_err().error;
        assert_eq!(error, "the server's certificate is not for localhost but for other");
        let old = self_signed(directory.path(), &["localhost"], "x", 2001);
        assert!(outcome(&old, &named(&old)).unwrap_err().error.contains("has expired"));
        let error = outcome(&with_names, &named(&common_name)).unwrap_err().error;
        assert!(
            error.starts_with(
                "the server's certificate is self-signed and not known here; its key is sha256/"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_self_signed_certificate_in_client_ca_lets_its_caller_in_while_it_is_in_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let (authority, stranger) = (Authority::new(), Authority::new());
        let server = authority.issue("localhost", |_| {});
        let own = self_signed(directory.path(), &[], "sensor", 3000);
        let old = self_signed(directory.path(), &[], "sensor", 2001);
        let of_authority = authority.issue("sensor", |_| {});
        let known = directory.path().join("known.pem");
        let known_ones = [&own.cert, &old.cert, &authority.ca].map(|path| std::fs::read(path).unwrap());
        std::fs::write(&known, known_ones.concat()).unwrap();
        let shaken = |client: &Files| {
            let files = (Some(client.cert.clone()), Some(client.key.clone()));
            let tls = ClientTls { cert: files.0, key: files.1, ..trusting(&authority) };
            smol::block_on(shake(&server, Some(&known), &tls))
        };
        assert!(shaken(&own).is_ok() && shaken(&of_authority).is_ok());
        assert!(shaken(&old).is_err(), "its time is over");
        assert!(shaken(&stranger.issue("sensor", |_| {})).is_err());
        let other = self_signed(directory.path(), &["other"], "sensor", 3000);
        assert!(shaken(&other).is_err(), "the same name is not the same certificate");
    }

    #[test]
    fn a_pinned_key_is_trusted_by_itself_and_no_other_is_even_with_a_good_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let pin = |files: &Files| {
            let certificate = chain_of(&files.cert).unwrap().remove(0);
            let key = validity::parts(&certificate).unwrap().key.to_vec();
            let hash = ::ring::digest::digest(&::ring::digest::SHA256, &key);
            holdfast_core::config::tls::Pin(hash.as_ref().try_into().unwrap())
        };
        let (one, two) = (
            self_signed(directory.path(), &["a"], "a", 3000),
            self_signed(directory.path(), &["b"], "b", 3000),
        );
        let only = |pins: Vec<_>| ClientTls { pin: pins, ..ClientTls::default() };
        assert!(outcome(&one, &only(vec![pin(&one)])).is_ok());
        assert!(outcome(&one, &only(vec![pin(&two), pin(&one)])).is_ok());
        let error = outcome(&one, &only(vec![pin(&two)])).unwrap_err().error;
        assert_eq!(error, format!("the server's key is {}, which is not in tls.pin", pin(&one)));
        let authority = Authority::new();
        let leaf = authority.issue("localhost", |_| {});
        let with_ca = |pins| ClientTls { pin: pins, ..trusting(&authority) };
        assert!(outcome(&leaf, &with_ca(vec![pin(&leaf)])).is_ok());
        assert!(outcome(&leaf, &with_ca(vec![pin(&one)])).unwrap_err().error.contains("not in tls.pin"));
        // A key that is right does not make up for an authority that is not.
        assert!(outcome(&one, &with_ca(vec![pin(&one)])).unwrap_err().error.contains("self-signed"));
    }

    #[test]
    fn each_fault_of_a_certificate_is_known_by_its_kind() {
        let directory = tempfile::tempdir().unwrap();
        let (authority, other) = (Authority::new(), Authority::named("other"));
        let year = |from, until| {
            authority.issue("localhost", |params| {
                (params.not_before, params.not_after) =
                    (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1))
            })
        };
        let own = self_signed(directory.path(), &["localhost"], "x", 3000);
        let pinned =
            ClientTls { pin: vec![holdfast_core::config::tls::Pin([0; 32])], ..trusting(&authority) };
        let cases = [
            (authority.issue("other.example", |_| {}), trusting(&authority), TlsFault::Name),
            (year(1990, 2001), trusting(&authority), TlsFault::Expired),
            (year(2500, 2600), trusting(&authority), TlsFault::NotYetValid),
            (other.issue("localhost", |_| {}), trusting(&authority), TlsFault::UnknownIssuer),
            (own, trusting(&authority), TlsFault::SelfSigned),
            (authority.issue("localhost", |_| {}), pinned, TlsFault::Pin),
        ];
        for (server, tls, fault) in cases {
            assert_eq!(outcome(&server, &tls).unwrap_err().cause, DialError::Tls(fault));
        }
        let server = authority.issue("localhost", |_| {});
        let broken = ClientTls { ca: vec!["/nonexistent/ca.pem".into()], ..ClientTls::default() };
        assert_eq!(outcome(&server, &broken).unwrap_err().cause, DialError::Settings);
    }

    #[test]
    fn a_certificate_for_another_name_is_told_with_both_names() {
        let authority = Authority::new();
        let leaf = authority.issue("other.example", |_| {});
        let error = outcome(&leaf, &trusting(&authority)).unwrap_err().error;
        assert_eq!(error, "the server's certificate is not for localhost but for other.example");
    }

    #[test]
    fn the_configured_server_name_is_verified_in_place_of_the_host() {
        let authority = Authority::new();
        let leaf = authority.issue("other.example", |_| {});
        let tls = ClientTls { server_name: Some("other.example".to_owned()), ..trusting(&authority) };
        outcome(&leaf, &tls).unwrap();
    }

    #[test]
    fn a_certificate_out_of_its_time_raises_the_question_of_the_clock() {
        let authority = Authority::new();
        let past = authority.issue("localhost", |params| params.not_after = date_time_ymd(2001, 1, 1));
        let error = outcome(&past, &trusting(&authority)).unwrap_err().error;
        let (clock, doubt) = (clock_words(clock::now()), doubt(clock::now()));
        assert_eq!(error, format!("the server's certificate has expired on 2001-01-01{doubt}"));
        let future = authority.issue("localhost", |params| params.not_before = date_time_ymd(2500, 1, 1));
        let error = outcome(&future, &trusting(&authority)).unwrap_err().error;
        assert_eq!(
            error,
            format!("the server's certificate is not valid yet, but from 2500-01-01 on: {clock}")
        );
    }

    #[test]
    fn the_day_and_what_vouches_for_it_are_told() {
        let now = Now { wall_ns: 86_400_000_000_000, ..clock::now() };
        let words = |clock| clock_words(Now { clock, ..now });
        assert_eq!(words(Clock::Unsynced), "this machine's clock is not synchronized and says 1970-01-02");
        assert_eq!(words(Clock::Synced), "this machine's clock is synchronized and says 1970-01-02");
        let doubt = |clock| doubt(Now { clock, ..now });
        assert_eq!(
            doubt(Clock::Synced),
            "",
            "a certificate that has expired is no matter of a clock that is right"
        );
        assert_eq!(
            doubt(Clock::Unsynced),
            ", if this machine's clock is right, which is not synchronized and says 1970-01-02"
        );
    }

    #[test]
    fn a_client_certificate_opens_the_door_of_a_server_that_asks_for_one() {
        let authority = Authority::new();
        let server = authority.issue("localhost", |_| {});
        let client = authority.issue("gw-17", |_| {});
        let without = smol::block_on(shake(&server, Some(&authority.ca), &trusting(&authority)));
        let words = "the server asks for a client certificate";
        assert_eq!(without, Err(Refusal::new(DialError::Tls(TlsFault::ClientCertificate), words)));
        let tls = ClientTls { cert: Some(client.cert), key: Some(client.key), ..trusting(&authority) };
        smol::block_on(shake(&server, Some(&authority.ca), &tls)).unwrap();
    }

    #[test]
    fn a_server_that_speaks_no_tls_is_told_so() {
        smol::block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let answer = async {
                let (mut tcp, _) = listener.accept().await.unwrap();
                tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
                smol::future::pending().await
            };
            let authority = Authority::new();
            let tls = trusting(&authority);
            let dial = async {
                let tcp = TcpStream::connect(address).await.unwrap();
                connect(tcp, &tls, "localhost").await.map(|_| ()).unwrap_err()
            };
            let words = "the server does not speak TLS on this port";
            assert_eq!(or(dial, answer).await, Refusal::new(DialError::Tls(TlsFault::NotTls), words));
        });
    }

    #[test]
    fn the_error_of_a_file_names_it_and_quotes_nothing_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\ns3cret!\n-----END PRIVATE KEY-----\n").unwrap();
        let authority = Authority::new();
        let cert = authority.issue("gw-17", |_| {}).cert;
        let tls = ClientTls { cert: Some(cert), key: Some(path.clone()), ..trusting(&authority) };
        let error = connector(&tls).err().unwrap();
        assert_eq!(error, format!("cannot read {}: it is not sound PEM", path.display()));
        let tls = ClientTls { ca: vec!["/nonexistent/ca.pem".into()], ..ClientTls::default() };
        assert_eq!(
            connector(&tls).err().unwrap(),
            "cannot read /nonexistent/ca.pem: no such file or directory"
        );
    }
}
