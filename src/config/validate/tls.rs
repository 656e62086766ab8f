//! The rules of TLS. Whether the files hold what they should is found when they are read.

use super::{Broken, MILLISECOND};
use crate::config::schema::{ClientAuth, Server, Tls};

pub(super) fn tls(tls: &Tls, server: &Server, broken: &mut Broken) {
    broken.at_least("tls.handshake_timeout", tls.handshake_timeout, MILLISECOND);
    if tls.listen.0.is_some() && tls.certificates.is_empty() {
        let message = "`tls.listen` is set and `tls.certificates` is empty; add a certificate:\n  \
                       [[tls.certificates]]\n  chain = \"fullchain.pem\"\n  key = \"privkey.pem\"";
        broken.add(&["tls.listen", "tls.certificates"], message.into());
    }
    if tls.client_auth != ClientAuth::None && tls.client_ca.is_empty() {
        let message = "`tls.client_auth` asks clients for certificates and `tls.client_ca` is \
                       empty; name the file of the authorities they come from";
        broken.add(&["tls.client_auth", "tls.client_ca"], message.into());
    }
    for (key, other) in [("server.listen", server.listen), ("server.internal", server.internal)] {
        if let Some(listen) = tls.listen.0.filter(|listen| listen.port() != 0)
            && listen.port() == other.port()
            && (listen.ip() == other.ip()
                || listen.ip().is_unspecified()
                || other.ip().is_unspecified())
        {
            let message = format!(
                "`tls.listen` is {listen} and `{key}` is {other}: they overlap; give them \
                 different ports"
            );
            broken.add(&["tls.listen", key], message);
        }
    }
}
