//! Latencies as they are added up and as they travel between processes: a histogram in
//! nanoseconds, serialized as the pairs `(value, count)` of its buckets. All histograms
//! have the same bounds, so nothing is lost on the way.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Latencies are kept in nanoseconds to three digits, up to a minute.
pub(crate) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

/// Adds `other` to `sum`; both are from [`latency_histogram`].
pub(crate) fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other).expect("both have the same bounds");
}

pub(crate) fn serialize<S: Serializer>(of: &Histogram<u64>, to: S) -> Result<S::Ok, S::Error> {
    let pairs = of.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value()));
    pairs.collect::<Vec<(u64, u64)>>().serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Histogram<u64>, D::Error> {
    let mut histogram = latency_histogram();
    for (value, count) in Vec::<(u64, u64)>::deserialize(from)? {
        histogram.record_n(value, count).map_err(D::Error::custom)?;
    }
    Ok(histogram)
}

/// What belongs here: there and back.
#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Carried(#[serde(with = "super")] Histogram<u64>);

    #[test]
    fn a_histogram_survives_the_way_between_processes() {
        let mut histogram = latency_histogram();
        (1..5000).for_each(|n: u64| histogram.saturating_record(n * n * 977));
        histogram.saturating_record(u64::MAX);
        let text = serde_json::to_string(&Carried(histogram.clone())).unwrap();
        let Carried(back) = serde_json::from_str(&text).unwrap();
        assert_eq!(back, histogram);
        assert_eq!(back.value_at_quantile(0.99), histogram.value_at_quantile(0.99));
    }
}
