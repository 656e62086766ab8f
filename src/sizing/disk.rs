//! The event log: what each event takes on the disk, and how long the log lasts.

use super::Case;
use super::memory::TOPIC_NAME;
use super::table::{Amount, Row, Section, Unit};
use super::wire::Wire;
use crate::config::schema::Store;
use crate::journal::{GROUP_BYTES, RECORD_BYTES_MAX, Record, Retain, To, TopicNames, encoded_len};
use crate::topic::Topic;

/// A UUID, and what it is the key of.
const KEY: &[u8] = &[b'e'; 1 + 36];

const DAY_SECONDS: f64 = 24.0 * 3600.0;

/// `None` where there is no log.
pub(super) fn section(case: &Case<'_>, wire: &Wire) -> Option<Section> {
    let history = &case.config.history;
    if history.store == Store::Memory {
        return None;
    }
    let topic = [Topic::parse(TOPIC_NAME).expect("the constant is a topic")];
    let record = Record {
        seq: case.load.published,
        accepted_ms: 0,
        expires_ms: None,
        to: To::Topics(TopicNames::new(&topic)),
        retain: Retain::No,
        key: case.load.has_keys.then_some(KEY),
        frame: &wire.chunk,
    };
    // Larger ones are refused.
    let record = encoded_len(&record).unwrap_or(RECORD_BYTES_MAX) as f64;
    let group = GROUP_BYTES as f64;
    let published = case.published_per_second();
    // All that comes during a write share the next; at worst each comes alone.
    let (shared, alone) = (published * record, published * (record + group));
    let per_second = |bytes: f64| Amount::exact(bytes, Unit::BytesPerSecond);
    let log = history.log_bytes_max.0 as f64;
    let lasts = |rate: f64| (log / rate).min(history.log_age_max.0.as_secs_f64());
    // One file is reserved ahead; values that have outlived their records are replaced by a copy.
    let reserved = history.log_segment_bytes.0 as f64;
    let values = 2.0 * history.retained_bytes_max.0 as f64;
    let rows = vec![
        Row::new("record", "an event's record").expected(Amount::bytes(record)),
        Row::new("group", "what one write adds").expected(Amount::bytes(group)),
        Row::new("rate", "written").expected(per_second(shared)).at_most(per_second(alone)),
        Row::new("day", "written in a day")
            .expected(Amount::bytes(shared * DAY_SECONDS))
            .at_most(Amount::bytes(alone * DAY_SECONDS)),
        Row::new("kept", "the past that the log holds")
            .expected(Amount::exact(lasts(alone), Unit::Seconds))
            .at_most(Amount::exact(lasts(shared), Unit::Seconds))
            .by("history.log_bytes_max, .log_age_max"),
        Row::new("total", "the log and what it reserves")
            .at_most(Amount::about_bytes(log + reserved + values))
            .by("history.log_bytes_max, .log_segment_bytes, .retained_bytes_max"),
    ];
    Some(Section { id: "disk", title: "DISK", rows })
}
