//! Which callers a server with `client_ca` lets in: those with a chain to a certificate in it, as rustls has it, and those whose own
//! certificate stands in it, which rustls refuses where it says that it is an authority, as `openssl req -x509` has it.

use std::path::Path;
use std::sync::Arc;

use futures_rustls::pki_types::{CertificateDer, UnixTime};
use futures_rustls::rustls::client::danger::HandshakeSignatureValid;
use futures_rustls::rustls::crypto::CryptoProvider;
use futures_rustls::rustls::server::WebPkiClientVerifier;
use futures_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use futures_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::chain_of;
use super::trust::check_time;

/// Trust of a server in its clients.
#[derive(Debug)]
pub struct ClientTrust {
    chain: Arc<dyn ClientCertVerifier>,
    /// The certificates in `client_ca`.
    named: Vec<CertificateDer<'static>>,
}

impl ClientTrust {
    /// Trust by this `client_ca`. The error names the file.
    pub fn of(path: &Path, provider: Arc<CryptoProvider>) -> Result<ClientTrust, String> {
        let cannot = |error: &dyn std::fmt::Display| format!("cannot use {}: {error}", path.display());
        let (named, mut roots) = (chain_of(path)?, RootCertStore::empty());
        for certificate in &named {
            roots.add(certificate.clone()).map_err(|error| cannot(&error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Ok(ClientTrust { chain: verifier.build().map_err(|error| cannot(&error))?, named })
    }
}

impl ClientCertVerifier for ClientTrust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // An authority does not give its key away: whoever has the key of one that stands here is meant.
        if self.named.iter().any(|named| named == certificate) {
            return check_time(certificate, now).map(|()| ClientCertVerified::assertion());
        }
        self.chain.verify_client_cert(certificate, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
