//! The keys of `[server]`, with any values.

use proptest::prelude::*;
use tidegate::config::schema::Server;

use crate::round_trip::{COUNT_MAX, address, bytes, count, host, interval};

pub(crate) fn server() -> impl Strategy<Value = Server> {
    let times = prop::array::uniform9(interval());
    let sizes = prop::array::uniform5(bytes());
    let counts = prop::array::uniform3(count());
    let smaller = any::<[u32; 4]>();
    let requests = 0..=COUNT_MAX as u64;
    let hosts = prop::collection::vec(host(), 0..3);
    let numbers = (smaller, requests, any::<bool>(), hosts);
    (address(), address(), times, sizes, counts, numbers).prop_map(
        |(listen, internal, times, sizes, counts, numbers)| {
            let (smaller, requests_per_connection_max, proxy_protocol, internal_hosts) = numbers;
            let [drain, header_timeout, keepalive_timeout, times @ ..] = times;
            let [body_timeout, send_timeout, times @ ..] = times;
            let [tcp_user_timeout, tcp_keepalive, http2_window_timeout, http2_ping_interval] =
                times;
            let [header_bytes_max, request_line_bytes_max, sizes @ ..] = sizes;
            let [body_rate_min, response_rate_min, send_buffer] = sizes;
            let [shards, header_fields_max, connections_max] = counts;
            let [accept_backlog, connections_per_address_max, smaller @ ..] = smaller;
            let [http2_streams_max, http2_control_frames_max] = smaller;
            Server {
                listen,
                internal,
                internal_hosts,
                shards,
                drain,
                header_timeout,
                header_bytes_max,
                header_fields_max,
                request_line_bytes_max,
                keepalive_timeout,
                requests_per_connection_max,
                body_timeout,
                body_rate_min,
                response_rate_min,
                send_timeout,
                connections_max,
                connections_per_address_max,
                accept_backlog,
                send_buffer,
                tcp_user_timeout,
                tcp_keepalive,
                http2_streams_max,
                http2_control_frames_max,
                http2_window_timeout,
                http2_ping_interval,
                proxy_protocol,
            }
        },
    )
}
