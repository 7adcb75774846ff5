//! The frozen tables. A change here is a new version of the normalisation.

use linkage::IgnoreReason::{Blocked, Duplicate, Malformed, Masked, Placeholder};
use linkage::rules::{Draft, NamespaceDraft};
use linkage::{EvidenceSet, IgnoreReason, Namespace, Rules};
use proptest::prelude::*;

fn read(namespace: &str, raw: &str) -> Result<String, IgnoreReason> {
    let namespace: Namespace = namespace.parse().unwrap();
    Rules::default().read(&namespace, raw).map(|identifier| identifier.value().to_owned())
}

fn assert_table(namespace: &str, table: &[(&str, Result<&str, IgnoreReason>)]) {
    for (raw, expected) in table {
        assert_eq!(read(namespace, raw), expected.map(str::to_owned), "{namespace} {raw:?}");
    }
}

#[test]
fn phones() {
    assert_table(
        "phone",
        &[
            ("13812348000", Ok("+8613812348000")),
            ("+86 138 1234 8000", Ok("+8613812348000")),
            ("+86-138-1234-8000", Ok("+8613812348000")),
            ("(+86)13812348000", Ok("+8613812348000")),
            ("0086 13812348000", Ok("+8613812348000")),
            ("008613812348000", Ok("+8613812348000")),
            ("8613812348000", Ok("+8613812348000")),
            ("＋８６　１３８１２３４８０００", Ok("+8613812348000")),
            ("１３８－１２３４－８０００", Ok("+8613812348000")),
            ("138·1234·8000", Ok("+8613812348000")),
            ("\u{202d}138 1234 8000\u{202c}", Ok("+8613812348000")),
            ("tel:+8613812348000", Ok("+8613812348000")),
            ("010-12345678", Ok("+861012345678")),
            ("\u{2068}138 1234 8000\u{2069}", Ok("+8613812348000")),
            ("\u{61c}+86 138 1234 8000", Ok("+8613812348000")),
            ("010-12345678转801", Ok("+861012345678;ext=801")),
            ("010-12345678轉801", Ok("+861012345678;ext=801")),
            ("010-12345678 分机 801", Ok("+861012345678;ext=801")),
            ("010-12345678分機801", Ok("+861012345678;ext=801")),
            ("010-12345678转分机801", Ok("+861012345678;ext=801")),
            ("+86 10 1234 5678 ext. 801", Ok("+861012345678;ext=801")),
            ("+86 400-8201234", Ok("+864008201234")),
            ("400-820-1234", Ok("+864008201234")),
            ("+15018012541", Ok("+15018012541")),
            ("0018005550100", Ok("+18005550100")),
            ("+18 005-550100", Ok("+18005550100")),
            ("+44 20 7946 0958", Ok("+442079460958")),
            ("+852 9123 4567", Ok("+85291234567")),
            ("+39 06 1234 5678", Ok("+390612345678")),
            ("138****8000", Err(Masked)),
            ("138＊＊＊＊8000", Err(Masked)),
            ("138xxxx8000", Err(Masked)),
            ("138XXXX8000", Err(Masked)),
            ("138••••8000", Err(Masked)),
            ("138…8000", Err(Masked)),
            ("138____8000", Err(Masked)),
            ("+86138****8000", Err(Masked)),
            ("110", Err(Malformed)),
            ("12345678901234567890", Err(Malformed)),
            ("12348000", Err(Malformed)),
            ("张三", Err(Malformed)),
            ("1-800-FLOWERS", Err(Malformed)),
            ("call 13812348000", Err(Malformed)),
            ("a@b.com", Err(Malformed)),
            ("00000000000", Err(Placeholder)),
            ("11111111111", Err(Placeholder)),
            ("+86 11111111111", Err(Placeholder)),
            ("1234567890", Err(Placeholder)),
            ("无", Err(Placeholder)),
            ("", Err(Placeholder)),
        ],
    );
}

