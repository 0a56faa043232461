//! Durable storage and dispatch.

mod backup;
mod chaos;
mod conformance;
mod copy;
mod dispatch;
mod front;
mod hook_log;
mod model;
mod operate;
mod postgres;
mod retention;
mod searches;
mod shared;
mod sqlite;
mod survive;
mod waiting;
