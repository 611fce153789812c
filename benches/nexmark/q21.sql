-- Bids with the number of their channel: of the large ones it is known, of the others it stands in the URL.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT auction, bidder, price, channel, channel_id
FROM (
  SELECT auction, bidder, price, channel,
    CASE lower(channel)
      WHEN 'apple' THEN '0'
      WHEN 'google' THEN '1'
      WHEN 'facebook' THEN '2'
      WHEN 'baidu' THEN '3'
      ELSE regexp_match(url, '(&|^)channel_id=([^&]*)')[2]
    END AS channel_id
  FROM bid
)
WHERE channel_id IS NOT NULL;
