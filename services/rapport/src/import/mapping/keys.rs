//! Every key that a mapping may have: what the reader takes, what it suggests when one is
//! misspelt, and what `docs/import.md` lists. One table, so that they agree.

/// A key and what it means.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
}

const fn key(name: &'static str, meaning: &'static str) -> Key {
    Key { name, meaning }
}

/// At the top.
pub(crate) const FILE: &[Key] = &[
    key(
        "source",
        "The system that the file comes from, at most 64 bytes: part of every natural key, shown with every value. Default: the file's name without its end, with a warning: a file of another name is another source then.",
    ),
    key("format", "`csv`, `jsonl`, `xlsx` or `xls`. Default: by content and name."),
    key(
        "encoding",
        "`utf-8`, `utf-16`, `gbk`, `gb18030`, `big5`, `windows-1252` … Default: counted over all lines.",
    ),
    key(
        "delimiter",
        "Between columns: `,`, `;`, `tab` or another ASCII sign. Default: the one of `,` `;` tab that cuts evenly.",
    ),
    key("quote", "`none` if `\"` has no meaning in the file."),
    key("sheet", "The sheet of a workbook. Default: the first that is not empty."),
    key(
        "header",
        "The line of the header, from 1; `0` if there is none (then columns are `column 1`, `column 2` …). Default: the first line that is not blank.",
    ),
    key(
        "zone",
        "The time zone of times that carry none, such as `Asia/Shanghai`. Default: UTC, with a warning.",
    ),
    key(
        "empty",
        "Values that mean nothing, in any case of letters. Default: `N/A`, `NA`, `#N/A`, `null`, `none`, `nil`, `-`, `--`, `—`, `/`, `无`, `空`, `未知`, `暂无`.",
    ),
    key("decimal", "The decimal mark of numbers: `.` or `,`. Default: `.`"),
    key("currency", "Three letters: of amounts that show none."),
    key(
        "columns",
        "Named values: each name can be used wherever a column can. A name without `column` refines the column of that name.",
    ),
    key(
        "records",
        "Rows about persons: each becomes an `identify` event. What changed since an earlier import is imported; what did not is a duplicate.",
    ),
    key("events", "Things that happened."),
    key("ledger", "Orders, refunds, tickets and points: events that add up."),
];

/// Of a value.
pub(crate) const VALUE: &[Key] = &[
    key(
        "column",
        "The column (or named value) it comes from. A plain text instead of a mapping means the same.",
    ),
    key("constant", "The same value in every row."),
    key("join", "Several columns, joined with `with`; empty ones are left out."),
    key("with", "Between the joined columns. Default: one blank."),
    key("empty", "As at the top, for this value alone."),
    key("part", "`{by: \"/\", index: 1}`: one piece of a value, from 1; `-1` is the last."),
    key("case", "`lower` or `upper`."),
    key("values", "A table from what stands in the file to what is meant."),
    key("otherwise", "For what `values` does not list: `reject` (default), `keep` or `empty`."),
    key("default", "Taken if the value is empty."),
    key("as", "`string` (default), `integer`, `decimal`, `money`, `boolean`, `time` or `date`."),
    key(
        "format",
        "Of `time` and `date`: one or a list of `iso` (default), `unix`, `unix_ms`, `excel`, or strftime such as `%d/%m/%Y %H:%M`.",
    ),
    key("zone", "Of `time` and `date`: as at the top."),
    key("currency", "Of `money`: as at the top."),
    key("decimal", "Of numbers: as at the top."),
    key("true", "Of `boolean`: more words for true, one or a list."),
    key("false", "Of `boolean`: more words for false."),
    key("prefix", "Put before the value, e.g. `shop:` before a `crm_id`."),
    key("required", "`true`: a row without this value is refused."),
];

/// Of records, events and ledger entries.
pub(crate) const OUTPUT: &[Key] = &[
    key(
        "key",
        "The columns that name the fact in its source, such as the order number: the natural key. Without it the row's content is the key.",
    ),
    key("identifiers", "Whose it is: namespace to value. At least one must be there in each row."),
    key("time", "When it happened or was true. Without it: when it is imported."),
    key("traits", "Attributes of the person: name to value."),
    key("properties", "Details of the event: name to value."),
    key("context", "Where it came from: name to value."),
    key("when", "Only rows in which each of these columns is one of the given texts."),
    key("unless", "Not the rows in which all of these columns are one of the given texts."),
];

/// Of events.
pub(crate) const EVENT: &[Key] = &[
    key("type", "`track` (default), `page`, `screen`, `group`, `identify` or `alias`."),
    key(
        "name",
        "The name of the event, the same for all rows; `{column: …}` takes it from a column.",
    ),
];

/// Of ledger entries.
pub(crate) const LEDGER: &[Key] = &[
    key(
        "type",
        "`order_completed`, `order_refunded`, `ticket_opened`, `ticket_closed`, `points_earned` or `points_spent`.",
    ),
    key(
        "entry",
        "The number of the order or ticket in its source; also the natural key unless `key` says another.",
    ),
    key("amount", "Of orders and refunds: read as `money`."),
    key("currency", "Of the amount: three letters, or `{column: …}`."),
    key("points", "Of points: read as `integer`."),
    key(
        "negative",
        "An order with a negative amount: `reject` (default), `refund` (it becomes a refund) or `skip`. A refund's amount may have either sign.",
    ),
    key("name", "The name of the event. Default: `Order Completed`, `Order Refunded` …"),
];

/// The reference of the mapping in Markdown, for `docs/import.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    for (title, keys) in [
        ("The file", FILE),
        ("A value", VALUE),
        ("Records, events and ledger entries", OUTPUT),
        ("Events only", EVENT),
        ("Ledger entries only", LEDGER),
    ] {
        text.push_str(&format!("### {title}\n\n| key | meaning |\n|---|---|\n"));
        for Key { name, meaning } in keys {
            let meaning = meaning.replace('|', "\\|");
            text.push_str(&format!("| `{name}` | {meaning} |\n"));
        }
        text.push('\n');
    }
    text
}
