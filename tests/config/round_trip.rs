//! Any configuration survives being written and read.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use tidegate::config::schema::{
    Balance, Certificate, ClientAuth, Control, ControlChanges, Cors, HeartbeatKind, History,
    HistoryOverride, HostHeader, Log, LogFormat, Mailbox, Parameter, Proxy, Publish, Route, Slow,
    Source, Sources, Store, Stream, StreamRoute, Tls, TlsVersion, TopicField, Upstream,
};
use tidegate::config::template::{PathTemplate, Pattern, TopicTemplate};
use tidegate::config::units::{Bytes, Fsync, Interval};
use tidegate::config::web::{
    AllowedOrigin, FieldName, FieldValue, HostPattern, MethodName, Network, OptionalAddress,
    OptionalUrl, PathPrefix, ServerUrl, StreamUrl,
};
use tidegate::config::{self, Config, Flag, Overrides};

use crate::hook_keys::{auth, hooks, snapshot};
use crate::server_keys::server;
use crate::{set, with_environment};

/// TOML's integers are signed.
pub(crate) const COUNT_MAX: usize = i64::MAX.unsigned_abs() as usize;

pub(crate) fn interval() -> impl Strategy<Value = Interval> {
    let nanos = 0..=Interval::MAX.0.as_nanos() as u64;
    prop_oneof![
        nanos.prop_map(Duration::from_nanos),
        (0..=10_000_000_u64).prop_map(Duration::from_millis),
        Just(Duration::ZERO),
        Just(Interval::MAX.0),
    ]
    .prop_map(Interval)
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        (0..=COUNT_MAX).prop_map(Bytes),
        (0..=4096_usize, 0..=40_u32).prop_map(|(n, shift)| Bytes(n << shift)),
    ]
}

pub(crate) fn count() -> impl Strategy<Value = usize> {
    0..=COUNT_MAX
}

/// An address as it is written: an IPv6 flow label is not.
pub(crate) fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn stream() -> impl Strategy<Value = Stream> {
    let control = any::<[String; 4]>().prop_map(|[hello, heartbeat, gap, end]| Control {
        hello,
        heartbeat,
        gap,
        end,
    });
    let beats = (interval(), heartbeat_kind(), any::<String>());
    let limits = (count(), bytes(), slow(), count());
    let times = [(); 4].map(|()| interval());
    let flags = (any::<[bool; 3]>(), topic_field());
    (beats, times, limits, flags, prop::collection::vec(route(), 0..3), cors(), control).prop_map(
        |(
            beats,
            times,
            limits,
            ([resume, broadcast, compress], topic_field),
            routes,
            cors,
            control,
        )| {
            let [max_lifetime, retry, poll_wait, poll_wait_max] = times;
            let (heartbeat, heartbeat_kind, heartbeat_data) = beats;
            let (ring_frames_max, ring_bytes_max, slow, topics_max) = limits;
            Stream {
                heartbeat,
                heartbeat_kind,
                heartbeat_data,
                max_lifetime,
                retry,
                ring_frames_max,
                ring_bytes_max,
                slow,
                topics_max,
                poll_wait,
                poll_wait_max,
                resume,
                broadcast,
                topic_field,
                compress,
                routes,
                cors,
                control,
            }
        },
    )
}

fn heartbeat_kind() -> impl Strategy<Value = HeartbeatKind> {
    prop_oneof![Just(HeartbeatKind::Comment), Just(HeartbeatKind::Event), Just(HeartbeatKind::Off)]
}

fn slow() -> impl Strategy<Value = Slow> {
    prop_oneof![Just(Slow::DropOldest), Just(Slow::CatchUp), Just(Slow::Disconnect)]
}

fn topic_field() -> impl Strategy<Value = TopicField> {
    prop_oneof![Just(TopicField::Comment), Just(TopicField::None)]
}

fn cors() -> impl Strategy<Value = Cors> {
    let origin = "(\\*|https?://[a-z]{1,8}(\\.[a-z]{2})?(:[1-9][0-9]{0,3})?)";
    let origins = prop::collection::vec(origin.prop_map(read::<AllowedOrigin>), 0..3);
    (origins, any::<bool>()).prop_map(|(origins, credentials)| Cors { origins, credentials })
}

