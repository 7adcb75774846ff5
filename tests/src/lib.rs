//! What is tried against the running suite, as library of the programs and tests beside it.

pub mod bench;
pub mod faults;
mod process;
pub mod sdks;
