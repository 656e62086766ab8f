//! How long a server takes from exec to its first 200, and what it holds in memory then.

use serde_json::{Value, json};

use crate::clock::now_ns;
use crate::compare::figures::median;
use crate::compare::servers::{Server, Site};
use crate::probe;

pub(super) fn measure(site: &Site, server: Server, times: u32) -> Result<Value, String> {
    let (mut starts_ms, mut rss_bytes) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let begin = now_ns();
        let running = site.start(server)?;
        starts_ms.push((now_ns() - begin) as f64 / 1e6);
        let rss: Option<u64> = running.pids.iter().map(|pid| probe::rss_bytes(*pid)).sum();
        rss_bytes.push(rss.ok_or("the server is gone")? as f64);
    }
    Ok(json!({
        "scenario": "start",
        "start_ms": median(&starts_ms),
        "rss_bytes": median(&rss_bytes),
        "starts_ms": starts_ms,
    }))
}
