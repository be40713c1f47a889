-- What sysbench's oltp_* tests expect: one table, as `sysbench prepare` makes it, filled the same way
-- every time. The account is locked until a deployment gives it a password.
CREATE DATABASE sbtest;
USE sbtest;
CREATE TABLE sbtest.sbtest1 (id INTEGER NOT NULL AUTO_INCREMENT, k INTEGER DEFAULT 0 NOT NULL, c CHAR(120) DEFAULT '' NOT NULL, pad CHAR(60) DEFAULT '' NOT NULL, PRIMARY KEY (id), KEY k_1 (k)) ENGINE = InnoDB;
INSERT INTO sbtest.sbtest1 (k, c, pad) SELECT 1 + (seq * 7919) % 10000, RPAD(SHA2(seq, 512), 120, '-'), RPAD(MD5(seq), 60, '-') FROM seq_1_to_10000;
FLUSH PRIVILEGES;
CREATE USER bench@'%' ACCOUNT LOCK;
GRANT SELECT ON sbtest.* TO bench@'%';
