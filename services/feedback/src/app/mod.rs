//! One use case per file: load, decide (domain), persist, tell the feed.

mod arrival;
pub(crate) mod follow;
pub(crate) mod outcome;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod survey;

use std::sync::Arc;
use std::time::Duration;

use ::store::{Bell, Committer, Database, TokenSealer};
use tokio::sync::Semaphore;

use crate::domain::outcome::{Outcome, Recording};

/// What the use cases share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) database: Database,
    /// Of pages.
    pub(crate) tokens: TokenSealer,
    /// Answers nothing for a demand that is not known.
    pub(crate) outcomes: Committer<Recording, Option<Outcome>>,
    /// Rings when facts have arrived.
    pub(crate) arrivals: Bell,
    pub(crate) wait_for_demand: Duration,
    /// The places of reports.
    pub(crate) reports: Arc<Semaphore>,
    pub(crate) report_max_rows: u32,
}
