-- The views of schema `bi` (docs/bi.md is written from the comments here). Each filters by the
-- reader's tenant and is a security barrier: no function of the reader's sees other rows.
-- Fragments without events, erased ones among them, have version 0.

create view bi.customer_revenue with (security_barrier) as
select f.customer_id,
    e.currency,
    count(*) filter (where e.type = 1) as orders,
    (coalesce(sum(e.amount_micros) filter (where e.type = 1), 0) / 1000000)::numeric(26, 6)
        as completed,
    (coalesce(sum(e.amount_micros) filter (where e.type = 2), 0) / 1000000)::numeric(26, 6)
        as refunded,
    (sum(case when e.type = 1 then e.amount_micros else -e.amount_micros end) / 1000000)
        ::numeric(26, 6) as revenue
from ledger_entry e
join fragment f on f.tenant_id = e.tenant_id and f.shard = e.shard
    and f.evidence_id = e.evidence_id and f.version > 0
where e.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user)
    and e.type in (1, 2) and e.currency is not null
group by f.customer_id, e.currency;
comment on view bi.customer_revenue is 'What customers bought, one row for each customer and currency.';
comment on column bi.customer_revenue.customer_id is 'The customer.';
comment on column bi.customer_revenue.currency is 'ISO 4217.';
comment on column bi.customer_revenue.orders is 'Completed orders with an amount in this currency.';
comment on column bi.customer_revenue.completed is 'The sum of completed orders.';
comment on column bi.customer_revenue.refunded is 'The sum of what was paid back.';
comment on column bi.customer_revenue.revenue is 'Completed minus refunded.';

create view bi.customers with (security_barrier) as
with known as (
    select f.customer_id, sum(f.events)::bigint as events, min(f.first_us) as first_us,
        max(f.last_us) as last_us, bool_or(f.identified) as identified
    from fragment f
    where f.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user)
        and f.version > 0
    group by f.customer_id),
ordered as (
    select f.customer_id, count(*) as orders, min(e.occurred_us) as first_us,
        max(e.occurred_us) as last_us,
        greatest((extract(epoch from now()) * 1000000)::bigint - max(e.occurred_us), 0) as age_us
    from ledger_entry e
    join fragment f on f.tenant_id = e.tenant_id and f.shard = e.shard
        and f.evidence_id = e.evidence_id and f.version > 0
    where e.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user)
        and e.type = 1
    group by f.customer_id),
main as (
    select distinct on (m.customer_id) m.customer_id, m.currency, m.revenue
    from bi.customer_revenue m where m.orders > 0
    order by m.customer_id, m.orders desc, m.revenue desc, m.currency collate "C")
select k.customer_id,
    bi.instant(k.first_us) as first_seen_at,
    bi.instant(k.last_us) as last_seen_at,
    k.events,
    k.identified,
    case
        when o.orders is null then case when k.identified then 'lead' else 'visitor' end
        when o.age_us > 180 * 86400000000 then 'lapsed'
        when o.age_us > 90 * 86400000000 then 'at_risk'
        when o.orders = 1 then 'new_customer'
        else 'active'
    end as life_cycle_stage,
    coalesce(o.orders, 0) as orders,
    bi.instant(o.first_us) as first_order_at,
    bi.instant(o.last_us) as last_order_at,
    m.currency,
    m.revenue,
    (o.age_us / 86400000000)::integer as recency_days,
    case
        when o.orders is null then 0
        when o.age_us <= 30 * 86400000000 then 5
        when o.age_us <= 60 * 86400000000 then 4
        when o.age_us <= 120 * 86400000000 then 3
        when o.age_us <= 240 * 86400000000 then 2
        else 1
    end as recency_band,
    case
        when o.orders is null then 0
        when o.orders >= 7 then 5
        when o.orders >= 4 then 4
        else o.orders::integer
    end as frequency_band,
    case
        when o.orders is null then 0
        when m.revenue >= 2500 then 5
        when m.revenue >= 1000 then 4
        when m.revenue >= 500 then 3
        when m.revenue >= 250 then 2
        else 1
    end as monetary_band
