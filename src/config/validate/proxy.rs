//! The rules of the reverse proxy.

use std::collections::HashSet;

use super::{Broken, ENTRIES_MAX, MILLISECOND};
use crate::config::schema::{DEFAULT_UPSTREAM, Proxy, Route, Server, Upstream};

pub(super) fn proxy(proxy: &Proxy, server: &Server, broken: &mut Broken) {
    if server.proxy_protocol && proxy.trusted.is_empty() {
        let message = "`server.proxy_protocol` is true and `proxy.trusted` is empty; name the load \
                       balancers whose word about their clients is believed";
        broken.add(&["server.proxy_protocol", "proxy.trusted"], message.into());
    }
    broken.at_least("proxy.upgrade_idle_timeout", proxy.upgrade_idle_timeout, MILLISECOND);
    broken.at_most("proxy.trusted", proxy.trusted.len(), ENTRIES_MAX);
    broken.at_most("proxy.upstreams", proxy.upstreams.len(), ENTRIES_MAX);
    broken.at_most("proxy.routes", proxy.routes.len(), ENTRIES_MAX);
    let mut names = HashSet::new();
    for (index, entry) in proxy.upstreams.iter().enumerate() {
        for fault in faults_of(entry) {
            broken.add(&["proxy.upstreams"], format!("`proxy.upstreams[{index}]{fault}"));
        }
        if !names.insert(entry.name.as_str()) {
            let message = format!(
                "`proxy.upstreams[{index}].name` is {:?}, like that of an upstream before it; \
                 give each a name of its own",
                entry.name
            );
            broken.add(&["proxy.upstreams"], message);
        }
    }
    for (index, Route { upstream, .. }) in proxy.routes.iter().enumerate() {
        if !names.contains(upstream.as_str()) {
            let message = format!(
                "`proxy.routes[{index}].upstream` is {upstream:?}, and there is no entry of that \
                 name in `proxy.upstreams`"
            );
            broken.add(&["proxy.routes", "proxy.upstreams"], message);
        }
    }
}

/// What is wrong with a group alone, as the end of a sentence that begins with its place.
fn faults_of(upstream: &Upstream) -> Vec<String> {
    let mut faults = Vec::new();
    if upstream.name.is_empty() || upstream.name == DEFAULT_UPSTREAM {
        let name = &upstream.name;
        faults.push(format!(".name` is {name:?}; give it a name that routes can use"));
    }
    if !(1..=ENTRIES_MAX).contains(&upstream.servers.len()) {
        faults.push(format!(".servers` has {} entries; give it 1 to 1000", upstream.servers.len()));
    }
    let times = [
        ("connect_timeout", upstream.connect_timeout),
        ("response_timeout", upstream.response_timeout),
        ("body_timeout", upstream.body_timeout),
        ("ejection", upstream.ejection),
    ];
    for (key, time) in times.into_iter().filter(|(_, time)| *time < MILLISECOND) {
        faults.push(format!(".{key}` is {time}; it must be at least {MILLISECOND}"));
    }
    if !(1..=ENTRIES_MAX).contains(&upstream.response_fields_max) {
        let max = upstream.response_fields_max;
        faults.push(format!(".response_fields_max` is {max}; it must be from 1 to 1000"));
    }
    if upstream.requests_max == 0 {
        faults.push(".requests_max` is 0; it must be at least 1".into());
    }
    if upstream.failures_max == 0 {
        faults.push(".failures_max` is 0; it must be at least 1".into());
    }
    faults
}
