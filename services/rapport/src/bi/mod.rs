//! Readers for business intelligence: database roles that see the views of schema `bi` of one
//! tenant and nothing else.
//!
//! The views themselves are migrations of the services (`services/*/migrations/bi.sql`). They
//! filter by the tenant that `bi_reader` names for the role of the session; here such roles are
//! made, given a new password, and dropped. Run again it is finished: each step is repeatable, and
//! what it does in one database is one transaction.
//!
//! Deliberately absent: views for anything personal, and a limit on statements that a reader
//! cannot lift: Postgres has none.

mod name;
mod password;

use std::str::FromStr as _;

use anyhow::{Context as _, bail};
use kernel::TenantId;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use url::Url;

pub use self::name::Name;
pub use self::password::Password;

/// The services that have views.
pub const SERVICES: [&str; 4] = ["profile", "scoring", "routing", "feedback"];

/// One database with views, reached as somebody who may make roles.
#[derive(Clone)]
pub struct Place {
    /// Never printed as it is: it may hold a password.
    url: Url,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("database", &self.database()).finish_non_exhaustive()
    }
}

impl Place {
    /// By its address.
    ///
    /// # Errors
    /// When it is none; it is not repeated.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let expected = "an address must be postgres://user:password@host:port/database";
        let url = Url::parse(url).ok().context(expected)?;
        let place = Self { url };
        let is_postgres = ["postgres", "postgresql"].contains(&place.url.scheme());
        if !is_postgres || place.database().is_empty() {
            bail!("{expected}");
        }
        Ok(place)
    }

    /// The name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        self.url.path().trim_start_matches('/')
    }

    async fn connect(&self) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::from_str(self.url.as_str())
            .ok()
            .context("an address of a database is malformed")?
            .application_name("rapport-bi-role")
            .options([("lock_timeout", "5s"), ("statement_timeout", "30s")])
            .disable_statement_logging();
        let database = self.database();
        PgConnection::connect_with(&options)
            .await
            .with_context(|| format!("connecting to the database {database}"))
    }

    /// The address for a reader; nothing if the server listens on a unix socket only.
    async fn address(
        &self,
        connection: &mut PgConnection,
        name: &Name,
        password: &Password,
    ) -> anyhow::Result<Option<String>> {
        let mut url = self.url.clone();
        // A percent-encoded directory stands for a unix socket; tools of others want a port.
        let through_socket = url.host_str().is_none_or(|host| host.contains("%2F"));
        if through_socket {
            let row: (String, String) = sqlx::query_as(LISTENS).fetch_one(connection).await?;
            if row.0.is_empty() {
                return Ok(None);
            }
            url = Url::parse(&format!("postgresql://127.0.0.1:{}/{}", row.1, self.database()))?;
        }
        let named = url.set_username(name.as_str()).and(url.set_password(Some(password.text())));
        named.ok().context("the address of the database takes no name")?;
        Ok(Some(url.into()))
    }
}

const LISTENS: &str = "select current_setting('listen_addresses'), current_setting('port')";

/// What a reader is.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Its role.
    pub name: Name,
    /// Whose rows it sees.
    pub tenant: TenantId,
    /// How many sessions it may have in each server.
    pub connections: u16,
}

/// Makes the reader in every place, or gives it a new password; answers, by place, where a tool
/// connects: nothing if the server listens on a unix socket only.
///
/// # Errors
/// When a place cannot be reached, has no views, or has another role of that name.
pub async fn grant(
    places: &[Place],
    reader: &Reader,
    password: &Password,
) -> anyhow::Result<Vec<Option<String>>> {
    let verifier = password.verifier()?;
    let mut addresses = Vec::with_capacity(places.len());
    for place in places {
        let mut connection = place.connect().await?;
        grant_in(&mut connection, reader, &verifier)
            .await
            .with_context(|| format!("in the database {}", place.database()))?;
        addresses.push(place.address(&mut connection, &reader.name, password).await?);
        connection.close().await?;
    }
    Ok(addresses)
}

const HAS_VIEWS: &str = "select to_regclass('bi_reader') is not null";
const ROLE: &str = "select shobj_description(oid, 'pg_authid') from pg_roles where rolname = $1";
const TENANT: &str = "insert into bi_reader (role, tenant_id) values ($1::name, $2)
    on conflict (role) do update set tenant_id = excluded.tenant_id";
/// Besides the views: who is not the owner is only warned when a grant is without effect.
const MISSING: &str = "select c.relname::text from pg_class c
    where c.relnamespace = 'bi'::regnamespace and c.relkind = 'v'
        and not (has_table_privilege($1::name, c.oid, 'select')
            and has_schema_privilege($1::name, 'bi', 'usage'))
    order by 1 limit 1";
const IS_SUPERUSER: &str = "select rolsuper from pg_roles where rolname = current_user";
/// Anybody may make large objects, which fill the disk.
const NO_LARGE_OBJECTS: &str = "revoke execute on function
    lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) from public";

