//! The past: who comes back gets what it missed, exactly, or is told what it cannot get; who is new
//! gets the retained values; who is slow may catch up; who publishes twice has published once.

mod support;

#[path = "history/catch_up.rs"]
mod catch_up;
#[path = "history/idempotency.rs"]
mod idempotency;
#[path = "history/resume.rs"]
mod resume;
#[path = "history/retained.rs"]
mod retained;
#[path = "history/storm.rs"]
mod storm;

use serde_json::Value;
use support::{Builder, Event, Gateway, Subscriber};

/// A gateway with these settings: `(KEY, value)`, keys as in the environment.
fn with(settings: &[(&str, &str)]) -> Builder {
    settings.iter().fold(Gateway::builder(), |builder, (key, value)| {
        builder.env(&format!("TIDEGATE__{key}"), value)
    })
}

/// Publishes numbers to a topic; gives their ids.
#[track_caller]
fn publish_numbers(gateway: &Gateway, topic: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| gateway.topic(topic).publish(&number.to_string())).collect()
}

#[track_caller]
fn expect_numbers(subscriber: &mut Subscriber, numbers: std::ops::Range<usize>) {
    for number in numbers {
        subscriber.expect_data(&number.to_string());
    }
}

/// A gap's data, and the places it is between.
#[track_caller]
fn gap_of(event: &Event) -> (Value, u64, u64) {
    let gap: Value = serde_json::from_str(&event.data).expect("a gap's data is JSON");
    let place = |field: &str| seq(gap[field].as_str().expect("a gap has two ends"));
    let (after, to) = (place("after"), place("to"));
    (gap, after, to)
}

/// The place in the order that an id names.
#[track_caller]
fn seq(id: &str) -> u64 {
    let seq = id.split_once('-').and_then(|(_, seq)| seq.parse().ok());
    seq.unwrap_or_else(|| panic!("{id:?} is not an id"))
}