fn route() -> impl Strategy<Value = StreamRoute> {
    use prop::option::of;
    let path = "(/[a-z]{0,5}){1,3}(/\\{[a-zA-Z_-]{1,5}\\})?".prop_map(read::<PathTemplate>);
    let topic = "[a-z]{1,4}(\\.\\{[a-zA-Z]{1,4}\\}|\\.>)?".prop_map(read::<TopicTemplate>);
    let topics = (prop::collection::vec(topic, 0..3), any::<bool>());
    let beats = (of(interval()), of(heartbeat_kind()), of(any::<String>()));
    let times = (of(interval()), of(interval()));
    let limits = (of(count()), of(bytes()), of(slow()), of(count()));
    let flags = (of(any::<bool>()), of(any::<bool>()), of(any::<bool>()), of(topic_field()));
    let control = any::<[Option<String>; 4]>()
        .prop_map(|[hello, heartbeat, gap, end]| ControlChanges { hello, heartbeat, gap, end });
    let pattern = "[a-z]{1,4}|\\[0-9\\]\\+".prop_map(read::<Pattern>);
    let parameter = (pattern, of(any::<String>()))
        .prop_map(|(pattern, default)| Parameter { pattern, default });
    let parameters = prop::collection::btree_map("[a-z]{1,5}", parameter, 0..3);
    let changes = (beats, times, limits, flags, of(cors()), control);
    (host(), path, topics, changes, parameters, (of(auth()), of(snapshot()))).prop_map(
        |(host, path, (topics, topics_from_query), changes, parameters, (auth, snapshot))| {
            let (beats, (max_lifetime, retry), limits, flags, cors, control) = changes;
            let (resume, broadcast, compress, topic_field) = flags;
            let (heartbeat, heartbeat_kind, heartbeat_data) = beats;
            let (ring_frames_max, ring_bytes_max, slow, topics_max) = limits;
            StreamRoute {
                host,
                path,
                topics,
                topics_from_query,
                heartbeat,
                heartbeat_kind,
                heartbeat_data,
                max_lifetime,
                retry,
                ring_frames_max,
                ring_bytes_max,
                slow,
                topics_max,
                resume,
                broadcast,
                topic_field,
                compress,
                cors,
                control,
                parameters,
                auth,
                snapshot,
            }
        },
    )
}

pub(crate) fn host() -> impl Strategy<Value = HostPattern> {
    "((\\*\\.)?[a-z]{1,5}\\.[a-z]{2})?".prop_map(read::<HostPattern>)
}

fn history() -> impl Strategy<Value = History> {
    use prop::option::of;
    let limits = (any::<String>(), of(count()), of(bytes()), of(interval())).prop_map(
        |(topics, events_max, bytes_max, age_max)| HistoryOverride {
            topics,
            events_max,
            bytes_max,
            age_max,
        },
    );
    let overrides = prop::collection::vec(limits, 0..3);
    let of_topic = (count(), bytes(), interval());
    let store = prop_oneof![Just(Store::Memory), Just(Store::Disk)];
    let fsync = prop_oneof![Just(Fsync::Always), interval().prop_map(Fsync::Every)];
    let log = (store, any::<String>(), fsync, bytes(), interval(), bytes());
    (log, of_topic, bytes(), count(), bytes(), count(), overrides).prop_map(
        |(
            log,
            of_topic,
            total_bytes_max,
            topics_max,
            retained_bytes_max,
            replays_max,
            overrides,
        )| {
            let (store, path, fsync, log_bytes_max, log_age_max, log_segment_bytes) = log;
            let (events_max, bytes_max, age_max) = of_topic;
            History {
                store,
                path,
                fsync,
                log_bytes_max,
                log_age_max,
                log_segment_bytes,
                events_max,
                bytes_max,
                age_max,
                total_bytes_max,
                topics_max,
                retained_bytes_max,
                replays_max,
                overrides,
            }
        },
    )
}

