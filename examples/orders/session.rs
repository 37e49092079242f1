//! How a statement is executed: the part of a database that is worth annotating most.

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, Row, Rows, ToSql};
use stagelight::{query, stage};

use crate::statement::Statement;
use crate::tenants::Tenant;
use crate::truth::{self, Stage};

/// What can be read from a row: tuples of columns, for one.
pub trait FromRow: for<'a> TryFrom<&'a Row<'a>, Error = rusqlite::Error> {}

impl<T: for<'a> TryFrom<&'a Row<'a>, Error = rusqlite::Error>> FromRow for T {}

/// A connection at work for one tenant and user.
pub struct Session<'a> {
    pub db: &'a Connection,
    pub tenant: &'static Tenant,
    pub user: &'static str,
}

impl Session<'_> {
    /// Executes one statement and reads its rows.
    ///
    /// `#[query]` makes this the entry of a statement: whatever runs below, here, in SQLite and in the
    /// allocator, is accounted to these labels.
    #[query(key = statement.key(), tenant = self.tenant.name, user = self.user)]
    pub fn execute<T: FromRow>(
        &self,
        statement: Statement,
        params: &[&dyn ToSql],
    ) -> rusqlite::Result<Vec<T>> {
        truth::count_statement(statement);
        truth::count_stage(Stage::Execute);
        let mut prepared = prepare(self.db, statement.sql())?;
        bind(&mut prepared, params)?;
        let mut rows = prepared.raw_query();
        let mut found = Vec::new();
        while let Some(row) = step(&mut rows)? {
            found.push(fetch(row)?);
        }
        Ok(found)
    }

    /// Executes a statement that always finds a row.
    pub fn execute_one<T: FromRow>(
        &self,
        statement: Statement,
        params: &[&dyn ToSql],
    ) -> rusqlite::Result<T> {
        self.execute(statement, params)?.pop().ok_or(rusqlite::Error::QueryReturnedNoRows)
    }

    /// Executes a statement that gives no rows.
    pub fn change(&self, statement: Statement, params: &[&dyn ToSql]) -> rusqlite::Result<()> {
        self.execute::<(Value,)>(statement, params).map(drop)
    }
}

/// Compiles a statement, or takes it from the connection's cache.
#[stage]
fn prepare<'a>(db: &'a Connection, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
    truth::count_stage(Stage::Prepare);
    db.prepare_cached(sql)
}

#[stage]
fn bind(statement: &mut CachedStatement<'_>, params: &[&dyn ToSql]) -> rusqlite::Result<()> {
    truth::count_stage(Stage::Bind);
    for (index, param) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, param)?;
    }
    Ok(())
}

/// Runs SQLite's virtual machine up to the next row.
#[stage]
fn step<'a, 'b>(rows: &'a mut Rows<'b>) -> rusqlite::Result<Option<&'a Row<'b>>> {
    truth::count_stage(Stage::Step);
    rows.next()
}

/// Takes the values out of a row.
#[stage]
fn fetch<T: FromRow>(row: &Row<'_>) -> rusqlite::Result<T> {
    truth::count_stage(Stage::Fetch);
    T::try_from(row)
}
