-- What tools for business intelligence may read: views of plain columns in a schema of their own
-- (docs/bi.md). A reader is a database role that sees the rows of one tenant; `rapport bi-role`
-- makes and drops them. Whoever has no row here sees nothing.
create table bi_reader (
    role      name primary key,
    tenant_id uuid not null
);

create schema bi;
comment on schema bi is 'Views for business intelligence: one tenant, nothing personal, plain columns.';

-- Exact: an interval counts whole microseconds.
create function bi.instant(us bigint) returns timestamptz language sql stable parallel safe
    return timestamptz 'epoch' + us * interval '1 microsecond';
comment on function bi.instant is 'Epoch microseconds as a time.';

