//! A process of its own, for what is one per process: globals, signals, standard output. It
//! is this same test binary, told to run one test.

use std::process::Command;

const CHILD: &str = "RAPPORT_TEST_CHILD";

/// True in the process that [`command`] starts.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// `test` is the path of the test that calls this.
pub(crate) fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", test]).env(CHILD, "1");
    command
}

/// What it printed, once it has succeeded.
pub(crate) fn run(test: &str) -> String {
    let output = command(test).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "there is no test {test}: {text}");
    text
}

/// The lines that are JSON.
pub(crate) fn log(text: &str) -> Vec<serde_json::Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
