//! `make bench`: see `journeys::bench`.
//!
//! `bench [--quick] [--dir DIR]` measures; `bench door …` is a floor that it starts itself.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use journeys::bench::{self, Door, Plan};

// As the measured program: the floors must not pay for another allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure the suite, each figure beside its floor in the same run.
#[derive(Debug, Parser)]
struct Cli {
    /// Short phases and few customers: shows that everything works, the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Where data and logs go; data of an earlier run is removed. The report is DIR.md.
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a floor of reads (started by the bench itself).
    #[command(hide = true)]
    Door(DoorArguments),
}

#[derive(Debug, Args)]
struct DoorArguments {
    /// The keys of the suite.
    #[arg(long)]
    keys: PathBuf,
    /// The port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// A file with the encoded answer.
    #[arg(long)]
    answer: PathBuf,
    /// A database to read the answer from.
    #[arg(long)]
    database: Option<String>,
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the report, and progress")]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(Command::Door(door)) = cli.command {
        let environment = std::env::vars().collect();
        let DoorArguments { keys, port, answer, database } = door;
        bench::serve(Door { keys, port, answer, database, environment }).await?;
        return Ok(ExitCode::SUCCESS);
    }
    // Its parent directory's name is the profile: target/dist/bench.
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(|directory| directory.file_name());
    let profile = profile.unwrap_or_default().to_string_lossy().into_owned();
    let report = cli.dir.with_extension("md");
    let plan = Plan { quick: cli.quick, directory: cli.dir, profile };
    let (text, complete) = bench::run(plan, |step| eprintln!("    bench: {step}")).await?;
    println!("\n{text}");
    std::fs::write(&report, &text)?;
    eprintln!("    bench: written to {}", report.display());
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
