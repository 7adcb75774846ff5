//! `make faults`: the whole fault matrix against the `rapport` beside this program, with full
//! durability. Prints a table; a violation is exit code 1.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the output of a command")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use journeys::faults::{self, Plan};

#[tokio::main]
async fn main() -> ExitCode {
    let started = Instant::now();
    match run().await {
        Ok(report) => {
            println!("{report}\n{:.0?} in all", started.elapsed());
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<faults::report::Report> {
    let here = std::env::current_exe()?;
    let beside = here.parent().context("this program is in a directory")?;
    let target = beside.parent().context("the target directory")?;
    let plan = Plan {
        program: beside.join("rapport"),
        directory: target.join(format!("faults-{}", std::process::id())),
        suite_kills: 10,
        postgres_kills: 3,
        redis_flushes: 3,
        progress: 60,
        resumes: true,
    };
    println!(
        "killing {} in the middle of its work; data in {}",
        plan.program.display(),
        plan.directory.display()
    );
    faults::run(&plan).await
}
