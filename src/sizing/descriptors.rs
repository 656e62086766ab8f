//! File descriptors: a public connection takes one each, and everything else has to find room beside them.

use super::measured::{PROCESS_DESCRIPTORS, SHARD_DESCRIPTORS};
use super::table::{Amount, Row, Section, Unit};
use super::{Case, upstreams};
use crate::config::host::DESCRIPTORS_RESERVED;
use crate::config::schema::Upstream;

pub(super) fn section(case: &Case<'_>) -> Section {
    let config = case.config;
    let listeners = if config.tls.listen.0.is_some() { 3.0 } else { 2.0 };
    let own = Amount::about(
        PROCESS_DESCRIPTORS + case.shards * (SHARD_DESCRIPTORS + listeners),
        Unit::Count,
    );
    let sources = config.source.len() as f64;
    // Each exchange has a public connection too, so there are no more than those.
    let links = |group: Upstream| {
        let servers = group.servers.len() as f64;
        let used = (servers * group.requests_max as f64).min(case.places);
        used + case.shards * servers * group.idle_max as f64
    };
    let app_servers = upstreams(config).into_iter().map(links).fold(0.0, |all, one| all + one);
    let public = Amount::count(case.connections());
    let places = Amount::count(case.places);
    let kept = DESCRIPTORS_RESERVED as f64 + sources;
    // Those that are put at run time come out of what is kept.
    let sources_max = kept.min(config.sources.sources_max as f64);
    let rows = vec![
        Row::new("public", "public connections")
            .expected(public)
            .at_most(places)
            .by("server.connections_max; 0: the limit less what is kept"),
        Row::new("own", "listeners, shards, the process")
            .expected(own)
            .at_most(own)
            .by("server.shards"),
        Row::new("sources", "sources")
            .expected(Amount::count(sources))
            .at_most(Amount::count(sources_max))
            .by("sources.sources_max, what is kept"),
        Row::new("app_servers", "connections to app servers")
            .expected(Amount::count(0.0))
            .at_most(Amount::count(app_servers))
            .by("proxy.upstreams (requests_max, idle_max)"),
        Row::new("kept", "kept for all but public connections").at_most(Amount::count(kept)),
        Row::new("total", "needed")
            .expected(public + own + Amount::count(sources))
            .at_most(places + own + Amount::count(sources + app_servers))
            .by("LimitNOFILE"),
        Row::new("limit", "limit of open files")
            .at_most(Amount::count(case.open_files))
            .by("LimitNOFILE"),
    ];
    Section { id: "descriptors", title: "DESCRIPTORS", rows }
}
