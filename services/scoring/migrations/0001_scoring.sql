-- Scores. Keys begin with tenant and shard; the shard is that of the row's own subject
-- (customer, use). Times are epoch microseconds. Nothing here is personal data.

-- Which customer has which scores, from which behaviour. Behaviour is the state of
-- profile's feed as it came. fillfactor and the few indexes keep updates on the page:
-- next_due_us is mostly a midnight, so it stays the same from event to event.
create table subject (
    tenant_id        uuid     not null,
    shard            smallint not null check (shard between 0 and 63),
    customer_id      uuid     not null,
    profile_version  bigint   not null,
    behaviour        bytea    not null,
    -- The customer that this id stands for; null while it stands for itself.
    redirect_into    uuid,
    redirect_version bigint   not null,
    scores           bytea    not null,
    -- The same without reasons, for the views of schema `bi`.
    shown            json     not null default '[]',
    -- Counts the changes that were told in the feed.
    score_version    bigint   not null,
    scored_us        bigint   not null,
    -- When the clock alone may move a score over a threshold.
    next_due_us      bigint,
    -- Counts the writes: who read the row without a lock learns that it has changed since.
    writes           bigint   not null,
    -- The customer was erased: the id stays, empty, so that nothing older brings it back.
    erased           boolean  not null default false,
    primary key (tenant_id, shard, customer_id)
) with (fillfactor = 70);
alter table subject alter column behaviour set storage main;
create index subject_by_customer on subject (tenant_id, customer_id);
-- Is anybody due? And who of one tenant, however many others are?
create index subject_due on subject (next_due_us) where next_due_us is not null;
create index subject_due_of_tenant on subject (tenant_id, next_due_us)
    where next_due_us is not null;

-- What profile declared. Kind 0: deleted, kept for its version.
create table trait (
    tenant_id uuid     not null,
    name      text     not null,
    kind      smallint not null check (kind between 0 and 4),
    personal  boolean  not null,
    version   bigint   not null,
    primary key (tenant_id, name)
);

-- Counts the changes of a tenant's scorers and traits. Who scores holds the row in share
-- mode, who changes a scorer holds it alone: no score is ever written from an older set.
create table ruleset (
    tenant_id uuid   primary key,
    revision  bigint not null default 0
);

-- Customers that are still to be scored by a new set of scorers: those after the key.
create table sweep (
    tenant_id   uuid     primary key,
    shard       smallint not null,
    customer_id uuid     not null
);

-- Uses of scores: what was known and what was answered, kept for learning and accounts.
create table feature_log (
    tenant_id         uuid     not null,
    shard             smallint not null check (shard between 0 and 63),
    use_id            uuid     not null,
    customer_id       uuid     not null,
    -- The id that the caller named; it may have led to customer_id.
    asked_customer_id uuid     not null,
    -- The clock of the features, which the caller may set back …
    as_of_us          bigint   not null,
    -- … and when they were read: everything known by then is in them.
    read_us           bigint   not null,
    profile_version   bigint   not null,
    features          bytea    not null,
    answers           bytea    not null,
    primary key (tenant_id, shard, use_id)
);
create index feature_log_of_customer on feature_log (tenant_id, customer_id);
create index feature_log_asked on feature_log (tenant_id, asked_customer_id)
    where asked_customer_id <> customer_id;

-- Labels in the order in which they are learned, from 1 for each tenant, without gap.
create table label_log (
    tenant_id   uuid     not null,
    seq         bigint   not null,
    use_id      uuid     not null,
    use_shard   smallint not null check (use_shard between 0 and 63),
    -- Of the outcome: a correction has a higher one.
    version     bigint   not null,
    positive    boolean  not null,
    demand_kind text     not null,
    event_us    bigint   not null,
    primary key (tenant_id, seq)
);
create index label_of_use on label_log (tenant_id, use_id);

-- Never repeat, also when a model is deleted and made again.
create sequence model_epoch;
create sequence model_version;

-- What a model has learned, how far, and who may learn for it.
create table model_state (
    tenant_id   uuid        not null,
    model       text        not null,
    learning    boolean     not null,
    epoch       bigint      not null default 0,
    holder      uuid,
    lease_until timestamptz not null default '-infinity',
    -- The last label that was looked at.
    position    bigint      not null default 0,
    -- Changes with every checkpoint.
    version     bigint      not null default nextval('model_version'),
    weights     bytea       not null,
    labels      bigint      not null default 0,
    positives   bigint      not null default 0,
    primary key (tenant_id, model)
);
