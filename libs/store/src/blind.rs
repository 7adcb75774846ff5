//! Blind indexes: look a value up by equality without keeping it.
//!
//! HMAC-SHA256(index key of the tenant, namespace ‖ 0 ‖ value). The namespace must not contain
//! a zero byte; the value is normalised by the caller. What leaks is equality within a tenant.

use aws_lc_rs::hmac;

use crate::keys::TenantLookup;

/// The index of a value: 32 bytes.
#[must_use]
pub fn index(lookup: &TenantLookup, namespace: &str, value: &[u8]) -> [u8; 32] {
    mac(&lookup.index, namespace, value)
}

/// The first half of [`index()`]: enough to tell 2⁶⁴ values apart in a key column.
#[must_use]
pub fn short_index(lookup: &TenantLookup, namespace: &str, value: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&index(lookup, namespace, value)[..16]);
    short
}

pub(crate) fn mac(key: &hmac::Key, label: &str, value: &[u8]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    context.update(label.as_bytes());
    context.update(&[0]);
    context.update(value);
    let mut bytes = [0; 32];
    // HMAC-SHA256 tags have 32 bytes.
    bytes.copy_from_slice(context.sign().as_ref());
    bytes
}

/// A plain SHA-256, for what is not secret.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}
