-- Who sees what. Nobody logs in as one of these: each person has a role of his own that is a member, as in
--   CREATE USER anna PASSWORD '…' IN ROLE product_manager;
-- Run by a superuser, who owns the objects.

-- Answers: panels, alerts, regions on the map.
CREATE ROLE IF NOT EXISTS product_manager;
GRANT SELECT ON activity, active_users_now, cart_abandonment, cart_hours, cart_churn, checkout_error_rate,
    regional_health, regional_load, regional_sales, regions TO product_manager;
GRANT SELECT ON ebap.alerts, ebap.alert_history TO product_manager;

-- Events too. Who somebody is they do not see: columns with PII are masked, and `user_id` is a hash that can be counted
-- and joined.
CREATE ROLE IF NOT EXISTS data_analyst IN ROLE product_manager;
GRANT SELECT ON metrics, events TO data_analyst;
GRANT SELECT (user_id, email, country, tier, balance, active, created_at, updated_at) ON users TO data_analyst;

-- The server and its telemetry, and changes of the platform by migrations. Not what customers do.
CREATE ROLE IF NOT EXISTS devops IN ROLE pg_monitor;
GRANT SELECT ON metrics, checkout_error_rate, regional_health, regional_load, regions TO devops;
GRANT CREATE ON SCHEMA public TO devops;
GRANT INSERT ON ebap.schema_migrations TO devops;

-- A customer who calls: who it is, and what he has done.
CREATE ROLE IF NOT EXISTS customer_support;
GRANT SELECT, UNMASK ON users, events TO customer_support;

-- Everything, after SET ROLE admin: what makes a superuser is not inherited.
CREATE ROLE IF NOT EXISTS admin SUPERUSER;
