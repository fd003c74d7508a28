-- cloud.db of version 5, with a record of each kind
PRAGMA user_version = 5;
BEGIN TRANSACTION;
CREATE TABLE accounts (
        account_id TEXT PRIMARY KEY,
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        account_key BLOB NOT NULL,
        created_at REAL NOT NULL,
        UNIQUE (issuer, subject)
    );
INSERT INTO "accounts" VALUES('acc-0123456789abcdef','https://issuer','subject',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F',1.0);
CREATE TABLE beps (
        bep_id TEXT PRIMARY KEY,
        node_id TEXT NOT NULL,
        relay_host TEXT NOT NULL,
        relay_port INTEGER NOT NULL,
        expires_at REAL NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0
    , run TEXT NOT NULL DEFAULT '');
INSERT INTO "beps" VALUES('xxxxxxxxxxxxxxxxxxxxxx','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','relay',8443,4000000000.0,0,'run-1');
INSERT INTO "beps" VALUES('yyyyyyyyyyyyyyyyyyyyyy','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','relay',8443,4000000000.0,1,'run-1');
CREATE TABLE device_grants (
        device_digest TEXT PRIMARY KEY,
        user_code TEXT NOT NULL UNIQUE,
        node_id TEXT NOT NULL UNIQUE,
        node_name TEXT NOT NULL,
        scope TEXT NOT NULL,
        expires_at REAL NOT NULL,
        account_id TEXT NOT NULL DEFAULT '',
        denied INTEGER NOT NULL DEFAULT 0
    );
INSERT INTO "device_grants" VALUES('digest','BCDFGHJK','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','one','edge:account:associate',4000000000.0,'',0);
CREATE TABLE nodes (
        node_id TEXT PRIMARY KEY,
        account_id TEXT REFERENCES accounts (account_id),
        record TEXT NOT NULL,
        registered_at REAL NOT NULL,
        seen_at REAL NOT NULL
    , vouched_until REAL NOT NULL DEFAULT 0, sep_epoch INTEGER NOT NULL DEFAULT 0, sep_number INTEGER NOT NULL DEFAULT 0);
INSERT INTO "nodes" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','acc-0123456789abcdef','{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","name":"one","version":"1","account":{"id":""},"supernodeId":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","rolesInCluster":[],"sealingKey":"a2V5","addresses":[{"type":"local","url":{"href":"http://x"}}],"services":[{"id":"s","serviceType":"t","self":"/p"}],"sepHolderId":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}',1.0,2.0,4000000000.0,0,0);
CREATE TABLE used_assertions (
        node_id TEXT NOT NULL,
        jti TEXT NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (node_id, jti)
    );
INSERT INTO "used_assertions" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','jti',4000000000.0);
CREATE INDEX nodes_by_account ON nodes (account_id);
CREATE INDEX beps_by_node ON beps (node_id);
CREATE INDEX used_assertions_by_expiry ON used_assertions (expires_at);
CREATE INDEX nodes_by_vouching ON nodes (vouched_until) WHERE vouched_until > 0;
CREATE INDEX device_grants_by_expiry ON device_grants (expires_at);
COMMIT;
