//! WebSocket, with the clients that people use.

use serde_json::json;

use crate::edge::edges;
use crate::process::Client;

#[test]
fn websocket_clients_get_back_what_they_send() {
    for edge in edges() {
        let order = edge.order();
        for mut client in [
            Client::node("npm ws", "node_ws.mjs", &order),
            Client::python("websockets", "python_websockets.py", &order),
        ] {
            let seen = client.expect_lines_until_done();
            let expected = [
                json!({"protocol": "echo"}),
                json!({"text": "Grüße, 世界!"}),
                json!({"binary": "00ff0d0a"}),
                json!({"large": 1_000_000, "same": true}),
                json!({"pong": "are you there?"}),
                json!({"app_closed": 4001, "reason": "enough of that"}),
                json!({"we_closed": 4002}),
            ];
            assert_eq!(seen, expected, "{}", client.name);
        }
    }
}
