//! The bytes a gateway sends, read incrementally: response head, chunked body,
//! SSE frames. Each part accepts input cut at any byte and allocates nothing
//! once a connection is warm. Nothing here knows what a frame means.

pub(crate) mod chunk;
pub(crate) mod head;
pub(crate) mod sse;
