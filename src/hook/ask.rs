//! A question to an app server: what of a client goes into it, and the answer to it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use http::uri::PathAndQuery;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::answers::Key;
use super::error::{Denial, HookError, HookFault};
use crate::config::template::UrlTemplate;
use crate::config::web::{FieldName, ServerUrl};
use crate::fetch::{Fetch, FetchError};
use crate::tls::{self, TlsError};

/// What a client's request has that a hook may use.
pub struct Client<'a> {
    /// The value of each parameter of the route.
    pub parameter: &'a dyn Fn(&str) -> &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// What an app server is asked for one client: all that its answer may depend on.
pub(super) struct Question {
    target: PathAndQuery,
    fields: HeaderMap,
}

impl Question {
    /// With those of the client's fields that are named.
    pub(super) fn new(url: &UrlTemplate, names: &[FieldName], client: &Client<'_>) -> Self {
        let mut fields = HeaderMap::new();
        for FieldName(name) in names {
            let values = client.headers.get_all(name);
            if *name == COOKIE {
                fields.extend(cookie(values.iter()).map(|value| (COOKIE, value)));
                continue;
            }
            for value in values {
                fields.append(name, value.clone());
            }
        }
        Self { target: url.fill(client.parameter), fields }
    }

    /// Says one thing more.
    pub(super) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.insert(name, value);
    }

    /// Where it is asked, without the query.
    pub(super) fn path(&self) -> &str {
        self.target.path()
    }

    /// Names it among the questions of all routes.
    pub(super) fn key(&self, route: usize) -> Key {
        let mut key = route.to_be_bytes().to_vec();
        let mut add = |part: &[u8]| {
            key.extend_from_slice(&part.len().to_be_bytes());
            key.extend_from_slice(part);
        };
        add(self.target.as_str().as_bytes());
        for (name, value) in &self.fields {
            add(name.as_str().as_bytes());
            add(value.as_bytes());
        }
        key.into()
    }
}

/// "If there are multiple Cookie header fields after decompression, these MUST be concatenated into a
/// single octet string using the two-octet delimiter of 0x3B, 0x20" (RFC 9113, 8.2.3).
fn cookie<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let values: Vec<_> = values.map(HeaderValue::as_bytes).collect();
    let joined = values.join(&b"; "[..]);
    (!values.is_empty()).then(|| HeaderValue::from_bytes(&joined).ok()).flatten()
}

/// An app server, and how it is asked.
pub(super) struct Server {
    url: ServerUrl,
    tls: Option<TlsConnector>,
    accept: HeaderValue,
    timeout: Duration,
    bytes_max: usize,
}

/// The answer to a question.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Server {
    /// `key` of the configuration has the file of authorities, if that is not empty.
    pub(super) fn new(
        url: &ServerUrl,
        (key, ca): (&str, &str),
        accept: &'static str,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Self, TlsError> {
        let ca = Some(ca).filter(|ca| !ca.is_empty());
        let tls = match url.is_tls {
            true => Some(tls::connectors(key, ca)?.http1),
            false => None,
        };
        let accept = HeaderValue::from_static(accept);
        Ok(Self { url: url.clone(), tls, accept, timeout, bytes_max })
    }

    /// Asks, once one of the `turns` is free, and reads the whole answer, all in the server's time.
    pub(super) async fn ask(
        &self,
        question: &Question,
        turns: &Semaphore,
    ) -> Result<Answered, HookFault> {
        let asking = async {
            // An error would mean that it is closed, which it never is.
            let _turn = turns.acquire().await;
            self.exchange(question).await
        };
        timeout(self.timeout, asking).await.unwrap_or(Err(HookFault::Timeout(self.timeout)))
    }

    async fn exchange(&self, question: &Question) -> Result<Answered, HookFault> {
        let mut headers = question.fields.clone();
        headers.insert(http::header::ACCEPT, self.accept.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let fetch = Fetch {
            server: &self.url,
            tls: self.tls.as_ref(),
            target: question.target.clone(),
            headers,
            body: None,
            // It ends with the exchange.
            connect_timeout: self.timeout,
            head_timeout: Duration::ZERO,
        };
        let response = fetch.send().await.map_err(|error| match error {
            FetchError::ConnectTimeout | FetchError::Silent(_) => HookFault::Timeout(self.timeout),
            FetchError::Connect(_) | FetchError::NoAnswer(_) => {
                HookFault::Unreachable(error.to_string().into())
            }
        })?;
        self.read(response).await
    }

    async fn read<B>(&self, response: Response<B>) -> Result<Answered, HookFault>
    where
        B: hyper::body::Body<Data = Bytes, Error = hyper::Error>,
    {
        let (head, body) = response.into_parts();
        if head.status.is_redirection() {
            let why = format!("it is {}: set `url` to where it redirects to", head.status);
            return Err(HookFault::bad(why));
        }
        let encoding = head.headers.get(http::header::CONTENT_ENCODING);
        if let Some(encoding) = encoding.filter(|encoding| *encoding != "identity") {
            return Err(HookFault::bad(format!("it is compressed: {encoding:?}")));
        }
        let body = Limited::new(body, self.bytes_max).collect().await.map_err(|error| {
            match error.downcast_ref::<LengthLimitError>() {
                Some(_) => HookFault::bad(format!("it has more than {} bytes", self.bytes_max)),
                None => HookFault::Unreachable(format!("its answer broke off: {error}").into()),
            }
        })?;
        let answered =
            Answered { status: head.status, headers: head.headers, body: body.to_bytes() };
        Ok(answered)
    }
}

/// Fields of a denial that a client has a use for.
const PASSED_ON: [HeaderName; 2] = [CONTENT_TYPE, WWW_AUTHENTICATE];

impl Answered {
    /// As what a client is refused with.
    pub(super) fn denial(self) -> HookError {
        let mut fields = HeaderMap::new();
        for name in PASSED_ON {
            for value in self.headers.get_all(&name) {
                fields.append(name.clone(), value.clone());
            }
        }
        HookError::Denied(Denial { status: self.status, fields, body: self.body }.into())
    }
}