from known k
left join ordered o on o.customer_id = k.customer_id
left join main m on m.customer_id = k.customer_id;
comment on view bi.customers is 'Customers with at least one event, as they are now. Merged and erased ones are not here.';
comment on column bi.customers.customer_id is 'The customer.';
comment on column bi.customers.first_seen_at is 'When the first event happened.';
comment on column bi.customers.last_seen_at is 'When the latest event happened.';
comment on column bi.customers.events is 'All events.';
comment on column bi.customers.identified is 'Whether any attribute was ever given.';
comment on column bi.customers.life_cycle_stage is '`visitor`, `lead`, `new_customer`, `active`, `at_risk` or `lapsed`, as of the query (see `LifeCycleStage`).';
comment on column bi.customers.orders is 'Completed orders.';
comment on column bi.customers.first_order_at is 'When the first order was completed; null without one.';
comment on column bi.customers.last_order_at is 'When the last order was completed; null without one.';
comment on column bi.customers.currency is 'The currency with the most orders; null if no order had an amount.';
comment on column bi.customers.revenue is 'Completed minus refunded in that currency.';
comment on column bi.customers.recency_days is 'Whole days since the last order, as of the query.';
comment on column bi.customers.recency_band is '5 (≤ 30 days), 4 (≤ 60), 3 (≤ 120), 2 (≤ 240), 1 older, 0 without an order.';
comment on column bi.customers.frequency_band is '1, 2, 3, 4–6, 7 and more orders give 1 to 5; 0 without an order.';
comment on column bi.customers.monetary_band is 'Revenue below 250, 500, 1,000, 2,500 and above gives 1 to 5; 0 without an order.';

create view bi.ledger with (security_barrier) as
select f.customer_id,
    case e.type when 1 then 'order_completed' when 2 then 'order_refunded'
        when 3 then 'ticket_opened' when 4 then 'ticket_closed'
        when 5 then 'points_earned' when 6 then 'points_spent' end as type,
    e.entry_id,
    bi.instant(e.occurred_us) as occurred_at,
    (e.amount_micros / 1000000)::numeric(26, 6) as amount,
    e.currency,
    e.points
from ledger_entry e
join fragment f on f.tenant_id = e.tenant_id and f.shard = e.shard
    and f.evidence_id = e.evidence_id and f.version > 0
where e.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.ledger is 'Orders, refunds, tickets and points, one row each.';
comment on column bi.ledger.customer_id is 'The customer.';
comment on column bi.ledger.type is '`order_completed`, `order_refunded`, `ticket_opened`, `ticket_closed`, `points_earned` or `points_spent`.';
comment on column bi.ledger.entry_id is 'The number in the system that it comes from.';
comment on column bi.ledger.occurred_at is 'When it happened.';
comment on column bi.ledger.amount is 'Of orders and refunds, never negative; null if none was given.';
comment on column bi.ledger.currency is 'Of the amount, ISO 4217.';
comment on column bi.ledger.points is 'Of points, never negative.';

create view bi.events with (security_barrier) as
select f.customer_id,
    case e.type when 1 then 'track' when 2 then 'identify' when 3 then 'page'
        when 4 then 'screen' when 5 then 'group' when 6 then 'alias' end as type,
    bi.instant(e.occurred_us) as occurred_at,
    bi.instant(e.received_us) as received_at
from event e
join fragment f on f.tenant_id = e.tenant_id and f.shard = e.shard
    and f.evidence_id = e.evidence_id and f.version > 0
where e.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.events is 'Events without what they say, which is encrypted: who, what kind, when.';
comment on column bi.events.customer_id is 'The customer.';
comment on column bi.events.type is '`track`, `identify`, `page`, `screen`, `group` or `alias`.';
comment on column bi.events.occurred_at is 'When it happened.';
comment on column bi.events.received_at is 'When it was received.';

create view bi.customer_redirects with (security_barrier) as
select d.customer_id, d.into_customer_id
from redirect d
where d.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user)
    and d.customer_id <> d.into_customer_id;
comment on view bi.customer_redirects is 'Customer ids that lead elsewhere since a merge: demands of before keep the old id.';
comment on column bi.customer_redirects.customer_id is 'The old id.';
comment on column bi.customer_redirects.into_customer_id is 'The customer that it stands for now.';
