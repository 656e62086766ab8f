//! The formulas, by examples that can be followed by hand, and what holds between them whatever the load.
//! Whether they are right is asked of a real gateway, in `tests/sizing.rs`.

use super::*;
use crate::config::from_text;

const HOST: Host = Host { cores: 2, open_files: 20_000 };

fn load() -> Load {
    Load {
        streams: 1000,
        events_per_second: 1.0,
        data_bytes: 100,
        event_name: None,
        topics: 1,
        protocol: Protocol::H1,
        streams_per_connection: 1,
        slow_percent: 0.0,
        publishers: 4,
        has_keys: false,
        away: Duration::from_secs(10),
        published: 1000,
        route: None,
        delivery_us: None,
    }
}

fn sized(text: &str, edit: impl FnOnce(&mut Load)) -> Sizing {
    let config = from_text("test", text).unwrap().config;
    let mut load = load();
    edit(&mut load);
    size(&config, load, HOST).unwrap()
}

#[track_caller]
fn expected(section: &Section, id: &str) -> f64 {
    section.row(id).expected.expect("a figure").value
}

#[track_caller]
fn at_most(section: &Section, id: &str) -> f64 {
    section.row(id).at_most.expect("a figure").value
}

#[test]
fn heartbeats_are_sent_in_silence_only() {
    let beats = |text: &str, events: f64| {
        let sizing = sized(text, |load| load.events_per_second = events);
        expected(&sizing.bandwidth, "heartbeats")
    };
    let every_10s = "stream.heartbeat = '10s'";
    assert_eq!(beats(every_10s, 0.0), 100.0);
    // Between two events that are 40 s apart there are three: 25 times a second.
    assert_eq!(beats(every_10s, 1.0 / 40.0), 75.0);
    assert_eq!(beats(every_10s, 0.1), 0.0);
    assert_eq!(beats("stream.heartbeat_kind = 'off'", 0.0), 0.0);
}

#[test]
fn the_past_is_bounded_by_each_of_its_limits() {
    let history = |text: &str| {
        let sizing = sized(text, |load| load.topics = 10);
        (expected(&sizing.memory, "history"), at_most(&sizing.memory, "history"))
    };
    let (usual, most) = history("");
    assert_eq!(most, 64.0 * 1024.0 * 1024.0);
    // An hour of one event a second is more than 1,000 events.
    assert!(usual > 10.0 * 1000.0 * 100.0 && usual < 10.0 * 1000.0 * 600.0, "{usual}");
    for text in
        ["history.events_max = 100", "history.age_max = '100s'", "history.bytes_max = '40KiB'"]
    {
        let (less, same) = history(text);
        assert!(less < usual / 5.0, "{text}: {less}");
        assert_eq!(same, most);
    }
    assert_eq!(history("history.total_bytes_max = '10KiB'"), (10_240.0, 10_240.0));
}

#[test]
fn slow_streams_of_a_topic_share_what_waits() {
    let rings = |topics: u64| {
        let sizing = sized("", |load| (load.slow_percent, load.topics) = (10.0, topics));
        expected(&sizing.memory, "rings")
    };
    let (one, each) = (rings(1), rings(1000));
    // 256 events of about 380 bytes, 230 of them to hold it, for each of a hundred slow streams, and not once for all.
    let waiting = 256.0 * 380.0;
    assert!((each - one) / (99.0 * waiting) > 0.9, "{one} {each}");
    assert!((each - one) / (99.0 * waiting) < 1.2, "{one} {each}");
}

#[test]
fn connections_are_shared_over_http2_alone() {
    let public = |protocol| {
        let edit = |load: &mut Load| (load.protocol, load.streams_per_connection) = (protocol, 3);
        expected(&sized("", edit).descriptors, "public")
    };
    assert_eq!(public(Protocol::Tls), 1000.0);
    assert_eq!(public(Protocol::H2), 334.0);
}

#[test]
fn each_layer_adds_its_bytes() {
    let bytes = |protocol, id| expected(&sized("", |load| load.protocol = protocol).bandwidth, id);
    // `id: <12>-<4>` and its newline, `data: `, and two newlines.
    let fields = (4 + 12 + 1 + 4 + 1) + 6 + 2;
    assert_eq!(bytes(Protocol::H1, "fields"), f64::from(fields));
    // `82`, CRLF and CRLF.
    assert_eq!(bytes(Protocol::H1, "delimiter"), 6.0);
    assert_eq!(bytes(Protocol::H2, "delimiter"), 9.0);
    assert_eq!([Protocol::H1, Protocol::Tls].map(|one| bytes(one, "tls")), [0.0, 22.0]);
    let one = |id| bytes(Protocol::Tls, id);
    let layers = ["data", "fields", "delimiter", "tls", "network"].map(one);
    assert_eq!(one("event"), layers.iter().sum::<f64>());
    assert_eq!(one("counted"), layers[..3].iter().sum::<f64>());
}

