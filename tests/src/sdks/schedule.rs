//! Which request fails how: a function of the seed and the request's number.

/// What happens to a request that carries events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429 with `Retry-After: 1`; the gateway hears nothing.
    TooMany,
    /// 503 without a hint; the gateway hears nothing.
    Unavailable,
    /// The gateway commits and answers; the connection is reset before the answer is sent.
    AnswerLost,
}

/// All of them.
pub const FAULTS: [Fault; 3] = [Fault::TooMany, Fault::Unavailable, Fault::AnswerLost];

/// How often each kind comes, about.
const TIMES: u64 = 12;
/// At most one request in so many suffers each kind: five failures in a row, after which pauses
/// become long, are rare.
const ONE_IN: u64 = 16;

/// The faults of so many requests, in an order of their own.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    seed: u64,
    one_in: u64,
}

impl Schedule {
    /// For about so many requests.
    #[must_use]
    pub fn new(seed: u64, requests: u64) -> Self {
        Self { seed, one_in: (requests / TIMES).max(ONE_IN) }
    }

    /// The fault of a request, if it has one.
    #[must_use]
    pub fn fault(self, request: u64) -> Option<Fault> {
        let drawn = mixed(self.seed ^ mixed(request)) % self.one_in;
        FAULTS.get(usize::try_from(drawn).ok()?).copied()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): near numbers become unrelated ones.
const fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_soon_and_most_requests_pass() {
        for seed in 0..100 {
            for requests in [200, 1_000] {
                let schedule = Schedule::new(seed, requests);
                let is = |kind| move |request: &u64| schedule.fault(*request) == Some(kind);
                let counts = FAULTS.map(|kind| (0..requests).filter(is(kind)).count());
                assert!(counts.iter().all(|count| (1..40).contains(count)), "{seed}: {counts:?}");
            }
        }
    }
}
