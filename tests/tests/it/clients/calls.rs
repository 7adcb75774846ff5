//! `docs/calls.md`: every RPC has an example there, and all of them run, from top to bottom.

use std::process::Stdio;
use std::time::{Duration, Instant};

use prost_reflect::MethodDescriptor;
use prost_types::method_options::IdempotencyLevel;
use serde_json::{Deserializer, Value};
use server::auth::{Rule, Table};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::{Caller, root};
use crate::world::{PATIENCE, World, pool};

/// A quiet watch says its first word after 15 s.
const BLOCK_PATIENCE: Duration = Duration::from_secs(60);
/// Stands for what an example leaves out.
const AND_MORE: &str = "…";

/// What a person types, and what is answered.
struct Block {
    line: usize,
    script: String,
    answers: Vec<Value>,
}

/// The public RPCs as `service.v1.Service/Method`.
fn public() -> Vec<(String, MethodDescriptor)> {
    let table = Table::from_descriptors(contracts::DESCRIPTORS).expect("a rule on every RPC");
    let pool = pool();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let named = methods.map(|method| {
        (format!("{}/{}", method.parent_service().full_name(), method.name()), method)
    });
    named
        .filter(|(name, _)| matches!(table.lookup(&format!("/{name}")).rule, Some(Rule::Scope(_))))
        .map(|(name, method)| (name.trim_start_matches("rapport.").to_owned(), method))
        .collect()
}

#[test]
fn every_public_rpc_has_an_example() {
    let blocks = blocks();
    let absent: Vec<String> = public()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !blocks.iter().any(|block| calls(block, name)))
        .collect();
    assert!(absent.is_empty(), "docs/calls.md shows no call of {absent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_documentation_run_from_top_to_bottom() {
    let world = World::start().await;
    let public = public();
    let mut shell = Shell::start(&Caller::new(&world));
    for block in blocks() {
        let started = Instant::now();
        loop {
            let said = shell.run(&block.script).await;
            let Some(difference) = difference(&block, &said) else { break };
            // What flows through feeds is there a little later, so what may be repeated is.
            let may_repeat = public
                .iter()
                .filter(|(name, _)| calls(&block, name))
                .all(|(_, method)| is_repeatable(method));
            let place = format!("docs/calls.md:{}: {difference}", block.line);
            assert!(may_repeat && started.elapsed() < PATIENCE, "{place}\n{said}");
        }
    }
    shell.child.kill().await.expect("killed");
    world.stop().await;
}

#[test]
fn an_answer_is_compared_by_its_shape() {
    let expected = serde_json::json!({
        "id": "abc", "state": "STATE_OPEN", "count": "3", "list": [{"name": "b"}], AND_MORE: AND_MORE
    });
    let answer = |state: &str, count: Value, name: &str| {
        serde_json::json!({
            "id": "xyz", "state": state, "count": count, "more": 1,
            "list": [{"other": 1}, {name: "c"}]
        })
    };
    let differs = |actual: &Value| shape(&expected, actual, "").is_some();
    assert!(!differs(&answer("STATE_OPEN", "7".into(), "name")));
    assert!(differs(&answer("STATE_CLOSED", "7".into(), "name")), "another state");
    assert!(differs(&answer("STATE_OPEN", 7.into(), "name")), "another type");
    assert!(differs(&answer("STATE_OPEN", "7".into(), "title")), "no such item");
    assert!(differs(&serde_json::json!({})), "nothing");
}

