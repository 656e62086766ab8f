//! TLS: the certificates that clients are shown, and what app servers' certificates are held to.
//!
//! Certificates are chosen by the name that a client asks for (SNI), and read again when the operator
//! says so: connections that are there keep theirs, new ones get the new. Called by the gateway at a
//! start and a reload, and by shards for each connection.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{
    ClientHello, NoClientAuth, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::schema::{ClientAuth, Tls, TlsVersion};

/// What clients and we agree on above TLS, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there is no TLS: a key of the configuration, a file, and what is wrong with it.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// The server's side, the same for all shards. What is in it can be replaced while it is in use.
#[derive(Debug)]
pub struct ServerTls {
    current: RwLock<Arc<ServerConfig>>,
}

/// What was read of the files of a configuration.
pub struct ServerKeys(Arc<ServerConfig>);

impl ServerKeys {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// A file that cannot be read, or does not hold what it should.
    pub fn read(keys: &Tls) -> Result<Self, TlsError> {
        server_config(keys).map(|config| Self(Arc::new(config)))
    }
}

impl ServerTls {
    /// Begins with what was read.
    pub fn new(ServerKeys(current): ServerKeys) -> Self {
        Self { current: RwLock::new(current) }
    }

    /// Makes the next handshakes with what was read now.
    pub fn renew(&self, ServerKeys(fresh): ServerKeys) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// What makes the next connection's handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }
}

fn server_config(keys: &Tls) -> Result<ServerConfig, TlsError> {
    let versions: &[&SupportedProtocolVersion] = match keys.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(versions)
        .map_err(|error| TlsError(format!("`tls.min_version`: {error}")))?
        .with_client_cert_verifier(client_verifier(keys)?)
        .with_cert_resolver(Arc::new(Certificates::read(keys)?));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn client_verifier(keys: &Tls) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if keys.client_auth == ClientAuth::None {
        return Ok(Arc::new(NoClientAuth));
    }
    let key = "tls.client_ca";
    let roots = Arc::new(roots(key, Path::new(&keys.client_ca))?);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    let builder = match keys.client_auth {
        ClientAuth::Required => builder,
        ClientAuth::None | ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map(|built| built as _).map_err(|error| TlsError(format!("`{key}`: {error}")))
}

/// All certificates, in the order in which the configuration has them.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    fn read(keys: &Tls) -> Result<Self, TlsError> {
        let read = |(index, entry): (usize, &crate::config::schema::Certificate)| {
            let place = |key: &str| format!("tls.certificates[{index}].{key}");
            let chain = certificates(&place("chain"), Path::new(&entry.chain))?;
            let (place, path) = (place("key"), &entry.key);
            let key = PrivateKeyDer::from_pem_file(path)
                .map_err(|error| TlsError(format!("`{place}`: {path}: {error}")))?;
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
                .map(Arc::new)
                .map_err(|error| TlsError(format!("`{place}`: {path}: {error}")))
        };
        keys.certificates.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl ResolvesServerCert for Certificates {
    /// The first that is for the name; the first of all for a client that names nothing we have, as
    /// other servers do.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let is_for = |key: &&Arc<CertifiedKey>| {
            let certificate =
                key.cert.first().and_then(|der| ParsedCertificate::try_from(der).ok());
            let (Some(certificate), Some(name)) = (certificate, &name) else { return false };
            verify_server_name(&certificate, name).is_ok()
        };
        self.0.iter().find(is_for).or(self.0.first()).cloned()
    }
}

/// What makes our handshakes with app servers.
pub struct Connectors {
    /// For connections that speak HTTP/1.1.
    pub http1: TlsConnector,
    /// For those that speak HTTP/2.
    pub http2: TlsConnector,
}

/// What makes our handshakes with app servers: their certificates are verified, with the system's
/// roots or with those of a file, which `key` of the configuration names.
///
/// # Errors
/// There are no roots.
pub fn connectors(key: &str, ca: Option<&str>) -> Result<Connectors, TlsError> {
    let roots = match ca {
        Some(path) => roots(key, Path::new(path))?,
        None => system_roots()?,
    };
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let [http2, http1] = PROTOCOLS.map(|protocol| {
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsConnector::from(Arc::new(config))
    });
    Ok(Connectors { http1, http2 })
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map_or(String::new(), |error| format!(": {error}"));
        return Err(TlsError(format!("the system has no root certificates{why}")));
    }
    Ok(store)
}

fn roots(key: &str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        let shown = path.display();
        store.add(certificate).map_err(|error| TlsError(format!("`{key}`: {shown}: {error}")))?;
    }
    Ok(store)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why: String| TlsError(format!("`{key}`: {}: {why}", path.display()));
    let text = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(failed("there is no certificate in it".into()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(failed(error.to_string())),
    }
}
