--- The runs in flight on a thread, as admission finds them: orphans among them are recovered first.
local documents = require "keel.store.documents"
local recovery = require "keel.recovery"

local inflight = {}

--- Runs in flight that a strategy is shown, oldest first; it also gets the exact count.
inflight.SHOWN = 256
local SHOWN = inflight.SHOWN

-- Recovers what a dead session left among the rows. Returns whether anything was, and the error.
local function recover(context, tx, rows, recovered)
  local some = false
  for _, row in ipairs(rows) do
    local taken, err = false, nil
    -- Once each: one that was given back may be an orphan again at once.
    if not recovered[row.run_id] then taken, err = recovery.take(tx, context, row) end
    if taken == nil then return nil, err end
    if taken then
      some = true
      recovered[row.run_id] = true
      recovered[#recovered + 1] = row.run_id
    end
  end
  return some
end

--- Takes reservations out of a list of rows.
---@param rows table[]
---@return table[] runs
---@return table? reservation the first
function inflight.split(rows)
  local runs, reservation = {}, nil
  for _, row in ipairs(rows) do
    if recovery.is_reservation(row) then
      reservation = reservation or row
    else
      runs[#runs + 1] = row
    end
  end
  return runs, reservation
end

--- The runs in flight on a thread, after what a dead session left there has been recovered.
---@return { runs: table[], reservation: table?, count: integer, finalizing: string[], recovered: string[] }? inflight
--- finalizing: runs that have ended and are not settled
---@return keel.Error? err
function inflight.read(context, tx, thread_id)
  local recovered = {}
  local rows, is_cut, err
  repeat
    rows, is_cut = documents.list_inflight(tx, { thread_id = thread_id, limit = SHOWN })
    if not rows then return nil, is_cut end
    local some
    some, err = recover(context, tx, rows, recovered)
    if some == nil then return nil, err end
  until not some -- what was given back is in flight still, and more may have come into sight
  local finalizing
  finalizing, err = tx:list_inflight { thread_id = thread_id, finalizing = true, limit = SHOWN, brief = true }
  if not finalizing then return nil, err end
  for i, row in ipairs(finalizing) do finalizing[i] = row.run_id end
  local count = #rows
  if count == SHOWN or is_cut then
    count, err = tx:count_inflight(thread_id)
    if not count then return nil, err end
  end
  local runs, reservation = inflight.split(rows)
  return { runs = runs, is_cut = is_cut, reservation = reservation, count = count - (#rows - #runs),
    finalizing = finalizing, recovered = recovered }
end

--- What matters of a run when it is cancelled; kept apart from what the strategy is shown and could change.
---@param runs table[]
---@return { run_id: string, status: string, session_id: integer?, priority: integer? }[]
function inflight.outline(runs)
  local outlines = {}
  for i, run in ipairs(runs) do
    outlines[i] = { run_id = run.run_id, status = run.status, session_id = run.session_id, priority = run.priority }
  end
  return outlines
end

return inflight
