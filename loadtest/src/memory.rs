//! The gateway's memory over time: first, greatest, last, and the straight line through
//! the second half of the samples, which tells growth from noise and from filling up.

use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Memory {
    first_bytes: u64,
    max_bytes: u64,
    last_bytes: u64,
    /// Bytes for each second, or whatever the samples were taken over, in the second half of them.
    slope_bytes: f64,
}

impl Memory {
    /// `samples` are `(when, bytes)`; `None` of none.
    pub(crate) fn over(samples: &[(f64, u64)]) -> Option<Self> {
        let (&(_, first_bytes), &(_, last_bytes)) = (samples.first()?, samples.last()?);
        let max_bytes = samples.iter().map(|(_, bytes)| *bytes).max()?;
        let slope_bytes = slope(&samples[samples.len() / 2..]);
        Some(Self { first_bytes, max_bytes, last_bytes, slope_bytes })
    }

    pub(crate) fn row(&self, each: &str) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        format!(
            "{:.1} MiB first, {:.1} at most, {:.1} last; slope {:+.0} KiB a {each}",
            mib(self.first_bytes),
            mib(self.max_bytes),
            mib(self.last_bytes),
            self.slope_bytes / 1024.0
        )
    }
}

/// Least squares; 0 where the samples were all taken at one moment.
fn slope(samples: &[(f64, u64)]) -> f64 {
    let count = samples.len() as f64;
    let mean_at = samples.iter().map(|(at, _)| at).sum::<f64>() / count;
    let mean_bytes = samples.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>() / count;
    let (mut rise, mut run) = (0.0, 0.0);
    for &(at, bytes) in samples {
        rise += (at - mean_at) * (bytes as f64 - mean_bytes);
        run += (at - mean_at) * (at - mean_at);
    }
    if run > 0.0 { rise / run } else { 0.0 }
}

/// What belongs here: the line through the later ones of known points.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_second_halfs_line() {
        let filling = [(0.0, 10), (1.0, 20), (2.0, 50), (2.5, 80)];
        let line = [(3.0, 100), (4.0, 90), (5.0, 140), (6.0, 130)];
        let memory = Memory::over(&[filling, line].concat()).unwrap();
        assert_eq!((memory.first_bytes, memory.max_bytes, memory.last_bytes), (10, 140, 130));
        assert!((memory.slope_bytes - 14.0).abs() < 1e-9, "{memory:?}");
        assert_eq!(slope(&[(2.0, 5), (2.0, 9)]), 0.0);
        assert!(Memory::over(&[]).is_none());
    }
}
