//! Which source wins.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate::config::schema::LogFormat;
use tidegate::config::units::{Bytes, Interval};
use tidegate::config::{self, Config, Flag, Origin, Overrides};

use crate::{TempFile, environment, seconds, set, with_environment};

#[test]
fn nothing_said_means_the_defaults() {
    let loaded = config::load(&Overrides::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.iter().all(|(_, origin)| *origin == Origin::Default));
}

#[test]
fn file_loses_to_environment_loses_to_flags() {
    let file = TempFile::new(
        "precedence.toml",
        "[server]\nshards = 1\nlisten = '127.0.0.1:1'\n[stream]\nheartbeat = '1s'\n\
         ring_bytes_max = '2MiB'\n[stream.control]\nhello = 'file'\n[log]\nformat = 'json'\n",
    );
    let overrides = Overrides {
        file: Some(file.0.clone()),
        environment: environment(&[
            ("TIDEGATE__SERVER__SHARDS", "2"),
            ("TIDEGATE__SERVER__LISTEN", "127.0.0.1:2"),
            ("TIDEGATE__STREAM__HEARTBEAT", "2s"),
            ("TIDEGATE__STREAM__CONTROL__HELLO", "environment"),
            ("PATH", "/bin"),
            ("TIDEGATE_SERVICE_HOST", "set by Kubernetes"),
        ]),
        flags: vec![
            Flag { name: "--shards".into(), key: "server.shards".into(), value: "3".into() },
            set("stream.heartbeat", "7s"),
            set("stream.heartbeat", "3s"),
        ],
    };
    let loaded = config::load(&overrides).unwrap();
    let Config { server, stream, log, .. } = loaded.config;
    assert_eq!(server.shards, 3);
    assert_eq!(server.listen.port(), 2);
    assert_eq!(stream.heartbeat, seconds(3));
    assert_eq!(stream.ring_bytes_max, Bytes::mib(2));
    assert_eq!(stream.control.hello, "environment");
    assert_eq!(log.format, LogFormat::Json);
    let origins: BTreeMap<String, Origin> = loaded.origins.into_iter().collect();
    assert_eq!(origins["server.shards"], Origin::Flag("--shards".into()));
    assert_eq!(origins["server.listen"], Origin::Env("TIDEGATE__SERVER__LISTEN".into()));
    assert_eq!(origins["log.format"].to_string(), format!("{}:10:10", file.name()));
    assert_eq!(origins["stream.retry"], Origin::Default);
}

#[test]
fn stream_max_seconds_is_an_alias_that_loses_to_the_key_and_to_flags() {
    let lifetime = |overrides: &Overrides| {
        config::load(overrides).map(|loaded| loaded.config.stream.max_lifetime)
    };
    let mut alias = with_environment(&[("STREAM_MAX_SECONDS", "90")]);
    assert_eq!(lifetime(&alias), Ok(seconds(90)));
    let decimal = with_environment(&[("STREAM_MAX_SECONDS", "1.5")]);
    assert_eq!(lifetime(&decimal), Ok(Interval(Duration::from_millis(1500))));
    for order in [[0, 1], [1, 0]] {
        let both = [("STREAM_MAX_SECONDS", "90"), ("TIDEGATE__STREAM__MAX_LIFETIME", "2m")];
        let both = with_environment(&order.map(|index| both[index]));
        assert_eq!(lifetime(&both), Ok(seconds(120)));
    }
    let file = TempFile::new("alias.toml", "stream.max_lifetime = '1m'");
    alias.file = Some(file.0.clone());
    assert_eq!(lifetime(&alias), Ok(seconds(90)));
    alias.flags.push(set("stream.max_lifetime", "3m"));
    assert_eq!(lifetime(&alias), Ok(seconds(180)));
    let wrong = lifetime(&with_environment(&[("STREAM_MAX_SECONDS", "1h")])).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "STREAM_MAX_SECONDS: `stream.max_lifetime` is \"1h\"; expected a number of seconds \
         like 3600 or 0.5"
    );
}
