//! See `rapport --help`.

use std::io::Write as _;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    server::layers::panic::install_hook();
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let context = rapport::cli::Context { environment };
    match rapport::cli::run(rapport::cli::Cli::parse(), context).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            // The terminal may be gone.
            let _ = writeln!(std::io::stderr(), "rapport: {error:#}");
            std::process::ExitCode::from(rapport::cli::exit_code(&error))
        }
    }
}
