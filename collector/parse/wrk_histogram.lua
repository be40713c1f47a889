-- wrk_histogram.lua: writes the latencies that wrk recorded, one "value_us<TAB>count" a line, in
-- rising order, to the file named by SOCKLAB_HISTOGRAM. Use with `wrk --latency -s`; wrk 4.1, 4.2.
--
--     SOCKLAB_HISTOGRAM=histogram.tsv SOCKLAB_CONNECTIONS=16 wrk -c 16 ... -s wrk_histogram.lua URL
--
-- done() is called after wrk has back-filled its histogram against "coordinated omission"
-- (stats_correct in wrk's stats.c), so what Lua sees is partly synthetic. The back-filling adds, for
-- every recorded n >= 2 x interval, samples at n - interval, n - 2 x interval, ... above interval.
-- Hence every n above the interval holds the recorded samples of n, n + interval, n + 2 x interval,
-- ..., and the recorded count is its difference to n + interval. The interval needs the number of
-- connections, which Lua is not told: SOCKLAB_CONNECTIONS must be what -c says.
--
-- When anything does not add up, the file has one line "error<TAB>reason" and the parser refuses it.

local ffi = require("ffi")

-- wrk's stats.h; the same in 4.1.0 and 4.2.0. Reading it costs milliseconds, calling latency(i) for
-- every value is quadratic and took half a minute after one long stall.
ffi.cdef([[
typedef struct { uint64_t count, limit, min, max; uint64_t data[1]; } socklab_stats;
]])

local function recorded(stats, summary, connections)
   local max = tonumber(stats.max)
   local rounds = math.floor(summary.requests / connections)
   -- Fewer requests than connections: wrk does not correct at all.
   local interval = rounds > 0 and math.floor(summary.duration / rounds) or max
   local rows, total = {}, 0
   for n = 0, max do
      local count = stats.data[n]
      if n > interval and n + interval <= max then
         count = count - stats.data[n + interval]
      end
      count = tonumber(ffi.cast("int64_t", count))
      if count < 0 then
         return nil, "the back-filling cannot be undone: is SOCKLAB_CONNECTIONS what -c says?"
      end
      if count > 0 then
         rows[#rows + 1] = string.format("%d\t%d\n", n, count)
         total = total + count
      end
   end
   local expected = summary.requests - summary.errors.timeout
   if total ~= expected then
      return nil, string.format("%d recorded samples, but %d requests in time", total, expected)
   end
   return table.concat(rows)
end

local function histogram(summary, latency)
   local connections = tonumber(os.getenv("SOCKLAB_CONNECTIONS") or "")
   if not connections or connections < 1 then
      return nil, "SOCKLAB_CONNECTIONS is not set to the number of connections (-c)"
   end
   local stats = ffi.cast("socklab_stats **", latency)[0]
   if stats.count == 0 then
      return ""
   end
   if tonumber(stats.max) ~= latency.max or tonumber(stats.min) ~= latency.min then
      return nil, "this wrk keeps its latencies in another layout than 4.1 and 4.2"
   end
   return recorded(stats, summary, connections)
end

function done(summary, latency)
   local path = os.getenv("SOCKLAB_HISTOGRAM")
   if not path then
      io.stderr:write("wrk_histogram.lua: SOCKLAB_HISTOGRAM names no file; nothing is written\n")
      return
   end
   local rows, reason = histogram(summary, latency)
   local file = assert(io.open(path, "w"))
   assert(file:write(rows or ("error\t" .. reason .. "\n")))
   assert(file:close())
end