/// A shell that keeps its variables from block to block.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Shell {
    const END: &str = "@@ end of the block, code ";

    fn start(caller: &Caller) -> Self {
        let mut bash = caller.command("bash".as_ref(), "");
        bash.env("RAPPORT", &caller.rpc).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = bash.spawn().expect("bash");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { child, input, output }
    }

    /// What the block prints, errors included; its code as the last line if that is not 0.
    async fn run(&mut self, script: &str) -> String {
        let script = format!("{{\n{script}\n}} 2>&1\necho \"{}$?\"\n", Self::END);
        self.input.write_all(script.as_bytes()).await.expect("written");
        let mut said = String::new();
        let read = async {
            loop {
                let line = self.output.next_line().await.expect("read").expect("bash lives");
                if let Some(code) = line.strip_prefix(Self::END) {
                    return code.to_owned();
                }
                said.push_str(&line);
                said.push('\n');
            }
        };
        match tokio::time::timeout(BLOCK_PATIENCE, read).await {
            Ok(code) if code == "0" => said,
            Ok(code) => format!("{said}exit code {code}\n"),
            Err(_) => panic!("no end within {BLOCK_PATIENCE:?}:\n{script}\n{said}"),
        }
    }
}

/// The blocks of the file: ```` ```sh ```` and the ```` ```json ```` that follows it.
fn blocks() -> Vec<Block> {
    let text = std::fs::read_to_string(root().join("docs/calls.md")).expect("docs/calls.md");
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let content: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let content = content.join("\n");
        match (language, blocks.last_mut()) {
            ("sh", _) => {
                blocks.push(Block { line: number + 1, script: content, answers: Vec::new() });
            }
            ("json", Some(block)) => {
                let answers = Deserializer::from_str(&content).into_iter::<Value>();
                block.answers = answers
                    .collect::<Result<_, _>>()
                    .unwrap_or_else(|error| panic!("docs/calls.md:{}: {error}", number + 1));
            }
            _ => panic!("docs/calls.md:{}: a block of {language:?}", number + 1),
        }
    }
    blocks
}

fn calls(block: &Block, name: &str) -> bool {
    block.script.split(|end: char| end.is_whitespace()).any(|word| word == name)
}

fn is_repeatable(method: &MethodDescriptor) -> bool {
    let options = method.method_descriptor_proto().options.clone().unwrap_or_default();
    options.idempotency_level() != IdempotencyLevel::IdempotencyUnknown
}

fn difference(block: &Block, said: &str) -> Option<String> {
    let parsed: Result<Vec<Value>, _> = Deserializer::from_str(said).into_iter().collect();
    let answers = match parsed {
        Ok(answers) => answers,
        Err(error) => return Some(format!("no JSON: {error}")),
    };
    if answers.len() != block.answers.len() {
        return Some(format!("{} answers, expected {}", answers.len(), block.answers.len()));
    }
    let pairs = block.answers.iter().zip(&answers).enumerate();
    pairs
        .filter_map(|(number, (expected, actual))| shape(expected, actual, &format!("#{number}")))
        .next()
}

/// What `actual` lacks of the shape of `expected`: members and their types, the words of enums,
/// and for each expected item of a list one like it. What else there is does not matter.
fn shape(expected: &Value, actual: &Value, path: &str) -> Option<String> {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            let mut members = expected.iter().filter(|(name, _)| *name != AND_MORE);
            members.find_map(|(name, value)| match actual.get(name) {
                Some(actual) => shape(value, actual, &format!("{path}.{name}")),
                None => Some(format!("{path}.{name} is absent")),
            })
        }
        (Value::Array(expected), Value::Array(actual)) => expected
            .iter()
            .find(|item| actual.iter().all(|other| shape(item, other, path).is_some()))
            .map(|item| format!("{path} holds nothing like {item}")),
        (Value::String(word), Value::String(actual)) if is_enum(word) && word != actual => {
            Some(format!("{path} is {actual}, expected {word}"))
        }
        (Value::Bool(expected), Value::Bool(actual)) if expected != actual => {
            Some(format!("{path} is {actual}, expected {expected}"))
        }
        _ if std::mem::discriminant(expected) == std::mem::discriminant(actual) => None,
        _ => Some(format!("{path} is {actual}, expected something like {expected}")),
    }
}

/// A word of the contract, such as `DEMAND_STATE_QUEUED`.
fn is_enum(word: &str) -> bool {
    word.contains('_') && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}
