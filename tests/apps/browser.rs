//! Chromium: the app's page, and the gateway's own streams in it.

use serde_json::{Value, json};

use crate::edge::edges;
use crate::events::{expect_listeners, send};
use crate::process::Client;

#[test]
fn a_page_works_with_all_it_needs() {
    for edge in edges() {
        edge.send_json("POST", "/api/items", &json!({"title": "Grüße", "tags": []}));
        let mut order = edge.order();
        order["topic"] = json!("news");
        let mut page = Client::chromium("browser_app.mjs", &order);
        let mut expect = |expected: Value| assert_eq!(page.expect_line(), expected);

        let color = "rgb(1, 2, 3)";
        expect(json!({"items": ["Grüße"], "color": color, "protocol": edge.protocol()}));
        expect(json!({"stored": 8_000_000, "same": true}));
        expect(json!({"got": 8_000_000, "same": true}));
        expect(json!({"got": 8_000_000, "same": true}));
        let (text, reason) = ("Grüße, 世界!", "enough of that");
        expect(json!({"text": text, "binary": 1_000_000, "code": 4001, "reason": reason}));

        expect(json!({"ready": true}));
        for text in ["one", "two"] {
            send(&edge, text);
            expect(json!({"app": text}));
            edge.gateway.topic("news").publish_named("news", text);
            expect(json!({"tidegate": text}));
        }
        edge.gateway.topic("news").publish_named("last", "");
        expect(json!({"done": true}));
        expect_listeners(&edge, 0);
    }
}
