//! `rapport` as a program that the tests of this crate may kill: Cargo builds the programs of a
//! crate before its tests, and `rapport` belongs to another one.

use clap::Parser as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = std::env::vars().collect();
    rapport::cli::run(rapport::cli::Cli::parse(), rapport::cli::Context { environment }).await
}
