//! What is promised of the fold, from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod codec;
mod features;
mod monoid;
mod retail;
mod sample;
