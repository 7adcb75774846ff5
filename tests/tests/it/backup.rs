//! The drill: everything is lost, and comes back. Suites on private servers of their own, and the
//! commands `backup` and `restore` as a person runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use kernel::TenantId;
use rapport::suite::{Options, Private, Suite};
use server::settings::Layer;
use sqlx::{Connection as _, PgConnection};
use testkit::eventually;
use tokio::process::Command;
use tonic::Code;
use uuid::Uuid;

use crate::world::{Desk, PATIENCE, event, identifier, identify, tenant};

/// Loaded machines restore slowly.
const LONG: Duration = Duration::from_secs(120);
const COMMON: &str = "[server]\ndrain_lag_ms = 0\ndrain_grace_ms = 2000\n\
    [telemetry]\nlog = \"error\"\n[backup]\narchive_seconds = 1\n";

/// Directories of one drill, removed with it.
struct Place {
    root: PathBuf,
    layers: String,
}

impl Place {
    fn new(first_minutes: u64) -> Self {
        // Short: sockets lie below it.
        let name = format!("rapport-drill-{}", &Uuid::new_v4().simple().to_string()[..8]);
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).expect("a directory");
        let layers = format!("{COMMON}first_minutes = {first_minutes}\n");
        fs::write(root.join("rapport.toml"), &layers).expect("settings");
        Self { root, layers }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    async fn up(&self, data: &str) -> Running {
        let options = Options {
            directory: self.at(data),
            pg_bin: None,
            rpc_port: 0,
            http_port: 0,
            admin_port: 0,
            layers: vec![Layer::toml("drill", &self.layers)],
            durable: false,
        };
        let (suite, private) = rapport::start(&options).await.expect("a suite");
        Running { suite, private }
    }

    /// A command, as a person would give it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_suite"));
        command.args(arguments).arg("--config").arg(self.at("rapport.toml"));
        command.current_dir(&self.root).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.expect("started")
    }

    async fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said} {complaint}");
        said
    }

    async fn refused(&self, arguments: &[&str], reason: &str) {
        let output = self.run(arguments).await;
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?} went through");
        assert!(complaint.contains(reason), "{arguments:?} said {complaint}, not {reason}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.root);
    }
}

struct Running {
    suite: Suite,
    private: Private,
}

impl Running {
    fn desk(&self, tenant: TenantId) -> Desk {
        Desk::of(self.suite.client(tenant).expect("a client"))
    }

    async fn stop(self) {
        self.suite.stop().await;
        self.private.stop().await.expect("stopped");
    }

    /// Waits until all that was written by now is in the archive.
    async fn archived(&self, backups: &Path) {
        let mut session = PgConnection::connect(&self.private.postgres().url("postgres"))
            .await
            .expect("a session");
        let segment: String = sqlx::query_scalar("select pg_walfile_name(pg_current_wal_lsn())")
            .fetch_one(&mut session)
            .await
            .expect("a segment");
        sqlx::query("select pg_switch_wal()").execute(&mut session).await.expect("switched");
        let name = format!("{segment}.sealed");
        eventually(PATIENCE, "the log in the archive", async || {
            let lives = fs::read_dir(backups.join("wal")).ok()?;
            lives.flatten().any(|life| life.path().join(&name).is_file()).then_some(())
        })
        .await;
    }
}

/// Somebody with a secret, who does something.
async fn arrive(desk: &mut Desk, name: &str) -> profile::EventResult {
    let who = identifier("email", &format!("{name}@example.org"));
    desk.ingest(identify(&format!("{name}-1"), who.clone(), &[("city", name)])).await;
    desk.ingest(event(&format!("{name}-2"), "Pricing Viewed", vec![who])).await
}

async fn erase(desk: &mut Desk, name: &str) {
    let who = identifier("email", &format!("{name}@example.org"));
    let key = identity::erase_customer_request::Key::Identifier(who);
    let request = identity::EraseCustomerRequest { key: Some(key), ..Default::default() };
    let erased = desk.identity.erase_customer(request).await.expect("erased").into_inner();
    let erasure_id = erased.erasure.expect("an erasure").erasure_id;
    eventually(PATIENCE, "the erasure in every service", async || {
        let request = identity::GetErasureRequest { erasure_id: erasure_id.clone() };
        let answer = desk.identity.clone().get_erasure(request).await.ok()?.into_inner();
        let state = answer.erasure?.state();
        (state == identity::ErasureState::Done).then_some(())
    })
    .await;
}

/// Who somebody is, and the events that are known of him.
async fn known(desk: &mut Desk, name: &str) -> Result<usize, Code> {
    let who = identifier("email", &format!("{name}@example.org"));
    let key = identity::get_customer_request::Key::Identifier(who);
    let request = identity::GetCustomerRequest { key: Some(key) };
    let found = desk.identity.get_customer(request).await.map_err(|status| status.code())?;
    let customer_id = found.into_inner().customer.expect("a customer").customer_id;
    let request =
        profile::GetProfileRequest { customer_id: customer_id.clone(), ..Default::default() };
    desk.profile.get_profile(request).await.map_err(|status| status.code())?;
    let request = profile::GetTimelineRequest { customer_id, ..Default::default() };
    let timeline = desk.profile.get_timeline(request).await.map_err(|status| status.code())?;
    Ok(timeline.into_inner().events.len())
}

