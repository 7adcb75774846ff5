//! Waiting for something that happens in its own time, without sleeping blindly.

use std::fmt::Debug;
use std::time::{Duration, Instant};

const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// What a probe may answer: `bool`, `Option<T>` or `Result<T, E>`.
pub trait Probed {
    /// What is handed back once it is there.
    type Value;
    /// The value, or what was seen instead.
    ///
    /// # Errors
    /// It is not there yet.
    fn probed(self) -> Result<Self::Value, String>;
}

impl Probed for bool {
    type Value = ();
    fn probed(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it did not hold".to_owned()) }
    }
}

impl<T> Probed for Option<T> {
    type Value = T;
    fn probed(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing was there".to_owned())
    }
}

impl<T, E: Debug> Probed for Result<T, E> {
    type Value = T;
    fn probed(self) -> Result<T, String> {
        self.map_err(|error| format!("the last answer was {error:?}"))
    }
}

/// Polls `probe` every 5 to 20 ms until it succeeds; `what` says in the failure message what
/// was waited for. A probe that hangs is cut off at the deadline too.
///
/// # Panics
/// The deadline passes.
#[track_caller]
pub fn eventually<A, F, P>(limit: Duration, what: &str, probe: F) -> impl Future<Output = P::Value>
where
    F: FnMut() -> A,
    A: Future<Output = P>,
    P: Probed,
{
    let caller = std::panic::Location::caller();
    poll(limit, format!("{what} ({caller})"), probe)
}

#[expect(clippy::panic, reason = "a test that waited in vain has failed")]
async fn poll<A, F, P>(limit: Duration, what: String, mut probe: F) -> P::Value
where
    F: FnMut() -> A,
    A: Future<Output = P>,
    P: Probed,
{
    let deadline = Instant::now() + limit;
    let mut pause = SHORTEST_PAUSE;
    let mut seen = "no answer at all".to_owned();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Ok(answer) = tokio::time::timeout(left, probe()).await {
            match answer.probed() {
                Ok(value) => return value,
                Err(instead) => seen = instead,
            }
        }
        if Instant::now() >= deadline {
            panic!("waited {limit:?} in vain for: {what}; {seen}");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
