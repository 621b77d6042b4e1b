-- When somebody should look. Who is told is said by EBAP_TELL, options of CREATE ALERT behind a comma, e.g.
--   EBAP_TELL=", alertmanager = 'http://alertmanager:9093', redis = 'redis://redis:6379'"

-- Over the minutes and not over the map, so that five minutes are five windows in a row.
CREATE ALERT region_overload ON regional_load WHEN intensity > 90
FOR INTERVAL '5 minutes' KEEP FIRING FOR INTERVAL '1 minute' BY (region)
WITH (severity = 'page', summary = 'Region {region} is at {value} of 100'${EBAP_TELL:-});

CREATE ALERT checkout_errors ON checkout_error_rate WHEN rate > 0.01
FOR INTERVAL '5 minutes' KEEP FIRING FOR INTERVAL '1 minute' NO DATA AFTER INTERVAL '10 minutes'
WITH (severity = 'page', summary = '{value} of the checkouts in {region} fail'${EBAP_TELL:-});

-- Abnormal churn: three standard deviations, and at least five points of a hundred, away from the same hour of the
-- days before, of which there must be three.
CREATE ALERT cart_churn ON cart_churn WHEN days >= 3 AND abs(rate - usual) > greatest(3 * deviation, 0.05)
WITH (severity = 'ticket', value = 'rate', summary = '{platform}: {rate} of the carts are left behind, {usual} is usual'${EBAP_TELL:-});
