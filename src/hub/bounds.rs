//! Other bounds of what the hub remembers, at a reload.

use super::{Hub, KeyBounds};
use crate::history::Bounds;

impl Hub {
    /// Puts other bounds in place, at once for publishers and readers alike.
    pub fn set_bounds(&self, history: Bounds, keys: KeyBounds) {
        let mut order = self.order();
        order.history.set_bounds(history);
        order.keys.set_bounds(keys);
    }
}
