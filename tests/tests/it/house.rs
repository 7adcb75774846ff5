//! The rules of the house (DESIGN 2), read from `cargo metadata` and the source text. Every
//! breach is named with file and line, or with the manifest it stands in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const LONGEST_FILE: usize = 500;

/// Pure and synchronous: no input or output, no clock, no randomness.
const ENGINES: [&str; 4] = ["aggregate", "linkage", "predicate", "learn"];
const NOT_IN_PURE_CODE: [&str; 13] = [
    "tonic::",
    "sqlx::",
    "redis::",
    "tokio::",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "Uuid::new_v4",
    "Uuid::now_v7",
    "rand::",
    "std::fs",
    "std::net",
];
const FORBIDDEN_TO_ENGINES: [&str; 5] = ["tonic", "sqlx", "redis", "tokio", "server"];

/// What belongs to a process, and so to `services/rapport` alone.
const OF_THE_PROCESS: [&str; 10] = [
    "std::env",
    "env::var",
    "env::args",
    "process::exit",
    "set_hook",
    "set_global_default",
    "set_tracer_provider",
    ".try_init(",
    "telemetry::install(",
    "#[global_allocator]",
];

/// Where a word of [`OF_THE_PROCESS`] may stand besides `services/rapport`, and why.
const EXCEPTIONS: [(&str, &str, &str); 6] = [
    ("libs/testkit/src/", "", "development only: test servers can be given by the environment"),
    ("libs/embedded/src/binaries.rs", "env::", "PATH says where the servers' programs are"),
    ("libs/embedded/src/binaries.rs", "std::env", "PATH says where the servers' programs are"),
    ("libs/embedded/src/postgres.rs", "std::env", "hands a few variables on to its child"),
    ("libs/server/src/layers/panic.rs", "set_hook", "offered to main, which calls it"),
    ("libs/server/src/telemetry.rs", ".try_init(", "offered to main, which calls it"),
];

#[derive(Debug, PartialEq, Eq)]
struct Breach {
    place: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place, self.line, self.rule)
    }
}

#[test]
fn source_files_keep_the_rules_of_the_house() {
    let root = root();
    let mut breaches = Vec::new();
    let mut files = 0;
    for (path, text) in sources(&root) {
        files += 1;
        breaches.extend(breaches_of(&path, &text));
    }
    assert!(files > 100, "only {files} source files were found");
    assert!(breaches.is_empty(), "{}", listed(&breaches));
}

#[test]
fn crates_depend_on_each_other_as_the_design_says() {
    let breaches = breaches_of_manifests(&metadata(&root()));
    assert!(breaches.is_empty(), "{}", listed(&breaches));
}

#[test]
fn a_breach_of_each_rule_is_found() {
    const NONE: [usize; 0] = [];
    let rules = |path: &str, text: &str| {
        breaches_of(path, text).into_iter().map(|breach| breach.line).collect::<Vec<_>>()
    };
    assert_eq!(rules("services/x/src/domain/a.rs", "//! a\nuse tokio::sync::Mutex;\n"), [2]);
    assert_eq!(rules("libs/learn/src/a.rs", "let now = Timestamp::now();\n"), [1]);
    assert_eq!(rules("services/x/src/store/a.rs", "use contracts::profile::v1;\n"), [1]);
    assert_eq!(rules("services/x/src/api/a.rs", "\n\nlet home = std::env::var(\"HOME\");\n"), [3]);
    assert_eq!(rules("libs/feed/src/a.rs", "std::process::exit(1)\n"), [1]);
    assert_eq!(rules("services/rapport/src/main.rs", "std::process::exit(1)\n"), NONE);
    assert_eq!(rules("services/x/src/api/a.rs", &"\n".repeat(LONGEST_FILE)), [LONGEST_FILE]);
    // Words in comments, and tests at the end of a file, are not the rule's business.
    assert_eq!(rules("services/x/src/domain/a.rs", "// tokio::spawn would not do\n"), NONE);
    let tested = "fn a() {}\n#[cfg(test)]\nmod tests { use tokio::time; }\n";
    assert_eq!(rules("services/x/src/domain/a.rs", tested), NONE);

    let manifests = serde_json::json!({"packages": [
        package("routing", "services/routing", &[("scoring", None), ("identity", Some("dev"))]),
        package("scoring", "services/scoring", &[]),
        package("identity", "services/identity", &[]),
        package("learn", "libs/learn", &[("tokio", None)]),
        package("store", "libs/store", &[("contracts", None), ("scoring", None)]),
    ]});
    let found: Vec<String> =
        breaches_of_manifests(&manifests).into_iter().map(|breach| breach.rule).collect();
    assert_eq!(
        found,
        [
            "a service depends on the service scoring",
            "an engine depends on tokio",
            "store depends on contracts",
            "a library depends on the service scoring",
        ]
    );
}

