-- Which mutations were carried out, so that a repeated request id has one effect. Written in
-- the transaction of the effect; keeps a keyed fingerprint and result ids, never a body.
-- Times are epoch microseconds.
create table request_log (
    tenant_id   uuid   not null,
    principal   text   not null,
    method      text   not null,
    request_id  uuid   not null,
    fingerprint bytea  not null,
    result      bytea  not null default '',
    created_us  bigint not null,
    primary key (tenant_id, principal, method, request_id)
);
create index request_log_age on request_log (created_us);
