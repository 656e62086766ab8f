//! What somebody's browser may do at the internal listener, which asks for no credentials: its address is one
//! that every page open on the same machine can send requests to.

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::error::Problem;
use crate::settings::SettingsWatch;
use crate::subscribe;

/// Refuses requests that pages of other sites send: a form reaches any address.
pub(super) fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => {
            let detail = "a page of another site may not do this";
            Err(Problem::new(403, "cross-site", "Cross-site request", detail)
                .in_field("sec-fetch-site"))
        }
    }
}

/// Refuses requests for a name that is not ours. Who owns a name can have it resolve to this machine, and then
/// a page of theirs is, to its browser, of the same site as this listener: it could read everything. An
/// address cannot be owned in that way, nor can `localhost`.
pub fn refuse_other_names(head: &Parts, settings: &SettingsWatch) -> Result<(), Problem> {
    let host = subscribe::host(head);
    if is_of_this_machine(host) {
        return Ok(());
    }
    if settings.now().config.server.internal_hosts.iter().any(|name| name.matches(host)) {
        return Ok(());
    }
    let detail = "this listener answers to addresses, to localhost, and to the names in server.internal_hosts";
    Err(Problem::new(403, "unknown-host", "Not a name of this listener", detail).in_field("host"))
}

/// No host at all is from clients older than browsers are.
fn is_of_this_machine(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.is_empty() || host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}
