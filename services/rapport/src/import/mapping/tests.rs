//! Mappings as people write and miswrite them, and what they make of rows.

use std::path::Path;

use contracts::profile::v1::{Event, EventType, LedgerEntryType};
use prost_types::value::Kind;

use super::read;
use crate::import::event::{Converter, Judged};
use crate::import::row::{Cell, Item};

const HEADER: [&str; 7] = ["订单号", "手机", "姓名", "金额", "下单时间", "状态", "性别"];

const ORDERS: &str = r#"
source: shop
zone: Asia/Shanghai
currency: CNY
columns:
  下单时间: {as: time, format: "%Y/%m/%d %H:%M"}
  客户: {column: 姓名, part: {by: "/", index: 1}}
ledger:
  - type: order_completed
    entry: 订单号
    amount: 金额
    negative: refund
    time: 下单时间
    identifiers: {phone: 手机, crm_id: {column: 手机, prefix: "shop:"}}
    traits:
      name: 客户
      gender: {column: 性别, values: {男: male, 女: female}}
    properties: {status: 状态}
    unless: {状态: [已取消]}
"#;

fn findings(text: &str) -> Vec<String> {
    let read = read(Path::new("m.yaml"), text);
    read.err().into_iter().flatten().map(|finding| finding.to_string()).collect()
}

fn converter(text: &str) -> Converter {
    let mut mapping = read(Path::new("m.yaml"), text).expect("valid");
    let header = HEADER.map(str::to_owned).to_vec();
    mapping.bind(&header).expect("bound");
    Converter::new(mapping, "shop".to_owned(), header)
}

fn judge(converter: &mut Converter, line: u64, cells: [&str; 7]) -> Judged {
    let cells = cells.map(|text| match text {
        "" => Cell::Empty,
        text => Cell::Text(text.to_owned()),
    });
    let raw = String::new();
    converter.judge(&Item { line, position: line, cells: Ok(cells.to_vec()), raw })
}

fn one(judged: Judged) -> Event {
    assert_eq!(judged.faults, []);
    let [event] = <[Event; 1]>::try_from(judged.events).expect("one event");
    event
}

