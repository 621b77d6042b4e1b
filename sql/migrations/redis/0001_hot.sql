-- The hot state in Redis, for panels that read it there; applied by itself, as it needs a Redis:
--   EBAP_REDIS=redis://redis:6379 ebap migrate --dir sql/migrations/redis --url …
-- ebap:region:{name}: name, coords ("[lat, lng]" of its centre), intensity (integer, 0 to 100), sales (sum of the purchases).
CREATE SINK regions_hot FROM regional_health
WITH (connector = 'redis', url = '${EBAP_REDIS:-redis://127.0.0.1:6379}', key = 'ebap:region:{name}', ttl = '24 hours');

-- ebap:active:{platform}:{region}:{window_start}: users.
CREATE SINK active_users_hot FROM active_users_now
WITH (connector = 'redis', url = '${EBAP_REDIS:-redis://127.0.0.1:6379}', key = 'ebap:active:{platform}:{region}:{window_start}', ttl = '24 hours');

-- ebap:carts:{platform}:{region}:{window_start}: carts, abandoned.
CREATE SINK carts_hot FROM cart_abandonment
WITH (connector = 'redis', url = '${EBAP_REDIS:-redis://127.0.0.1:6379}', key = 'ebap:carts:{platform}:{region}:{window_start}', ttl = '24 hours');

-- ebap:activity:{size}:{region}:{action}:{window_start}: events, users, revenue.
CREATE SINK activity_hot FROM activity
WITH (connector = 'redis', url = '${EBAP_REDIS:-redis://127.0.0.1:6379}', key = 'ebap:activity:{window_size}:{region}:{action}:{window_start}', ttl = '24 hours');
