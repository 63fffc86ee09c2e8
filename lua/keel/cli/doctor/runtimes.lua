--- What the diagnostic rules of worker runtimes have remarked, unless it was only for information.

-- Whom a remark is about.
local function about(subject)
  if type(subject) == "table" then return ", worker " .. subject.worker_id end
  return subject and ", run " .. subject or ""
end

local function advice_of(runtime_id, subject)
  if type(subject) == "table" then
    return ("'keel workers show %s %s' shows it"):format(runtime_id, subject.worker_id)
  end
  if subject then return ("'keel runs show %s' shows it"):format(subject) end
  return ("'keel workers list %s' shows its workers"):format(runtime_id)
end

local function look_at(store, runtime_id, findings)
  local after
  repeat
    local remarks, more = store:list_diagnostics(runtime_id, { after = after, limit = 1000 })
    if not remarks then return nil, more end
    for _, remark in ipairs(remarks) do
      if remark.severity ~= "info" then
        local times = remark.count > 1 and (" (%d times)"):format(remark.count) or ""
        findings:add(remark.severity, remark.code,
          ("runtime %s%s: %s%s"):format(runtime_id, about(remark.subject), remark.message, times),
          advice_of(runtime_id, remark.subject), { runtime_id = runtime_id, subject = remark.subject })
      end
    end
    after = remarks[#remarks] and remarks[#remarks].id
  until not more and #remarks < 1000
  return true
end

---@param store keel.Store
---@param findings table
return function(store, findings)
  local after
  repeat
    local runtimes, err = store:list_runtimes { after = after }
    local ok = runtimes
    for _, runtime in ipairs(runtimes or {}) do
      after = runtime.runtime_id
      ok, err = look_at(store, after, findings)
      if not ok then break end
    end
    if not ok then
      return findings:add("error", err.code, "the remarks of runtimes cannot be read: " .. err.message,
        require("keel.cli.doctor.file").advice(err.code))
    end
  until #runtimes == 0
end
