//! The bytes of the contract, as far as the control servers speak it: what the gateway
//! would send, field by field, so that no server wins by sending less.

/// As long as the gateway's. Ids of two runs never meet: their topics differ.
const EPOCH: &str = "c0de00c0de00";

pub(super) const STREAM_HEADERS: [(&str, &str); 4] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store, no-transform"),
    ("x-accel-buffering", "no"),
    ("vary", "accept"),
];

/// A stream's first event: live events begin after `head`.
pub(super) fn hello(head: u64) -> String {
    format!(
        "id: {EPOCH}-{head}\nevent: hello\nretry: 2000\ndata: {{\"time\":0,\
         \"cursor\":\"{EPOCH}-{head}\",\"resumed\":false,\"heartbeat_ms\":15000,\
         \"session\":\"0000000000000000\"}}\n\n"
    )
}

/// Event `seq`: its id and its data, a `data:` line for each line.
pub(super) fn event(seq: u64, data: &[u8]) -> Vec<u8> {
    let mut frame = format!("id: {EPOCH}-{seq}\n").into_bytes();
    for line in data.split(|&byte| byte == b'\n') {
        frame.extend_from_slice(b"data: ");
        frame.extend_from_slice(line);
        frame.push(b'\n');
    }
    frame.push(b'\n');
    frame
}

/// The body of the 202 for event `seq`.
pub(super) fn accepted(seq: u64) -> String {
    format!("{{\"id\":\"{EPOCH}-{seq}\",\"durability\":\"memory\",\"duplicate\":false}}")
}
