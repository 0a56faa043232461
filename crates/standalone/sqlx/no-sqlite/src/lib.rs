//! Nothing: sqlx without SQLite needs no more.