#[test]
fn a_storm_is_as_long_as_the_delays_or_as_the_shards_take() {
    let storm = |text: &str, streams: u64| sized(text, |load| load.streams = streams).storm;
    let few = storm("stream.retry = '5s'", 1000);
    assert_eq!(expected(&few, "spread"), 5.0);
    assert_eq!(expected(&few, "arrivals"), 200.0);
    assert_eq!(expected(&few, "back"), 5.0);
    // 10 s gone, and 5 s of waiting.
    assert_eq!(expected(&few, "told"), 15.0);
    let many = storm("stream.retry = '5s'", 10_000_000);
    assert!(expected(&many, "back") > 20.0);
    let none = storm("stream.resume = false", 1000);
    assert_eq!((expected(&none, "missed"), expected(&none, "told")), (12.0, 0.0));
    assert_eq!(expected(&storm("history.events_max = 7", 1000), "told"), 7.0);
}

#[test]
fn the_most_grows_with_the_keys_that_bound_it() {
    let most = |text: &str| at_most(&sized(text, |_| ()).memory, "total");
    let usual = most("");
    assert!(most("server.connections_max = 1000") < usual / 10.0);
    for text in [
        "stream.ring_bytes_max = '2MiB'",
        "history.total_bytes_max = '1GiB'",
        "history.retained_bytes_max = '32MiB'",
        "mailbox.bytes_max = '128MiB'",
        "publish.idempotency_keys_max = 1000000",
        "stream.compress = true",
    ] {
        let more = most(text);
        assert!(more > usual, "{text}: {more} of {usual}");
    }
}

#[test]
fn the_most_is_never_below_what_is_expected() {
    for protocol in [Protocol::H1, Protocol::Tls, Protocol::H2] {
        for (streams, topics, events, slow) in
            [(1, 1, 0.0, 0.0), (19_000, 1, 10.0, 100.0), (19_000, 19_000, 1.0, 50.0)]
        {
            let sizing = sized("", |load| {
                (load.protocol, load.streams, load.topics) = (protocol, streams, topics);
                (load.events_per_second, load.slow_percent) = (events, slow);
            });
            for section in [&sizing.memory, &sizing.kernel, &sizing.descriptors] {
                let (expected, most) = (expected(section, "total"), at_most(section, "total"));
                assert!(expected <= most, "{}: {expected} of {most}", section.id);
            }
        }
    }
}

#[test]
fn events_that_are_refused_are_no_load() {
    let refused = |data_bytes| {
        size(&Config::default(), Load { data_bytes, ..load() }, HOST).err().map(|no| no.to_string())
    };
    assert_eq!(refused(512 * 1024 - 200), None);
    let expected = "an event with 512KiB of data is refused: with its id and its topic it is more than \
                    publish.event_bytes_max (512KiB)";
    assert_eq!(refused(512 * 1024).as_deref(), Some(expected));
    assert!(refused(usize::MAX).is_some());
}

#[test]
fn a_log_lasts_as_long_as_its_bytes_or_its_age() {
    let disk = "history.store = 'disk'\nhistory.path = '/x'\n";
    let kept = |text: &str| {
        let sizing = sized(&format!("{disk}{text}"), |load| load.events_per_second = 100.0);
        let disk = sizing.disk.expect("a log");
        (expected(&disk, "kept"), at_most(&disk, "kept"), at_most(&disk, "rate"))
    };
    assert!(sized("", |_| ()).disk.is_none());
    let (alone, shared, rate) = kept("");
    assert_eq!(alone, 1024.0 * 1024.0 * 1024.0 / rate);
    assert!(alone < shared, "{alone} {shared}");
    let (alone, shared, _) = kept("history.log_age_max = '1h'");
    assert_eq!((alone, shared), (3600.0, 3600.0));
}

#[test]
fn what_does_not_fit_is_said() {
    let notes = |text: &str, streams: u64| sized(text, |load| load.streams = streams).notes;
    let says = |notes: &[String], what: &str| notes.iter().any(|note| note.contains(what));
    assert!(!says(&notes("", 19_744), "do not fit"));
    assert!(says(
        &notes("", 19_745),
        "19745 connections do not fit 19744 places: raise LimitNOFILE to 20001"
    ));
    assert!(!says(&notes("", 1000), "leave no room"));
    let busy = sized("", |load| load.delivery_us = Some(2000.0)).notes;
    assert!(says(&busy, "2.0 cores of 2 leave no room"));
    let proxied = notes("proxy.upstream = 'http://127.0.0.1:3000'", 1000);
    assert!(says(&proxied, "so that connections to app servers have room"));
}

#[test]
fn a_route_has_settings_of_its_own() {
    let text = "[[stream.routes]]\npath = '/a'\ntopics = ['a']\n\
                [[stream.routes]]\npath = '/b/{id}'\ntopics = ['b.{id}']\nretry = '7s'\n";
    let spread = |route: Option<&str>| {
        let sizing = sized(text, |load| load.route = route.map(str::to_owned));
        expected(&sizing.storm, "spread")
    };
    assert_eq!(spread(None), 2.0);
    assert_eq!(spread(Some("/b/{id}")), 7.0);
    let config = from_text("test", text).unwrap().config;
    let refused = size(&config, Load { route: Some("/c".into()), ..load() }, HOST).unwrap_err();
    assert_eq!(refused.to_string(), "no stream route has the path \"/c\"; there is /a, /b/{id}");
}
