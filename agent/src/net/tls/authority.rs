//! An authority for tests: it issues certificates and writes them as PEM files that vanish with it.

use std::cell::Cell;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// Issues certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
    issued: Cell<u32>,
    /// Its own certificate.
    pub ca: PathBuf,
}

/// A certificate and its key.
pub struct Files {
    /// Certificate.
    pub cert: PathBuf,
    /// Key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one that nobody trusts yet.
    pub fn new() -> Authority {
        Authority::named("an authority")
    }

    /// A new one of this name.
    pub fn named(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, issuer.pem()).unwrap();
        Authority { issuer, directory, issued: Cell::new(0), ca }
    }

    /// A certificate for this name, valid for a very long time unless `change` says otherwise.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Files {
        let number = self.issued.get();
        self.issued.set(number + 1);
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = Files {
            cert: self.directory.path().join(format!("{number}.pem")),
            key: self.directory.path().join(format!("{number}.key")),
        };
        std::fs::write(&files.cert, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}
