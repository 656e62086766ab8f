//! Ten thousand streams at once, opened and judged by the load tester, which shares no code with the
//! gateway: every event is accounted for on every stream. Nothing here is about speed.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::Gateway;
use support::loadtest::{loadtest, number, numbers};

const STREAMS: u64 = 10_000;

/// One crowd at a time: each needs the machine, and its descriptors, for itself.
fn alone() -> MutexGuard<'static, ()> {
    static CROWD: Mutex<()> = Mutex::new(());
    CROWD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the gateway counted is what the load tester saw.
#[track_caller]
fn expect_counted(gateway: &Gateway, published: u64, lost: u64) {
    gateway.expect_metric("tidegate_subscribers", &[], 0.0);
    let count = |name: &str| gateway.metric(name, &[]) as u64;
    assert_eq!(count("tidegate_streams_opened_total"), STREAMS);
    assert_eq!(count("tidegate_streams_closed_total"), STREAMS);
    assert_eq!(count("tidegate_events_published_total"), published);
    let (delivered, dropped) =
        (count("tidegate_events_delivered_total"), count("tidegate_events_dropped_total"));
    assert_eq!(delivered + dropped, published * STREAMS, "{delivered} + {dropped}");
    assert_eq!(dropped, lost);
    assert_eq!(count("tidegate_ring_frames"), 0);
}

#[test]
fn ten_thousand_streams_get_every_event_once_and_in_order() {
    let _alone = alone();
    let gateway = Gateway::start();
    let args = format!("--streams {STREAMS} --rate 20 --duration 10s --settle 60s");
    let report = loadtest(&gateway, "fanout", &args);
    let published = number(&report, "/events_published");
    assert!(published >= 200, "{published} events");
    assert_eq!(number(&report, "/events_accepted"), published);
    assert_eq!(number(&report, "/deliveries"), published * STREAMS);
    assert_eq!(number(&report, "/unsettled"), 0);
    assert_eq!(number(&report, "/gaps"), 0);
    expect_counted(&gateway, published, 0);
}

#[test]
fn f41_a_thousand_stuck_streams_of_ten_thousand_cost_the_others_nothing() {
    const RING: u64 = 32;
    let _alone = alone();
    let gateway = Gateway::builder()
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", &RING.to_string())
        .env("TIDEGATE__SERVER__SEND_BUFFER", "16KiB")
        .start();
    let args = format!(
        "--streams {STREAMS} --rate 20 --duration 10s --settle 60s --event-bytes 2048 \
         --stuck-percent 10 --stuck-rcvbuf 4096 --require-one-gap"
    );
    let report = loadtest(&gateway, "fanout", &args);
    let published = number(&report, "/events_published");
    let stuck = number(&report, "/stuck/streams");
    let lost = number(&report, "/stuck/lost_declared");
    assert_eq!(stuck, STREAMS / 10);
    assert_eq!(number(&report, "/gaps"), stuck, "only stuck streams have gaps");
    assert_eq!(number(&report, "/dropped_declared"), lost, "only stuck streams lose events");
    assert_eq!(number(&report, "/deliveries") + lost, published * STREAMS);
    assert_eq!(report["stuck"]["each_had_one_gap"], true);
    assert!(number(&report, "/stuck/events_after_gap_max") <= RING, "{:#}", report["stuck"]);
    assert_eq!(number(&report, "/unsettled"), 0);
    assert_eq!(gateway.metric("tidegate_gaps_total", &[("reason", "slow")]) as u64, stuck);
    expect_counted(&gateway, published, lost);
}

#[test]
fn f74_a_thousand_streams_end_at_80_to_100_percent_of_the_cap() {
    let _alone = alone();
    let gateway = Gateway::builder().env("STREAM_MAX_SECONDS", "2").start();
    // The grace is for the load tester, which may be late to read.
    let report = loadtest(&gateway, "cap", "--streams 1000 --cap 2s --grace 100ms");
    assert_eq!(number(&report, "/ended"), 1000);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "max_lifetime")], 1000.0);
}

