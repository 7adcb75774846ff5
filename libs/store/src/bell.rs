//! The bell: "something changed, look now" – in this process at once, in other replicas by
//! Redis pub/sub. It carries no data and may be lost: listeners also poll, as a floor.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::cache::Cache;

/// How long to wait before subscribing again.
const RECONNECT: Duration = Duration::from_secs(1);
/// How long a connection for the subscription may take.
const CONNECT: Duration = Duration::from_secs(1);

/// Rings and is heard; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bell {
    rung: watch::Sender<u64>,
    abroad: Arc<Notify>,
}

/// Hears a [`Bell`].
#[derive(Debug)]
pub struct Listener {
    rung: watch::Receiver<u64>,
}

impl Bell {
    /// A bell for `channel`. Its two tasks on `tasks` end when `stop` is cancelled; without
    /// Redis it is heard in this process only.
    #[must_use]
    pub fn start(
        cache: &Cache,
        channel: &str,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let bell = Self { rung: watch::Sender::new(0), abroad: Arc::new(Notify::new()) };
        if cache.subscription(channel).is_none() {
            return bell;
        }
        let ours = Uuid::new_v4().to_string();
        let publish = publish(cache.clone(), channel.to_owned(), ours.clone(), bell.clone());
        let listen = listen(cache.clone(), channel.to_owned(), ours, bell.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(publish));
        tasks.spawn(stop.clone().run_until_cancelled_owned(listen));
        bell
    }

    /// Rings. Never waits; many rings may be heard as one.
    pub fn ring(&self) {
        self.ring_here();
        self.abroad.notify_one();
    }

    /// A listener that hears every ring from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener { rung: self.rung.subscribe() }
    }

    fn ring_here(&self) {
        self.rung.send_modify(|count| *count += 1);
    }
}

impl Listener {
    /// Waits for a ring since the last call, at most `at_most`; true if it rang. Safe to
    /// cancel.
    pub async fn heard(&mut self, at_most: Duration) -> bool {
        match tokio::time::timeout(at_most, self.rung.changed()).await {
            Ok(Ok(())) => true,
            // The bell is gone, the poll remains.
            Ok(Err(_)) => {
                tokio::time::sleep(at_most).await;
                false
            }
            Err(_) => false,
        }
    }
}

/// One message per burst of rings.
async fn publish(cache: Cache, channel: String, ours: String, bell: Bell) {
    loop {
        bell.abroad.notified().await;
        cache.publish(&channel, &ours).await;
    }
}

async fn listen(cache: Cache, channel: String, ours: String, bell: Bell) {
    let Some((client, channel)) = cache.subscription(&channel) else { return };
    loop {
        if let Ok(Ok(mut subscription)) =
            tokio::time::timeout(CONNECT, client.get_async_pubsub()).await
            && subscription.subscribe(&channel).await.is_ok()
        {
            // Rings during the gap were lost.
            bell.ring_here();
            let mut messages = subscription.on_message();
            while let Some(message) = messages.next().await {
                if message.get_payload_bytes() != ours.as_bytes() {
                    bell.ring_here();
                }
            }
        }
        tokio::time::sleep(RECONNECT).await;
    }
}
