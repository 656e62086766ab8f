//! From the shards' cells to the Prometheus text format, by way of the prometheus crate's model.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, MetricFamily, MetricType};
use prometheus::{TextEncoder, proto};
use rustix::time::{ClockId, clock_gettime};

use super::cells::HistogramSnapshot;
use super::table::{METRICS, Metric, Source};
use super::{Metrics, ShardMetrics, Standing, Upstream, UpstreamMetrics};

pub(super) fn render(metrics: &Metrics, standing: Standing) -> String {
    let upstreams = metrics.known_upstreams();
    let families =
        METRICS.iter().map(|metric| family(metric, &metrics.cells, &upstreams, standing));
    // The format has no place for one without samples: there are no app servers.
    let mut families: Vec<_> = families.filter(|family| !family.get_metric().is_empty()).collect();
    families.extend(process(&metrics.process));
    TextEncoder::new()
        .encode_to_string(&families)
        .expect("families from the table have names and samples")
}

/// What the prometheus crate says of the process, except that it counts whole seconds of CPU time.
fn process(collector: &ProcessCollector) -> Vec<MetricFamily> {
    let mut families = collector.collect();
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
    for cpu in families.iter_mut().filter(|family| family.name() == "process_cpu_seconds_total") {
        cpu.set_metric(vec![counter(seconds)]);
    }
    families
}

fn family(
    metric: &Metric,
    shards: &[Arc<ShardMetrics>],
    upstreams: &[Arc<Upstream>],
    standing: Standing,
) -> MetricFamily {
    let total = |read: &dyn Fn(&ShardMetrics) -> u64| {
        shards.iter().map(|shard| read(shard)).sum::<u64>() as f64
    };
    let (kind, samples) = match &metric.source {
        Source::BuildInfo => {
            (MetricType::GAUGE, vec![labelled(gauge(1.0), "version", env!("CARGO_PKG_VERSION"))])
        }
        Source::Standing(read) => (MetricType::GAUGE, vec![gauge(read(&standing))]),
        Source::Gauge(read) => (MetricType::GAUGE, vec![gauge(total(read))]),
        Source::GaugeBy(name, labels, read) => (
            MetricType::GAUGE,
            by_label(name, labels, |index| gauge(total(&|shard| read(shard, index)))),
        ),
        Source::Counter(read) => (MetricType::COUNTER, vec![counter(total(read))]),
        Source::CounterBy(name, labels, read) => (
            MetricType::COUNTER,
            by_label(name, labels, |index| counter(total(&|shard| read(shard, index)))),
        ),
        Source::Histogram(read) => {
            (MetricType::HISTOGRAM, vec![histogram(shards.iter().map(|shard| read(shard)))])
        }
        Source::UpstreamGauge(read) => {
            (MetricType::GAUGE, by_upstream(upstreams, |upstream| gauge(sum(upstream, read))))
        }
        Source::UpstreamCounter(read) => {
            (MetricType::COUNTER, by_upstream(upstreams, |upstream| counter(sum(upstream, read))))
        }
        Source::UpstreamCounterBy(name, labels, read) => {
            let samples = labels.iter().enumerate().flat_map(|(index, label)| {
                by_upstream(upstreams, |upstream| {
                    let total = sum(upstream, |cells| read(cells, index));
                    labelled(counter(total), name, label)
                })
            });
            (MetricType::COUNTER, samples.collect())
        }
        Source::UpstreamHistogram(read) => {
            let sample =
                |upstream: &Upstream| histogram(upstream.cells.iter().map(|cells| read(cells)));
            (MetricType::HISTOGRAM, by_upstream(upstreams, sample))
        }
    };
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples);
    family
}

fn by_upstream(
    upstreams: &[Arc<Upstream>],
    sample: impl Fn(&Upstream) -> proto::Metric,
) -> Vec<proto::Metric> {
    let labelled =
        |upstream: &Arc<Upstream>| labelled(sample(upstream), "upstream", &upstream.name);
    upstreams.iter().map(labelled).collect()
}

fn sum(upstream: &Upstream, read: impl Fn(&UpstreamMetrics) -> u64) -> f64 {
    upstream.cells.iter().map(|cells| read(cells)).sum::<u64>() as f64
}

fn by_label(
    name: &str,
    labels: &[&str],
    sample: impl Fn(usize) -> proto::Metric,
) -> Vec<proto::Metric> {
    labels.iter().enumerate().map(|(index, label)| labelled(sample(index), name, label)).collect()
}

