//! `docs/errors.md`, `docs/config.md` and half of `docs/apply.md` are what the contracts and
//! the default settings say.
//! `UPDATE_DOCS=1` writes them anew.
#![expect(clippy::expect_used, clippy::panic, reason = "a test file: a failure is the message")]

#[path = "docs/formats.rs"]
mod formats;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;

/// The code of a reason that always comes with the same one. The tests of `libs/server` hold
/// those of the kinds of faults against `server::status`.
const CODES: [(&str, &str); 19] = [
    ("INVALID_FIELD", "INVALID_ARGUMENT"),
    ("MALFORMED_MESSAGE", "INVALID_ARGUMENT"),
    ("MESSAGE_TOO_LARGE", "RESOURCE_EXHAUSTED"),
    ("TOKEN_INVALID", "UNAUTHENTICATED"),
    ("SCOPE_MISSING", "PERMISSION_DENIED"),
    ("NOT_FOUND", "NOT_FOUND"),
    ("ETAG_MISMATCH", "ABORTED"),
    ("REQUEST_ID_REUSED", "INVALID_ARGUMENT"),
    ("WRONG_STATE", "FAILED_PRECONDITION"),
    ("TOKEN_MISMATCH", "INVALID_ARGUMENT"),
    ("FEED_TRUNCATED", "OUT_OF_RANGE"),
    ("OVERLOADED", "RESOURCE_EXHAUSTED"),
    ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    ("UNAVAILABLE", "UNAVAILABLE"),
    ("INTERNAL", "INTERNAL"),
    ("OFFER_GONE", "FAILED_PRECONDITION"),
    ("CONFLICT", "ABORTED"),
    ("IN_USE", "FAILED_PRECONDITION"),
    ("ORIGIN_REFUSED", "PERMISSION_DENIED"),
];

#[test]
fn the_list_of_errors_is_what_the_contract_says() {
    let mut text = String::from(
        "# Errors\n\n<!-- Generated from proto/rapport/common/v1/error_reason.proto; \
         `make gen` writes it anew. -->\n\n\
         Every failed call carries `google.rpc.ErrorInfo` with `domain` = `rapport.dev` and one of \
         these as `reason`.\nPrograms decide by the reason, people read the message. Repeat a call \
         only where `google.rpc.RetryInfo`\nsays so, or where the meaning below does; a dash means \
         that the code depends on the call.\n\n\
         | reason | code | meaning |\n|---|---|---|\n",
    );
    for (reason, meaning) in reasons() {
        let code = CODES.iter().find(|(name, _)| *name == reason).map_or("–", |(_, code)| code);
        writeln!(text, "| `{reason}` | {code} | {} |", cell(&meaning)).expect("text");
    }
    compare("docs/errors.md", &text);
}

#[test]
fn every_reason_that_the_code_gives_stands_in_the_contract() {
    let known: BTreeSet<String> = reasons().into_iter().map(|(reason, _)| reason).collect();
    for (reason, _) in CODES {
        assert!(known.contains(reason), "{reason} is not in the contract");
    }
    let mut sources = Vec::new();
    for group in ["libs", "services"] {
        for member in entries(&root().join(group)) {
            files(&member.join("src"), &mut sources);
        }
    }
    let mut given = BTreeSet::new();
    for path in sources {
        let source = std::fs::read_to_string(&path).expect("source");
        let Some((_, after)) = source.split_once("fn reason(&self) -> &'static str {") else {
            continue;
        };
        let body = after.split("\n    }\n").next().expect("body");
        for word in body.split('"').skip(1).step_by(2) {
            assert!(known.contains(word), "{} gives {word}", path.display());
            given.insert(word.to_owned());
        }
    }
    assert!(given.len() > 10, "only {given:?} found: look for them another way");
}

/// Reason and comment, in the order of the contract.
fn reasons() -> Vec<(String, String)> {
    let pool = DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors");
    let reasons = pool.get_enum_by_name("rapport.common.v1.ErrorReason").expect("ErrorReason");
    let file = reasons.parent_file();
    let info = file.file_descriptor_proto().source_code_info.as_ref().expect("source info");
    let mut found = Vec::new();
    // The first one, UNSPECIFIED, is never sent.
    for (index, value) in reasons.values().enumerate().skip(1) {
        let index = i32::try_from(index).expect("index");
        // `enum_type[0].value[index]`: it is the only enum of its file.
        let place = info.location.iter().find(|place| place.path == [5, 0, 2, index]);
        let comment = place.and_then(|place| place.leading_comments.clone()).unwrap_or_default();
        let name = value.name().strip_prefix("ERROR_REASON_").expect("prefix").to_owned();
        assert!(!comment.trim().is_empty(), "{name} has no comment");
        found.push((name, words(&comment)));
    }
    found
}

