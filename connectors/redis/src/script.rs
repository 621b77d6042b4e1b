//! The Lua that runs inside Redis: compare and change are one act there.
//!
//! Versions and writers are compared as decimal text (longer is greater), as Lua's numbers lose digits above 2^53. A
//! script takes many rows: what it costs to call one is more than what a row costs.

use crate::kind::Kind;

/// What a writer's script answers when it did its work (or found newer values).
pub(crate) const DONE: &str = "ok";
/// The control key is gone: Redis lost its memory, or 30 days passed.
pub(crate) const LOST: &str = "lost";

/// `greater(a, b)` over decimal text without leading zeros.
const GREATER: &str = "
local function greater(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end
";

/// Is the sink still ours? `KEYS[1]` control key, `ARGV[1]` writer.
const OURS: &str = "
local holder = redis.call('HGET', KEYS[1], 'writer')
if not holder then return 'lost' end
if holder ~= ARGV[1] then return holder end
";

/// `KEYS[1]` control key, `ARGV` writer, TTL in ms. Answers the newer holder, or nil when taken over.
pub(crate) fn take_over() -> String {
    format!(
        "{GREATER}
local holder = redis.call('HGET', KEYS[1], 'writer')
if holder and greater(holder, ARGV[1]) then return holder end
redis.call('HSET', KEYS[1], 'writer', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return false"
    )
}

/// `KEYS[1]` control key, `ARGV` writer, TTL in ms, then field and offset in turn.
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

/// `KEYS` control key, index; `ARGV` writer, TTLs of the two in ms, time, the time when what is added may be
/// forgotten, how many are added, those, and those that go.
pub(crate) fn index() -> String {
    format!(
        "{OURS}
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if #ARGV == 6 then return 'ok' end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[4])
local last = 6 + tonumber(ARGV[6])
if last > 6 then
  local added = {{'ZADD', KEYS[2], 'GT'}}
  for i = 7, last do
    added[#added + 1] = ARGV[5]
    added[#added + 1] = ARGV[i]
  end
  redis.call(unpack(added))
end
if #ARGV > last then redis.call('ZREM', KEYS[2], unpack(ARGV, last + 1)) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'ok'"
    )
}

/// Keys of a row: its own, and its companions.
pub(crate) fn companions(kind: &Kind, cluster: bool) -> &'static [&'static str] {
    const VERSION: &str = "ebap:version";
    const GONE: &str = "ebap:gone";
    match (kind, cluster) {
        (Kind::Hash, false) => &[],
        (Kind::Hash, true) => &[GONE],
        (Kind::Set { .. } | Kind::SortedSet { .. }, true) => &[VERSION, GONE],
        _ => &[VERSION],
    }
}

/// Puts and removes rows. `KEYS`: the control key where it is not a cluster, then of each row its key and its
/// `companions`. `ARGV`: writer, TTL in ms, TTL of what remembers a deleted row, time, time before which those are
/// forgotten; `Kind::add_head`; of each row `Kind::add`.
pub(crate) fn rows(kind: &Kind, cluster: bool) -> String {
    let (ours, first, older_writer) = match cluster {
        false => (OURS, 2, "false"),
        true => ("", 1, "w ~= '' and greater(w, writer)"),
    };
    let stride = 1 + companions(kind, cluster).len();
    let (head, row) = match kind {
        Kind::Hash => (hash_head(cluster), hash(cluster)),
        Kind::String { .. } => (String::new(), string(cluster)),
        Kind::Set { .. } => (String::new(), members(cluster, "SADD", "S")),
        Kind::SortedSet { .. } => (String::new(), members(cluster, "ZADD", "Z")),
        Kind::Stream { .. } => ("local most = ARGV[at]\nat = at + 1".to_owned(), STREAM.to_owned()),
    };
    format!(
        "{GREATER}{ours}
local writer, ttl, tombstone, now, horizon, at = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], 6
local function newer(known, version)
  if not known then return false end
  local v, w = string.match(known, '^(%d+) ?(%d*)')
  if not v then return false end
  if v ~= version then return greater(v, version) end
  return {older_writer}
end
{head}
for k = {first}, #KEYS, {stride} do
  local key, op, version = KEYS[k], ARGV[at], ARGV[at + 1]
  local mark = version .. ' ' .. writer
  at = at + 2
{row}
end
return 'ok'"
    )
}

/// `row` becomes the arguments of HSET; the columns' names come once.
fn hash_head(cluster: bool) -> String {
    let (start, size) = match cluster {
        false => ("{'HSET', '', '_version', ''}", 4),
        true => ("{'HSET', '', '_version', '', '_writer', writer}", 6),
    };
    format!("local columns, names, row, start = tonumber(ARGV[at]), at, {start}, {size}\nat = at + columns + 1")
}

/// The whole hash is replaced, so that a column which became NULL, or one of an older sink, does not stay. Mostly the
/// fields are the same, and then nothing has to be deleted first.
fn hash(cluster: bool) -> String {
    let (known, go) = match cluster {
        false => ("local known = redis.call('HGET', key, '_version')", ""),
        true => (
            "local pair = redis.call('HMGET', key, '_version', '_writer')
  local known = pair[1] and (pair[1] .. ' ' .. (pair[2] or ''))
  local gone = redis.call('GET', KEYS[k + 1])
  if newer(gone, version) then known = gone end",
            "redis.call('SET', KEYS[k + 1], mark, 'PX', tombstone)",
        ),
    };
    format!(
        "  row[2], row[4] = key, version
  local size = start
  if op ~= '-' then
    for c = 1, columns do
      if op == '+' or string.byte(op, c) == 49 then
        row[size + 1], row[size + 2] = ARGV[names + c], ARGV[at]
        size, at = size + 2, at + 1
      end
    end
  end
  {known}
  if not newer(known, version) then
    if op == '-' then
      if known then redis.call('DEL', key) end
      {go}
    else
      redis.call(unpack(row, 1, size))
      if redis.call('HLEN', key) ~= size / 2 - 1 then
        redis.call('DEL', key)
        redis.call(unpack(row, 1, size))
      end
      redis.call('PEXPIRE', key, ttl)
    end
  end"
    )
}

fn string(cluster: bool) -> String {
    let go = match cluster {
        false => "redis.call('DEL', KEYS[k + 1])",
        true => "redis.call('SET', KEYS[k + 1], mark, 'PX', tombstone)",
    };
    format!(
        "  local known = redis.call('GET', KEYS[k + 1])
  if not newer(known, version) then
    if op == '-' then
      if known then redis.call('DEL', key) end
      {go}
    else
      redis.call('SET', key, ARGV[at], 'PX', ttl)
      redis.call('SET', KEYS[k + 1], mark, 'PX', ttl)
    end
  end
  if op ~= '-' then at = at + 1 end"
    )
}

/// In a cluster what was deleted stays in the versions. Each deletion forgets two that are old enough, so there are
/// never many more than those of the last minutes.
fn members(cluster: bool, add: &str, letter: &str) -> String {
    let sorted = letter == "Z";
    let added = if sorted { "ARGV[at + 1], ARGV[at]" } else { "ARGV[at]" };
    let taken = if sorted { 2 } else { 1 };
    let (put, go) = match cluster {
        false => ("", "redis.call('HDEL', versions, member)"),
        true => (
            "redis.call('ZREM', KEYS[k + 2], member)",
            "redis.call('HSET', versions, member, mark)
      if redis.call('PTTL', versions) < tonumber(tombstone) then redis.call('PEXPIRE', versions, tombstone) end
      redis.call('ZADD', KEYS[k + 2], now, member)
      redis.call('PEXPIRE', KEYS[k + 2], tombstone)
      for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[k + 2], '-inf', horizon, 'LIMIT', 0, 2)) do
        redis.call('HDEL', versions, old)
        redis.call('ZREM', KEYS[k + 2], old)
      end",
        ),
    };
    format!(
        "  local versions, member = KEYS[k + 1], ARGV[at]
  local known = redis.call('HGET', versions, member)
  if not newer(known, version) then
    if op == '-' then
      if known then redis.call('{letter}REM', key, member) end
      {go}
    else
      redis.call('{add}', key, {added})
      redis.call('HSET', versions, member, mark)
      redis.call('PEXPIRE', key, ttl)
      redis.call('PEXPIRE', versions, ttl)
      {put}
    end
  end
  at = at + (op == '-' and 1 or {taken})"
    )
}

/// The versions of entries never go back. Guarded by stream: its entries come by one connection, in order.
const STREAM: &str = "  local size = tonumber(ARGV[at])
  if not newer(redis.call('GET', KEYS[k + 1]), version) then
    redis.call('XADD', key, 'MAXLEN', '~', most, '*', 'op', op == '-' and 'delete' or 'upsert', '_version', version,
      unpack(ARGV, at + 1, at + size))
    redis.call('PEXPIRE', key, ttl)
    redis.call('SET', KEYS[k + 1], mark, 'PX', ttl)
  end
  at = at + size + 1";
