-- What feedback knows of demands and of what came of them. Times are microseconds since 1970
-- (`*_us`) because these tables are hot. `shard` is the demand's. Nothing personal: a customer
-- is an id, reasons are words of the tenant's own vocabulary.

-- A demand as routing's feed told it; `version` is the last applied one. `reached` is the
-- furthest stage: 0 created, 1 offered, 2 accepted, 3 started, 4 closed. A time is that of the
-- first arrival at the stage, and absent if the demand was only seen further on.
create table demand_fact (
    tenant_id uuid not null,
    shard smallint not null,
    demand_id uuid not null,
    customer_id uuid not null, -- the nil UUID once the customer was erased
    kind text not null,
    team text not null,
    agent text not null,
    version bigint not null,
    event_us bigint not null,
    created_us bigint not null,
    offered_us bigint,
    accepted_us bigint,
    started_us bigint,
    closed_us bigint,
    reached smallint not null check (reached between 0 and 4),
    scored boolean not null,
    primary key (tenant_id, shard, demand_id)
) with (fillfactor = 70);
create index demand_fact_of_customer on demand_fact (tenant_id, customer_id);
create index demand_fact_by_creation on demand_fact (tenant_id, created_us);

-- The scores a demand was routed with. `kind` and `event_us` are the demand's.
create table used_score (
    tenant_id uuid not null,
    shard smallint not null,
    demand_id uuid not null,
    scorer text not null,
    scorer_version bigint not null,
    value double precision not null,
    probability double precision,
    kind text not null,
    event_us bigint not null,
    primary key (tenant_id, shard, demand_id, scorer, scorer_version)
);
create index used_score_by_scorer on used_score (tenant_id, scorer, event_us desc);

-- The outcome in force, and the label that was last told of it. `result` as in the contract;
-- `polarity` is absent for results that are no label. No currency, no value.
create table outcome (
    tenant_id uuid not null,
    shard smallint not null,
    demand_id uuid not null,
    result smallint not null check (result between 1 and 6),
    polarity boolean,
    value_micros bigint not null,
    currency text not null,
    reason text not null,
    event_us bigint not null,
    recorded_us bigint not null,
    version bigint not null,
    label boolean,
    label_version bigint,
    label_event_us bigint,
    primary key (tenant_id, shard, demand_id),
    foreign key (tenant_id, shard, demand_id) references demand_fact,
    check ((label is null) = (label_version is null) and (label is null) = (label_event_us is null))
) with (fillfactor = 70);
-- The order of a snapshot.
create index outcome_labels on outcome (tenant_id, demand_id) where label is not null;

-- Everything that was ever said about a demand's outcome; what stands here is a repeat.
create table outcome_history (
    tenant_id uuid not null,
    shard smallint not null,
    demand_id uuid not null,
    event_us bigint not null,
    result smallint not null,
    value_micros bigint not null,
    currency text not null,
    reason text not null,
    recorded_us bigint not null,
    primary key (tenant_id, shard, demand_id, event_us, result, value_micros, currency, reason)
);

-- Answers to surveys; the id is the caller's, unique per tenant.
create table survey (
    tenant_id uuid not null,
    survey_id text not null,
    shard smallint not null,
    demand_id uuid not null,
    kind smallint not null,
    score smallint not null,
    event_us bigint not null,
    primary key (tenant_id, survey_id),
    foreign key (tenant_id, shard, demand_id) references demand_fact,
    check ((kind = 1 and score between 0 and 10) or (kind = 2 and score between 1 and 5))
);
create index survey_by_demand on survey (tenant_id, shard, demand_id);
