//! The Lua that runs inside Redis: compare and change are one act there.
//!
//! Versions and incarnations are compared as decimal text (longer is greater), as Lua's numbers lose digits above 2^53.

/// Prefix of every script: `greater(a, b)` over decimal text without leading zeros.
const GREATER: &str = "
local function greater(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end
";

/// Prefix of the scripts of a writer: is the sink still ours? `KEYS[1]` control key, `ARGV[1]` incarnation.
const OURS: &str = "
local holder = redis.call('HGET', KEYS[1], 'incarnation')
if not holder then return 'lost' end
if holder ~= ARGV[1] then return holder end
";

/// What a writer's script answers when it did its work (or found a newer value).
pub(crate) const DONE: &str = "ok";
/// The control key is gone: Redis lost its memory, or 30 days passed.
pub(crate) const LOST: &str = "lost";

/// `KEYS[1]` control key, `ARGV` incarnation, TTL in ms. Answers the newer holder, or nil when taken over.
pub(crate) fn take_over() -> String {
    format!(
        "{GREATER}
local holder = redis.call('HGET', KEYS[1], 'incarnation')
if holder and greater(holder, ARGV[1]) then return holder end
redis.call('HSET', KEYS[1], 'incarnation', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return false"
    )
}

/// `KEYS[1]` control key, `ARGV` incarnation, TTL in ms, then field and offset in turn.
pub(crate) fn advance() -> String {
    format!(
        "{GREATER}{OURS}
for i = 3, #ARGV, 2 do
  local stored = redis.call('HGET', KEYS[1], ARGV[i])
  if not stored or greater(ARGV[i + 1], stored) then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'ok'"
    )
}

/// `KEYS` control key, row key and index, `ARGV` incarnation, version, TTL in ms, then field and value in turn.
/// The whole hash is replaced, so that a column which became NULL does not keep its old value. The index holds
/// the row keys of this sink by when they expire, and forgets those that have.
pub(crate) fn put() -> String {
    format!(
        "{GREATER}{OURS}
local stored = redis.call('HGET', KEYS[2], '_version')
if stored and greater(stored, ARGV[2]) then return 'ok' end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], '_version', ARGV[2])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[3]), KEYS[2])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return 'ok'"
    )
}

/// `KEYS` control key, row key and index, `ARGV` incarnation, version.
pub(crate) fn remove() -> String {
    format!(
        "{GREATER}{OURS}
local stored = redis.call('HGET', KEYS[2], '_version')
if stored and greater(stored, ARGV[2]) then return 'ok' end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[3], KEYS[2])
return 'ok'"
    )
}