fn proxy() -> impl Strategy<Value = Proxy> {
    use prop::collection::{btree_map, vec};
    let url = || {
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|([a, b, c, d], port)| {
            read::<ServerUrl>(format!(
                "http{}://{a}.{b}.{c}.{d}:{port}",
                if a > 9 { "s" } else { "" }
            ))
        })
    };
    let name = || "[a-z][a-z0-9-]{0,8}";
    let field = || name().prop_map(read::<FieldName>);
    let fields = move || btree_map(field(), "[!-~]{0,8}".prop_map(read::<FieldValue>), 0..3);
    let path = || "(/[a-z]{1,5}){0,3}/".prop_map(read::<PathPrefix>);
    let balance = prop_oneof![Just(Balance::LeastRequests), Just(Balance::RoundRobin)];
    let times = [interval(), interval(), interval(), interval(), interval()];
    let numbers = (count(), count(), count(), any::<u32>(), any::<bool>());
    let upstream = (name(), vec(url(), 0..3), balance, times, numbers).prop_map(
        |(name, servers, balance, times, numbers)| {
            let (idle_max, requests_max, response_fields_max, failures_max, http2) = numbers;
            let [connect_timeout, response_timeout, body_timeout, keepalive, ejection] = times;
            Upstream {
                http2,
                balance,
                connect_timeout,
                response_timeout,
                body_timeout,
                response_fields_max,
                keepalive,
                idle_max,
                requests_max,
                failures_max,
                ejection,
                ..Upstream::new(&name, servers)
            }
        },
    );
    let methods = vec("[A-Z]{1,8}".prop_map(read::<MethodName>), 0..3);
    let host_header = prop_oneof![Just(HostHeader::Client), Just(HostHeader::Server)];
    let changes = (fields(), vec(field(), 0..3), fields(), vec(field(), 0..3));
    let sharing = (any::<bool>(), vec(field(), 0..3));
    let route =
        (host(), path(), methods, name(), prop::option::of(path()), host_header, changes, sharing)
            .prop_map(|(host, path, methods, upstream, rewrite, host_header, changes, sharing)| {
                let (collapse, collapse_headers) = sharing;
                let (request_set, request_remove, response_set, response_remove) = changes;
                Route {
                    host,
                    path,
                    methods,
                    upstream,
                    rewrite,
                    host_header,
                    request_set,
                    request_remove,
                    response_set,
                    response_remove,
                    collapse,
                    collapse_headers,
                }
            });
    let network = (any::<[u8; 4]>(), 0..=32_u8)
        .prop_map(|([a, b, c, d], bits)| read::<Network>(format!("{a}.{b}.{c}.{d}/{bits}")));
    let url = prop::option::of(url()).prop_map(OptionalUrl);
    let limits = (bytes(), interval());
    (url, vec(network, 0..3), limits, vec(upstream, 0..3), vec(route, 0..3)).prop_map(
        |(upstream, trusted, limits, upstreams, routes)| {
            let (body_bytes_max, upgrade_idle_timeout) = limits;
            Proxy { upstream, trusted, body_bytes_max, upgrade_idle_timeout, upstreams, routes }
        },
    )
}

fn sources() -> impl Strategy<Value = (Vec<Source>, Sources)> {
    use prop::collection::{btree_map, vec};
    let url = "https?://[a-z]{1,8}(:[1-9][0-9]{1,3})?/[a-z/]{0,8}(\\?[a-z=&]{1,8})?";
    let field = "[a-z][a-z0-9-]{0,8}".prop_map(read::<FieldName>);
    let headers = btree_map(field, "[!-~]{0,8}".prop_map(read::<FieldValue>), 0..3);
    let topics =
        vec("[a-z]{1,4}(\\.\\{(source|event|id|data\\.[a-z]{1,3})\\}){0,2}".prop_map(read), 0..3);
    let conflate = prop::collection::btree_set(any::<String>(), 0..3);
    let url = url.prop_map(read::<StreamUrl>);
    let texts = (any::<String>(), url, (topics, conflate), headers, any::<String>());
    let times = prop::array::uniform4(interval());
    let numbers = (bytes(), 0.0..200.0, 0.0..2.0, any::<u32>());
    let source = (texts, times, numbers).prop_map(|(texts, times, numbers)| {
        let (name, url, (topics, conflate), headers, ca) = texts;
        let [connect_timeout, stale_timeout, retry, retry_max] = times;
        let (event_bytes_max, retry_factor, retry_jitter, attempts_max) = numbers;
        Source {
            name,
            url,
            topics,
            conflate,
            headers,
            ca,
            connect_timeout,
            stale_timeout,
            event_bytes_max,
            retry,
            retry_factor,
            retry_max,
            retry_jitter,
            attempts_max,
        }
    });
    let all = (any::<String>(), any::<String>(), count())
        .prop_map(|(path, topic, sources_max)| Sources { path, topic, sources_max });
    (vec(source, 0..3), all)
}

