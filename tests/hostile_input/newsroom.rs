//! A publisher whose mistakes are watched: what is refused leaves no trace, and what comes next
//! works.

use super::support::http::Header;
use super::support::{Builder, Connection, Gateway, Subscriber};

/// Says that the body is JSON.
pub(crate) const JSON: Header<'_> = ("content-type", "application/json");
/// Says that the body is one JSON object a line.
pub(crate) const NDJSON: Header<'_> = ("content-type", "application/x-ndjson");

/// A gateway with one publisher, on one connection, and a reader of every topic.
pub(crate) struct Newsroom {
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// The publisher's connection, kept open between requests.
    pub(crate) publisher: Connection,
    /// A stream of every topic.
    pub(crate) reader: Subscriber,
    published: u64,
}

impl Newsroom {
    /// With every default.
    #[track_caller]
    pub(crate) fn open() -> Self {
        Self::of(Gateway::builder())
    }

    /// Configured differently.
    #[track_caller]
    pub(crate) fn of(builder: Builder) -> Self {
        let gateway = builder.start();
        let mut reader = gateway.subscribe("topic=%3E");
        reader.expect_hello();
        let publisher = gateway.connect_internal();
        Self { gateway, publisher, reader, published: 0 }
    }

    /// This request is refused so, and leaves no trace.
    #[track_caller]
    pub(crate) fn refuses(
        &mut self,
        path: &str,
        headers: &[Header<'_>],
        body: &[u8],
        why: (u16, &str),
    ) {
        let response = self.publisher.request("POST", path, headers, body);
        response.expect_refused(why.0, why.1);
        self.goes_on();
    }

    /// The publisher's connection takes a good event, which gets the next id and comes next.
    #[track_caller]
    pub(crate) fn goes_on(&mut self) {
        self.published += 1;
        let data = format!("good {}", self.published);
        let response = self.publisher.request("POST", "/topics/good", &[], data.as_bytes());
        let answer = response.expect_status(202).json();
        let id = self.reader.expect_data(&data).id;
        assert_eq!(answer["id"], id);
        assert!(id.ends_with(&format!("-{}", self.published)), "a refused event took an id: {id}");
    }

    /// The same on a new connection, after one that could not be kept.
    #[track_caller]
    pub(crate) fn goes_on_elsewhere(&mut self) {
        self.publisher = self.gateway.connect_internal();
        self.goes_on();
    }
}
