//! What a shard needs to know of a stream route, in the units it counts in. Streams have the number of
//! theirs, and share what is here.

use std::sync::Arc;

use super::audience::Kind;
use super::ring::RingBounds;
use crate::config::schema::{Slow, TopicField};
use crate::sse::{Epoch, Frame};
use crate::subscribe::control::{ControlEvents, heartbeat_ms};
use crate::subscribe::{RouteId, RouteSettings};

/// One route.
pub(super) struct StreamRoute {
    /// Its template; absent for the streams of app servers that clients share.
    pub(super) path: Option<Arc<str>>,
    pub(super) bounds: RingBounds,
    /// Absent without heartbeats.
    pub(super) heartbeat_ms: Option<u64>,
    pub(super) lifetime_ms: u64,
    pub(super) slow: Slow,
    pub(super) resume: bool,
    pub(super) broadcast: bool,
    tells_topics: bool,
    pub(super) control: ControlEvents,
    /// The heartbeat of this moment, and the `seq` it was made for.
    heartbeat: Option<(u64, Frame)>,
}

impl StreamRoute {
    pub(super) fn new(route: &RouteSettings, epoch: Epoch) -> Self {
        let settings = &route.stream;
        Self {
            path: route.path.clone(),
            bounds: RingBounds {
                frames_max: settings.ring_frames_max,
                bytes_max: settings.ring_bytes_max.0,
            },
            heartbeat_ms: heartbeat_ms(settings),
            lifetime_ms: settings.max_lifetime.0.as_millis() as u64,
            slow: settings.slow,
            resume: settings.resume,
            broadcast: settings.broadcast,
            tells_topics: settings.topic_field == TopicField::Comment,
            control: ControlEvents::new(settings, epoch),
            heartbeat: None,
        }
    }

    /// What its audiences have in common.
    pub(super) fn kind(&self, route: RouteId) -> Kind {
        Kind {
            route,
            broadcast: self.broadcast,
            tells_topics: self.tells_topics,
            bounds: self.bounds,
        }
    }

    /// The heartbeat of streams that have everything up to `head`, made once for all of them.
    pub(super) fn heartbeat_at(&mut self, head: u64) -> Frame {
        if let Some((made_for, frame)) = &self.heartbeat
            && *made_for == head
        {
            return frame.clone();
        }
        let frame = self.control.heartbeat(head);
        self.heartbeat = Some((head, frame.clone()));
        frame
    }
}

/// All routes of a shard, by their ids; those that a reload has taken away too, since streams keep theirs.
pub(super) struct StreamRoutes(pub(super) Vec<StreamRoute>);

impl std::ops::Index<RouteId> for StreamRoutes {
    type Output = StreamRoute;

    fn index(&self, id: RouteId) -> &StreamRoute {
        &self.0[id.index()]
    }
}

impl std::ops::IndexMut<RouteId> for StreamRoutes {
    fn index_mut(&mut self, id: RouteId) -> &mut StreamRoute {
        &mut self.0[id.index()]
    }
}