#[test]
fn emails() {
    assert_table(
        "email",
        &[
            (" James.Khan8800@Outlook.Com ", Ok("james.khan8800@outlook.com")),
            ("ｌｉ．ｎａ＠ｑｑ．ｃｏｍ", Ok("li.na@qq.com")),
            ("li+shop@例子.中国", Ok("li+shop@例子.中国")),
            ("\u{feff}li@qq.com\u{200b}", Ok("li@qq.com")),
            ("\u{2066}li@qq.com\u{2069}", Ok("li@qq.com")),
            ("J\u{30c}an@qq.com", Ok("\u{1f0}an@qq.com")),
            ("agarcia@corp144.example", Ok("agarcia@corp144.example")),
            ("test@qq.com", Ok("test@qq.com")),
            ("li***@qq.com", Err(Masked)),
            ("li…@qq.com", Err(Masked)),
            ("li@", Err(Malformed)),
            ("@qq.com", Err(Malformed)),
            ("li@qq@qq.com", Err(Malformed)),
            ("li@qq", Err(Malformed)),
            ("li na@qq.com", Err(Malformed)),
            ("li@-qq.com", Err(Malformed)),
            ("li@qq..com", Err(Malformed)),
            ("13812348000", Err(Malformed)),
            ("TEST@test.com", Err(Placeholder)),
            ("noreply@example.com", Err(Placeholder)),
            ("No-Reply@shop.cn", Err(Placeholder)),
            ("example@example.com", Err(Placeholder)),
            ("null", Err(Placeholder)),
        ],
    );
}

#[test]
fn other_values() {
    assert_table(
        "user_id",
        &[
            (" C1018564 ", Ok("C1018564")),
            ("Ｃ１０１８５６４", Ok("C1018564")),
            ("张三01", Ok("张三01")),
            ("10", Ok("10")),
            ("noreply@example.com", Err(Placeholder)),
            ("a\u{0}b", Err(Malformed)),
        ],
    );
    let nobody = [
        "unknown",
        " NULL ",
        "None",
        "N/A",
        "ｎ／ａ",
        "nil",
        "undefined",
        "test",
        "Anonymous",
        "NaN",
        "0",
        "-1",
        "000000000000000",
        "00000000-0000-0000-0000-000000000000",
        "无",
        "未知",
        "匿名",
        "",
        "  ",
        "\u{200b}",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "[object Object]",
    ];
    for namespace in ["user_id", "member_no", "device_id", "anonymous_id", "douyin_id", "crm_id"] {
        for raw in nobody {
            assert_eq!(read(namespace, raw), Err(Placeholder), "{namespace} {raw:?}");
        }
    }
    assert_table(
        "wechat_openid",
        &[(" wxA1:oAbC_-９ ", Ok("wxA1:oAbC_-９")), ("wxA1:null", Err(Placeholder))],
    );
    assert_table(
        "crm_id",
        &[("SAP:00017", Ok("SAP:00017")), ("SAP:0", Err(Placeholder)), ("SAP:", Err(Placeholder))],
    );
    assert_table(
        "device_id",
        &[("97D9-13fc", Ok("97D9-13fc")), ("9774d56d682e549c", Err(Placeholder))],
    );
    assert_eq!(read("device_id", &"a".repeat(512)), Ok("a".repeat(512)));
    assert_eq!(read("device_id", &"a".repeat(513)), Err(Malformed));
}

fn draft() -> Draft {
    let device =
        NamespaceDraft { namespace: "device_id".into(), ignore_case: true, ..Default::default() };
    Draft {
        namespaces: vec![device],
        blocked: vec![("phone".into(), "400 820 1234".into()), ("email".into(), "null".into())],
        default_region: "US".into(),
    }
}

#[test]
fn rules_decide_case_region_and_blocks() {
    let rules = Rules::check(&Draft { default_region: String::new(), ..draft() }).unwrap();
    let value = |namespace: Namespace, raw: &str| {
        rules.read(&namespace, raw).map(|identifier| identifier.value().to_owned())
    };
    assert_eq!(value(Namespace::DEVICE_ID, "AbC").as_deref(), Ok("abc"));
    assert_eq!(value(Namespace::PHONE, "+86 4008201234"), Err(Blocked));
    assert!(rules.of(&Namespace::USER_ID).unique && !rules.of(&Namespace::DEVICE_ID).unique);
    assert_eq!(rules.of(&Namespace::DEVICE_ID).max_companions, 2);
    let american = Rules::check(&Draft { blocked: vec![], ..draft() }).unwrap();
    let phone = american.read(&Namespace::PHONE, "(650) 253-0000").unwrap();
    assert_eq!(phone.value(), "+16502530000");
}