/// Publishes bursts that are many times a ring, each as soon as everybody has the one before. A
/// burst is less than the kernel takes for a client that has not read anything yet (16 KiB): what is
/// lost, the gateway has lost.
#[track_caller]
fn bursts(ring: u32, burst: u32) {
    let _alone = alone();
    let gateway =
        Gateway::builder().env("TIDEGATE__STREAM__RING_FRAMES_MAX", &ring.to_string()).start();
    let args = format!(
        "--streams 3000 --in-flight {burst} --publish-api publish --batch {burst} \
         --event-bytes 64 --duration 3s --settle 60s"
    );
    let report = loadtest(&gateway, "fanout", &args);
    let published = number(&report, "/events_accepted");
    assert!(published >= 2 * u64::from(burst), "{published} events");
    assert_eq!(number(&report, "/gaps"), 0, "of {published} events");
    assert_eq!(number(&report, "/dropped_declared"), 0);
    assert_eq!(number(&report, "/unsettled"), 0);
    assert_eq!(number(&report, "/deliveries"), published * 3000);
    gateway.expect_metric("tidegate_events_dropped_total", &[("reason", "slow")], 0.0);
}

#[test]
fn prompt_clients_lose_nothing_of_a_burst_of_many_rings() {
    bursts(32, 120);
}

#[test]
fn prompt_clients_lose_nothing_of_a_burst_with_the_smallest_rings() {
    bursts(8, 100);
}

/// What a cycle adds to memory, in the middle of all cycles but the first, which makes the allocator keep
/// what all later ones need. Now and then more connections than ever before open at the same moment, and it
/// keeps that too, half a megabyte at once; what leaks, leaks in each cycle.
fn growth_a_cycle(memory: &[u64]) -> i64 {
    let mut growth: Vec<i64> =
        memory[1..].windows(2).map(|pair| pair[1].cast_signed() - pair[0].cast_signed()).collect();
    growth.sort_unstable();
    growth[growth.len() / 2]
}

#[test]
fn memory_is_at_its_baseline_after_cycles_of_ten_thousand_connects() {
    const CYCLES: usize = 9;
    /// 15 bytes for each stream.
    const GROWTH_MAX: i64 = 15 * STREAMS as i64;
    let _alone = alone();
    let gateway = Gateway::start();
    let args = format!(
        "--streams {STREAMS} --cycles {CYCLES} --hold 500ms --rest 500ms --rate 20 --settle 60s \
         --server-pid {}",
        gateway.pid()
    );
    let report = loadtest(&gateway, "churn", &args);
    let opened = CYCLES as u64 * STREAMS;
    assert_eq!(number(&report, "/streams_left"), opened);
    assert_eq!(number(&report, "/gaps"), 0);
    let after = numbers(&report, "/server_rss_after");
    assert_eq!(after.len(), CYCLES);
    assert!(growth_a_cycle(&after) < GROWTH_MAX, "memory after each cycle: {after:?}");
    // And it is little: what streams need goes back, or is there for the next ones.
    let held = numbers(&report, "/server_rss_held");
    assert!(growth_a_cycle(&held) < GROWTH_MAX, "memory with each cycle's streams: {held:?}");
    gateway.expect_metric("tidegate_subscribers", &[], 0.0);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
    gateway.expect_metric("tidegate_topics", &[], 0.0);
    gateway.expect_metric("tidegate_streams_opened_total", &[], opened as f64);
}

#[test]
fn no_stream_is_always_among_the_last() {
    let _alone = alone();
    let gateway = Gateway::start();
    let args = "--streams 1000 --rate 20 --duration 5s --settle 60s --fairness";
    let report = loadtest(&gateway, "fanout", args);
    assert_eq!(number(&report, "/fairness/streams"), 1000);
    assert_eq!(number(&report, "/fairness/streams_always_last"), 0);
    // By chance it is a tenth of the time; of some hundred events, never nearly all.
    let share = report["fairness"]["last_tenth_share_max"].as_f64().expect("a share");
    assert!(share < 0.6, "{:#}", report["fairness"]);
}
