//! Values that stand for "nobody": what forms, imports and broken clients send when there
//! is nothing to send. Frozen with the version of the normalisation.

/// Words, folded to lower case.
const WORDS: [&str; 40] = [
    "unknown",
    "null",
    "(null)",
    "<null>",
    "none",
    "n/a",
    "#n/a",
    "n.a.",
    "nil",
    "nan",
    "undefined",
    "(undefined)",
    "[object object]",
    "test",
    "anonymous",
    "guest",
    "default",
    "dummy",
    "not set",
    "(not set)",
    "not provided",
    "true",
    "false",
    "-1",
    "-",
    "--",
    "---",
    "?",
    ".",
    "/",
    "无",
    "無",
    "空",
    "未知",
    "匿名",
    "没有",
    "暂无",
    "测试",
    "不详",
    "未填写",
];

/// Device values that millions of devices share: the ANDROID_ID of a firmware fault, and the
/// MAC address that iOS 7 and Android 6 report to everybody.
const BROKEN_DEVICES: [&str; 2] = ["9774d56d682e549c", "02:00:00:00:00:00"];

/// Mailboxes that nobody reads or that mean nothing, before any domain.
const NOBODYS_MAILBOXES: [&str; 15] = [
    "noreply",
    "no-reply",
    "no_reply",
    "no.reply",
    "donotreply",
    "do-not-reply",
    "do_not_reply",
    "mailer-daemon",
    "null",
    "none",
    "unknown",
    "undefined",
    "anonymous",
    "nobody",
    "n/a",
];

/// Mailboxes that mean nothing before a domain that means nothing.
const SAMPLE_MAILBOXES: [&str; 9] =
    ["test", "example", "user", "demo", "sample", "a", "abc", "name", "email"];
const SAMPLE_DOMAINS: [&str; 11] =
    ["test", "example", "domain", "email", "mail", "demo", "sample", "a", "abc", "none", "xxx"];

/// True for a folded, trimmed value that identifies nobody, in any namespace.
pub(super) fn is_placeholder(folded: &str) -> bool {
    if folded.is_empty() || WORDS.contains(&folded) || BROKEN_DEVICES.contains(&folded) {
        return true;
    }
    if let Some((mailbox, domain)) = folded.split_once('@') {
        let site = domain.split('.').next().unwrap_or_default();
        let is_sample = SAMPLE_MAILBOXES.contains(&mailbox) && SAMPLE_DOMAINS.contains(&site);
        return is_sample || NOBODYS_MAILBOXES.contains(&mailbox);
    }
    is_empty_number(folded)
}

/// All zeros of any length and grouping, also `0.0` and `0x0`; or a UUID of f only.
fn is_empty_number(folded: &str) -> bool {
    let digits = folded.strip_prefix("0x").unwrap_or(folded);
    let is_zero = digits.contains('0')
        && digits.chars().all(|c| matches!(c, '0' | '-' | ':' | '.' | ' ' | '+'));
    let is_max_uuid = folded.len() == 36 && folded.chars().all(|c| matches!(c, 'f' | '-'));
    is_zero || is_max_uuid
}
