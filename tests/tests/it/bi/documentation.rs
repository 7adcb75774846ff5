//! `docs/bi.md` is what the comments of the views say. `UPDATE_DOCS=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use rapport::bi::SERVICES;
use sqlx::{Connection as _, PgConnection};

use crate::world;

/// View, its comment, column, type, its comment.
type Row = (String, Option<String>, String, String, Option<String>);

const COLUMNS: &str = "select c.relname::text, obj_description(c.oid, 'pg_class'),
        a.attname::text, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'bi'::regnamespace and c.relkind = 'v' order by c.relname, a.attnum";
/// Views through which a function of the reader's could see other tenants' rows.
const OPEN: &str = "select relname::text from pg_class where relnamespace = 'bi'::regnamespace
    and relkind = 'v' and coalesce(not 'security_barrier=true' = any(reloptions), true)";

/// What every driver and tool knows.
const PLAIN: [&str; 7] = [
    "uuid",
    "text",
    "boolean",
    "integer",
    "bigint",
    "double precision",
    "timestamp with time zone",
];

const HEAD: &str = include_str!("bi.head.md");

#[tokio::test]
async fn the_list_of_views_is_what_their_comments_say() {
    let mut text = format!("{}\n", HEAD.trim_end());
    for service in SERVICES {
        let database = world::database(service).await;
        let mut connection = PgConnection::connect(database.url()).await.expect("a session");
        let open: Vec<String> =
            sqlx::query_scalar(OPEN).fetch_all(&mut connection).await.expect("views");
        assert_eq!(open, Vec::<String>::new(), "no security barriers");
        let rows: Vec<Row> =
            sqlx::query_as(COLUMNS).fetch_all(&mut connection).await.expect("views");
        assert!(!rows.is_empty(), "{service} has no views");
        writeln!(text, "\n## Database `{service}`").expect("text");
        let mut last = String::new();
        for (view, meaning, column, kind, comment) in rows {
            if view != last {
                let meaning = meaning.unwrap_or_else(|| panic!("bi.{view} has no comment"));
                writeln!(text, "\n### bi.{view}\n\n{meaning}\n").expect("text");
                writeln!(text, "| column | type | meaning |\n|---|---|---|").expect("text");
            }
            let is_plain = PLAIN.contains(&kind.as_str()) || kind.starts_with("numeric(");
            assert!(is_plain, "bi.{view}.{column} is {kind}");
            let comment = comment.unwrap_or_else(|| panic!("bi.{view}.{column} has no comment"));
            let kind = kind.replace("timestamp with time zone", "timestamptz");
            writeln!(text, "| `{column}` | {kind} | {comment} |").expect("text");
            last = view;
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bi.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/bi.md is not what the comments say: run `make gen`");
}
