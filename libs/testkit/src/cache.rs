//! One test's corner of a Redis that others use too.

/// An address and a prefix that no other test has.
#[derive(Clone, Debug)]
pub struct TestRedis {
    url: String,
    prefix: String,
}

impl TestRedis {
    pub(crate) fn new(url: String) -> Self {
        Self { url, prefix: format!("t:{}:", uuid::Uuid::new_v4().simple()) }
    }

    /// The address, as the `redis` crate reads it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// To be put before every key and channel of this test; ends with a colon.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}
