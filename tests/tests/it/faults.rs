//! The fault matrix in short form: one kill of the suite and one of Postgres in the middle of
//! the work, an empty Redis, then SIGTERM under load. `make faults` is the whole.

use std::path::{Path, PathBuf};

use journeys::faults::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_by_a_crash() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_suite"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let plan = Plan {
        program,
        directory: target.join(format!("faults-{}", uuid::Uuid::new_v4().simple())),
        suite_kills: 1,
        postgres_kills: 1,
        redis_flushes: 1,
        progress: 10,
        resumes: false,
    };
    let report = run(&plan).await.expect("carried out");
    println!("{report}");
    assert!(report.is_good(), "\n{report}");
}
