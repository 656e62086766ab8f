//! Pages of other origins (CORS): who may read a stream, who may read why it was refused, and what a
//! preflight is told.

use super::support::http::{Header, http};
use super::support::{Gateway, Response};

const ROUTES: &str = r#"
[[stream.routes]]
path = "/app"
topics = ["t"]
cors = { origins = ["https://app.example.com", "http://localhost:5173"], credentials = true }
[[stream.routes]]
path = "/any"
topics = ["t"]
cors = { origins = ["*"] }
[[stream.routes]]
path = "/own"
topics = ["t"]
"#;

const APP: Header<'_> = ("origin", "https://app.example.com");

fn values<'a>(headers: &'a [(String, String)], wanted: &str) -> Vec<&'a str> {
    headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
}

fn cors(headers: &[(String, String)]) -> Vec<&str> {
    headers
        .iter()
        .filter(|(name, _)| name.starts_with("access-control-"))
        .map(|(_, value)| value.as_str())
        .collect()
}

#[test]
fn a_stream_says_which_pages_may_read_it() {
    let gateway = Gateway::builder().config(ROUTES).start();
    let open = |path: &str, headers: &[Header<'_>]| {
        let request = gateway.subscriber("").target(path);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.open().head().headers.clone()
    };
    let of_app = open("/app", &[APP]);
    assert_eq!(values(&of_app, "access-control-allow-origin"), ["https://app.example.com"]);
    assert_eq!(values(&of_app, "access-control-allow-credentials"), ["true"]);
    assert_eq!(values(&of_app, "vary"), ["accept", "origin"]);
    // A cache must not give these to a page that may read the stream.
    for headers in [&[][..], &[("origin", "https://evil.example")], &[("origin", "null")]] {
        let refused = open("/app", headers);
        assert_eq!(cors(&refused), Vec::<&str>::new(), "{headers:?}");
        assert_eq!(values(&refused, "vary"), ["accept", "origin"]);
    }
    let of_any = open("/any", &[("origin", "https://evil.example")]);
    assert_eq!(cors(&of_any), ["*"]);
    assert_eq!(cors(&open("/own", &[APP])), Vec::<&str>::new());
}

#[test]
fn a_page_may_read_why_it_was_refused() {
    let gateway = Gateway::builder().config(ROUTES).start();
    let refused = http("GET", gateway.public, "/app?limit=0", &[APP], b"");
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(refused.expect_refused(400, "limit"), "bad-parameter");
}

#[test]
fn a_preflight_is_answered_where_pages_of_other_origins_are_known() {
    let gateway = Gateway::builder().config(ROUTES).start();
    let preflight = |path: &str, origin: &str| -> Response {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "last-event-id"),
        ];
        http("OPTIONS", gateway.public, path, &headers, b"")
    };
    let granted = preflight("/app", APP.1).expect_status(204);
    assert_eq!(granted.header("access-control-allow-origin"), Some(APP.1));
    assert_eq!(granted.header("access-control-allow-methods"), Some("GET, HEAD"));
    let fields = granted.header("access-control-allow-headers").expect("they are named");
    assert!(fields.contains("last-event-id"), "{fields}");
    assert_eq!(granted.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(granted.header("access-control-max-age"), Some("600"));
    assert_eq!(granted.header("vary"), Some("origin"));
    let refused = preflight("/app", "https://evil.example").expect_status(204);
    assert_eq!(cors(&refused.headers), Vec::<&str>::new());
    assert_eq!(preflight("/own", APP.1).expect_whole_problem(405), "method-not-allowed");
    // No preflight: nobody asks for a method.
    let plain = http("OPTIONS", gateway.public, "/app", &[APP], b"");
    assert_eq!(plain.expect_whole_problem(405), "method-not-allowed");
}

#[test]
fn f59_a_gateway_does_not_start_that_any_page_could_read_as_its_visitor() {
    let config = "[stream.cors]\norigins = ['*']\ncredentials = true\n";
    let (status, said) = Gateway::builder().config(config).expect_refusal();
    assert_ne!(status.code(), Some(0));
    assert!(said.contains("`stream.cors.credentials` is true"), "{said}");
    assert!(said.contains("name the origins"), "{said}");
}
