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

/// One request in so many suffers each kind: a fifth fails, and five failures in a row, after
/// which pauses become long, are rare.
const ONE_IN: u64 = 16;

/// The fault of a request, if it has one.
#[must_use]
pub fn fault(seed: u64, request: u64) -> Option<Fault> {
    let drawn = usize::try_from(mixed(seed ^ mixed(request)) % ONE_IN).ok()?;
    FAULTS.get(drawn).copied()
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
            let of = |kind| (0..200).filter(|request| fault(seed, *request) == Some(kind)).count();
            let counts = FAULTS.map(of);
            assert!(counts.iter().all(|count| (1..40).contains(count)), "{seed}: {counts:?}");
        }
    }
}
