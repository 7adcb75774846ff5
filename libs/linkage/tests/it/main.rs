//! Tests of the linkage engine from outside.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod graph;
mod normalise;
mod stream;
mod world;
