-- The identity graph. Keys begin with tenant and shard; the shard is that of the row's own
-- subject (evidence, value, customer, decision). Times are epoch microseconds. A value is known by its
-- blind index only (the first 16 bytes of a keyed hash, kept as uuid: fixed width, no header).

-- A set of identifiers that were seen together, and the customer it belongs to now.
create table evidence (
    tenant_id           uuid     not null,
    shard               smallint not null check (shard between 0 and 63),
    evidence_id         uuid     not null,
    customer_id         uuid     not null,
    -- The customer id that was made for it, kept wherever the evidence moves.
    founded_customer_id uuid,
    -- Counts its moves, from 1.
    map_version         bigint   not null check (map_version > 0),
    created_us          bigint   not null,
    -- Blind index and namespace of each value: 16 bytes, length (1 byte), name.
    value_refs          bytea    not null,
    -- The data key of this evidence under the tenant's key, and the identifiers under the data key.
    wrapped_key         bytea    not null,
    identifiers         bytea    not null,
    primary key (tenant_id, shard, evidence_id)
);
create index evidence_of_customer on evidence (tenant_id, customer_id);

-- A value. Shared: seen with too many values of a unique namespace; it links nothing.
create table identifier (
    tenant_id uuid     not null,
    shard     smallint not null check (shard between 0 and 63),
    value_key uuid     not null,
    namespace text     not null,
    shared    boolean  not null,
    primary key (tenant_id, shard, value_key)
);

-- Which evidence carries a value.
create table occurrence (
    tenant_id      uuid     not null,
    shard          smallint not null check (shard between 0 and 63),
    value_key      uuid     not null,
    evidence_id    uuid     not null,
    evidence_shard smallint not null check (evidence_shard between 0 and 63),
    primary key (tenant_id, shard, value_key, evidence_id)
);

-- Values of unique namespaces that a value was seen with: at most k + 1 rows for each namespace.
create table companion (
    tenant_id     uuid     not null,
    shard         smallint not null check (shard between 0 and 63),
    value_key     uuid     not null,
    namespace     text     not null,
    companion_key uuid     not null,
    primary key (tenant_id, shard, value_key, namespace, companion_key)
);

-- Every customer id that was ever given out. It leads to the customer that holds its founder.
create table customer (
    tenant_id           uuid     not null,
    shard               smallint not null check (shard between 0 and 63),
    customer_id         uuid     not null,
    founder_evidence_id uuid     not null,
    founder_shard       smallint not null check (founder_shard between 0 and 63),
    created_us          bigint   not null,
    -- Counts how often its founder moved.
    redirect_version    bigint   not null default 0,
    primary key (tenant_id, shard, customer_id)
);
create index customer_that_moved on customer (tenant_id, shard, customer_id)
    where redirect_version > 0;

-- What people decided. The reason is free text, so it is sealed like an identifier.
create table decision (
    tenant_id    uuid     not null,
    shard        smallint not null check (shard between 0 and 63),
    decision_id  uuid     not null,
    -- Later decisions weigh more; counted under the tenant's lock.
    position     bigint   not null generated always as identity,
    kind         smallint not null check (kind in (1, 2)), -- 1 link, 2 separation
    decided_by   text     not null,
    decided_us   bigint   not null,
    wrapped_key  bytea    not null,
    reason       bytea    not null,
    -- The later decision that took it back.
    retracted_by uuid,
    -- The evidence that it spoke of until then: whoever is erased takes its reason along.
    spoke_of     uuid[],
    primary key (tenant_id, shard, decision_id)
);
create index decision_spoke_of on decision using gin (spoke_of) where spoke_of is not null;

-- The evidence that a decision in force speaks of, on its two sides (0, 1).
create table decision_evidence (
    tenant_id      uuid     not null,
    shard          smallint not null check (shard between 0 and 63),
    evidence_id    uuid     not null,
    decision_id    uuid     not null,
    decision_shard smallint not null check (decision_shard between 0 and 63),
    side           smallint not null check (side in (0, 1)),
    kind           smallint not null check (kind in (1, 2)),
    primary key (tenant_id, shard, evidence_id, decision_id)
);
create index decision_evidence_by_decision on decision_evidence (tenant_id, decision_id);
create index decision_evidence_of_separations on decision_evidence (tenant_id) where kind = 2;

-- Evidence that was erased: id and time, nothing else. Looked at under the tenant's lock before
-- the same identifiers are taken up again.
create table tombstone (
    tenant_id   uuid     not null,
    shard       smallint not null check (shard between 0 and 63),
    evidence_id uuid     not null,
    -- All places that it had up to this version are void.
    map_version bigint   not null,
    -- Whatever it brought up to this time is void.
    erased_us   bigint   not null,
    primary key (tenant_id, shard, evidence_id)
);

-- The ledger of erasures: what has to be erased again after a restore. Gapless, in the order of
-- commits. A large customer is erased in several parts; the first one's id is the erasure's.
create table erasure (
    seq          bigint   primary key,
    tenant_id    uuid     not null,
    shard        smallint not null check (shard between 0 and 63), -- of the part's id
    part_id      uuid     not null,
    erasure_id   uuid     not null,
    customer_id  uuid     not null,
    -- Ids that are gone with this part: founded by its evidence.
    customer_ids uuid[]   not null,
    evidence_ids uuid[]   not null,
    map_versions bigint[] not null,
    erased_us    bigint   not null,
    unique (tenant_id, shard, part_id),
    check (cardinality(evidence_ids) = cardinality(map_versions))
);
create index erasure_parts on erasure (tenant_id, erasure_id, seq);
create index erasure_of_customer on erasure using gin (customer_ids);
