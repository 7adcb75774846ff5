//! Page sizes of List calls (AIP-158).

use crate::Violations;

/// How many items a page has when the caller does not say.
pub const DEFAULT_PAGE_SIZE: i32 = 50;
/// More is coerced to this.
pub const MAX_PAGE_SIZE: i32 = 1_000;

/// The page size in force: 0 means the default, more than the maximum means the maximum.
///
/// # Errors
/// A violation of `page_size` when it is negative.
pub fn size(requested: i32) -> Result<usize, Violations> {
    match requested {
        0 => Ok(DEFAULT_PAGE_SIZE as usize),
        1.. => Ok(requested.min(MAX_PAGE_SIZE) as usize),
        _ => Err(Violations::of("page_size", "must not be negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_defaulted_and_capped() {
        assert_eq!(size(0), Ok(50));
        assert_eq!(size(7), Ok(7));
        assert_eq!(size(5_000), Ok(1_000));
        assert!(size(-1).is_err());
    }
}
