//! SIGTERM under load with an open watch: no call that was begun in time fails, the watch ends
//! with the position to go on from, and the process is gone soon.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contracts::profile::v1 as profile;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use rapport::client::{Client, WithToken};
use tokio_util::task::TaskTracker;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::Plan;
use super::events::user_id;
use super::process::Process;
use super::report::Report;

const EXIT_LIMIT: Duration = Duration::from_secs(25);
const CALLERS: usize = 6;
/// The server accepts calls for two seconds more, for load balancers to notice; what is
/// begun within most of that must succeed.
const STILL_ACCEPTING: Duration = Duration::from_millis(1_500);
/// Calls that must have been answered before the signal.
const WARM: u64 = 60;

type Service = ProfileServiceClient<InterceptedService<Channel, WithToken>>;

/// Ends the suite under load and checks how it ended.
///
/// # Errors
/// When it cannot be carried out.
pub async fn run(
    plan: &Plan,
    process: &mut Process,
    client: &Client,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut service = ProfileServiceClient::new(client.service());
    let request = profile::WatchProfilesRequest::default();
    let watch = service.watch_profiles(request).await?.into_inner();
    let watching = tokio::spawn(last_words(watch));
    let calls = Arc::new(Calls::default());
    let callers = TaskTracker::new();
    for caller in 0..CALLERS {
        callers.spawn(call(service.clone(), Arc::clone(&calls), caller));
    }
    callers.close();
    calls.answered(WARM).await?;

    let signalled = Instant::now();
    process.terminate()?;
    let ended = process.ended(EXIT_LIMIT).await;
    report.note("from SIGTERM to exit", format!("{:.1?}", signalled.elapsed()));
    report.expect("exit within 25 s of SIGTERM, with success", ended.is_ok_and(|s| s.success()));
    tokio::time::timeout(Duration::from_secs(10), callers.wait())
        .await
        .context("a caller is still waiting for an answer of a suite that has ended")?;
    calls.judge(signalled, report);
    let words = watching.await?;
    report.expect("the watch ended with UNAVAILABLE and a resume token", is_resumable(&words));
    if plan.resumes {
        resume(process, client, token(&words), report).await?;
    }
    Ok(())
}

/// Starts the suite again: the watch goes on where it ended.
async fn resume(
    process: &mut Process,
    client: &Client,
    resume_token: String,
    report: &mut Report,
) -> anyhow::Result<()> {
    process.start_again()?;
    process.ready(client).await?;
    let mut service = ProfileServiceClient::new(client.service());
    let result = ingest(&mut service, "after-the-drain").await?;
    let request = profile::WatchProfilesRequest { resume_token, ..Default::default() };
    let mut watch = service.watch_profiles(request).await?.into_inner();
    let seen = tokio::time::timeout(Duration::from_secs(20), async {
        while let Some(answer) = watch.message().await? {
            let Some(profile::watch_profiles_response::Change::Profile(change)) = answer.change
            else {
                continue;
            };
            if (change.customer_id, change.version)
                == (result.customer_id.clone(), result.profile_version)
            {
                return Ok(true);
            }
        }
        Ok::<bool, Status>(false)
    })
    .await;
    report.expect("the watch resumes after a restart", matches!(seen, Ok(Ok(true))));
    drop(watch);
    process.terminate()?;
    let ended = process.ended(EXIT_LIMIT).await;
    report.expect("exit within 25 s of SIGTERM, with success", ended.is_ok_and(|s| s.success()));
    Ok(())
}

/// What happened to unary calls.
#[derive(Default)]
struct Calls {
    answered: AtomicU64,
    failed: Mutex<Vec<(Instant, Status)>>,
}

impl Calls {
    async fn answered(&self, count: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.answered.load(Ordering::Relaxed) < count {
            anyhow::ensure!(Instant::now() < deadline, "the callers get no answers");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Each caller's last call fails when nobody accepts any more; that is the only failure.
    fn judge(&self, signalled: Instant, report: &mut Report) {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cut_off = Vec::new();
        let mut too_late = 0;
        for (begun, status) in failed.iter() {
            let after = begun.saturating_duration_since(signalled);
            if after >= STILL_ACCEPTING && was_refused(status) {
                too_late += 1;
            } else {
                cut_off.push(format!("begun {after:.2?} after the signal: {status}"));
            }
        }
        report.note("calls answered around SIGTERM", self.answered.load(Ordering::Relaxed));
        report.note("calls refused after the drain began", too_late);
        report.expect_none("calls cut off", &cut_off);
    }
}

/// Whether the server never took the call: nobody listens any more, or the connection ended
/// while the call was still waiting in the client, which says so with CANCELLED.
fn was_refused(status: &Status) -> bool {
    status.code() == Code::Unavailable
        || (status.code() == Code::Cancelled && status.message() == "operation was canceled")
}

/// Calls until a call fails.
async fn call(mut service: Service, calls: Arc<Calls>, caller: usize) {
    let mut customer_id = String::new();
    for number in 0.. {
        let begun = Instant::now();
        let is_read = number % 2 == 1;
        let called = if is_read {
            let customer_id = customer_id.clone();
            let request = profile::GetProfileRequest { customer_id, ..Default::default() };
            service.get_profile(request).await.map(drop)
        } else {
            let id = format!("drain-{caller}-{number}");
            ingest(&mut service, &id).await.map(|result| customer_id = result.customer_id)
        };
        match called {
            Ok(()) => drop(calls.answered.fetch_add(1, Ordering::Relaxed)),
            Err(status) => {
                let mut failed = calls.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push((begun, status));
                return;
            }
        }
    }
}

async fn ingest(service: &mut Service, message_id: &str) -> Result<profile::EventResult, Status> {
    let event = profile::Event {
        message_id: message_id.to_owned(),
        r#type: profile::EventType::Track.into(),
        name: "Seen".to_owned(),
        identifiers: vec![user_id(0)],
        ..Default::default()
    };
    let request = profile::IngestEventsRequest { events: vec![event] };
    let results = service.ingest_events(request).await?.into_inner().results;
    results.into_iter().next().ok_or_else(|| Status::data_loss("no result"))
}

/// How the watch ended.
async fn last_words(mut watch: Streaming<profile::WatchProfilesResponse>) -> Status {
    loop {
        match watch.message().await {
            Ok(Some(_change)) => {}
            Ok(None) => return Status::ok("the stream just ended"),
            Err(status) => return status,
        }
    }
}

fn is_resumable(words: &Status) -> bool {
    words.code() == Code::Unavailable && !token(words).is_empty()
}

fn token(words: &Status) -> String {
    let details = words.get_error_details();
    let info = details.error_info();
    info.and_then(|info| info.metadata.get("resume_token").cloned()).unwrap_or_default()
}
