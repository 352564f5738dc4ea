PRAGMA cache_size = 2000;
CREATE TABLE entry (id INTEGER PRIMARY KEY, part INTEGER, name TEXT, body BLOB);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO entry SELECT i, i * 7919 % 1009, printf('name %08d', i * 31 % 60000), zeroblob(i % 500) FROM n;
CREATE INDEX by_part ON entry (part, name);
SELECT count(*), sum(length(body)) FROM entry;
SELECT part, count(*) AS many, group_concat(substr(name, -3), ',') FROM entry WHERE part < 3 GROUP BY part ORDER BY many, part;
UPDATE entry SET body = randomblob(1000) WHERE part % 5 = 0;
DELETE FROM entry WHERE part % 7 = 3;
SELECT count(*), sum(length(body)) FROM entry;
SELECT max(c) FROM (SELECT count(*) AS c FROM entry a JOIN entry b ON a.name = b.name GROUP BY a.part);
VACUUM;
PRAGMA integrity_check;
