//! `rapport apply` against a running suite: all mistakes of a directory at once, what would be
//! different, what was changed when, and back again.

use std::path::PathBuf;
use std::process::Output;

use contracts::profile::v1 as profile;
use contracts::routing::v1 as routing;
use contracts::scoring::v1 as scoring;
use kernel::TenantId;
use rapport::apply::{self, Outcome};
use tokio::process::Command;
use tonic::Code;
use uuid::Uuid;

use crate::world::{World, pool, tenant};

/// A directory of resources, gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("rapport-apply-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(path.join("more")).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("written");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _absent_is_fine = std::fs::remove_dir_all(&self.0);
    }
}

/// The command as somebody types it.
struct Shell {
    address: String,
    token: String,
}

impl Shell {
    fn new(world: &World, tenant: TenantId) -> Self {
        Self { address: world.suite.rpc_address(), token: world.full_token(tenant) }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_suite"));
        command.arg("apply").args(arguments).kill_on_drop(true);
        command.env("RAPPORT_ADDRESS", &self.address).env("RAPPORT_TOKEN", &self.token);
        command.output().await.expect("the program runs")
    }

    /// What it prints when it ends with this code.
    async fn says(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}{error}");
        said + &error
    }
}

const HOUSE: &str = "\
kind: Trait
name: plan
type: string
---
kind: Agent
name: ada
team: sales
capacity: 3
";

const CARD: &str = "\
kind: Scorecard
name: interest
rules:
  - {name: gold, when: 'traits.plan == \"gold\"', points: 20}
thresholds: [{name: hot, value: 10}]
";

