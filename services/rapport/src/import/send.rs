//! Events on their way: chunks through `StreamEvents`, a bounded number of them under way at
//! the same time, answered in order. A chunk counts when it is answered; what is not answered
//! when a connection ends is sent again, which the natural keys make harmless.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::profile::v1::{Event, StreamEventsRequest, StreamEventsResponse};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::book::Book;
use super::rejects::Reject;
use super::state::Counts;
use crate::client::Client;

/// Chunks under way: enough to keep the service's committers at work.
const WINDOW: usize = 8;
/// How long the answer to a chunk may take.
const ANSWER: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a token may be refused in a row: its key may be on its way to a new server.
const REFUSALS: u32 = 3;

/// Rows that were judged together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Counts up from 1.
    pub(crate) number: i64,
    pub(crate) events: Vec<Event>,
    /// The row of each event, a position in `rows`.
    pub(crate) row_of: Vec<usize>,
    /// Line and text of the rows that have events.
    pub(crate) rows: Vec<(u64, String)>,
    /// Rows that were refused before they were sent.
    pub(crate) rejects: Vec<Reject>,
    /// What is known of them before they are answered.
    pub(crate) counts: Counts,
    /// How far the file is read with them.
    pub(crate) position: u64,
}

/// Sends all batches and books what is answered.
///
/// # Errors
/// When the service refuses the token or the request, or nothing was answered for as long as
/// `patience`. What was answered is booked.
pub(crate) async fn send(
    client: &Client,
    mut batches: mpsc::Receiver<Batch>,
    patience: Duration,
    book: &mut Book,
) -> anyhow::Result<()> {
    let mut waiting = VecDeque::new();
    let mut trouble = Trouble::new(client.address(), patience);
    loop {
        let before = book.rows();
        match connection(client, &mut batches, &mut waiting, &mut trouble, book).await {
            Ok(()) => return Ok(()),
            Err(Ended::Broken(error)) => return Err(error),
            Err(Ended::By(status)) => {
                if book.rows() > before {
                    trouble = Trouble::new(client.address(), patience);
                }
                let pause = trouble.meet(&status, book)?;
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Why a connection ended before everything was answered.
enum Ended {
    /// By the service or the way to it.
    By(Status),
    /// By something of ours that will not pass.
    Broken(anyhow::Error),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::By(status)
    }
}

async fn connection(
    client: &Client,
    batches: &mut mpsc::Receiver<Batch>,
    waiting: &mut VecDeque<Batch>,
    trouble: &mut Trouble,
    book: &mut Book,
) -> Result<(), Ended> {
    // Never full: not more are under way.
    let (requests, under_way) = mpsc::channel(WINDOW);
    for batch in waiting.iter().filter(|batch| !batch.events.is_empty()) {
        request(&requests, batch).await?;
    }
    let mut service = ProfileServiceClient::new(client.service());
    let answers = service.stream_events(ReceiverStream::new(under_way)).await?;
    let mut answers = answers.into_inner();
    let mut has_ended = false;
    loop {
        while waiting.front().is_some_and(|batch| batch.events.is_empty()) {
            settle(waiting, None, book).map_err(Ended::Broken)?;
        }
        if has_ended && waiting.is_empty() {
            return Ok(());
        }
        let has_room = !has_ended && waiting.len() < WINDOW;
        tokio::select! {
            batch = batches.recv(), if has_room => match batch {
                Some(batch) => {
                    if !batch.events.is_empty() {
                        request(&requests, &batch).await?;
                    }
                    waiting.push_back(batch);
                }
                None => has_ended = true,
            },
            answer = timeout(ANSWER, answers.message()), if !waiting.is_empty() => {
                let answer = answer.map_err(|_| Status::unavailable("no answer for a minute"))??;
                let Some(answer) = answer else {
                    return Err(Status::unavailable("the stream was ended").into());
                };
                trouble.is_over(book);
                settle(waiting, Some(answer), book).map_err(Ended::Broken)?;
            }
        }
    }
}

async fn request(
    requests: &mpsc::Sender<StreamEventsRequest>,
    batch: &Batch,
) -> Result<(), Status> {
    let request = StreamEventsRequest { chunk_id: batch.number, events: batch.events.clone() };
    let sent = requests.send(request).await;
    sent.map_err(|_| Status::unavailable("the connection was closed"))
}

/// Books the oldest batch.
fn settle(
    waiting: &mut VecDeque<Batch>,
    answer: Option<StreamEventsResponse>,
    book: &mut Book,
) -> anyhow::Result<()> {
    let batch = waiting.pop_front().context("an answer to nothing")?;
    if let Some(answer) = &answer
        && answer.chunk_id != batch.number
    {
        bail!("chunk {} was answered as {}", batch.number, answer.chunk_id);
    }
    book.settle(batch, answer)
}

/// What went wrong since the last answer.
struct Trouble {
    address: String,
    patience: Duration,
    since: Option<Instant>,
    told: Option<Instant>,
    pause: Duration,
    refusals: u32,
}

impl Trouble {
    fn new(address: &str, patience: Duration) -> Self {
        let address = address.to_owned();
        Self { address, patience, since: None, told: None, pause: FIRST_PAUSE, refusals: 0 }
    }

    /// How long to wait before the next try.
    fn meet(&mut self, status: &Status, book: &Book) -> anyhow::Result<Duration> {
        let said = status.message();
        let again = "then run the same command with --resume";
        match status.code() {
            Code::PermissionDenied => bail!(
                "the token may not do this ({said}): make one with `rapport token --scope \
                 profile:ingest`, {again}"
            ),
            Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange | Code::NotFound => {
                bail!("{} refuses the events: {said}", self.address)
            }
            Code::Unauthenticated => {
                self.refusals += 1;
                if self.refusals >= REFUSALS {
                    bail!(
                        "the token is refused ({said}): is it of this suite, and still good? \
                         Make one with `rapport token`, {again}"
                    );
                }
            }
            _ => {}
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let rows = book.rows();
        if now.duration_since(since) >= self.patience {
            let seconds = self.patience.as_secs();
            bail!(
                "{}, for {seconds} s now. {rows} rows are safe: when it is back, run the same \
                 command with --resume",
                self.words(status)
            );
        }
        if self.told.is_none_or(|told| now.duration_since(told) >= LONGEST_PAUSE) {
            self.told = Some(now);
            book.say(&format!("{}; {rows} rows are safe, trying again …", self.words(status)));
        }
        let pause = self.pause;
        self.pause = (2 * pause).min(LONGEST_PAUSE);
        Ok(pause)
    }

    fn words(&self, status: &Status) -> String {
        use std::error::Error as _;
        // What the connection says has a source; what a server says has none.
        if status.source().is_some() {
            return format!("nothing answers at {}: is `rapport up` running?", self.address);
        }
        format!("{} cannot take events now ({})", self.address, status.message())
    }

    fn is_over(&mut self, book: &Book) {
        if self.told.take().is_some() {
            book.say("it answers again, and the import goes on");
        }
        self.since = None;
        self.pause = FIRST_PAUSE;
        self.refusals = 0;
    }
}