/// Neither found nor readable by the id of before.
async fn is_unreadable(desk: &mut Desk, name: &str, before: &profile::EventResult) {
    assert_eq!(known(desk, name).await, Err(Code::NotFound), "{name} by identifier");
    let customer_id = before.customer_id.clone();
    let request = profile::GetProfileRequest { customer_id, ..Default::default() };
    let status = desk.profile.get_profile(request).await.expect_err("nobody");
    assert_eq!(status.code(), Code::NotFound, "{name} by id");
}

/// The token of a watch at this moment.
async fn watched(desk: &mut Desk) -> String {
    let mut watch = desk.profile.watch_profiles(profile::WatchProfilesRequest::default()).await;
    let watch = watch.as_mut().expect("a watch").get_mut();
    arrive(&mut desk.clone(), "watched").await;
    let answer = tokio::time::timeout(PATIENCE, watch.message()).await.expect("in time");
    answer.expect("an answer").expect("not the end").resume_token
}

fn copy_keys(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("the keys").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_has_all_that_was_archived_and_nobody_who_was_erased() {
    let place = Place::new(1_440);
    let tenant = tenant();
    let running = place.up("data").await;
    let mut desk = running.desk(tenant);
    let ada = arrive(&mut desk, "ada").await;
    let bob = arrive(&mut desk, "bob").await;
    arrive(&mut desk, "cleo").await;
    let token = watched(&mut desk).await;
    erase(&mut desk, "ada").await;

    let said = place.succeed(&["backup"]).await;
    assert!(said.contains("restored and found good"), "{said}");
    let shown = jiff::Timestamp::now().to_string();
    arrive(&mut desk, "dora").await;
    erase(&mut desk, "bob").await;
    arrive(&mut desk, "emma").await;
    running.archived(&place.at("data-backup")).await;
    copy_keys(&place.at("data/keys"), &place.at("kept"));
    // Not in order: what was not archived by now is lost.
    running.suite.stop().await;
    drop(running.private);
    fs::remove_dir_all(place.at("data")).expect("lost");

    let restore = ["restore", "--from", "data-backup", "--keys", "kept", "--data", "last"];
    let said = place.succeed(&restore).await;
    assert!(said.contains("carried out again: 0"), "the log has them all: {said}");
    assert!(!said.contains("BROKEN"), "{said}");
    place.refused(&restore, "is not empty").await;
    let running = place.up("last").await;
    let mut desk = running.desk(tenant);
    for name in ["cleo", "dora", "emma"] {
        assert_eq!(known(&mut desk, name).await, Ok(2), "{name}");
    }
    is_unreadable(&mut desk, "ada", &ada).await;
    is_unreadable(&mut desk, "bob", &bob).await;
    let resumed = profile::WatchProfilesRequest { resume_token: token, ..Default::default() };
    let status = desk.profile.watch_profiles(resumed).await.expect_err("of before");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    arrive(&mut desk, "finn").await;
    assert_eq!(known(&mut desk, "finn").await, Ok(2));
    running.stop().await;

    // Back to when Bob was there: the ledger beside the backups knows better.
    let earlier = ["--keys", "kept", "--data", "earlier", "--until", &shown];
    let said = place.succeed(&[&["restore", "--from", "data-backup"], &earlier[..]].concat()).await;
    assert!(said.contains("carried out again: 1"), "{said}");
    let running = place.up("earlier").await;
    let mut desk = running.desk(tenant);
    assert_eq!(known(&mut desk, "cleo").await, Ok(2));
    assert_eq!(known(&mut desk, "dora").await, Err(Code::NotFound), "she came later");
    is_unreadable(&mut desk, "ada", &ada).await;
    is_unreadable(&mut desk, "bob", &bob).await;
    running.stop().await;

    a_late_moment_and_a_rotten_archive_cost_nothing_else(&place).await;
}

/// With a drill's backup of which the log is archived.
async fn a_late_moment_and_a_rotten_archive_cost_nothing_else(place: &Place) {
    let later = ["restore", "--from", "data-backup", "--keys", "kept", "--data", "later"];
    let until = ["--until", "2999-01-01T00:00:00Z"];
    let said = place.succeed(&[&later[..], &until].concat()).await;
    assert!(said.contains("all that is in it was restored"), "{said}");

    // The first segment behind the backup's own.
    let files = |path: &Path| {
        let listed = fs::read_dir(path).expect("listed").flatten();
        listed.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut backups = files(&place.at("data-backup"));
    backups.retain(|path| path.join("manifest.json").is_file());
    let own = files(&backups[0].join("wal"));
    let own = own.iter().filter_map(|path| path.file_name()).max().expect("one");
    let mut archive: Vec<PathBuf> =
        files(&place.at("data-backup/wal")).iter().flat_map(|life| files(life)).collect();
    archive.retain(|path| path.file_name().is_some_and(|name| name > own));
    let next = archive.iter().min().expect("archived");
    let whole = fs::read(next).expect("read");
    fs::write(next, Damage::Byte.done_to(&whole)).expect("damaged");
    let rotten = ["restore", "--from", "data-backup", "--keys", "kept", "--data", "rotten"];
    let said = place.succeed(&rotten).await;
    let name = next.file_stem().expect("a name").to_string_lossy().into_owned();
    assert!(said.contains(&format!("BROKEN: segment {name}")), "{said}");
    assert!(said.contains("carried out again: 1"), "the ledger knows: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_backs_itself_up_and_damage_and_kills_are_noticed() {
    let place = Place::new(0);
    let running = place.up("data").await;
    arrive(&mut running.desk(tenant()), "ada").await;
    let admin = running.suite.admin_address();
    eventually(LONG, "a backup that was found good", async || {
        let scrape = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let text = crate::metrics::http(&admin, scrape).await;
        let value = |line: &str| line.split(' ').next_back().and_then(|word| word.parse().ok());
        let good = text
            .lines()
            .find(|line| line.starts_with("rapport_backup_last_verified_timestamp_seconds"))
            .and_then(value)
            .is_some_and(|at: f64| at > 1e9);
        assert!(!text.contains("rapport_backup_failures_total 1"), "{text}");
        good.then_some(())
    })
    .await;
    assert!(!place.at("data/scratch/check").exists(), "thrown away");
    let listed = place.succeed(&["backup", "--list"]).await;
    assert_eq!(listed.matches("good").count(), 1, "{listed}");

    let backups = place.at("data-backup");
    let claim = embedded::lock(&backups, Duration::ZERO).await.expect("nobody makes one");
    place.refused(&["backup"], "another backup is being made").await;
    drop(claim);

    // Killed in the middle: as if it had not been, and the next one goes through.
    let mut killed = place.command(&["backup"]).spawn().expect("started");
    eventually(LONG, "a backup in the making", async || drafts(&backups).pop()).await;
    killed.kill().await.expect("killed");
    assert_eq!(place.succeed(&["backup", "--list"]).await, listed);
    place.succeed(&["backup"]).await;
    assert!(drafts(&backups).is_empty(), "what was half made is gone");
    copy_keys(&place.at("data/keys"), &place.at("kept"));
    running.stop().await;

    // Of the stopped suite to another place: the log that was finished meanwhile stays its own.
    let spooled = place.at("data/postgres/spool");
    let waiting = || fs::read_dir(&spooled).expect("listed").count();
    assert_eq!(waiting(), 0, "all is archived");
    place.succeed(&["backup", "--to", "elsewhere"]).await;
    assert!(waiting() > 0 && !place.at("elsewhere/wal").exists(), "what is finished waits");
    place.succeed(&["backup"]).await;
    assert_eq!(waiting(), 0, "the next one at home archives it");

    let restore = ["restore", "--from", "data-backup", "--keys", "kept", "--data", "new"];
    let mut killed = place.command(&restore).spawn().expect("started");
    eventually(LONG, "a restore at work", async || {
        place.at("new.restoring/postgres").exists().then_some(())
    })
    .await;
    killed.kill().await.expect("killed");
    assert!(!place.at("new").exists());

    let newest = fs::read_dir(&backups).expect("listed").flatten().map(|entry| entry.path());
    let newest = newest.filter(|path| path.join("manifest.json").is_file()).max().expect("one");
    let id = newest.file_name().expect("a name").to_string_lossy().into_owned();
    let named = [&restore[..], &["--backup", &id]].concat();
    for (file, damage) in
        [("base.sealed", Damage::Cut), ("manifest.json", Damage::Byte), ("wal", Damage::Byte)]
    {
        let mut path = newest.join(file);
        if path.is_dir() {
            path = fs::read_dir(&path).expect("listed").flatten().next().expect("a part").path();
        }
        let whole = fs::read(&path).expect("read");
        fs::write(&path, damage.done_to(&whole)).expect("damaged");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        place.refused(&named, &format!("{name} is refused")).await;
        assert!(!place.at("new").exists(), "{name}");
        fs::write(&path, whole).expect("put back");
    }
    fs::remove_file(place.at("kept/backup.key")).expect("lost");
    place.refused(&restore, "backup.key is not there").await;
    copy_keys(&place.at("data/keys"), &place.at("kept"));
    place.succeed(&restore).await;
    assert!(place.at("new/postgres/data").is_dir() && !place.at("new.restoring").exists());
}

enum Damage {
    Byte,
    Cut,
}

impl Damage {
    fn done_to(&self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        match self {
            Self::Byte => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Self::Cut => bytes.truncate(whole.len() - 1),
        }
        bytes
    }
}

fn drafts(backups: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(backups).expect("listed").flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "making")).collect()
}
