use std::path::Path;
use std::process::{Command, Stdio};

use embedded::{Error, Listen, OnDrop, Postgres, PostgresOptions};
use rustix::process::{Signal, kill_process};

use crate::{Scratch, care, process, runs, until};

fn options(dir: &Path) -> PostgresOptions {
    let mut options = PostgresOptions::new(dir.join("postgres"));
    options.durable = false;
    options.care = care(false, OnDrop::Stop);
    options
}

/// One statement through `psql`, which reads the same addresses as our drivers.
fn sql(url: &str, statement: &str) -> String {
    let output = Command::new("psql").args(["-XAtqc", statement, url]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{statement}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_server_that_outlived_its_owner_is_adopted_with_its_data() {
    let scratch = Scratch::new();
    let mut options = options(&scratch.0);
    options.care.on_drop = OnDrop::Leave;
    let first = Postgres::start(&options).await.unwrap();
    assert!(!first.adopted());
    sql(&first.url("postgres"), "CREATE TABLE kept AS SELECT 42 AS answer");
    let pid = first.pid().unwrap();
    drop(first);
    assert!(runs(pid));

    options.care.on_drop = OnDrop::Stop;
    let second = Postgres::start(&options).await.unwrap();
    assert!(second.adopted());
    assert_eq!(second.pid(), Some(pid));
    assert_eq!(sql(&second.url("postgres"), "SELECT answer FROM kept"), "42");
    // Both handles are of one process here, so the dead child stays a zombie of ours: the
    // pid file, which Postgres removes last, tells more than the process table.
    second.stop().await.unwrap();
    assert!(!options.dir.join("data/postmaster.pid").exists());
}

#[tokio::test]
async fn a_killed_server_comes_back_at_the_same_address_with_what_was_committed() {
    let scratch = Scratch::new();
    let mut options = options(&scratch.0);
    options.durable = true;
    let server = Postgres::start(&options).await.unwrap();
    let url = server.url("postgres");
    sql(&url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n");
    // A session is open when the postmaster dies, as in life.
    let sleep = ["-c", "SELECT pg_sleep(60)", &url];
    let mut session = Command::new("psql").args(sleep).stderr(Stdio::null()).spawn().unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'";
    until("the session sleeps", || sql(&url, sleeping) == "1").await;
    server.kill().await.unwrap();
    assert!(!session.wait().unwrap().success());

    server.revive().await.unwrap();
    assert_eq!(server.url("postgres"), url);
    assert_eq!(sql(&url, "SELECT count(*) FROM kept"), "1000");
    let pid = server.pid().unwrap();
    server.stop().await.unwrap();
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_supervised_server_is_restarted_after_its_death() {
    let scratch = Scratch::new();
    let mut options = options(&scratch.0);
    options.care.supervise = true;
    let server = Postgres::start(&options).await.unwrap();
    let first = server.pid().unwrap();
    kill_process(process(first), Signal::KILL).unwrap();
    until("another postmaster runs", || {
        server.pid().is_some_and(|pid| pid != first)
            && options.dir.join("data/postmaster.pid").exists()
    })
    .await;
    let url = server.url("postgres");
    until("it serves", || Command::new("psql").args(["-c", "", &url]).status().unwrap().success())
        .await;
    let second = server.pid().unwrap();
    drop(server);
    assert!(!runs(second), "dropping left a server behind");
}

#[tokio::test]
async fn starts_at_the_same_time_share_one_server() {
    let scratch = Scratch::new();
    let options = options(&scratch.0);
    let (a, b) = tokio::join!(Postgres::start(&options), Postgres::start(&options));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.pid(), b.pid());
    assert_ne!(a.adopted(), b.adopted());
}

#[tokio::test]
async fn other_settings_replace_the_running_server() {
    let scratch = Scratch::new();
    let mut options = options(&scratch.0);
    let first = Postgres::start(&options).await.unwrap();
    options.durable = true;
    options.settings = vec![("application_name".to_owned(), "it's new".to_owned())];
    let second = Postgres::start(&options).await.unwrap();
    assert!(!second.adopted());
    assert_ne!(first.pid(), second.pid());
    let url = second.url("postgres");
    assert_eq!(sql(&url, "SHOW fsync"), "on");
    assert_eq!(sql(&url, "SHOW synchronous_commit"), "on");
}

#[tokio::test]
async fn loopback_wants_the_password_and_keeps_its_port() {
    let scratch = Scratch::new();
    let mut options = options(&scratch.0);
    options.listen = Listen::Loopback { port: 0 };
    let first = Postgres::start(&options).await.unwrap();
    let address = first.tcp_url("postgres").unwrap();
    assert_eq!(sql(&address, "SELECT 1"), "1");
    let (_, after_password) = address.rsplit_once('@').unwrap();
    let stranger = format!("postgres://postgres:guess@{after_password}");
    let refused = Command::new("psql").args(["-wc", "SELECT 1", &stranger]).output().unwrap();
    assert!(!refused.status.success());
    first.stop().await.unwrap();

    let second = Postgres::start(&options).await.unwrap();
    assert_eq!(second.tcp_url("postgres").unwrap(), address);
}

#[tokio::test]
async fn a_long_directory_gets_a_short_socket() {
    let scratch = Scratch::new();
    let mut options = options(&scratch.0);
    options.dir = scratch.0.join("a_rather_long_name_".repeat(5)).join("postgres");
    let server = Postgres::start(&options).await.unwrap();
    assert_eq!(sql(&server.url("postgres"), "SELECT 1"), "1");
    let sockets = std::fs::read_to_string(options.dir.join("socket_directory")).unwrap();
    assert!(sockets.starts_with("/tmp/rapport-"));
    server.stop().await.unwrap();

    let again = Postgres::start(&options).await.unwrap();
    assert_eq!(sql(&again.url("postgres"), "SELECT 1"), "1");
    assert_eq!(std::fs::read_to_string(options.dir.join("socket_directory")).unwrap(), sockets);
    again.stop().await.unwrap();
    std::fs::remove_dir_all(sockets).unwrap();
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_is_no_obstacle() {
    let scratch = Scratch::new();
    let options = options(&scratch.0);
    let first = Postgres::start(&options).await.unwrap();
    let pid_file = options.dir.join("data/postmaster.pid");
    let recorded = std::fs::read_to_string(&pid_file).unwrap();
    first.kill().await.unwrap();
    drop(first);
    // The number was given out again, as after a reboot: here, to this very test.
    let (_, rest) = recorded.split_once('\n').unwrap();
    // Elsewhere; here but another program; and (for root) here, of that name, of another user.
    let alias = scratch.0.join("postgres-of-others");
    std::fs::create_dir(&alias).unwrap();
    let alias = alias.join("postgres");
    std::fs::copy("/bin/sleep", &alias).unwrap();
    let data = options.dir.join("data");
    let mut strangers = vec![(Path::new("sleep"), Path::new("/")), (Path::new("sleep"), &data)];
    if rustix::process::geteuid().is_root() {
        strangers.push((&alias, &data));
    }
    for (program, dir) in strangers {
        let mut stranger = Command::new(program).arg("60").current_dir(dir).spawn().unwrap();
        std::fs::write(&pid_file, format!("{}\n{rest}", stranger.id())).unwrap();

        let server = Postgres::start(&options).await.unwrap();
        assert!(!server.adopted());
        assert_eq!(sql(&server.url("postgres"), "SELECT 1"), "1");
        let harmed = format!("{} in {} was harmed", program.display(), dir.display());
        assert!(stranger.try_wait().unwrap().is_none(), "{harmed}");
        server.kill().await.unwrap();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}

#[tokio::test]
async fn a_missing_installation_says_what_to_install() {
    let scratch = Scratch::new();
    let mut options = options(&scratch.0);
    options.bin = Some(scratch.0.join("nowhere"));
    let Err(error) = Postgres::start(&options).await else { panic!("started from nowhere") };
    assert!(matches!(error, Error::NotInstalled { .. }));
    assert!(error.to_string().contains("apt-get install postgresql"), "{error}");
}

#[tokio::test]
async fn a_setting_that_postgres_refuses_is_reported_with_its_log() {
    let scratch = Scratch::new();
    let mut options = options(&scratch.0);
    options.settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let Err(error) = Postgres::start(&options).await else { panic!("started") };
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}
