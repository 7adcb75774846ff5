//! The stored form, as protobuf messages written by hand: the fields are in the order of
//! their tags and there are no maps, so the encoding is a function of the content.
//! Inside one version of the encoding a tag never changes its meaning.

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Behaviour {
    #[prost(uint64, tag = "1")]
    pub(crate) total: u64,
    #[prost(sint64, tag = "2")]
    pub(crate) first_us: i64,
    /// Last minus first.
    #[prost(uint64, tag = "3")]
    pub(crate) span_us: u64,
    #[prost(bool, tag = "4")]
    pub(crate) identified: bool,
    /// Bit i is set if the day i days before the latest one has a count.
    #[prost(fixed32, tag = "5")]
    pub(crate) day_bits: u32,
    #[prost(uint64, repeated, tag = "6")]
    pub(crate) day_counts: Vec<u64>,
    /// Bit i is set if the block i blocks before the youngest one possible has a count.
    #[prost(uint32, tag = "7")]
    pub(crate) block_bits: u32,
    #[prost(uint64, repeated, tag = "8")]
    pub(crate) block_counts: Vec<u64>,
    #[prost(uint64, repeated, tag = "9")]
    pub(crate) block_offsets: Vec<u64>,
    #[prost(message, repeated, tag = "10")]
    pub(crate) counters: Vec<Counter>,
    #[prost(message, optional, tag = "11")]
    pub(crate) ledger: Option<Ledger>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) traits: Vec<Trait>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Counter {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint64, tag = "2")]
    pub(crate) total: u64,
    /// First of this name minus first of all.
    #[prost(uint64, tag = "3")]
    pub(crate) first_after_us: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) span_us: u64,
    #[prost(fixed32, tag = "5")]
    pub(crate) day_bits: u32,
    #[prost(uint64, repeated, tag = "6")]
    pub(crate) day_counts: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ledger {
    #[prost(uint64, tag = "1")]
    pub(crate) orders: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) refunds: u64,
    #[prost(sint64, tag = "3")]
    pub(crate) first_order_us: i64,
    #[prost(uint64, tag = "4")]
    pub(crate) order_span_us: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) tickets_opened: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) tickets_closed: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) points_earned: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) points_spent: u64,
    #[prost(message, repeated, tag = "9")]
    pub(crate) currencies: Vec<Currency>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Currency {
    #[prost(string, tag = "1")]
    pub(crate) code: String,
    #[prost(uint64, tag = "2")]
    pub(crate) orders: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) completed: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) refunded: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Trait {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(oneof = "Value", tags = "2, 3, 4, 5")]
    pub(crate) value: Option<Value>,
    #[prost(string, tag = "6")]
    pub(crate) source: String,
    #[prost(sint64, tag = "7")]
    pub(crate) event_us: i64,
    #[prost(fixed64, tag = "8")]
    pub(crate) tie: u64,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Value {
    #[prost(string, tag = "2")]
    Text(String),
    #[prost(double, tag = "3")]
    Number(f64),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(sint64, tag = "5")]
    Time(i64),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Personal {
    #[prost(message, repeated, tag = "1")]
    pub(crate) traits: Vec<Trait>,
}
