-- Versioned configuration of tenants (rules, traits, scorecards, policies …), one row per
-- resource and one history row per version. A deleted resource keeps its row, so versions
-- and etags never repeat. Times are epoch microseconds.
create table resource (
    tenant_id  uuid    not null,
    kind       text    not null,
    name       text    not null,
    version    bigint  not null check (version > 0),
    etag       text    not null,
    body       jsonb   not null,
    deleted    boolean not null,
    created_us bigint  not null,
    updated_us bigint  not null,
    revision   bigint  not null,
    -- Who saved this version, and the change of several resources that it was part of.
    author     text    not null,
    change_id  text    not null,
    primary key (tenant_id, kind, name)
);
create index resource_by_revision on resource (revision);

create table resource_history (
    tenant_id  uuid    not null,
    kind       text    not null,
    name       text    not null,
    version    bigint  not null,
    etag       text    not null,
    body       jsonb   not null,
    deleted    boolean not null,
    updated_us bigint  not null,
    revision   bigint  not null,
    author     text    not null,
    change_id  text    not null,
    primary key (tenant_id, kind, name, version)
);
create index resource_history_newest on resource_history (tenant_id, revision desc);

-- One row, counted up under its lock as the last statement of every change: revisions are
-- in commit order, so "changed since revision n" misses nothing.
create table resource_revision (
    only_row boolean primary key default true check (only_row),
    revision bigint not null
);
insert into resource_revision (revision) values (0);