const SALES: &str = "kind: Team\nname: sales\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_a_directory_is_said_at_once_and_nothing_is_saved() {
    let (world, directory, tenant) = (World::start().await, Directory::new(), tenant());
    let shell = Shell::new(&world, tenant);
    directory.write("a.yaml", HOUSE);
    // The trait is text, but only these files say so.
    directory.write(
        "b.yaml",
        "kind: Scorecard\nname: interest\nrules:\n  - {name: many, when: 'traits.plan > 3', points: 1}\n\
         thresholds: [{name: hot, value: 10}]\n---\nkind: Scorecard\nname: other\nbasepoints: 3\n",
    );
    directory.write(
        "more/c.yml",
        "kind: Team\nname: sales\n---\nkind: RoutingPolicy\nname: default\ntriggers:\n  \
         - {scorer: interest, threshold: hto, demand_kind: lead}\n---\nkind: Agent\nname: ada\n\
         team: slaes\ncapacity: 2\n",
    );
    let file = directory.0.display().to_string();
    let said = shell.says(1, &["-f", &file]).await;
    let expected = [
        ("b.yaml:4:24: ", "rules[0].when: 1:13: a string cannot be compared with a number"),
        ("b.yaml:9:1: ", "did you mean `base_points`"),
        ("more/c.yml:7:35: ", "has no threshold `hto`: did you mean `hot`?"),
        ("more/c.yml:10:7: ", "Agent ada is defined before, at "),
        ("more/c.yml:11:7: ", "does not exist"),
    ];
    let (head, lines) = said.split_once('\n').expect("a head");
    assert_eq!(head, "rapport: 5 mistakes, nothing was saved:");
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, (place, text)) in lines.iter().zip(expected) {
        assert!(line.contains(place) && line.contains(text), "{place}{text}: {said}");
    }
    // While a file cannot be read at all, nobody says what may be defined in it.
    directory.write("d.yaml", "kind: [Team\nname: slaes\n");
    let said = shell.says(1, &["-f", &file]).await;
    assert!(said.contains("d.yaml:") && !said.contains("does not exist"), "{said}");

    let mut desk = world.desk(tenant);
    let request = profile::GetTraitRequest { name: "plan".to_owned() };
    let status = desk.profile.get_trait(request).await.expect_err("nothing was saved");
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_applied_listed_and_taken_back() {
    let (world, directory, tenant) = (World::start().await, Directory::new(), tenant());
    let (shell, mut desk) = (Shell::new(&world, tenant), world.desk(tenant));
    for (name, text) in [("a.yaml", HOUSE), ("b.yaml", CARD), ("more/c.yaml", SALES)] {
        directory.write(name, text);
    }
    let file = directory.0.display().to_string();
    let dry = ["-f", &file, "--dry-run", "--diff"];
    let said = shell.says(2, &dry).await;
    assert!(
        said.contains("--- /dev/null\n+++ Trait/plan ") && said.contains("+name: plan"),
        "{said}"
    );
    assert!(said.contains("4 resources would change"), "{said}");
    let said = shell.says(0, &["-f", &file, "--change-id", "first"]).await;
    assert!(said.contains("Agent ada: saved (version 1)"), "{said}");
    let said = shell.says(0, &dry).await;
    assert_eq!(said.trim(), "4 unchanged");

    directory.write("b.yaml", &CARD.replace("points: 20", "points: 35"));
    directory.write(
        "d.yaml",
        "kind: Team\nname: care\n---\nkind: Agent\nname: bob\nteam: care\ncapacity: 1\n",
    );
    let said = shell.says(0, &["-f", &file, "--change-id", "second", "--diff"]).await;
    assert!(said.contains("-    points: 20\n+    points: 35\n"), "{said}");
    assert!(said.contains("3 unchanged") && said.contains("apply rollback second"), "{said}");

    let said = shell.says(0, &["history"]).await;
    let (second, first) = said.split_once("change first").expect("both changes");
    assert!(second.starts_with("change second\n") && second.contains(" by journeys\n"), "{said}");
    assert!(second.contains("  Scorecard interest: version 2\n"), "{said}");
    assert!(first.contains("Scorecard interest: created, changed again since"), "{said}");
    let said = shell.says(0, &["history", "--kind", "Agent", "--name", "ada"]).await;
    assert!(said.starts_with("change first\n") && said.lines().count() == 3, "{said}");
    let said = shell.says(0, &["show", "second"]).await;
    assert!(
        said.contains("--- Scorecard/interest version 1\n+++ Scorecard/interest version 2\n"),
        "{said}"
    );

    let said = shell.says(1, &["rollback", "first"]).await;
    assert!(
        said.contains("Scorecard interest was changed since, by journeys in change second"),
        "{said}"
    );
    let said = shell.says(2, &["rollback", "second", "--dry-run", "--diff"]).await;
    assert!(said.contains("-kind: Agent\n-name: bob\n"), "{said}");
    assert!(said.contains("Team care: would be deleted"), "{said}");
    let said = shell.says(0, &["rollback", "second", "--change-id", "third"]).await;
    assert!(said.contains("Scorecard interest: saved (version 3)"), "{said}");
    let request = scoring::GetScorecardRequest { name: "interest".to_owned() };
    let card = desk.scoring.get_scorecard(request).await.expect("a card").into_inner();
    assert_eq!(card.scorecard.expect("a card").rules[0].points, 20.0);
    let request = routing::GetTeamRequest { name: "care".to_owned() };
    let status = desk.routing.get_team(request.clone()).await.expect_err("it is gone");
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    // A run that was cut off is run again.
    assert_eq!(shell.says(0, &["rollback", "second"]).await.trim(), "3 unchanged");

    // A rollback is a change like others: it can be taken back, or passed over.
    shell.says(0, &["rollback", "third"]).await;
    desk.routing.get_team(request).await.expect("it is there again");
    let said = shell.says(0, &["rollback", "--to", "first"]).await;
    assert!(said.contains("Agent bob: deleted") && said.contains("Team care: deleted"), "{said}");
    let said = shell.says(1, &["rollback", "fourth"]).await;
    assert!(said.contains("there is no change `fourth`"), "{said}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_the_second_is_told_and_overwrites_nothing() {
    let world = World::start().await;
    let (pool, mut desk) = (pool(), world.desk(tenant()));
    let read = |text: &str| apply::read_text("a.yaml".as_ref(), text, &pool).expect("valid");
    desk.apply("kind: Team\nname: north\n").await;
    let mine = read("kind: Team\nname: east\n---\nkind: Team\nname: north\ndisplay_name: Mine\n");
    let targets: Vec<_> = mine.iter().map(apply::Target::of_file).collect();
    let steps = apply::check(&mut desk.client, &pool, &targets, None).await.expect("valid");
    // Somebody else is faster.
    desk.apply("kind: Team\nname: north\ndisplay_name: Theirs\n").await;
    let found = apply::save(&mut desk.client, &pool, &steps, "mine").await.expect_err("too late");
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("a.yaml:4:1: Team north was changed by somebody else"), "{told:?}");
    assert!(told[1].starts_with("saved before this, as change mine: Team east;"), "{told:?}");
    // East is there by now, which the plan did not know.
    let found = apply::save(&mut desk.client, &pool, &steps, "again").await.expect_err("too late");
    assert!(found[0].message.starts_with("Team east was changed by somebody else"), "{found:?}");
    let request = routing::GetTeamRequest { name: "north".to_owned() };
    let team = desk.routing.get_team(request).await.expect("a team").into_inner().team;
    assert_eq!(team.expect("a team").display_name, "Theirs");

    let applied = apply::apply(&mut desk.client, &pool, &mine, false).await.expect("applied");
    let outcomes: Vec<Outcome> = applied.iter().map(|applied| applied.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unchanged, Outcome::Saved]);
    world.stop().await;
}
