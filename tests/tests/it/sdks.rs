//! Libraries that nobody here wrote deliver everything once, through whatever happens.

use std::path::{Path, PathBuf};

use futures::future::join_all;
use journeys::faults::report::Report;
use journeys::sdks::{
    ANALYTICS_NEXT, ANALYTICS_NEXT_SINGLE, Plan, SERVER_SIDE, Sdk, attempt, audit, run,
};

use crate::world::{World, tenant};

/// By each SDK.
const EVENTS: usize = 20_000;
/// Of a browser that makes a request for each: as many as a visitor of a busy year.
const SINGLE_EVENTS: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn five_sdks_of_servers_deliver_everything_once_through_faults() {
    let report = deliver(SERVER_SIDE.map(|sdk| (sdk, EVENTS)).to_vec()).await;
    println!("{report}");
    assert!(report.is_good(), "\n{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_of_browsers_delivers_everything_once_through_faults() {
    let sdks = vec![(ANALYTICS_NEXT, EVENTS), (ANALYTICS_NEXT_SINGLE, SINGLE_EVENTS)];
    let report = deliver(sdks).await;
    println!("{report}");
    assert!(report.is_good(), "\n{report}");
}

async fn deliver(sdks: Vec<(Sdk, usize)>) -> Report {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_suite"));
    let plan = Plan { program, directory: directory(), sdks };
    run(&plan).await.expect("carried out")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_delivers_page_track_and_identify() {
    let world = World::start().await;
    let owner = tenant();
    let write_key = world.token(owner, &["profile:ingest"]);
    let (host, logs) = (world.suite.http_address(), directory());
    std::fs::create_dir_all(&logs).expect("a directory");
    let sdk = ANALYTICS_NEXT_SINGLE;
    // The first two are an identify and a page; then tracks.
    let delivered = attempt(&sdk, &host, &write_key, 5, &logs).await.expect("carried out");
    assert!(delivered.is_delivered, "{}", delivered.said);
    let mut report = Report::default();
    let client = world.suite.client(owner).expect("a client");
    audit::run(sdk.name, &client, sdk.people, 5, &mut report).await.expect("read");
    assert!(report.is_good(), "\n{report}");
    std::fs::remove_dir_all(&logs).expect("removed");
    world.stop().await;
}

/// Not after minutes of repeats, and not with silence: this is what a newcomer does wrong first.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_write_key_is_reported_at_once_by_each_sdk_of_servers() {
    let world = World::start().await;
    let (host, logs) = (world.suite.http_address(), directory());
    std::fs::create_dir_all(&logs).expect("a directory");
    let attempts = SERVER_SIDE.iter().map(|sdk| attempt(sdk, &host, "not-a-key", 3, &logs));
    for (sdk, refused) in SERVER_SIDE.iter().zip(join_all(attempts).await) {
        let refused = refused.expect(sdk.name);
        assert!(!refused.is_delivered, "{}: {}", sdk.name, refused.said);
        assert!(refused.said.contains(r#""delivered""#), "{}: {}", sdk.name, refused.said);
    }
    std::fs::remove_dir_all(&logs).expect("removed");
    world.stop().await;
}

fn directory() -> PathBuf {
    let name = format!("sdks-{}", uuid::Uuid::new_v4().simple());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