fn package(name: &str, at: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
    let dependencies: Vec<Value> = dependencies
        .iter()
        .map(|(name, kind)| serde_json::json!({"name": name, "kind": kind}))
        .collect();
    let manifest = format!("/w/{at}/Cargo.toml");
    serde_json::json!({"name": name, "manifest_path": manifest, "dependencies": dependencies})
}

fn breaches_of(path: &str, text: &str) -> Vec<Breach> {
    let breach =
        |line: usize, rule: String| Breach { place: path.to_owned(), line: line + 1, rule };
    let mut breaches = Vec::new();
    let length = text.lines().count();
    if length >= LONGEST_FILE {
        let rule = format!("{length} lines: a file of {LONGEST_FILE} lines is two ideas");
        breaches.push(breach(length - 1, rule));
    }
    let is_engine = ENGINES.iter().any(|name| path.starts_with(&format!("libs/{name}/src/")));
    let is_pure = is_engine || is_inside(path, "domain");
    let is_store = is_inside(path, "store") || path.starts_with("libs/store/src/");
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        if is_pure && let Some(word) = found(code, &NOT_IN_PURE_CODE) {
            breaches.push(breach(number, format!("pure code uses {word}")));
        }
        if is_store && code.contains("contracts::") {
            breaches.push(breach(number, "a store speaks the words of the contracts".to_owned()));
        }
        if let Some(word) = found(code, &OF_THE_PROCESS).filter(|word| !may_use(path, word)) {
            breaches.push(breach(number, format!("only services/rapport may use {word}")));
        }
    }
    breaches
}

/// `services/<name>/src/<room>/…` or `services/<name>/src/<room>.rs`.
fn is_inside(path: &str, room: &str) -> bool {
    let Some((service, rest)) = path.split_once("/src/") else { return false };
    service.starts_with("services/")
        && (rest.starts_with(&format!("{room}/")) || rest == format!("{room}.rs"))
}

fn found<'a>(code: &str, words: &[&'a str]) -> Option<&'a str> {
    words.iter().copied().find(|word| code.contains(word))
}

fn may_use(path: &str, word: &str) -> bool {
    path.starts_with("services/rapport/src/")
        || EXCEPTIONS
            .iter()
            .any(|(place, part, _why)| path.starts_with(place) && word.contains(part))
}

fn breaches_of_manifests(metadata: &Value) -> Vec<Breach> {
    let empty = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    let is_at = |package: &Value, place: &str| {
        package["manifest_path"].as_str().is_some_and(|path| path.contains(place))
    };
    let services: Vec<&str> = packages
        .iter()
        .filter(|package| is_at(package, "/services/"))
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut breaches = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let place = package["manifest_path"].as_str().unwrap_or_default();
        let (is_service, is_library) = (is_at(package, "/services/"), is_at(package, "/libs/"));
        for dependency in package["dependencies"].as_array().unwrap_or(&empty) {
            let other = dependency["name"].as_str().unwrap_or_default();
            if dependency["kind"] == "dev" {
                continue;
            }
            let mut breach = |rule: String| {
                breaches.push(Breach { place: place.to_owned(), line: 1, rule });
            };
            if services.contains(&other) && is_service && name != "rapport" {
                breach(format!("a service depends on the service {other}"));
            }
            if services.contains(&other) && is_library {
                breach(format!("a library depends on the service {other}"));
            }
            if ENGINES.contains(&name) && FORBIDDEN_TO_ENGINES.contains(&other) {
                breach(format!("an engine depends on {other}"));
            }
            if name == "store" && other == "contracts" {
                breach("store depends on contracts".to_owned());
            }
        }
    }
    breaches
}

fn listed(breaches: &[Breach]) -> String {
    let lines: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    format!("{} breach(es) of the rules of the house\n{}", breaches.len(), lines.join("\n"))
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the workspace").to_owned()
}

/// Every hand-written source file as (path from the root, text).
fn sources(root: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for area in ["libs", "services"] {
        let area = root.join(area);
        for entry in std::fs::read_dir(&area).expect("the area") {
            collect(&entry.expect("an entry").path().join("src"), &mut files);
        }
    }
    files.sort();
    let text = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a readable source file");
        let short = path.strip_prefix(root).expect("below the root").display().to_string();
        (short, text)
    };
    files.into_iter().map(text).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "gen") {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

fn metadata(root: &Path) -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("metadata is JSON")
}
