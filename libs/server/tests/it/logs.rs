//! What a process writes about itself.

use server::layers;

use crate::child;
use crate::export::install;

#[tokio::test]
async fn lines_carry_trace_ids_and_a_panic_logs_its_place_only() {
    if child::is_child() {
        return lines();
    }
    let text = child::run("logs::lines_carry_trace_ids_and_a_panic_logs_its_place_only");
    assert!(!text.contains("ada@example.com"), "{text}");
    let lines = child::log(&text);
    let event = |name: &str| lines.iter().find(|line| line["event"] == name).unwrap();
    assert!(event("panic")["location"].as_str().unwrap().contains("logs.rs:"));
    assert_eq!(event("hello")["spans"][0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

fn lines() {
    let guard = install("");
    layers::panic::install_hook();
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    tracing::info_span!("rpc", trace_id).in_scope(|| tracing::info!(event = "hello"));
    let panicked = std::thread::spawn(|| panic!("row of ada@example.com is damaged")).join();
    assert!(panicked.is_err());
    guard.flush();
}
