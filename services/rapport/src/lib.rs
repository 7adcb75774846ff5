//! The one binary of Rapport: everything in one process (`up`), one service (`serve`),
//! operations and the demonstration. The only crate that reads the environment, installs
//! globals or exits; as a library it serves the journeys in `tests/`.

pub mod apply;
pub mod backup;
pub mod bi;
pub mod cli;
pub mod client;
pub mod demo;
pub mod export;
pub mod import;
pub mod ports;
pub mod settings;
pub mod suite;

pub use suite::{Suite, start};
