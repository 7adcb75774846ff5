-- The change log of this service and its place in the logs of others.
-- Times are microseconds since 1970 (`*_us`) because these tables are hot.

-- Which life of the log the positions belong to. Renewed by a restore and by a failover that
-- lost the tail: positions are then used again with other content.
create table feed_epoch (
    one boolean primary key default true check (one),
    epoch uuid not null default gen_random_uuid()
);
insert into feed_epoch default values;

create table feed (
    seq bigint primary key,
    shard smallint not null check (shard between 0 and 63),
    tenant_id uuid not null,
    subject uuid not null,
    kind smallint not null,
    version bigint not null,
    at_us bigint not null,
    traceparent text,
    data bytea not null
) partition by range (seq);

-- Named after their lower bound; `retention` keeps two ahead of the head.
create table feed_p0 partition of feed for values from (0) to (5000000);
create table feed_p5000000 partition of feed for values from (5000000) to (10000000);
create table feed_p10000000 partition of feed for values from (10000000) to (15000000);

-- The only way in. One writer at a time holds the lock until its commit is visible, so `seq` is
-- gapless and in commit order; max + 1 (not a sequence) leaves no hole after a rollback, and
-- leaves nothing to rot under a long snapshot. Nothing may follow but COMMIT: the lock is the
-- whole service's. Returns the first sequence number.
create function feed_append(
    shards smallint[], tenants uuid[], subjects uuid[], kinds smallint[], versions bigint[],
    traceparents text[], datas bytea[]
) returns bigint language plpgsql volatile security definer set search_path from current as $feed$
declare
    base bigint;
    added bigint := coalesce(array_length(shards, 1), 0);
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'feed_append needs a new snapshot after its lock: use read committed'
            using errcode = 'invalid_transaction_state';
    end if;
    if added not between 1 and 5000 then
        raise exception 'feed_append takes 1 to 5000 rows' using errcode = 'program_limit_exceeded';
    end if;
    perform pg_advisory_xact_lock(7201);
    -- A new statement, so a new snapshot: it sees every earlier holder of the lock.
    select coalesce(max(seq), 0) into base from feed;
    insert into feed (seq, shard, tenant_id, subject, kind, version, at_us, traceparent, data)
    select base + e.ord, e.shard, e.tenant_id, e.subject, e.kind, e.version,
           (extract(epoch from clock_timestamp()) * 1000000)::bigint, e.traceparent, e.data
    from unnest(shards, tenants, subjects, kinds, versions, traceparents, datas)
        with ordinality as e(shard, tenant_id, subject, kind, version, traceparent, data, ord);
    return base + 1;
end $feed$;

revoke insert, update, delete, truncate on feed from public;
-- It writes with its owner's rights: nobody else may call it unless told so.
revoke execute on function feed_append from public;

-- How far this service has applied the log of another one. `epoch` counts the holders of the
-- lease: it fences a holder that was presumed dead.
create table checkpoint (
    consumer text not null,
    lanes smallint not null check (lanes between 1 and 64),
    lane smallint not null check (lane >= 0 and lane < lanes),
    feed_epoch uuid,
    position bigint not null check (position >= 0),
    epoch bigint not null,
    holder uuid not null,
    lease_until timestamptz not null,
    primary key (consumer, lanes, lane)
);

-- Entries that could not be applied, and all later ones of the same subject. `id` is their order.
create table dead_letter (
    id bigint primary key generated always as identity,
    consumer text not null,
    tenant_id uuid not null,
    subject uuid not null,
    seq bigint not null,
    entry bytea not null,
    error text not null,
    attempts integer not null,
    parked_us bigint not null
);
create index dead_letter_subject on dead_letter (consumer, tenant_id, subject, id);

-- Which parts of erasures this service has committed, and the services that follow it. Passed on
-- to the owner of the feed that told of them, until they are where the erasure began.
create table receipt (
    tenant_id uuid not null,
    part_id uuid not null,
    service text not null,
    done_us bigint not null,
    passed boolean not null default false,
    primary key (tenant_id, part_id, service)
);
-- The erasures that this service has heard of, for those that follow it and begin anew.
create table erased (
    tenant_id uuid not null,
    part_id uuid not null,
    shard smallint not null check (shard between 0 and 63), -- of the part's id
    customer_ids uuid[] not null,
    primary key (tenant_id, part_id)
);
create index erased_customer on erased using gin (customer_ids);
create index receipt_to_pass on receipt (tenant_id, part_id, service) where not passed;