#[test]
fn the_list_of_settings_is_what_the_default_files_say() {
    let mut text = String::from(
        "# Settings\n\n<!-- Generated from libs/server/server.default.toml and \
         services/*/config.default.toml; `make gen` writes it anew. -->\n\n\
         Defaults are compiled in. Over them go, later ones winning: a file (`--config`), the \
         environment\n(`RAPPORT__DATABASE__URL` for `database.url`), and secret files named by their \
         key (`--secrets DIR`).\nA key that does not stand here is refused at the start.\n",
    );
    let mut paths = vec![root().join("libs/server/server.default.toml")];
    for service in entries(&root().join("services")) {
        let path = service.join("config.default.toml");
        paths.extend(path.exists().then_some(path));
    }
    assert!(paths.len() > 1, "no settings of services found");
    for path in paths {
        let defaults = std::fs::read_to_string(&path).expect("defaults");
        let name = path.strip_prefix(root()).expect("inside").display().to_string();
        let sections = sections(&defaults);
        check_complete(&name, &defaults, &sections);
        write_sections(&mut text, &name, &sections);
    }
    compare("docs/config.md", &text);
}

fn write_sections(text: &mut String, name: &str, sections: &[Section]) {
    writeln!(text, "\n## {name}").expect("text");
    for section in sections {
        if !section.meaning.is_empty() {
            writeln!(text, "\n{}", section.meaning).expect("text");
        }
        if section.settings.is_empty() {
            continue;
        }
        text.push_str("\n| key | default | meaning |\n|---|---|---|\n");
        for setting in &section.settings {
            let (value, meaning) = (cell(&setting.value), cell(&setting.meaning));
            writeln!(text, "| `{}` | `{value}` | {meaning} |", setting.key).expect("text");
        }
    }
}

/// What stands between two table heads: first the words at the head, then its keys.
#[derive(Default)]
struct Section {
    table: String,
    meaning: String,
    settings: Vec<Setting>,
}

struct Setting {
    key: String,
    value: String,
    meaning: String,
}

/// Reads line by line: a comment belongs to the key or table it stands beside; indented on a
/// line of its own it goes on with the one above, else it is for what comes below.
fn sections(defaults: &str) -> Vec<Section> {
    let mut found = vec![Section::default()];
    let mut above = String::new();
    let mut lines = defaults.lines();
    while let Some(line) = lines.next() {
        let (code, comment) = split_comment(line);
        let last = found.last_mut().expect("never empty");
        if let Some(table) = code.strip_prefix('[').and_then(|code| code.strip_suffix(']')) {
            let meaning = join(&std::mem::take(&mut above), comment);
            let table = table.trim_matches(['[', ']']).to_owned();
            found.push(Section { table, meaning, settings: Vec::new() });
        } else if let Some((key, value)) = code.split_once('=') {
            let mut value = value.trim().to_owned();
            let mut meaning = join(&std::mem::take(&mut above), comment);
            while value.matches('[').count() > value.matches(']').count() {
                let (more, comment) = split_comment(lines.next().expect("the array ends"));
                value = format!("{value} {more}");
                meaning = join(&meaning, comment);
            }
            let key = match last.table.as_str() {
                "" => key.trim().to_owned(),
                table => format!("{table}.{}", key.trim()),
            };
            last.settings.push(Setting { key, value, meaning });
        } else if !comment.is_empty() {
            match last.settings.last_mut() {
                Some(setting) if line.starts_with(' ') => {
                    setting.meaning = join(&setting.meaning, comment);
                }
                _ => above = join(&above, comment),
            }
        } else if !above.is_empty() {
            // A paragraph by itself speaks for the whole file or table.
            last.meaning = join(&last.meaning, &std::mem::take(&mut above));
        }
    }
    found
}

/// The line without its comment, and the comment without its sign.
fn split_comment(line: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, character) in line.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '#' if !quoted => return (line[..at].trim(), line[at + 1..].trim()),
            _ => {}
        }
    }
    (line.trim(), "")
}

/// The reader by lines has seen what a real parser sees.
fn check_complete(name: &str, defaults: &str, sections: &[Section]) {
    let parsed: toml::Table = toml::from_str(defaults).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut expected = BTreeSet::new();
    keys("", &parsed, &mut expected);
    let keys = sections.iter().flat_map(|section| &section.settings);
    let found: BTreeSet<String> = keys.map(|setting| setting.key.clone()).collect();
    assert_eq!(found, expected, "{name}");
}

fn keys(path: &str, table: &toml::Table, into: &mut BTreeSet<String>) {
    for (name, value) in table {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            toml::Value::Table(table) => keys(&key, table, into),
            _ => {
                into.insert(key);
            }
        }
    }
}

fn join(left: &str, right: &str) -> String {
    words(&format!("{left} {right}"))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn compare(name: &str, text: &str) {
    let path = root().join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).expect("write");
    }
    let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(on_disk == text, "{name} is out of date: run `make gen`");
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for path in entries(directory) {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Sorted; none where there is no such directory.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(read) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = read.map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    paths
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
