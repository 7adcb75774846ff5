//! What a process writes about itself. The globals are installed in a child: this same test
//! binary, told to run one test.

use std::process::Command;

use serde::Deserialize;
use server::telemetry::{self, Settings};
use server::{layers, settings};

const CHILD: &str = "RAPPORT_TEST_CHILD";

#[tokio::test]
async fn lines_carry_trace_ids_and_a_panic_logs_its_place_only() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("logs::lines_carry_trace_ids_and_a_panic_logs_its_place_only")
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!text.contains("ada@example.com"), "{text}");
    let lines: Vec<serde_json::Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let event = |name: &str| lines.iter().find(|line| line["event"] == name).unwrap();
    assert!(event("panic")["location"].as_str().unwrap().contains("logs.rs:"));
    assert_eq!(event("hello")["spans"][0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

fn child() {
    #[derive(Deserialize)]
    struct Whole {
        telemetry: Settings,
    }
    let settings = settings::load::<Whole>(telemetry::DEFAULTS, &[]).unwrap().telemetry;
    let guard = telemetry::install("test", &settings).unwrap();
    layers::panic::install_hook();
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    tracing::info_span!("rpc", trace_id).in_scope(|| tracing::info!(event = "hello"));
    let panicked = std::thread::spawn(|| panic!("row of ada@example.com is damaged")).join();
    assert!(panicked.is_err());
    guard.flush();
}
