//! A reload, on one shard: what is new is taken over in one go, between two turns of the loop. So a
//! request sees either all of the old settings or all of the new ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::accept::{Public, Ways};
use super::places::Places;
use super::streams::Streams;
use crate::metrics::Metrics;
use crate::settings::{Settings, SettingsWatch};

/// The parts of a shard that settings are for.
pub(super) struct Adopting {
    pub(super) index: usize,
    pub(super) metrics: Arc<Metrics>,
    pub(super) streams: Rc<RefCell<Streams>>,
    pub(super) public: Rc<Public>,
    pub(super) places: Rc<Places>,
}

impl Adopting {
    /// Takes over whatever is published, and says so each time.
    pub(super) async fn run(self, mut settings: SettingsWatch, adopted: mpsc::Sender<()>) {
        while let Some(settings) = settings.changed().await {
            self.adopt(&settings);
            // It fails only when the gateway is gone.
            let _ = adopted.send(()).await;
        }
    }

    fn adopt(&self, settings: &Settings) {
        self.streams.borrow_mut().adopt(&settings.config, &settings.routes);
        self.places.set_max(settings.connections_max);
        let old = Rc::clone(&self.public.ways.borrow());
        let proxy = match old.proxy.follows(&settings.plan) {
            true => Rc::clone(&old.proxy),
            false => {
                let metrics = self.metrics.upstreams(self.index);
                Rc::new(old.proxy.renewed(Arc::clone(&settings.plan), metrics))
            }
        };
        proxy.bound_events(settings.config.publish.event_bytes_max.0);
        let (routes, hooks) = (Arc::clone(&settings.routes), Arc::clone(&settings.hooks));
        *self.public.ways.borrow_mut() = Rc::new(Ways { routes, hooks, proxy });
    }
}
