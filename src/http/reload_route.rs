//! `POST /reload` of the internal listener: has the gateway read its configuration again, as SIGHUP does.

use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::browsers::refuse_other_sites;
use super::{ResponseBody, json, method_not_allowed, problem};
use crate::error::Problem;
use crate::settings::Reloads;

/// Its path.
pub const PATH: &str = "/reload";

/// Answers a request for [`PATH`], once the reload is over.
pub async fn answer<S>(reloads: &Reloads, head: &Parts) -> Response<ResponseBody<S>> {
    if head.method != Method::POST {
        return method_not_allowed("POST");
    }
    if let Err(refused) = refuse_other_sites(&head.headers) {
        return problem(&refused);
    }
    match reloads.ask().await {
        Some(Ok(reloaded)) => {
            let text = serde_json::to_string(&reloaded).expect("a report is texts");
            json(StatusCode::OK, text)
        }
        Some(Err(wrong)) => {
            let detail = format!("everything is as it was: {}", wrong.join("; "));
            problem(&Problem::new(422, "bad-configuration", "Configuration not applied", detail))
        }
        None => {
            let detail = "the gateway is draining and reads no configuration any more";
            problem(&Problem::new(503, "draining", "Draining", detail))
        }
    }
}
