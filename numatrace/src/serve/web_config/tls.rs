//! `tls_server_config`: its keys, and a configuration of rustls.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, de::IgnoredAny};
use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};

use super::read;

/// Keys of `tls_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Section {
    cert: Option<String>,
    key: Option<String>,
    client_ca: Option<String>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_auth_type: Option<ClientAuth>,
    client_allowed_sans: Option<IgnoredAny>,
    min_version: Option<Version>,
    max_version: Option<Version>,
    cipher_suites: Option<Vec<String>>,
    prefer_server_cipher_suites: Option<bool>,
    curve_preferences: Option<Vec<String>>,
}

/// Go's names of what is asked of a client; later ones ask for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(in crate::serve) enum ClientAuth {
    #[default]
    NoClientCert,
    RequestClientCert,
    VerifyClientCertIfGiven,
    RequireAnyClientCert,
    RequireAndVerifyClientCert,
}

/// TLS as it is configured.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Tls {
    pub(in crate::serve) config: Arc<ServerConfig>,
    pub(super) client_auth: ClientAuth,
}

/// TLS 1.0 and 1.1 are not supported, by anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Version {
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

impl Section {
    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.cert_file, &self.key_file, &self.client_ca_file].into_iter().filter_map(|file| file.as_deref())
    }

    /// What it comes to. Relative paths are meant from `folder`.
    pub(super) fn load(self, folder: &Path) -> Result<Tls, String> {
        if self.client_allowed_sans.is_some() {
            return Err("tls_server_config.client_allowed_sans is not supported".into());
        }
        let cert = pem("cert", &self.cert, &self.cert_file, folder)?;
        let key = pem("key", &self.key, &self.key_file, folder)?;
        let client_ca = pem("client_ca", &self.client_ca, &self.client_ca_file, folder)?;
        let (cert, key) = match (cert, key) {
            (Some(cert), Some(key)) => (cert, key),
            (None, Some(_)) => return Err("tls_server_config has no cert_file".into()),
            (Some(_), None) => return Err("tls_server_config has no key_file".into()),
            (None, None) => return Err("tls_server_config has neither cert_file nor key_file".into()),
        };
        let chain = certificates("cert", &cert)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| "tls_server_config: there is no private key in key_file".to_owned())?;
        let provider = Arc::new(self.provider()?);
        let client_auth = self.client_auth_type.unwrap_or_default();
        let client = client_verifier(client_auth, client_ca.as_deref(), &provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| format!("tls_server_config: {error}"))?;
        let builder = match client {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("tls_server_config: cert_file and key_file cannot be used: {error}"))?;
        config.ignore_client_order = self.prefer_server_cipher_suites.unwrap_or(true);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { config: Arc::new(config), client_auth })
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        let (min, max) = (self.min_version.unwrap_or(Version::Tls12), self.max_version.unwrap_or(Version::Tls13));
        let all = [(Version::Tls12, &TLS12), (Version::Tls13, &TLS13)];
        let chosen: Vec<_> = all.into_iter().filter(|(version, _)| (min..=max).contains(version)).collect();
        if chosen.is_empty() {
            return Err("tls_server_config: min_version is above max_version".into());
        }
        Ok(chosen.into_iter().map(|(_, version)| version).collect())
    }

    /// Cipher suites (of TLS 1.2: those of 1.3 cannot be chosen, as in Go) and curves, in the order that is wanted.
    fn provider(&self) -> Result<CryptoProvider, String> {
        let mut provider = ring::default_provider();
        if let Some(names) = self.cipher_suites.as_deref().filter(|names| !names.is_empty()) {
            let known = |name: &String| {
                let found = provider.cipher_suites.iter().find(|suite| suite_name(suite.suite()) == *name);
                found.copied().ok_or_else(|| {
                    let all = provider.cipher_suites.iter().map(|suite| suite_name(suite.suite()));
                    let all: Vec<_> = all.collect();
                    format!("tls_server_config.cipher_suites: {name} is not supported; there are {}", all.join(", "))
                })
            };
            let wanted = names.iter().map(known).collect::<Result<Vec<_>, _>>()?;
            let tls13 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some()).copied();
            let mut suites: Vec<_> = tls13.collect();
            suites.extend(wanted.into_iter().filter(|suite| suite.tls13().is_none()));
            provider.cipher_suites = suites;
        }
        if let Some(names) = self.curve_preferences.as_deref().filter(|names| !names.is_empty()) {
            let known = |name: &String| match name.as_str() {
                "X25519" => Ok(ring::kx_group::X25519),
                "CurveP256" => Ok(ring::kx_group::SECP256R1),
                "CurveP384" => Ok(ring::kx_group::SECP384R1),
                _ => Err(format!(
                    "tls_server_config.curve_preferences: {name} is not supported; there are X25519, CurveP256, CurveP384"
                )),
            };
            provider.kx_groups = names.iter().map(known).collect::<Result<_, _>>()?;
        }
        Ok(provider)
    }
}

/// The name that Go, and everyone but rustls for those of TLS 1.3, has for it.
fn suite_name(suite: tokio_rustls::rustls::CipherSuite) -> String {
    format!("{suite:?}").replace("TLS13_", "TLS_")
}

/// What is given in the file itself, or in one that it names.
fn pem(key: &str, inline: &Option<String>, file: &Option<PathBuf>, folder: &Path) -> Result<Option<Vec<u8>>, String> {
    match (inline, file) {
        (Some(_), Some(_)) => Err(format!("tls_server_config has both {key} and {key}_file: one of them is enough")),
        (Some(text), None) => Ok(Some(text.clone().into_bytes())),
        (None, Some(path)) => match read(&folder.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) => Err(format!("tls_server_config.{key}_file {} {why}", path.display())),
        },
        (None, None) => Ok(None),
    }
}

fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(format!("tls_server_config: there is no certificate in {key}_file")),
        Err(error) => Err(format!("tls_server_config: {key}_file is no PEM file: {error}")),
    }
}

fn client_verifier(
    kind: ClientAuth,
    ca: Option<&[u8]>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let any = |mandatory| {
        let algorithms = provider.signature_verification_algorithms;
        Ok(Some(Arc::new(AnyCertificate { mandatory, algorithms }) as Arc<dyn ClientCertVerifier>))
    };
    let optional = match (kind, ca) {
        (ClientAuth::NoClientCert, None) => return Ok(None),
        (ClientAuth::NoClientCert, Some(_)) => {
            return Err("tls_server_config has a client_ca_file, but client_auth_type does not ask for certificates: set it to RequireAndVerifyClientCert".into());
        }
        (ClientAuth::RequestClientCert, _) => return any(false),
        (ClientAuth::RequireAnyClientCert, _) => return any(true),
        (ClientAuth::VerifyClientCertIfGiven, _) => true,
        (ClientAuth::RequireAndVerifyClientCert, _) => false,
    };
    let ca = ca.ok_or_else(|| format!("tls_server_config: client_auth_type {kind:?} needs a client_ca_file"))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client_ca", ca)? {
        roots.add(certificate).map_err(|error| format!("tls_server_config: client_ca_file cannot be used: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map(Some).map_err(|error| format!("tls_server_config: client_ca_file cannot be used: {error}"))
}

/// `RequestClientCert` and `RequireAnyClientCert`: whoever has the key of any certificate. Go has these, and warns of them.
#[derive(Debug)]
struct AnyCertificate {
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
