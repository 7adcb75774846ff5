//! Ingest: evidence made known first, then chunks over StreamEvents, then single events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::profile::v1::{EventStatus, IngestEventsRequest, StreamEventsResponse};
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use super::load::{CHUNK, Population, Random};
use super::meter::{Phase, Processes};
use super::process::{Connection, Process, Token};
use super::wire::Prepared;

const STREAMS: usize = 4;
/// Chunks of a stream that wait for their answers.
const AHEAD: usize = 2;
const CLIENTS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);
const STREAM_EVENTS: &str = "/rapport.profile.v1.ProfileService/StreamEvents";

/// A customer as the answers named it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Its id.
    pub(crate) customer_id: String,
}

/// One event for every set of identifiers; answers the customers in the order of the population.
pub(crate) async fn make_known(
    process: &Process,
    token: &Token,
    population: &Arc<Population>,
) -> anyhow::Result<Vec<Known>> {
    let mut tasks = JoinSet::new();
    let total = population.evidence();
    for (lane, connection) in process.connections(STREAMS, token).await?.into_iter().enumerate() {
        let population = Arc::clone(population);
        tasks.spawn(async move {
            let mut profile = ProfileServiceClient::new(connection);
            let mut random = Random::new(1_000 + lane as u64);
            let mut known = Vec::new();
            for first in (lane * CHUNK..total).step_by(STREAMS * CHUNK) {
                let numbers: Vec<usize> = (first..total.min(first + CHUNK)).collect();
                let event = |number: &usize| population.event(*number, "Page Viewed", &mut random);
                let events = numbers.iter().map(event).collect();
                let mut request = tonic::Request::new(IngestEventsRequest { events });
                request.set_timeout(Duration::from_secs(30));
                let answer = profile.ingest_events(request).await?.into_inner();
                for (number, result) in numbers.into_iter().zip(answer.results) {
                    ensure!(
                        result.status() == EventStatus::Accepted,
                        "an event was refused: {:?}",
                        result.violations
                    );
                    known.push((number, result.customer_id));
                }
            }
            anyhow::Ok(known)
        });
    }
    let mut customers = vec![Known::default(); population.people()];
    // Second sets last: their answer names the customer after the merge, if there was one.
    let mut all = Vec::new();
    while let Some(known) = tasks.join_next().await {
        all.extend(known??);
    }
    all.sort_unstable();
    for (number, customer_id) in all {
        customers[population.owner(number)] = Known { customer_id };
    }
    Ok(customers)
}

/// What a streamed phase showed.
pub(crate) struct Streamed {
    /// Work and CPU.
    pub(crate) phase: Phase,
    /// From a chunk's sending to its answer, in milliseconds.
    pub(crate) chunk_ms: Vec<f64>,
    /// Acknowledged from the first chunk to the last answer.
    pub(crate) acknowledged: u64,
}

impl Streamed {
    /// The same of another turn of the same thing.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.phase.absorb(other.phase);
        self.chunk_ms.extend(other.chunk_ms);
        self.acknowledged += other.acknowledged;
    }
}

/// Streams chunks for a while. `seed` makes other events of another phase.
pub(crate) async fn stream(
    process: &Process,
    token: &Token,
    population: &Arc<Population>,
    processes: &Processes,
    (time, seed): (Duration, u64),
) -> anyhow::Result<Streamed> {
    let done = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut streams = JoinSet::new();
    for (number, connection) in process.connections(STREAMS, token).await?.into_iter().enumerate() {
        let random = Random::new(seed * 1_000 + number as u64);
        let (population, done, stop) =
            (Arc::clone(population), Arc::clone(&done), Arc::clone(&stop));
        streams.spawn(one_stream(connection, population, random, done, stop));
    }
    // A stream that fails ends the phase, else the rates would be those of the others.
    let measured = async {
        tokio::time::sleep(WARM_UP).await;
        Phase::measure(time, &done, processes).await
    };
    let phase = tokio::select! {
        phase = measured => phase?,
        ended = streams.join_next() => {
            ended.context("no streams")???;
            anyhow::bail!("a stream ended before its time");
        }
    };
    stop.store(true, Ordering::Relaxed);
    let mut chunk_ms = Vec::new();
    while let Some(ended) = streams.join_next().await {
        chunk_ms.extend(ended??);
    }
    Ok(Streamed { phase, chunk_ms, acknowledged: done.load(Ordering::Relaxed) })
}

async fn one_stream(
    connection: Connection,
    population: Arc<Population>,
    mut random: Random,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<f64>> {
    let mut grpc = tonic::client::Grpc::new(connection);
    grpc.ready().await.context("the connection is not ready")?;
    let (chunks, requests) = mpsc::channel::<Bytes>(AHEAD);
    let mut chunks = Some(chunks);
    let mut sent = VecDeque::new();
    let mut number = 0;
    let mut send = async |chunks: &Option<mpsc::Sender<Bytes>>, sent: &mut VecDeque<Instant>| {
        number += 1;
        let chunk = population.chunk(number, &mut random);
        sent.push_back(Instant::now());
        match chunks {
            Some(chunks) => chunks.send(chunk).await.context("the stream ended"),
            None => Ok(()),
        }
    };
    for _ in 0..AHEAD {
        send(&chunks, &mut sent).await?;
    }
    let path = http::uri::PathAndQuery::from_static(STREAM_EVENTS);
    let codec = Prepared::<StreamEventsResponse>::default();
    let request = tonic::Request::new(ReceiverStream::new(requests));
    let mut answers = grpc.streaming(request, path, codec).await?.into_inner();
    let mut milliseconds = Vec::new();
    while let Some(answer) = answers.message().await? {
        ensure!(
            answer.rejected.is_empty() && answer.duplicates == 0,
            "{} events were refused, {} taken for duplicates",
            answer.rejected.len(),
            answer.duplicates
        );
        let at = sent.pop_front().context("an answer to nothing")?;
        milliseconds.push(at.elapsed().as_secs_f64() * 1e3);
        done.fetch_add(u64::try_from(answer.accepted)?, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            chunks = None;
        }
        if chunks.is_some() {
            send(&chunks, &mut sent).await?;
        }
    }
    ensure!(sent.is_empty(), "{} chunks were not answered", sent.len());
    Ok(milliseconds)
}

/// Calls of one event each, every client waiting for its answer. Answers the phase and the
/// latencies in milliseconds.
pub(crate) async fn single(
    process: &Process,
    token: &Token,
    population: &Arc<Population>,
    processes: &Processes,
    time: Duration,
) -> anyhow::Result<(Phase, Vec<f64>)> {
    let done = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let connections = process.connections(STREAMS, token).await?;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let mut profile = ProfileServiceClient::new(connections[number % STREAMS].clone());
        let (population, done, stop) =
            (Arc::clone(population), Arc::clone(&done), Arc::clone(&stop));
        clients.spawn(async move {
            let mut random = Random::new(50_000 + number as u64);
            let mut milliseconds = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let events = vec![population.any_event(&mut random)];
                let begin = Instant::now();
                let answer = profile.ingest_events(IngestEventsRequest { events }).await?;
                milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
                let results = answer.into_inner().results;
                let accepted = results.iter().all(|one| one.status() == EventStatus::Accepted);
                ensure!(accepted && results.len() == 1, "an event was refused");
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(milliseconds)
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let phase = Phase::measure(time, &done, processes).await;
    stop.store(true, Ordering::Relaxed);
    let mut milliseconds = Vec::new();
    while let Some(client) = clients.join_next().await {
        milliseconds.extend(client??);
    }
    Ok((phase?, milliseconds))
}
