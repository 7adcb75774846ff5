//! What people call the suite with, against the real suite: the TypeScript client, grpcio, and
//! `buf curl`. Their programs are installed by `scripts/setup`.

mod calls;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::world::{World, tenant};

/// How long a program of the tests may take, on a busy machine.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(240);

/// Where the suite is, and who calls.
struct Caller {
    rpc: String,
    http: String,
    token: String,
    /// A token that may only read profiles.
    reader: String,
}

impl Caller {
    /// Of a tenant without anything.
    fn new(world: &World) -> Self {
        let tenant = tenant();
        Self {
            rpc: world.suite.rpc_address(),
            http: world.suite.http_address(),
            token: world.full_token(tenant),
            reader: world.token(tenant, &["profile:read"]),
        }
    }

    fn command(&self, program: &Path, folder: &str) -> Command {
        let mut command = command(program, folder);
        command
            .env("RAPPORT_URL", &self.rpc)
            .env("RAPPORT_HTTP", &self.http)
            .env("TOKEN", &self.token)
            .env("READER", &self.reader);
        command
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_client_keeps_its_promises() {
    let folder = "clients/typescript";
    let compiler = root().join(folder).join("node_modules/.bin/tsc");
    run("tsc", &mut command(&compiler, folder)).await;
    let world = World::start().await;
    let mut node = Caller::new(&world).command(Path::new("node"), folder);
    run("node", node.args(["--test", "dist/test/suite.js"])).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcio_calls_watches_resumes_and_reads_rich_errors() {
    let python = root().join("tests/python/.venv/bin/python");
    let stubs = root().join("target/tmp/python-stubs");
    let mut generate = command(&python, "examples/python");
    run("generate.py", generate.arg("generate.py").arg(&stubs)).await;
    let world = World::start().await;
    let caller = Caller::new(&world);
    for script in ["example.py", "../../tests/python/grpcio_checks.py"] {
        let mut script_run = caller.command(&python, "examples/python");
        script_run.arg(script).env("RAPPORT_STUBS", &stubs);
        run(script, &mut script_run).await;
    }
    world.stop().await;
}

fn command(program: &Path, folder: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root().join(folder)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a program that must succeed; what it said is the message if it does not.
async fn run(what: &str, command: &mut Command) {
    let output = tokio::time::timeout(PROGRAM_PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| panic!("{what} takes longer than {PROGRAM_PATIENCE:?}"))
        .unwrap_or_else(|error| panic!("{what}: {error}; `make setup` installs what is missing"));
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}
