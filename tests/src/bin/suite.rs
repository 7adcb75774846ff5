//! `rapport` as a program that the tests of this crate may kill: Cargo builds the programs of a
//! crate before its tests, and `rapport` belongs to another one.

use std::io::Write as _;

use clap::Parser as _;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let environment = std::env::vars().collect();
    let context = rapport::cli::Context { environment };
    match rapport::cli::run(rapport::cli::Cli::parse(), context).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "rapport: {error:#}");
            std::process::ExitCode::from(rapport::cli::exit_code(&error))
        }
    }
}
