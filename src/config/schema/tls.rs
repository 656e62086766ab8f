//! The keys of TLS.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::reload::Applies::{Connections, Restart};
use crate::config::reload::Statements;
use crate::config::units::Interval;
use crate::config::web::OptionalAddress;

/// The public listener over TLS.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Address of the public listener over TLS; empty for none.
    pub listen: OptionalAddress,
    /// Oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Longest wait for a handshake.
    pub handshake_timeout: Interval,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// File of the authorities (PEM) that clients' certificates must come from.
    pub client_ca: String,
    /// Our certificates.
    pub certificates: Vec<Certificate>,
}

impl Tls {
    /// When a change of each key counts.
    pub(in crate::config) const APPLIES: Statements = &[
        ("listen", Restart),
        ("min_version", Connections),
        ("handshake_timeout", Connections),
        ("client_auth", Connections),
        ("client_ca", Connections),
        ("certificates", Connections),
    ];
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// File of the certificate and those between it and its authority (PEM).
    pub chain: String,
    /// File of the private key (PEM).
    pub key: String,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// Who has one must have a good one.
    Optional,
    /// Nobody gets in without one.
    Required,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: OptionalAddress(None),
            min_version: TlsVersion::Tls12,
            handshake_timeout: Interval(Duration::from_secs(10)),
            client_auth: ClientAuth::None,
            client_ca: String::new(),
            certificates: Vec::new(),
        }
    }
}