async fn grant_in(
    connection: &mut PgConnection,
    reader: &Reader,
    verifier: &str,
) -> anyhow::Result<()> {
    let mut transaction = connection.begin().await?;
    let name = reader.name.as_str();
    let has_views: bool = sqlx::query_scalar(HAS_VIEWS).fetch_one(&mut *transaction).await?;
    if !has_views {
        bail!("it has no views: migrate first (`rapport migrate`), or name another database");
    }
    let mark = mark(reader.tenant);
    let role: Option<Option<String>> =
        sqlx::query_scalar(ROLE).bind(name).fetch_optional(&mut *transaction).await?;
    match role {
        None => run(&mut transaction, format!("create role {name} noinherit")).await?,
        Some(Some(found)) if found == mark => {}
        Some(Some(found)) if found.starts_with(MARK) => {
            bail!("the role {name} is of another tenant ({found}): drop it first, with --drop")
        }
        Some(_) => bail!("there is a role {name} that is no reader: choose another name"),
    }
    let limit = reader.connections;
    for statement in [
        format!("comment on role {name} is '{mark}'"),
        format!("alter role {name} login connection limit {limit} password '{verifier}'"),
        format!("alter role {name} set default_transaction_read_only = on"),
        format!("alter role {name} set statement_timeout = '60s'"),
        format!("alter role {name} set idle_in_transaction_session_timeout = '60s'"),
        format!("alter role {name} set search_path = bi"),
        format!("grant usage on schema bi to {name}"),
        format!("grant select on all tables in schema bi to {name}"),
    ] {
        run(&mut transaction, statement).await?;
    }
    let database = current_database(&mut transaction).await?;
    run(&mut transaction, format!("grant connect on database {database} to {name}")).await?;
    // Temporary tables fill the disk, and temporary functions are tried on views.
    run(&mut transaction, format!("revoke temporary on database {database} from public")).await?;
    let is_superuser: bool = sqlx::query_scalar(IS_SUPERUSER).fetch_one(&mut *transaction).await?;
    if is_superuser {
        run(&mut transaction, NO_LARGE_OBJECTS.to_owned()).await?;
    }
    sqlx::query(TENANT).bind(name).bind(reader.tenant.uuid()).execute(&mut *transaction).await?;
    let missing: Option<String> =
        sqlx::query_scalar(MISSING).bind(name).fetch_optional(&mut *transaction).await?;
    if let Some(view) = missing {
        bail!("{name} was not allowed to read bi.{view}: connect as the owner of the views");
    }
    transaction.commit().await?;
    Ok(())
}

const MARK: &str = "Rapport: reads the views of tenant ";

fn mark(tenant: TenantId) -> String {
    format!("{MARK}{tenant}")
}

async fn current_database(connection: &mut PgConnection) -> anyhow::Result<String> {
    Ok(sqlx::query_scalar("select quote_ident(current_database())").fetch_one(connection).await?)
}

/// For statements that take no parameters. What is put into them is a [`Name`], a verifier or the
/// server's own quoting.
async fn run(connection: &mut PgConnection, statement: String) -> anyhow::Result<()> {
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

/// Takes the reader away from every place; false if none had it.
///
/// # Errors
/// When a place cannot be reached, or the role is no reader, of another tenant, or used by
/// databases that are not among the places.
pub async fn drop(places: &[Place], name: &Name, tenant: TenantId) -> anyhow::Result<bool> {
    for place in places {
        let mut connection = place.connect().await?;
        revoke_in(&mut connection, name, tenant)
            .await
            .with_context(|| format!("in the database {}", place.database()))?;
        connection.close().await?;
    }
    // A role belongs to the server: it goes after its privileges in all databases.
    let mut was_there = false;
    for place in places {
        let mut connection = place.connect().await?;
        let role: Option<Option<String>> =
            sqlx::query_scalar(ROLE).bind(name.as_str()).fetch_optional(&mut connection).await?;
        if role.is_some() {
            was_there = true;
            run(&mut connection, format!("drop role if exists {name}"))
                .await
                .context("the role is still used: name all databases of its server")?;
        }
        connection.close().await?;
    }
    Ok(was_there)
}

async fn revoke_in(
    connection: &mut PgConnection,
    name: &Name,
    tenant: TenantId,
) -> anyhow::Result<()> {
    let role: Option<Option<String>> =
        sqlx::query_scalar(ROLE).bind(name.as_str()).fetch_optional(&mut *connection).await?;
    match role {
        None => {}
        Some(Some(found)) if found == mark(tenant) => {
            let mut transaction = connection.begin().await?;
            let database = current_database(&mut transaction).await?;
            for statement in [
                format!("revoke all on all tables in schema bi from {name}"),
                format!("revoke all on schema bi from {name}"),
                format!("revoke all on database {database} from {name}"),
            ] {
                run(&mut transaction, statement).await?;
            }
            transaction.commit().await?;
        }
        Some(_) => bail!("the role {name} is no reader of tenant {tenant}: nothing was changed"),
    }
    sqlx::query("delete from bi_reader where role = $1::name")
        .bind(name.as_str())
        .execute(connection)
        .await?;
    Ok(())
}
