-- Events, and the state that is folded from them per evidence. Keys begin with tenant and shard (of the row's
-- own subject). Times are epoch microseconds (`*_us`): these tables are hot. Texts in keys compare by byte, so that
-- every process sorts them alike.

-- What happened, once per (evidence, message id), as long as its effect. The payload is the
-- whole event under the key of its evidence; it is incompressible, so it is never compressed.
create table event (
    tenant_id   uuid     not null,
    shard       smallint not null check (shard between 0 and 63),
    evidence_id uuid     not null,
    message_id  text     collate "C" not null,
    type        smallint not null,
    occurred_us bigint   not null,
    received_us bigint   not null,
    sent_us     bigint,
    payload     bytea    not null,
    primary key (tenant_id, shard, evidence_id, message_id)
);
alter table event alter column payload set storage external;
create index event_by_time on event (tenant_id, shard, evidence_id, occurred_us, message_id);

-- The folded state of one evidence, and the map row of the evidence: it exists also without
-- events (version 0). Nothing that ingest changes is indexed, so its updates stay on the page.
create table fragment (
    tenant_id   uuid     not null,
    shard       smallint not null check (shard between 0 and 63),
    evidence_id uuid     not null,
    customer_id uuid     not null,
    -- identity's count of the moves of this evidence: higher wins.
    map_version bigint   not null check (map_version > 0),
    -- Counts the writes of the state.
    version     bigint   not null default 0,
    behaviour   bytea    not null default '',
    -- What the views of schema `bi` show of it.
    events      bigint   not null default 0,
    first_us    bigint,
    last_us     bigint,
    identified  boolean  not null default false,
    -- Personal attributes under the key of this evidence; written only when they change.
    personal    bytea,
    -- That key under the tenant's key; absent until the first event.
    wrapped_key bytea,
    -- When its customer was erased: events up to then are void. Then the customer is the nil
    -- UUID and there is no key, until somebody with the same identifiers comes.
    erased_us   bigint,
    primary key (tenant_id, shard, evidence_id)
) with (fillfactor = 70);
alter table fragment alter column behaviour set storage main;
alter table fragment alter column personal set storage external;
create index fragment_of_customer on fragment (tenant_id, customer_id);

-- One row per customer that ever had an event: the lock under which its fragments change, and
-- its version, which therefore survives every move. It carries state only from two fragments
-- on; the state of a single one is the fragment's.
create table customer (
    tenant_id   uuid     not null,
    shard       smallint not null check (shard between 0 and 63),
    customer_id uuid     not null,
    version     bigint   not null default 0,
    -- Fragments with events.
    fragments   integer  not null default 0 check (fragments >= 0),
    behaviour   bytea,
    -- The state still has fragments that moved away: it is merged anew once the moves are through.
    stale       boolean  not null default false,
    primary key (tenant_id, shard, customer_id)
) with (fillfactor = 70);
alter table customer alter column behaviour set storage main;
create index customer_in_order on customer (tenant_id, customer_id);
create index customer_stale on customer (tenant_id, customer_id) where stale;

-- A customer id that leads elsewhere, or (into itself) no longer does.
create table redirect (
    tenant_id        uuid     not null,
    shard            smallint not null check (shard between 0 and 63),
    customer_id      uuid     not null,
    into_customer_id uuid     not null,
    version          bigint   not null,
    primary key (tenant_id, shard, customer_id)
);
create index redirect_in_order on redirect (tenant_id, customer_id);

-- Orders, tickets and points that events carried.
create table ledger_entry (
    tenant_id     uuid     not null,
    shard         smallint not null check (shard between 0 and 63),
    evidence_id   uuid     not null,
    message_id    text     collate "C" not null,
    type          smallint not null,
    entry_id      text     not null,
    occurred_us   bigint   not null,
    amount_micros numeric(20),
    currency      text,
    points        numeric(20),
    primary key (tenant_id, shard, evidence_id, message_id)
);

-- Events that were refused: the event and the reasons, sealed under a key of their own. The id is
-- a keyed hash of the content, so a client that repeats garbage adds nothing.
create table rejected_event (
    tenant_id    uuid     not null,
    shard        smallint not null check (shard between 0 and 63),
    rejection_id uuid     not null,
    -- Whose it would have been, if its identifiers could be read.
    evidence_id  uuid,
    received_us  bigint   not null,
    -- When it happened, as far as it can be read, and not after it was received: an erasure
    -- takes what happened up to it.
    event_us     bigint   not null,
    wrapped_key  bytea    not null,
    sealed       bytea    not null,
    primary key (tenant_id, shard, rejection_id)
);
alter table rejected_event alter column sealed set storage external;
create index rejected_event_by_time on rejected_event (tenant_id, received_us, rejection_id);
create index rejected_event_of_evidence on rejected_event (tenant_id, evidence_id)
    where evidence_id is not null;
create index rejected_event_age on rejected_event (received_us);