#[test]
fn every_fault_of_rules_is_told_at_once() {
    let bad = |namespace: &str, max_companions| NamespaceDraft {
        namespace: namespace.into(),
        max_companions,
        ..Default::default()
    };
    let draft = Draft {
        namespaces: vec![
            bad("E-Mail", 0),
            bad("phone", -1),
            bad("email", 51),
            bad("crm_id", 1),
            bad("crm_id", 1),
        ],
        blocked: vec![("phone".into(), "138****8000".into()), ("X".into(), "y".into())],
        default_region: "China".into(),
    };
    let violations = Rules::check(&draft).err().unwrap();
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    let expected = [
        "default_region",
        "namespaces[0].namespace",
        "namespaces[1].max_companions",
        "namespaces[2].max_companions",
        "namespaces[4].namespace",
        "blocked[0].value",
        "blocked[1].namespace",
    ];
    assert_eq!(fields, expected);
}

const KEY: [u8; 32] = *b"an example key of thirty-two ...";

#[test]
fn the_evidence_id_is_frozen() {
    let raw = [("phone", "138 1234 8000"), ("email", "Li.Na@QQ.com"), ("user_id", "C1")];
    let (set, ignored) = EvidenceSet::from_raw(&raw, &Rules::default()).unwrap();
    assert_eq!(ignored, []);
    // Computed with Python's hmac, from the description in `evidence.rs`.
    assert_eq!(set.evidence_id(&KEY).to_string(), "05378e84-a60d-8255-a4bd-421690622379");
    let key: String = set.identifiers()[0]
        .value_key(&KEY)
        .as_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(key, "fef0918885b9b39540214a47152f938e");
}

#[test]
fn what_is_left_out_is_told_with_its_place() {
    let raw = [
        ("phone", "138****8000"),
        ("email", "A@b.cn"),
        ("email", "a@B.cn "),
        ("user_id", "null"),
        ("phone", "1"),
    ];
    let (set, ignored) = EvidenceSet::from_raw(&raw, &Rules::default()).unwrap();
    assert_eq!(set.identifiers().len(), 1);
    assert_eq!(ignored, [(0, Masked), (2, Duplicate), (3, Placeholder), (4, Malformed)]);
    assert_eq!(format!("{set:?}"), "EvidenceSet([email:…])", "no value in a debug text");

    let field = |raw: &[(&str, &str)]| {
        let violations = EvidenceSet::from_raw(raw, &Rules::default()).err().unwrap();
        violations.iter().next().unwrap().field.clone()
    };
    assert_eq!(field(&[]), "identifiers");
    assert_eq!(field(&[("user_id", "0")]), "identifiers");
    assert_eq!(field(&[("user_id", "a"); 17]), "identifiers");
    assert_eq!(field(&[("user_id", "a"), ("No", "b")]), "identifiers[1].namespace");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn normalising_twice_is_normalising_once(
        namespace in prop::sample::select(
            vec!["email", "phone", "user_id", "crm_id", "douyin_id", "device_id"],
        ),
        raw in prop_oneof![
            ".{0,24}",
            "[+0-9０-９ ()-]{0,20}",
            "[a-zA-Zß@. ]{0,20}",
            // Letters that are one sign with their mark in lower case only.
            "[HJTWYİΣẞ\u{307}\u{308}\u{30a}\u{30c}\u{331}@. ]{0,12}",
        ],
    ) {
        // Device ids without regard to case: any text in lower case.
        let folding = Rules::check(&Draft { blocked: vec![], ..draft() }).unwrap();
        let namespace: Namespace = namespace.parse().unwrap();
        for rules in [Rules::default(), folding] {
            if let Ok(once) = rules.read(&namespace, &raw) {
                prop_assert_eq!(rules.read(&namespace, once.value()), Ok(once));
            }
        }
    }

    #[test]
    fn a_set_has_one_id_in_any_order_and_reads_back(
        (straight, shuffled) in prop::collection::vec(
            (prop::sample::select(vec!["email", "phone", "user_id", "douyin_id"]), "[a-c1-3@.]{1,6}"), 1..16,
        ).prop_flat_map(|raw| (Just(raw.clone()), Just(raw).prop_shuffle())),
    ) {
        let first = EvidenceSet::from_raw(&straight, &Rules::default());
        let second = EvidenceSet::from_raw(&shuffled, &Rules::default());
        if let (Ok((first, _)), Ok((second, _))) = (&first, &second) {
            prop_assert_eq!(first.evidence_id(&KEY), second.evidence_id(&KEY));
            prop_assert_eq!(EvidenceSet::decode(&first.encode()), Ok(first.clone()));
            prop_assert!(EvidenceSet::decode(&first.encode()[1..]).is_err());
        }
        prop_assert_eq!(first.is_ok(), second.is_ok());
    }
}
