//! What a page and its scripts ask for: JSON, cookies, redirects, caches, forms.

use serde_json::{Value, json};

use crate::edge::{Edge, edges};

#[test]
fn json_goes_both_ways_with_every_method() {
    for edge in edges() {
        let first = json!({"title": "Grüße & <世界>", "tags": ["a", "b c"]});
        let created = edge.send_json("POST", "/api/items", &first).expect_status(201);
        assert_eq!(created.header("location"), Some("/api/items/1"));
        assert_eq!(created.json()["title"], first["title"]);
        edge.send_json("POST", "/api/items", &json!({"title": "two", "tags": ["a"]}));
        let titles = |query: &str| {
            let items = edge.ask(&format!("/api/items{query}"), &[]).expect_status(200).json();
            items.as_array().expect("a list").iter().map(|item| item["title"].clone()).collect()
        };
        let all: Vec<Value> = titles("");
        assert_eq!(all, [&first["title"], &json!("two")].map(Clone::clone));
        assert_eq!(titles("?tag=a&tag=b%20c"), vec![first["title"].clone()]);
        assert_eq!(titles("?tag=b+c"), vec![first["title"].clone()]);
        let changed = json!({"title": "changed", "tags": []});
        edge.send_json("PUT", "/api/items/1", &changed).expect_status(200);
        assert_eq!(edge.ask("/api/items/1", &[]).json()["title"], "changed");
        let deleted = edge.ask("/api/items/1", &["--request", "DELETE"]).expect_status(204);
        assert_eq!(deleted.header("content-length"), None, "a 204 has no length");
        assert!(edge.ask("/api/items/1", &[]).expect_status(404).json()["error"].is_string());
    }
}

#[test]
fn cookies_come_back_as_they_were_set() {
    for edge in edges() {
        let set = edge.ask("/api/session", &["--request", "POST"]).expect_status(204);
        assert_eq!(set.headers("set-cookie").len(), 2);
        let cookies: Vec<&str> =
            set.headers("set-cookie").iter().map(|cookie| first_pair(cookie)).collect();
        let sent = edge.ask("/api/session", &["--cookie", &cookies.join("; ")]);
        assert_eq!(sent.json(), json!({"session": "s-1", "theme": "dark"}));
    }
}

fn first_pair(cookie: &str) -> &str {
    cookie.split(';').next().unwrap_or_default()
}

#[test]
fn redirects_lead_through_the_gateway_again() {
    for edge in edges() {
        let relative = edge.ask("/go/relative", &[]).expect_status(302);
        assert_eq!(relative.header("location"), Some("../api/items"));
        let absolute = edge.ask("/go/absolute", &[]).expect_status(307);
        assert_eq!(absolute.header("location"), Some(&*format!("{}/api/items", edge.base)));
        for path in ["/go/relative", "/go/absolute"] {
            let followed = edge.ask(path, &["--location"]).expect_status(200);
            assert_eq!(followed.json(), json!([]));
        }
    }
}

#[test]
fn caches_and_parts_are_the_apps_business() {
    for edge in edges() {
        let whole = edge.ask("/static/app.js", &[]).expect_status(200);
        let etag = whole.header("etag").expect("the app tags its files");
        let length = whole.body.len().to_string();
        assert_eq!(whole.header("content-length"), Some(&*length));
        let if_changed = format!("if-none-match: {etag}");
        let unchanged = edge.ask("/static/app.js", &["--header", &if_changed]).expect_status(304);
        assert_eq!(unchanged.body, b"");
        assert_eq!(unchanged.header("etag"), Some(etag));
        let part = edge.ask("/static/app.js", &["--range", "3-12"]).expect_status(206);
        assert_eq!(part.header("content-range"), Some(&*format!("bytes 3-12/{length}")));
        assert_eq!(part.body, whole.body[3..=12]);
        // curl's `--head` prints the head as if it were the body.
        let head = edge.ask("/static/app.js", &["--head"]).expect_status(200);
        assert_eq!(head.header("content-length"), Some(&*length));
    }
}

#[test]
fn a_compressed_answer_stays_compressed() {
    for edge in edges() {
        let plain = edge.ask("/api/report", &[]).expect_status(200);
        assert_eq!(plain.header("content-encoding"), None);
        let gzip = edge.ask("/api/report", &["--header", "accept-encoding: gzip"]);
        assert_eq!(gzip.header("content-encoding"), Some("gzip"));
        assert_eq!(gzip.header("vary"), Some("Accept-Encoding"));
        assert!(gzip.body.len() * 2 < plain.body.len(), "{} bytes", gzip.body.len());
        let unpacked = edge.ask("/api/report", &["--compressed"]);
        assert!(unpacked.body == plain.body, "what is unpacked differs");
    }
}

#[test]
fn a_form_with_a_file_arrives_whole() {
    for edge in edges() {
        let args = ["--form", "title=Grüße", "--form", "file=@Cargo.lock;filename=a b.lock"];
        let seen = edge.ask("/api/form", &args).expect_status(200).json();
        let lock = crate::process::project().join("Cargo.lock");
        let file = std::fs::File::open(lock).expect("the lock file is there");
        let bytes = file.metadata().expect("a file has a size").len();
        let sum = crate::edge::sha256(file);
        assert_eq!(
            seen,
            json!({"title": "Grüße", "file": {"name": "a b.lock", "bytes": bytes, "sha256": sum}})
        );
    }
}

#[test]
fn a_slow_answer_holds_up_no_other() {
    for edge in edges() {
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| edge.ask("/api/slow", &[]));
            // Connections of their own, so that every shard has one.
            for _ in 0..8 {
                edge.ask("/api/items", &[]).expect_status(200);
            }
            assert!(!slow.is_finished(), "the others were answered after it");
            let slow = slow.join().expect("curl ends").expect_status(200);
            assert_eq!(slow.json(), json!({"slow": true}));
        });
    }
}

#[test]
fn the_app_is_told_who_asks_and_for_what() {
    for edge in edges() {
        let lies = ["--header", "x-forwarded-for: 6.6.6.6", "--header", "forwarded: for=6.6.6.6"];
        let told = told(&edge, &lies);
        let values = |name: &str| -> Vec<&str> {
            told.iter().filter(|(told, _)| told == name).map(|(_, value)| &**value).collect()
        };
        let (scheme, host) = (edge.scheme(), edge.host());
        assert_eq!(values("host"), [host]);
        assert_eq!(values("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(values("x-forwarded-proto"), [scheme]);
        assert_eq!(values("x-forwarded-host"), [host]);
        assert_eq!(values("x-real-ip"), ["127.0.0.1"]);
        let forwarded = format!("for=127.0.0.1;proto={scheme};host=\"{host}\"");
        assert_eq!(values("forwarded"), [forwarded]);
        assert_eq!(values("x-request-id").len(), 1);
        assert_eq!(values("user-agent"), ["test"]);
        assert!(values("via")[0].ends_with(" tidegate"));
    }
}

/// The header fields that the app got.
#[track_caller]
fn told(edge: &Edge, args: &[&str]) -> Vec<(String, String)> {
    let args = [args, &["--user-agent", "test"]].concat();
    let told = edge.ask("/api/headers", &args).expect_status(200).json();
    serde_json::from_value(told).expect("pairs of text")
}
