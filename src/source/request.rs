//! The request for an event stream.

use http::Response;
use http::header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use tokio_rustls::TlsConnector;

use crate::config::schema;
use crate::fetch::{Fetch, FetchError, Inbound};

/// Longest id that is sent back: servers refuse requests with larger fields.
const LAST_EVENT_ID_BYTES_MAX: usize = 4 * 1024;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Asks for the stream, from an id on if there is one.
pub(super) async fn open(
    spec: &schema::Source,
    tls: Option<&TlsConnector>,
    last_event_id: &str,
) -> Result<Response<Inbound>, FetchError> {
    let fetch = Fetch {
        server: &spec.url.server,
        tls,
        target: spec.url.target.clone(),
        headers: headers(spec, last_event_id),
        body: None,
        connect_timeout: spec.connect_timeout.0,
        head_timeout: spec.stale_timeout.0,
    };
    fetch.send().await
}

fn headers(spec: &schema::Source, last_event_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in &spec.headers {
        headers.insert(name.0.clone(), value.0.clone());
    }
    if let Some(id) = resumable(last_event_id) {
        headers.insert(LAST_EVENT_ID, id);
    }
    headers
}

/// An id as a field's value, "encoded as UTF-8". One with control characters cannot be sent.
fn resumable(last_event_id: &str) -> Option<HeaderValue> {
    let bytes = last_event_id.as_bytes();
    let fits = (1..=LAST_EVENT_ID_BYTES_MAX).contains(&bytes.len());
    HeaderValue::from_bytes(bytes).ok().filter(|_| fits)
}
