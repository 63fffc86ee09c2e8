--- Since when a run that waits has been due: since it was made, or since its time came, if that was later.

--- A time as a text; times of rows sort as texts.
---@param run { created_at: string, scheduled_at?: string }
---@return string
return function(run)
  local at = run.scheduled_at
  return at and at > run.created_at and at or run.created_at
end
