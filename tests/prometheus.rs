//! The gateway as Prometheus and Grafana see it: what it counts, what a scrape costs, and that the
//! dashboard and the alerts of `deploy/` work on it. Prometheus is the real one.

mod support;

#[path = "prometheus/alerts.rs"]
mod alerts;
#[path = "prometheus/dashboard.rs"]
mod dashboard;
#[path = "prometheus/exposition.rs"]
mod exposition;
#[path = "prometheus/load.rs"]
mod load;
#[path = "prometheus/page.rs"]
mod page;
#[path = "prometheus/server.rs"]
mod server;
