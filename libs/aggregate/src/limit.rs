//! What bounds a state.
//!
//! The budget of a stored state is [`TYPICAL_BYTES`]: larger rows leave the page (TOAST) and
//! cost six times as much to write. It holds for 24 event names of 16 bytes, each active on
//! 8 of the last 32 days, with all day and block tiles used, two currencies, tickets, points
//! and four short attributes. Nothing is lost above it; [`MAX_BYTES`] is the hard bound when
//! every cap below is reached with the longest texts at once.

/// Event names with a counter of their own.
pub const NAMES: usize = 32;
/// Currencies with totals of their own.
pub const CURRENCIES: usize = 8;
/// Attributes in each of the two parts. The service declares at most as many per tenant and
/// class; the state keeps the same number if declarations came and went.
pub const TRAITS: usize = 64;
/// Days with a tile of their own: the latest day of the state and those before it. Two more
/// than the longest window, since events may lie up to 24 h ahead.
pub const DAYS: i32 = 32;
/// Days in a block, the coarse tile of older days. A block counts with the mean age of its
/// events, which understates its engagement by at most 7 %.
pub const BLOCK_DAYS: i32 = 16;
/// Blocks before the days that have tiles (a year and more); what is older only counts in the
/// totals.
pub const BLOCKS: i32 = 24;

/// Bytes of an event's name; a longer one is cut.
pub const NAME_BYTES: usize = 128;
/// Bytes of the name of an attribute; a longer one is cut.
pub const TRAIT_NAME_BYTES: usize = 64;
/// Bytes of a source; a longer one is cut.
pub const SOURCE_BYTES: usize = 64;
/// Bytes of a text value.
pub const TEXT_BYTES: usize = 1_024;

/// Encoded size that the typical worst case (above) stays within.
pub const TYPICAL_BYTES: usize = 1_900;
/// Encoded size that no state exceeds; longer input is refused.
pub const MAX_BYTES: usize = 96 * 1_024;

/// The longest start of `text` that has at most `bytes` bytes and ends between characters.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
