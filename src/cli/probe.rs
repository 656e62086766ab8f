//! The flags of `tidegate canary`. What is secret comes by the environment alone: flags can be read by
//! everyone on the machine.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Error};
use http::HeaderValue;

use super::Cli;
use crate::canary::Canary;
use crate::config::web::{ServerUrl, StreamUrl};

const SUBSCRIBE: &str = "TIDEGATE_CANARY_SUBSCRIBE_AUTHORIZATION";
const PUBLISH: &str = "TIDEGATE_CANARY_PUBLISH_AUTHORIZATION";

const ENVIRONMENT: &str = "\
Environment:
  TIDEGATE_CANARY_SUBSCRIBE_AUTHORIZATION   the stream's `authorization`, like \"Bearer TOKEN\"
  TIDEGATE_CANARY_PUBLISH_AUTHORIZATION     the publish's

Prints one line, with the time until the stream was open, from the publish to its answer, and
from the publish to the event.";

#[derive(Debug, Args)]
#[command(after_help = ENVIRONMENT)]
pub(super) struct Probe {
    /// The stream. Without a path, /events with the topic in the query
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = stream_url)]
    public: StreamUrl,
    /// Where to publish
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081", value_parser = server_url)]
    internal: ServerUrl,
    /// The topic, which the stream must have
    #[arg(long, default_value = "tidegate.canary")]
    topic: String,
    /// Longest time for all of it
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// File of the authorities (PEM) for https; the system's without it
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
}

impl Probe {
    /// With what the environment adds.
    ///
    /// # Errors
    /// What it adds cannot be sent.
    pub(super) fn into_canary(self) -> Result<Canary, Error> {
        let Self { public, internal, topic, timeout, ca } = self;
        let [subscribe_authorization, publish_authorization] =
            [authorization(SUBSCRIBE)?, authorization(PUBLISH)?];
        Ok(Canary {
            public,
            internal,
            topic,
            timeout,
            ca,
            subscribe_authorization,
            publish_authorization,
        })
    }
}

fn authorization(variable: &str) -> Result<Option<HeaderValue>, Error> {
    let Some(text) = std::env::var_os(variable) else { return Ok(None) };
    let value = HeaderValue::from_bytes(text.as_encoded_bytes());
    // What it is instead is not repeated: it may be nearly a secret.
    let refused = format!("{variable} is not the value of a header field");
    let mut value = value.map_err(|_| Cli::command().error(ErrorKind::ValueValidation, refused))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn stream_url(text: &str) -> Result<StreamUrl, String> {
    StreamUrl::try_from(text.to_owned())
}

fn server_url(text: &str) -> Result<ServerUrl, String> {
    ServerUrl::try_from(text.to_owned())
}
