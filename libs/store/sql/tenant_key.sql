-- The key of a tenant, wrapped by the root key ring. Destroying the row makes everything
-- that the tenant's data keys sealed unreadable.
create table tenant_key (
    tenant_id  uuid primary key,
    wrapped    bytea not null,
    created_us bigint not null default (extract(epoch from now()) * 1000000)::bigint
);
