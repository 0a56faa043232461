-- For the pages: the last success of a subscription and its attempts of a day; what was given up, by subscription and
-- by event.
CREATE INDEX attempt_outcome ON attempt (subscription, outcome, started_at);
CREATE INDEX delivery_failed ON delivery (subscription, event) WHERE state = 2;