#[test]
fn a_row_becomes_the_event_that_the_mapping_says() {
    let mut converter = converter(ORDERS);
    let row = ["A1", "13912345678", "王芳/女士", "¥1,234.50", "2026/4/5 9:07", "已付款", "女"];
    let event = one(judge(&mut converter, 2, row));
    assert_eq!((event.r#type(), event.name.as_str()), (EventType::Track, "Order Completed"));
    assert_eq!(event.event_time.expect("a time").seconds, 1_775_351_220);
    let values: Vec<String> =
        event.identifiers.iter().map(|one| format!("{}={}", one.namespace, one.value)).collect();
    assert_eq!(values, ["phone=13912345678", "crm_id=shop:13912345678"]);
    let traits = event.traits.expect("traits").fields;
    assert_eq!(traits["name"].kind, Some(Kind::StringValue("王芳".to_owned())));
    assert_eq!(traits["gender"].kind, Some(Kind::StringValue("female".to_owned())));
    let entry = event.ledger_entry.expect("an entry");
    let amount = entry.amount.expect("an amount");
    assert_eq!((entry.entry_id.as_str(), amount.currency_code.as_str()), ("A1", "CNY"));
    assert_eq!((amount.units, amount.nanos), (1_234, 500_000_000));
}

#[test]
fn what_is_wrong_with_a_row_names_each_column() {
    let mut converter = converter(ORDERS);
    let row = ["A1", "无", "王芳", "12,5", "05.04.2026", "已付款", "?"];
    let judged = judge(&mut converter, 7, row);
    let columns: Vec<&str> = judged.faults.iter().map(|fault| fault.column.as_str()).collect();
    assert_eq!(columns, ["手机, 手机", "下单时间", "性别", "金额"]);
    assert!(judged.events.is_empty());
    let cancelled = judge(&mut converter, 8, ["A2", "", "", "x", "x", "已取消", "?"]);
    assert!(cancelled.faults.is_empty() && cancelled.events.is_empty(), "{cancelled:?}");
}

#[test]
fn a_negative_order_is_a_refund_if_the_mapping_says_so() {
    let mut converter = converter(ORDERS);
    let row = ["A1", "13912345678", "", "-5", "2026/4/5 9:07", "", ""];
    let event = one(judge(&mut converter, 2, row));
    let entry = event.ledger_entry.as_ref().expect("an entry");
    assert_eq!(entry.r#type(), LedgerEntryType::OrderRefunded);
    assert_eq!(entry.amount.as_ref().expect("an amount").units, 5);
    assert_eq!(event.name, "Order Refunded");
}

#[test]
fn the_same_key_counts_once_and_other_content_is_refused() {
    let mut converter = converter(ORDERS);
    let row = ["A1", "13912345678", "", "5", "2026/4/5 9:07", "", ""];
    let first = one(judge(&mut converter, 2, row));
    let again = judge(&mut converter, 3, row);
    assert_eq!((again.events.len(), again.repeated, again.faults.len()), (0, 1, 0));
    let mut changed = row;
    changed[3] = "6";
    let refused = judge(&mut converter, 4, changed);
    assert!(refused.faults[0].reason.contains("line 2"), "{refused:?}");
    // Another run, another order of rows: the same message id.
    let mut other = self::converter(ORDERS);
    assert_eq!(one(judge(&mut other, 9, row)).message_id, first.message_id);
}

#[test]
fn a_record_that_changed_is_new_and_one_that_did_not_is_known() {
    let records = "records:\n- key: 手机\n  identifiers: {phone: 手机}\n  traits: {name: 姓名}\n";
    let mut converter = converter(records);
    let ids: Vec<String> = ["王芳", "王芳", "王 芳"]
        .into_iter()
        .flat_map(|name| judge(&mut converter, 2, ["", "13912345678", name, "", "", "", ""]).events)
        .map(|event| event.message_id)
        .collect();
    assert_eq!(ids.len(), 2, "the second one stands there already: {ids:?}");
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn mistakes_of_a_mapping_are_all_said_with_their_place() {
    let text = "\
sorce: shop
zone: Mars/Olympus
currency: yuan
columns:
  when: {as: tiem}
  day: {column: d, as: date, format: dd/mm/yyyy}
  x: {column: a, constant: b}
events:
  - type: trakc
    identifiers: {Phone: 手机}
ledger:
  - type: order_completed
    identifiers: []
";
    let found = findings(text);
    for expected in [
        "m.yaml:1:1: unknown key `sorce`: did you mean `source`?",
        "m.yaml:2:7: unknown time zone `Mars/Olympus`",
        "m.yaml:3:11: `currency` must be three capital letters",
        "m.yaml:5:14: `as: tiem`: did you mean `time`?",
        "`dd/mm/yyyy` is no format of a time",
        "a value has one of `column`, `constant`, `join`",
        "m.yaml:9:11: `type: trakc`: did you mean `track`?",
        "the namespace `Phone`",
        "`amount` is missing",
        "`identifiers` is missing",
    ] {
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}\n{found:#?}");
    }
    assert!(findings("a: [b\n")[0].starts_with("m.yaml:"), "broken YAML has a place");
    assert!(findings("source: x\n")[0].contains("rows become nothing"));
}

#[test]
fn an_absent_column_is_named_with_the_closest_one() {
    let mut mapping =
        read(Path::new("m.yaml"), &ORDERS.replace("entry: 订单号", "entry: 订单编号"))
            .expect("valid");
    let problems = mapping.bind(&HEADER.map(str::to_owned)).expect_err("absent");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("did you mean `订单号`?"), "{problems:?}");
    assert_eq!(problems[0].place.line, 10);
    let header = HEADER.map(str::to_owned).to_vec();
    let twice: Vec<String> = header.iter().cloned().chain(["手机".to_owned()]).collect();
    let mut mapping = read(Path::new("m.yaml"), ORDERS).expect("valid");
    let problems = mapping.bind(&crate::import::row::column_names(twice)).expect_err("twice");
    assert!(problems[0].message.contains("`手机 (1)`"), "{problems:?}");
}
