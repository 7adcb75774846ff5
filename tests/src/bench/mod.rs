//! `make bench`: each figure beside its floor, measured in the same run.
//!
//! The suite runs as the real binary in a process of its own, on durable servers, so CPU is read
//! per process; this process is only the client. Floors: `floor` writes the rows of the ingest
//! path with nothing but SQL, `door` answers a read behind the same layers with nothing, or with
//! one SELECT, behind it. Rates are medians of one-second windows; latency is measured open loop, each
//! call at its appointed time whatever became of those before (coordinated omission).
//!
//! Deliberately absent: assertions on figures. A missed number is a row that says so; only a
//! measurement that could not be made fails the run.

mod alone;
mod cpu;
mod door;
mod doors;
mod floor;
mod http;
mod idle;
mod import;
mod ingest;
mod latency;
mod load;
mod meter;
mod outage;
mod process;
mod reads;
mod resources;
mod run;
mod table;
mod turns;
mod whole;
mod wire;

pub use door::{Door, serve};
pub use run::{Plan, run};