fn tls() -> impl Strategy<Value = Tls> {
    let listen = prop::option::of(address()).prop_map(OptionalAddress);
    let version = prop_oneof![Just(TlsVersion::Tls12), Just(TlsVersion::Tls13)];
    let auth =
        prop_oneof![Just(ClientAuth::None), Just(ClientAuth::Optional), Just(ClientAuth::Required)];
    let certificate = any::<(String, String)>().prop_map(|(chain, key)| Certificate { chain, key });
    let certificates = prop::collection::vec(certificate, 0..3);
    (listen, version, interval(), auth, any::<String>(), certificates).prop_map(
        |(listen, min_version, handshake_timeout, client_auth, client_ca, certificates)| Tls {
            listen,
            min_version,
            handshake_timeout,
            client_auth,
            client_ca,
            certificates,
        },
    )
}

pub(crate) fn read<T: TryFrom<String, Error = String>>(text: impl Into<String>) -> T {
    T::try_from(text.into()).expect("the text is made right")
}

fn configuration() -> impl Strategy<Value = Config> {
    let publish = (bytes(), bytes(), count(), count(), interval(), count()).prop_map(|values| {
        let (body_bytes_max, event_bytes_max, batch_events_max, topics_max, ..) = values;
        let (.., idempotency_window, idempotency_keys_max) = values;
        Publish {
            body_bytes_max,
            event_bytes_max,
            batch_events_max,
            topics_max,
            idempotency_window,
            idempotency_keys_max,
        }
    });
    let mailbox =
        (count(), bytes()).prop_map(|(events_max, bytes_max)| Mailbox { events_max, bytes_max });
    let format = prop_oneof![Just(LogFormat::Text), Just(LogFormat::Json)];
    let lines = any::<(bool, u32)>();
    let log = (any::<String>(), format, lines).prop_map(|(level, format, lines)| {
        let (access, lines_per_second_max) = lines;
        Log { level, format, access, lines_per_second_max }
    });
    (server(), stream(), publish, history(), mailbox, log, proxy(), tls(), (sources(), hooks()))
        .prop_map(
            |(
                server,
                stream,
                publish,
                history,
                mailbox,
                log,
                proxy,
                tls,
                ((source, sources), hooks),
            )| Config {
                source,
                server,
                stream,
                publish,
                history,
                mailbox,
                log,
                tls,
                proxy,
                sources,
                hooks,
            },
        )
}

proptest! {
    #[test]
    fn any_configuration_survives_to_toml(config in configuration()) {
        // Through a file: the rules between keys are not asked here.
        let text = config.to_toml().unwrap();
        let parsed: Config = toml::from_str(&text).unwrap();
        assert_eq!(parsed, config);
    }

    #[test]
    fn any_values_survive_the_sources_and_the_effective_output(config in configuration()) {
        let table = toml::Table::try_from(&config).unwrap();
        let mut flags = Vec::new();
        flatten("", &table, &mut flags);
        let overrides = Overrides { flags, ..Overrides::default() };
        let loaded = config::resolve(&overrides).unwrap();
        assert_eq!(loaded.config, config);
        let printed: Config = toml::from_str(&loaded.to_string()).unwrap();
        assert_eq!(printed, config.redacted());
    }

    #[test]
    fn no_text_panics(text in any::<String>(), toml in "[a-z\\[\\]{}=.,'\"\\\\# \n\t0-9-]{0,80}") {
        for text in [text, toml] {
            let _ = config::from_text("tidegate.toml", &text);
            let _ = text.parse::<Interval>();
            let _ = text.parse::<Bytes>();
            let _ = config::load(&with_environment(&[
                (&format!("TIDEGATE__{text}"), &text),
                ("TIDEGATE__STREAM__RETRY", &text),
                ("STREAM_MAX_SECONDS", &text),
            ]));
        }
    }
}

fn flatten(section: &str, table: &toml::Table, flags: &mut Vec<Flag>) {
    for (name, value) in table {
        let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, flags),
            toml::Value::String(text) => flags.push(set(&key, text)),
            other => flags.push(set(&key, &other.to_string())),
        }
    }
}
