#!/bin/sh
# Makes the inbox's users, when the postgres image makes the database.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set owner="$INBOX_OWNER_PASSWORD" --set receive="$INBOX_RECEIVE_PASSWORD" \
    --set work="$INBOX_WORK_PASSWORD" --set operate="$INBOX_OPERATE_PASSWORD" <<'SQL'
CREATE ROLE inbox_owner LOGIN PASSWORD :'owner';
CREATE ROLE inbox_receive LOGIN PASSWORD :'receive';
CREATE ROLE inbox_work LOGIN PASSWORD :'work';
CREATE ROLE inbox_operate LOGIN PASSWORD :'operate';
CREATE DATABASE inbox OWNER inbox_owner;
REVOKE CONNECT ON DATABASE inbox FROM PUBLIC;
GRANT CONNECT ON DATABASE inbox TO inbox_receive, inbox_work, inbox_operate;
SQL