fn labelled(mut sample: proto::Metric, name: &str, value: &str) -> proto::Metric {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    let mut labels = sample.take_label();
    labels.push(label);
    sample.set_label(labels);
    sample
}

fn gauge(value: f64) -> proto::Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut sample = proto::Metric::default();
    sample.set_gauge(gauge);
    sample
}

fn counter(value: f64) -> proto::Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut sample = proto::Metric::default();
    sample.set_counter(counter);
    sample
}

fn histogram(shards: impl Iterator<Item = HistogramSnapshot>) -> proto::Metric {
    let total = shards.reduce(|mut total, shard| {
        total.merge(&shard);
        total
    });
    let mut histogram = Histogram::default();
    if let Some(total) = total {
        let mut below = 0;
        let buckets = total.bounds.iter().zip(total.counts).map(|(&bound, count)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(total.counts.iter().sum());
        histogram.set_sample_sum(total.sum_ns as f64 / 1e9);
    }
    let mut sample = proto::Metric::default();
    sample.set_histogram(histogram);
    sample
}

#[cfg(test)]
mod tests {
    //! The text of a scrape, and that the table and the text agree.

    use std::time::{Duration, Instant};

    use super::super::{Closed, Protocol};
    use super::*;

    const READY: Standing = Standing { is_ready: true, mailbox_fill: 0.25 };

    #[test]
    fn shards_are_summed_and_labelled() {
        let metrics = Metrics::new(2, ["app", "other"], Instant::now());
        metrics.shard(0).subscribers[Protocol::Http1 as usize].add(3);
        metrics.shard(1).subscribers[Protocol::Http1 as usize].add(4);
        metrics.shard(1).streams_closed[Closed::Client.index()].add(1);
        metrics.shard(0).fanout.observe(Duration::from_micros(60));
        let app = [0, 1].map(|shard| metrics.upstreams(shard).remove(0));
        app[0].count_answer(200, Duration::from_micros(150));
        app[1].count_answer(204, Duration::from_micros(150));
        app[1].count_answer(999, Duration::from_secs(1));
        app[1].count_unanswered();
        let text = metrics.render(READY);
        for line in [
            "tidegate_upstream_requests_total{code=\"2xx\",upstream=\"app\"} 2",
            "tidegate_upstream_requests_total{code=\"5xx\",upstream=\"app\"} 1",
            "tidegate_upstream_requests_total{code=\"none\",upstream=\"app\"} 1",
            "tidegate_upstream_requests_total{code=\"2xx\",upstream=\"other\"} 0",
            "tidegate_upstream_request_seconds_count{upstream=\"app\"} 3",
            "tidegate_upstream_request_seconds_bucket{upstream=\"app\",le=\"0.0002\"} 2",
            "tidegate_upstream_tunnels{upstream=\"app\"} 0",
            "tidegate_ready 1",
            "tidegate_mailbox_fill_ratio 0.25",
            "tidegate_subscribers{protocol=\"http1\"} 7",
            "tidegate_streams_closed_total{reason=\"client\"} 1",
            "tidegate_fanout_seconds_bucket{le=\"0.00005\"} 0",
            "tidegate_fanout_seconds_bucket{le=\"0.0001\"} 1",
            "tidegate_fanout_seconds_bucket{le=\"+Inf\"} 1",
            "tidegate_fanout_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn without_app_servers_nothing_is_said_of_them() {
        let text = Metrics::new(1, [], Instant::now()).render(READY);
        assert!(!text.contains("tidegate_upstream"), "{text}");
    }

    #[test]
    fn every_metric_of_the_table_is_rendered_with_help_and_type() {
        let text = Metrics::new(1, ["app"], Instant::now()).render(READY);
        for metric in METRICS {
            assert!(text.contains(&format!("# HELP {} ", metric.name)), "{}", metric.name);
            assert!(text.contains(&format!("# TYPE {} {}", metric.name, metric.kind())));
        }
        assert!(text.contains("process_resident_memory_bytes"));
        // A test has used some CPU time, and not a whole number of seconds.
        let cpu = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
        let cpu: f64 = cpu.and_then(|seconds| seconds.parse().ok()).expect("a number");
        assert!(cpu.fract() > 0.0, "{cpu}");
    }
}
