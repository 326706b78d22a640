//! Which servers a client trusts: those with a chain to a root, as rustls has it; those whose own certificate is named in `ca`,
//! which rustls refuses where it says that it is an authority, as `openssl req -x509` has it; and only those with a pinned key,
//! where there is a pin.

use std::sync::Arc;
use std::time::Duration;

use futures_rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use futures_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use futures_rustls::rustls::server::ParsedCertificate;
use futures_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use holdfast_core::config::tls::{ClientTls, Pin};
use holdfast_core::link::dial_error::TlsFault;
use ring::digest::{SHA256, digest};

use super::validity::{self, Parts};
use super::{chain_of, system_roots};

/// Why a server is not trusted, where rustls has no words for it.
#[derive(Debug)]
pub struct Untrusted {
    /// By which everything is decided.
    pub fault: TlsFault,
    /// For people.
    pub words: String,
}

impl std::fmt::Display for Untrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Untrusted {}

impl From<Untrusted> for Error {
    fn from(untrusted: Untrusted) -> Error {
        Error::Other(OtherError(Arc::new(untrusted)))
    }
}

/// What a client trusts.
#[derive(Debug)]
pub struct Trust {
    /// None where the key alone is trusted.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates in `ca`.
    named: Vec<CertificateDer<'static>>,
    pins: Vec<Pin>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// What these settings trust. The error names the file that is at fault.
    pub fn of(tls: &ClientTls, provider: Arc<CryptoProvider>) -> Result<Trust, String> {
        let (mut named, mut roots) = (Vec::new(), RootCertStore::empty());
        for path in &tls.ca {
            for certificate in chain_of(path)? {
                let added = roots.add(certificate.clone());
                added.map_err(|error| format!("cannot use {}: {error}", path.display()))?;
                named.push(certificate);
            }
        }
        let roots = match (tls.ca.is_empty(), tls.pin.is_empty()) {
            (false, _) => Some(roots),
            (true, true) => Some(system_roots()?),
            (true, false) => None,
        };
        let verifier = |roots| {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            verifier.build().map_err(|error| format!("cannot use the roots: {error}"))
        };
        let chain = roots.map(verifier).transpose()?;
        Ok(Trust { chain, named, pins: tls.pin.clone(), provider })
    }

    fn check_pin(&self, certificate: &[u8]) -> Result<(), Error> {
        if self.pins.is_empty() {
            return Ok(());
        }
        match validity::parts(certificate).map(|parts| pin_of(&parts)) {
            Some(pin) if self.pins.contains(&pin) => Ok(()),
            Some(pin) => {
                let words = format!("the server's key is {pin}, which is not in tls.pin");
                Err(Untrusted { fault: TlsFault::Pin, words }.into())
            }
            None => Err(CertificateError::BadEncoding.into()),
        }
    }
}

fn pin_of(parts: &Parts) -> Pin {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, parts.key).as_ref());
    Pin(hash)
}

/// A certificate that is trusted itself must still be in its time and for this name. As curl has it, the common name counts where
/// there is no other.
fn check_named(certificate: &CertificateDer, name: &ServerName, now: UnixTime) -> Result<(), Error> {
    check_time(certificate, now)?;
    let verified = verify_server_name(&ParsedCertificate::try_from(certificate)?, name);
    let Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) =
        &verified
    else {
        return verified;
    };
    let common = validity::parts(certificate).and_then(|parts| validity::common_name(parts.subject));
    match (presented.is_empty(), common) {
        (true, Some(common)) if common.eq_ignore_ascii_case(&name.to_str()) => Ok(()),
        (true, Some(common)) => {
            let (name, common) = (name.to_str(), common.escape_debug());
            let words = format!("the server's certificate is not for {name} but for {common}");
            Err(Untrusted { fault: TlsFault::Name, words }.into())
        }
        _ => verified,
    }
}

/// Whether a certificate is in its time.
pub(super) fn check_time(certificate: &[u8], time: UnixTime) -> Result<(), Error> {
    let (from, until) = validity::bounds(certificate).ok_or(CertificateError::BadEncoding)?;
    let now = Duration::from_secs(time.as_secs());
    if now > until {
        let not_after = UnixTime::since_unix_epoch(until);
        return Err(CertificateError::ExpiredContext { time, not_after }.into());
    }
    if now < from {
        let not_before = UnixTime::since_unix_epoch(from);
        return Err(CertificateError::NotValidYetContext { time, not_before }.into());
    }
    Ok(())
}

/// In words where rustls has none: a self-signed certificate fails as one that is none of a server, or of an unknown issuer.
fn explained(certificate: &[u8], error: Error) -> Error {
    let is_unknown = matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_)
        )
    );
    match validity::parts(certificate) {
        Some(parts) if is_unknown && parts.issuer == parts.subject => {
            let pin = pin_of(&parts);
            let words =
                format!("the server's certificate is self-signed and not known here; its key is {pin}");
            Untrusted { fault: TlsFault::SelfSigned, words }.into()
        }
        _ => error,
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_pin(certificate)?;
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.named.iter().any(|named| named == certificate) {
            return check_named(certificate, name, now).map(|()| ServerCertVerified::assertion());
        }
        let verified = chain.verify_server_cert(certificate, intermediates, name, ocsp, now);
        verified.map_err(|error| explained(certificate, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
