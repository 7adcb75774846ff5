//! A database per test, cloned from a template that was migrated once.
//!
//! Template databases are `tpl_<name>_<hash of key>`, clones `t_<name>_<random>`. A template
//! is filled under another name and renamed when it is complete, so a killed run leaves
//! nothing half-migrated. Cloning by file copy is the fastest way without fsync (10 ms).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use anyhow::{Context, anyhow};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

const LIST_LEFT_OVER: &str =
    r"SELECT datname FROM pg_database WHERE datname LIKE 't\_%' OR datname LIKE 'new\_%'";
const TEMPLATE_EXISTS: &str = "SELECT 1 FROM pg_database WHERE datname = $1";
const OUTDATED_TEMPLATES: &str = r"
    SELECT datname FROM pg_database
    WHERE starts_with(datname, $1) AND datname ~ ('^' || $1 || '[0-9a-f]{16}$') AND datname <> $2";
const LOCK_TEMPLATE: &str = "SELECT pg_advisory_lock(hashtextextended($1, 0))";
const END_SESSIONS: &str =
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
const DROP_LIMIT: Duration = Duration::from_secs(10);
const CLONE_ATTEMPTS: u32 = 5;

/// Makes test databases on one server.
#[derive(Clone, Debug)]
pub struct Databases {
    admin_url: String,
    before_name: String,
    after_name: String,
}

impl Databases {
    /// On the server of this superuser's address.
    ///
    /// # Errors
    /// The address names no database.
    pub fn new(admin_url: String) -> anyhow::Result<Self> {
        let (address, query) = match admin_url.split_once('?') {
            Some((address, query)) => (address, format!("?{query}")),
            None => (admin_url.as_str(), String::new()),
        };
        let (server, _name) = address
            .rsplit_once('/')
            .filter(|(server, _)| server.contains("://") && !server.ends_with("//"))
            .ok_or_else(|| anyhow!("the test database's address has no `/name` at its end"))?;
        let before_name = format!("{server}/");
        Ok(Self { before_name, after_name: query, admin_url })
    }

    /// The superuser's address.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    fn url(&self, database: &str) -> String {
        format!("{}{database}{}", self.before_name, self.after_name)
    }

    async fn connect(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect(&self.admin_url).await.context("connecting to the test Postgres")
    }

    /// Drops the clones of killed tests; only for a server that was just started.
    pub(crate) async fn drop_left_over(&self) -> anyhow::Result<()> {
        let mut admin = self.connect().await?;
        let rows = sqlx::query(LIST_LEFT_OVER).fetch_all(&mut admin).await?;
        for row in rows {
            drop_database(&mut admin, row.get(0)).await?;
        }
        Ok(())
    }

    /// As [`crate::Stack::database`].
    ///
    /// # Errors
    /// The migration fails, or the server refuses.
    pub async fn create<M, F, E>(
        &self,
        name: &str,
        key: &str,
        mut migrate: M,
    ) -> anyhow::Result<TestDatabase>
    where
        M: FnMut(String) -> F,
        F: Future<Output = Result<(), E>>,
        E: Into<anyhow::Error>,
    {
        let name = plain(name);
        let mut admin = self.connect().await?;
        let template = format!("tpl_{name}_{}", fingerprint(key));
        let random = uuid::Uuid::new_v4().simple().to_string();
        let clone = format!("t_{name}_{}", &random[..16]);
        let strategy = if file_copy_exists(&mut admin).await? { "STRATEGY FILE_COPY" } else { "" };
        let create = format!(r#"CREATE DATABASE "{clone}" TEMPLATE "{template}" {strategy}"#);
        let mut attempt = 1;
        loop {
            if !exists(&mut admin, &template).await? {
                self.fill_template(&mut admin, &name, &template, &mut migrate).await?;
            }
            match admin.execute(AssertSqlSafe(create.clone())).await {
                Ok(_done) => break,
                // Another process may hold or replace the template just now.
                Err(error) if attempt < CLONE_ATTEMPTS && is_passing(&error) => attempt += 1,
                Err(error) => return Err(error).context("cloning the template database"),
            }
        }
        Ok(TestDatabase { url: self.url(&clone), name: clone, admin_url: self.admin_url.clone() })
    }

    async fn fill_template<M, F, E>(
        &self,
        admin: &mut PgConnection,
        name: &str,
        template: &str,
        migrate: &mut M,
    ) -> anyhow::Result<()>
    where
        M: FnMut(String) -> F,
        F: Future<Output = Result<(), E>>,
        E: Into<anyhow::Error>,
    {
        // A session of its own: closing it releases the lock, whatever happens in between.
        let mut locked = self.connect().await?;
        sqlx::query(LOCK_TEMPLATE).bind(name).execute(&mut locked).await?;
        if exists(&mut locked, template).await? {
            return Ok(());
        }
        for row in sqlx::query(OUTDATED_TEMPLATES)
            .bind(format!("tpl_{name}_"))
            .bind(template)
            .fetch_all(&mut locked)
            .await?
        {
            drop_database(&mut locked, row.get(0)).await?;
        }
        let unfinished = format!("new_{name}");
        drop_database(&mut locked, &unfinished).await?;
        let create = format!(r#"CREATE DATABASE "{unfinished}" TEMPLATE template0"#);
        locked.execute(AssertSqlSafe(create)).await?;
        migrate(self.url(&unfinished))
            .await
            .map_err(Into::into)
            .with_context(|| format!("migrating the template database of `{name}`"))?;
        let close = format!(r#"ALTER DATABASE "{unfinished}" ALLOW_CONNECTIONS false"#);
        locked.execute(AssertSqlSafe(close)).await?;
        sqlx::query(END_SESSIONS).bind(&unfinished).execute(admin).await?;
        let rename = format!(r#"ALTER DATABASE "{unfinished}" RENAME TO "{template}""#);
        locked.execute(AssertSqlSafe(rename)).await?;
        locked.close().await?;
        Ok(())
    }
}

/// A database of one test, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    admin_url: String,
}

impl TestDatabase {
    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    /// Best effort, at most ten seconds: what is left is dropped at the next start. A runtime
    /// of its own, because the test's runtime cannot be waited on from inside.
    fn drop(&mut self) {
        let (admin_url, name) = (self.admin_url.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let work = async {
                    let mut admin = PgConnection::connect(&admin_url).await?;
                    drop_database(&mut admin, &name).await
                };
                tokio::time::timeout(DROP_LIMIT, work).await?
            })
        });
        let _best_effort: std::thread::Result<anyhow::Result<()>> = dropping.join();
    }
}

async fn drop_database(admin: &mut PgConnection, name: &str) -> anyhow::Result<()> {
    let drop = format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#);
    admin.execute(AssertSqlSafe(drop)).await?;
    Ok(())
}

async fn exists(admin: &mut PgConnection, template: &str) -> anyhow::Result<bool> {
    let found = sqlx::query(TEMPLATE_EXISTS).bind(template).fetch_optional(admin).await?;
    Ok(found.is_some())
}

/// `STRATEGY` came with PostgreSQL 15.
async fn file_copy_exists(admin: &mut PgConnection) -> anyhow::Result<bool> {
    let version = sqlx::query("SELECT current_setting('server_version_num')::int4 >= 150000");
    Ok(version.fetch_one(admin).await?.get(0))
}

/// 3D000: the template was just replaced; 55006: it is just being used.
fn is_passing(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("3D000" | "55006"))
}

/// Lower-case letters, digits and underscores, short enough for an identifier of 63 bytes.
fn plain(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(fits).take(32).collect()
}

fn fingerprint(key: &str) -> String {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
